//! The project's documents, to be read beside the API.
//!
//! The first definition of a link counts, so links from one document to another are defined here, before the text.

/// The guarantees on each system.
///
/// [docs/COEXISTENCE.md]: crate::documents::coexistence
///
#[doc = include_str!("../PLATFORM.md")]
pub mod platform {}

/// Other users of faults in the same process: the effects, and the remedies.
///
/// [DESIGN.md]: crate::documents::design
/// [PLATFORM.md]: crate::documents::platform
///
#[doc = include_str!("../docs/COEXISTENCE.md")]
pub mod coexistence {}

/// The decisions of the design, and their reasons.
///
#[doc = include_str!("../DESIGN.md")]
pub mod design {}

//! The project's documents, to be read beside the API.
//!
//! The first definition of a link counts, so links from one document to another are defined here, before the text.

/// What each system guarantees.
///
/// [docs/COEXISTENCE.md]: crate::documents::coexistence
///
#[doc = include_str!("../PLATFORM.md")]
pub mod platform {}

/// What happens beside other users of faults in the same process, and what to do.
///
/// [DESIGN.md]: crate::documents::design
/// [PLATFORM.md]: crate::documents::platform
///
#[doc = include_str!("../docs/COEXISTENCE.md")]
pub mod coexistence {}

/// Why the library is built as it is.
///
#[doc = include_str!("../DESIGN.md")]
pub mod design {}

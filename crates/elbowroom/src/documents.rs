//! The project's documents, to be read beside the API.
//!
//! A link from one to another is defined here, before the text that has its own definition: the first one holds.

/// What each system guarantees.
///
/// [docs/COEXISTENCE.md]: crate::documents::coexistence
///
#[doc = include_str!("../PLATFORM.md")]
pub mod platform {}

/// Other users of faults in the same process.
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

//! Runs of pages, as a program sees them.

use std::ops::Range;

use super::Access;

/// The state of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PageState {
    /// The address is set aside. A touch faults, and nothing is charged.
    Reserved,
    /// The page is usable, and charged to the system's commit limit where the system has one.
    Committed,
}

/// A run of neighbouring pages in the same state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The bytes as offsets from the base: whole pages.
    pub range: Range<usize>,
    /// Reserved or committed.
    pub state: PageState,
    /// The access of the pages; [`Access::None`] where they are reserved.
    pub access: Access,
}

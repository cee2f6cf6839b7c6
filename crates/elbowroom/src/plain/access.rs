//! The access to a page, and the placement of memory.

/// The access that a program has to a committed page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// No access. The page stays committed and keeps its contents.
    None,
    /// Read.
    Read,
    /// Read and write. A page has this access when it is committed.
    ReadWrite,
    /// Read and execute. No page is ever writable and executable at once.
    ReadExecute,
}

/// The placement of a reservation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Placement {
    /// The system chooses.
    Anywhere,
    /// At this address if it is free; otherwise at an address that the system chooses.
    Near(usize),
    /// At exactly this address, a multiple of the granularity.
    Exactly(usize),
}

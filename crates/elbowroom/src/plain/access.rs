//! What may be done with a page, and where memory should lie.

/// What a program may do with a committed page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Nothing. The page stays committed and keeps its contents.
    None,
    /// Read.
    Read,
    /// Read and write. A page has this access when it is committed.
    ReadWrite,
    /// Read and execute. No page is ever writable and executable at once.
    ReadExecute,
}

/// Where a reservation should lie.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Placement {
    /// The system chooses.
    Anywhere,
    /// At this address if it is free; otherwise the system chooses.
    Near(usize),
    /// At this address, a multiple of the granularity, or nowhere.
    Exactly(usize),
}

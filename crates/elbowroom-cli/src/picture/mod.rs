//! Pictures as files: of pages, and of how a region grew.

pub(crate) mod svg;
mod trace;

pub(crate) use trace::Trace;

/// The most cells that a picture of pages has: 24 lines, in a drawing as in a terminal.
pub(crate) const CELLS_MAX: u64 = 24 * 64;

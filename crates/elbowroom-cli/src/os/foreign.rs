//! Faults and signals that are not a region's, and processes that fork: what `stress` does beside regions.
//!
//! - `prepare(seed)`: installs a handler as a program would that has its own, before the first region.
//! - `signal()`: the handler gets a signal that this thread sends to itself.
//! - `fault()`: the handler gets the fault of a page that is no region's, and repairs it.
//! - `in_child(work)`: forks; what the child found. `work` runs in the child alone.

#[cfg(unix)]
#[path = "foreign_unix.rs"]
mod sys;
#[cfg(windows)]
#[path = "foreign_windows.rs"]
mod sys;

pub(crate) use sys::{fault, in_child, prepare, signal};

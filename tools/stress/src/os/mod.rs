//! Faults and signals that are not a region's, and processes that fork. The only place with platform `cfg`.
//!
//! - `prepare(seed)`: installs a handler as a program would that has its own, before the first region.
//! - `signal()`: the handler gets a signal that this thread sends to itself.
//! - `fault()`: the handler gets the fault of a page that is no region's, and repairs it.
//! - `in_child(work)`: forks; what the child found. `work` runs in the child alone.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::{fault, in_child, prepare, signal};
#[cfg(windows)]
pub(crate) use windows::{fault, in_child, prepare, signal};

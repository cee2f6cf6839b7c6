//! Foreign faults and signals, and forks. Only this module has platform `cfg`.
//!
//! - `prepare(seed)`: installs the program's own handler, before the first region.
//! - `signal()`: sends a signal to this thread, and checks that the handler gets it.
//! - `fault()`: touches a page outside every region, and checks that the handler gets the fault and repairs it.
//! - `in_child(work)`: forks, runs `work` in the child, and returns the child's result.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::{fault, in_child, prepare, signal};
#[cfg(windows)]
pub(crate) use windows::{fault, in_child, prepare, signal};

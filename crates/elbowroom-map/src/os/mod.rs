//! The operating system. The only place with platform `cfg`.
//!
//! Each platform provides:
//! - `snapshot(pid)`: the mappings of a process now.
//! - `page_runs(snapshot, region)`: the states of a region's pages, as adjacent runs that cover all of it.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(any(target_os = "linux", windows)))]
mod unknown;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
use linux as sys;
#[cfg(not(any(target_os = "linux", windows)))]
use unknown as sys;
#[cfg(windows)]
use windows as sys;

pub(crate) use sys::{page_runs, snapshot};

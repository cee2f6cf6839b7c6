//! The operating system. The only place with platform `cfg`.
//!
//! Each platform provides:
//! - `snapshot(pid)`: what a process has now.
//! - `page_runs(snapshot, region)`: what each page of a region is: runs that follow each other and cover all of it.
//! - `scan_is_known(pagemap)`: see [`scan_is_known`].

#[cfg(target_os = "linux")]
#[path = "linux/mod.rs"]
mod sys;
#[cfg(windows)]
#[path = "windows.rs"]
mod sys;
#[cfg(not(any(target_os = "linux", windows)))]
#[path = "unknown.rs"]
mod sys;

use std::fs::File;
use std::io;

pub(crate) use sys::{page_runs, snapshot};

/// Whether the kernel tells runs of pages at once (Linux: the request PAGEMAP_SCAN, since 6.7). Where it does not,
/// pages are asked about one by one, which takes longer. `pagemap` is this process's own. Allocates nothing.
///
/// # Errors
/// The system's refusal; `Unsupported` on other systems.
pub fn scan_is_known(pagemap: &File) -> io::Result<()> {
    sys::scan_is_known(pagemap)
}

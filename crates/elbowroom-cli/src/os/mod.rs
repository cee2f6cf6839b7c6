//! The parts of the operating system that the command needs in addition to the library. The only place with platform
//! `cfg`.
//!
//! - `usage()`: the figures of [`Usage`](crate::usage::Usage) now, as far as the system tells.
//! - `available_bytes()`: what programs can still use of the machine's memory; `None` if the system does not tell.
//! - `commit_limit_bytes()`: the most that all programs together can commit; `None` if the system does not tell.
//! - `forgo_core_file()`: this process leaves none if it is ended.
//! - `accounting()`: whether the system may refuse a commit.
//! - `plant_other_fault(region, page)`: the next touch of that page of the region raises a fault that is not a page
//!   fault, if the page is not committed before.
//! - `system()`: the system's name and version.
//! - `examine()`: what `elbowroom doctor` finds out. Leaves no trace and does not end the process.
//! - `resident_pages(region)`: which pages of a region are in memory, cheaply; `None` if the system does not tell.
//! - `when_asked_to_end()`: 0, until a signal asks this process to end; then the number of the signal. Ctrl-C is
//!   SIGINT everywhere.
//! - `free_bytes(folder)`: what this user can still write to the disk of a folder; `None` if the system does not tell.
//! - `give_owner(file, of)`: makes the owner of a file that of another, as far as this user may.
//! - `terminal_is_gone()`: whether the terminal that standard output went to has hung up.
//! - `is_utf8()`: whether the terminal is sent what UTF-8 encodes.

mod plain;

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

#[cfg(unix)]
mod unix;

pub(crate) use plain::Accounting;
pub(crate) use sys::{
    accounting, available_bytes, commit_limit_bytes, examine, forgo_core_file, free_bytes,
    give_owner, is_utf8, plant_other_fault, resident_pages, system, terminal_is_gone, usage,
    when_asked_to_end,
};

//! What the command needs of the operating system beyond the library. The only place with platform `cfg`.
//!
//! - `usage()`: the figures of [`Usage`](crate::meter::Usage) now, as far as the system tells.
//! - `available_bytes()`: what programs can still use of the machine's memory; `None` if the system does not tell.
//! - `cpu_time()`: what this process has used of the processors, in the kernel too; `None` where no fine clock is.
//! - `bring_in(base, len, pages)`: makes committed memory consist of such pages, and brings them in if they say so; an
//!   error says why that cannot be. Behind [`UpFront::with_pages`].
//! - `forgo_core_file()`: this process leaves none if it is ended.
//! - `ending(status)`: how a child ended that was to give an answer.
//! - `accounting()`: whether the system may refuse a commit.
//! - `plant_other_fault(region, page)`: the next touch of that page of the region raises a fault that is not a page
//!   fault, if the page is not committed before.
//! - `resident_bytes()`: one of those figures, cheaply.
//! - `system()`: the system's name and version.
//! - `examine()`: what `elbowroom doctor` finds out. Leaves no trace and does not end the process.
//! - `snapshot(pid)`: the address space of a process, or of this one for `None`; an error says what to do about it.
//! - `page_runs(snapshot, region)`: what each page of a region of it is now.
//! - `resident_pages(region)`: which pages of a region are in memory, cheaply; `None` if the system does not tell.
//! - `when_asked_to_end()`: a number that becomes that of the signal which asks this process to end; 0 till then.
//! - `terminal_is_gone()`: whether the terminal that standard output went to has hung up.
//! - `is_utf8()`: whether the terminal is sent what UTF-8 encodes.
//! - `columns()`, `enable_colours()`: the terminal that standard output goes to, if it is one.
//!
//! [`UpFront`] is here because it, too, needs `unsafe`.

pub(crate) mod foreign;
mod up_front;

#[cfg(target_os = "linux")]
#[path = "linux/mod.rs"]
mod sys;
#[cfg(windows)]
#[path = "windows/mod.rs"]
mod sys;
#[cfg(not(any(target_os = "linux", windows)))]
#[path = "unknown.rs"]
mod sys;

#[cfg(unix)]
mod unix;

pub(crate) use sys::{
    accounting, available_bytes, columns, cpu_time, enable_colours, ending, examine, forgo_core_file, is_utf8,
    plant_other_fault, resident_bytes, resident_pages, system, terminal_is_gone, usage, when_asked_to_end,
};
pub(crate) use up_front::{Pages, UpFront};

/// What the system does with a commit that it cannot back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "a platform knows its own answer only"))]
pub(crate) enum Accounting {
    /// It keeps count and may refuse.
    Limited,
    /// It grants every commit, and ends some process when memory runs out.
    Unlimited,
    /// Not known.
    Unknown,
}

/// The bytes of one page of a region, or an error if it has no such page.
fn page_of(region: &elbowroom::Region, page: usize) -> std::io::Result<(*mut u8, usize)> {
    let size = elbowroom::page_size();
    match page.checked_mul(size) {
        Some(offset) if offset < region.len() => Ok((region.as_ptr().wrapping_add(offset), size)),
        _ => Err(std::io::ErrorKind::InvalidInput.into()),
    }
}

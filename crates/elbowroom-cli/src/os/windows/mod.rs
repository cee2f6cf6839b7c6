//! Windows: figures from the system's performance information.

#![allow(unsafe_code, reason = "Win32 calls")]

mod console;
mod doctor;
mod probe;
mod usage;

pub(crate) use console::when_asked_to_end;
pub(crate) use usage::usage;

use std::fs::{File, Metadata};
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::path::Path;
use std::ptr::null_mut;

use elbowroom::{PageState, Region, Span};
use windows_sys::Win32::Storage::FileSystem::GetDiskFreeSpaceExW;
use windows_sys::Win32::System::Memory::{MEM_COMMIT, PAGE_GUARD, PAGE_READWRITE, VirtualAlloc};
use windows_sys::Win32::System::ProcessStatus::{
    K32QueryWorkingSetEx, PSAPI_WORKING_SET_EX_INFORMATION,
};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

use super::plain::Accounting;
use usage::process_counters;

pub(crate) fn available_bytes() -> Option<u64> {
    usage::system_memory().map(|memory| memory.available_bytes)
}

pub(crate) fn commit_limit_bytes() -> Option<u64> {
    usage::system_memory().map(|memory| memory.commit_limit_bytes)
}

/// There are none by default.
pub(crate) fn forgo_core_file() {}

pub(crate) use doctor::examine;
pub(crate) use probe::system;

pub(crate) fn resident_bytes() -> Option<u64> {
    Some(process_counters()?.WorkingSetSize as u64)
}

/// Returns which pages of a region are in memory: QueryWorkingSetEx, for those that are committed.
pub(crate) fn resident_pages(region: &Region, spans: &[Span]) -> Option<Vec<bool>> {
    let page = elbowroom::page_size();
    let mut pages = vec![false; region.len() / page];
    let mut entries = Vec::new();
    for span in spans
        .iter()
        .filter(|span| span.state == PageState::Committed)
    {
        entries.extend(span.range.clone().step_by(page).map(|offset| {
            PSAPI_WORKING_SET_EX_INFORMATION {
                VirtualAddress: region.as_ptr().wrapping_add(offset).cast(),
                ..PSAPI_WORKING_SET_EX_INFORMATION::default()
            }
        }));
    }
    // `None` for more than the call takes.
    let size = u32::try_from(size_of_val(entries.as_slice())).ok()?;
    // SAFETY: no preconditions; a pseudo-handle, which is not closed.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: the handle is this process's; the entries are readable and writable for `size` bytes.
    if size > 0 && unsafe { K32QueryWorkingSetEx(process, entries.as_mut_ptr().cast(), size) } == 0
    {
        return None;
    }
    for entry in &entries {
        // SAFETY: all members of the union are a word of flags.
        let flags = unsafe { entry.VirtualAttributes.Flags };
        pages[(entry.VirtualAddress.addr() - region.as_ptr().addr()) / page] = flags & 1 != 0;
    }
    Some(pages)
}

/// GetDiskFreeSpaceEx, which counts what the quota of this user leaves.
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    let name: Vec<u16> = folder.as_os_str().encode_wide().chain([0]).collect();
    let mut free = 0;
    // SAFETY: the name ends with zero, and `free` is writable. The other two may be null.
    let told = unsafe { GetDiskFreeSpaceExW(name.as_ptr(), &raw mut free, null_mut(), null_mut()) };
    (told != 0).then_some(free)
}

/// A new file inherits what its folder says.
pub(crate) fn give_owner(_: &File, _: &Metadata) {}

/// Its processes end with it.
pub(crate) fn terminal_is_gone() -> bool {
    false
}

/// Consoles are written to in UTF-16, whatever the locale.
pub(crate) fn is_utf8() -> bool {
    true
}

pub(crate) fn accounting() -> Accounting {
    Accounting::Limited
}

/// Commits the page with PAGE_GUARD: the next touch raises EXCEPTION_GUARD_PAGE.
pub(crate) fn plant_other_fault(region: &Region, page: usize) -> io::Result<()> {
    const GUARDED: u32 = PAGE_READWRITE | PAGE_GUARD;
    let (address, len) = super::plain::page_of(region, page)?;
    // SAFETY: one page of the region's reservation, which belongs to this program alone, and which Rust has no
    // reference into: it is only reached through accessors. Committing it does not affect other memory, and the
    // region's own handling of the page works on a committed one too.
    let committed = unsafe { VirtualAlloc(address.cast(), len, MEM_COMMIT, GUARDED) };
    match committed.is_null() {
        true => Err(io::Error::last_os_error()),
        false => Ok(()),
    }
}

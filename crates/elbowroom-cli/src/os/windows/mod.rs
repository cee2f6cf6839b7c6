//! Windows: what the system's performance information says.

#![allow(unsafe_code, reason = "Win32 calls")]

mod doctor;
mod probe;

use std::ffi::c_void;
use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use elbowroom::{PageState, Region, Span};
use windows_sys::Win32::System::Console::{
    CONSOLE_SCREEN_BUFFER_INFO, ENABLE_VIRTUAL_TERMINAL_PROCESSING, GetConsoleMode, GetConsoleScreenBufferInfo,
    GetStdHandle, STD_OUTPUT_HANDLE, SetConsoleMode,
};
use windows_sys::Win32::System::Memory::{MEM_COMMIT, PAGE_GUARD, PAGE_READWRITE, VirtualAlloc};
use windows_sys::Win32::System::ProcessStatus::{
    K32GetPerformanceInfo, K32GetProcessMemoryInfo, K32QueryWorkingSetEx, PERFORMANCE_INFORMATION,
    PROCESS_MEMORY_COUNTERS, PROCESS_MEMORY_COUNTERS_EX, PSAPI_WORKING_SET_EX_INFORMATION,
};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

use super::{Accounting, Pages};
use crate::meter::Usage;

pub(crate) fn usage() -> Usage {
    let process = process_counters();
    Usage {
        system_commit_bytes: system_commit_bytes(),
        process_commit_bytes: process.map(|counters| counters.PrivateUsage as u64),
        resident_bytes: process.map(|counters| counters.WorkingSetSize as u64),
        kernel_faults: process.map(|counters| u64::from(counters.PageFaultCount)),
    }
}

pub(crate) fn available_bytes() -> Option<u64> {
    probe::system_memory().map(|memory| memory.available_bytes)
}

/// There are none by default.
pub(crate) fn forgo_core_file() {}

/// How a child that gave no answer ended.
pub(crate) fn ending(status: ExitStatus) -> String {
    status.to_string()
}

/// GetProcessTimes counts ticks of a clock of 64 a second.
pub(crate) fn cpu_time() -> Option<Duration> {
    None
}

/// # Safety
/// None: it only tells.
pub(super) unsafe fn bring_in(_base: *mut u8, _len: usize, pages: Pages) -> Result<(), String> {
    match pages {
        Pages::Demand => Ok(()),
        Pages::Populated => Err("Windows has no call that brings in fresh pages".to_owned()),
        Pages::HugePopulated => {
            Err("large pages are memory of another kind here (MEM_LARGE_PAGES), which needs a privilege".to_owned())
        }
    }
}

pub(crate) use doctor::examine;
pub(crate) use probe::system;

pub(crate) fn resident_bytes() -> Option<u64> {
    Some(process_counters()?.WorkingSetSize as u64)
}

/// Has the console that standard output goes to understand colours, and tells whether it does.
pub(crate) fn enable_colours() -> bool {
    // SAFETY: no preconditions; an invalid handle makes the next call fail.
    let output = unsafe { GetStdHandle(STD_OUTPUT_HANDLE) };
    let mut mode = 0;
    // SAFETY: the mode is written to a place for it; fails for what is no console.
    if unsafe { GetConsoleMode(output, &mut mode) } == 0 {
        return false;
    }
    // SAFETY: a console's handle, and its own mode with a flag more.
    unsafe { SetConsoleMode(output, mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING) != 0 }
}

/// How wide the console is that standard output goes to, if it is one.
pub(crate) fn columns() -> Option<usize> {
    // SAFETY: no preconditions; an invalid handle makes the next call fail.
    let output = unsafe { GetStdHandle(STD_OUTPUT_HANDLE) };
    let mut info = CONSOLE_SCREEN_BUFFER_INFO::default();
    // SAFETY: the structure is writable; fails for what is no console.
    let known = unsafe { GetConsoleScreenBufferInfo(output, &mut info) };
    let columns = i32::from(info.srWindow.Right) - i32::from(info.srWindow.Left) + 1;
    usize::try_from(columns).ok().filter(|&columns| known != 0 && columns > 0)
}

/// Which pages of a region are in memory: QueryWorkingSetEx, for those that are committed.
pub(crate) fn resident_pages(region: &Region, spans: &[Span]) -> Option<Vec<bool>> {
    let page = elbowroom::page_size();
    let mut pages = vec![false; region.len() / page];
    let mut entries = Vec::new();
    for span in spans.iter().filter(|span| span.state == PageState::Committed) {
        entries.extend(span.range.clone().step_by(page).map(|offset| PSAPI_WORKING_SET_EX_INFORMATION {
            VirtualAddress: region.as_ptr().wrapping_add(offset).cast(),
            ..PSAPI_WORKING_SET_EX_INFORMATION::default()
        }));
    }
    // `None` for more than the call takes.
    let size = u32::try_from(size_of_val(entries.as_slice())).ok()?;
    // SAFETY: no preconditions; a pseudo-handle, which is not closed.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: the handle is this process's; the entries are readable and writable for `size` bytes.
    if size > 0 && unsafe { K32QueryWorkingSetEx(process, entries.as_mut_ptr().cast(), size) } == 0 {
        return None;
    }
    for entry in &entries {
        // SAFETY: all members of the union are a word of flags.
        let flags = unsafe { entry.VirtualAttributes.Flags };
        pages[(entry.VirtualAddress.addr() - region.as_ptr().addr()) / page] = flags & 1 != 0;
    }
    Some(pages)
}

/// There are no signals: a console that closes ends its processes, and is gone then.
#[expect(clippy::unnecessary_wraps, reason = "the same on every platform")]
pub(crate) fn when_asked_to_end() -> io::Result<Arc<AtomicUsize>> {
    Ok(Arc::default())
}

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

/// PERFORMANCE_INFORMATION: CommitTotal, which is in pages.
fn system_commit_bytes() -> Option<u64> {
    let mut information = PERFORMANCE_INFORMATION::default();
    let size = size_of_val(&information) as u32;
    // SAFETY: the pointer is to a writable structure of `size` bytes.
    let succeeded = unsafe { K32GetPerformanceInfo(&mut information, size) };
    (succeeded != 0).then_some(information.CommitTotal as u64 * information.PageSize as u64)
}

fn process_counters() -> Option<PROCESS_MEMORY_COUNTERS_EX> {
    let mut counters = PROCESS_MEMORY_COUNTERS_EX::default();
    let size = size_of_val(&counters) as u32;
    // SAFETY: no preconditions; a pseudo-handle, which is not closed.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: the handle is this process's; the pointer is to a writable structure of `size` bytes, and the function
    // fills the extended one when it is told its size.
    let succeeded =
        unsafe { K32GetProcessMemoryInfo(process, (&raw mut counters).cast::<PROCESS_MEMORY_COUNTERS>(), size) };
    (succeeded != 0).then_some(counters)
}

/// Commits the page with PAGE_GUARD: the next touch raises EXCEPTION_GUARD_PAGE.
pub(crate) fn plant_other_fault(region: &Region, page: usize) -> io::Result<()> {
    let (address, len) = super::page_of(region, page)?;
    // SAFETY: one page of the region's reservation, which belongs to this program alone, and which Rust has no
    // reference into: it is only reached through accessors. Committing it takes nothing from anybody, and the region's
    // own handling of the page works on a committed one too.
    let committed = unsafe { VirtualAlloc(address.cast::<c_void>(), len, MEM_COMMIT, PAGE_READWRITE | PAGE_GUARD) };
    if committed.is_null() { Err(io::Error::last_os_error()) } else { Ok(()) }
}

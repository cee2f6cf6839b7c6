//! The present figures on memory.

use std::mem::size_of_val;

use windows_sys::Win32::System::ProcessStatus::{
    K32GetPerformanceInfo, K32GetProcessMemoryInfo, PERFORMANCE_INFORMATION,
    PROCESS_MEMORY_COUNTERS_EX,
};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

use crate::usage::Usage;

/// The figures of the whole system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SystemMemory {
    pub(super) total_bytes: u64,
    pub(super) available_bytes: u64,
    pub(super) commit_limit_bytes: u64,
    pub(super) committed_bytes: u64,
}

pub(crate) fn usage() -> Usage {
    let process = process_counters();
    Usage {
        system_commit_bytes: system_memory().map(|memory| memory.committed_bytes),
        process_commit_bytes: process.map(|counters| counters.PrivateUsage as u64),
        resident_bytes: process.map(|counters| counters.WorkingSetSize as u64),
        kernel_faults: process.map(|counters| u64::from(counters.PageFaultCount)),
    }
}

pub(super) fn system_memory() -> Option<SystemMemory> {
    let mut info = PERFORMANCE_INFORMATION::default();
    let size = size_of_val(&info) as u32;
    // SAFETY: the pointer is to a writable structure of `size` bytes.
    let succeeded = unsafe { K32GetPerformanceInfo(&mut info, size) };
    // In pages.
    let bytes = |pages: usize| pages as u64 * info.PageSize as u64;
    (succeeded != 0).then(|| SystemMemory {
        total_bytes: bytes(info.PhysicalTotal),
        available_bytes: bytes(info.PhysicalAvailable),
        commit_limit_bytes: bytes(info.CommitLimit),
        committed_bytes: bytes(info.CommitTotal),
    })
}

pub(super) fn process_counters() -> Option<PROCESS_MEMORY_COUNTERS_EX> {
    let mut counters = PROCESS_MEMORY_COUNTERS_EX::default();
    let size = size_of_val(&counters) as u32;
    // SAFETY: no preconditions; a pseudo-handle, which is not closed.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: the handle is this process's; the pointer is to a writable structure of `size` bytes, and the function
    // fills the extended one when it is told its size.
    let succeeded = unsafe { K32GetProcessMemoryInfo(process, (&raw mut counters).cast(), size) };
    (succeeded != 0).then_some(counters)
}

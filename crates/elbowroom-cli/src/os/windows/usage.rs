//! What memory costs now.

use std::mem::size_of_val;

use windows_sys::Win32::System::ProcessStatus::{
    K32GetPerformanceInfo, K32GetProcessMemoryInfo, PERFORMANCE_INFORMATION,
    PROCESS_MEMORY_COUNTERS, PROCESS_MEMORY_COUNTERS_EX,
};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

use crate::usage::Usage;

pub(crate) fn usage() -> Usage {
    let process = process_counters();
    Usage {
        system_commit_bytes: system_commit_bytes(),
        process_commit_bytes: process.map(|counters| counters.PrivateUsage as u64),
        resident_bytes: process.map(|counters| counters.WorkingSetSize as u64),
        kernel_faults: process.map(|counters| u64::from(counters.PageFaultCount)),
    }
}

fn system_commit_bytes() -> Option<u64> {
    let mut information = PERFORMANCE_INFORMATION::default();
    let size = size_of_val(&information) as u32;
    // SAFETY: the pointer is to a writable structure of `size` bytes.
    let succeeded = unsafe { K32GetPerformanceInfo(&mut information, size) };
    (succeeded != 0).then_some(information.CommitTotal as u64 * information.PageSize as u64)
}

pub(super) fn process_counters() -> Option<PROCESS_MEMORY_COUNTERS_EX> {
    let mut counters = PROCESS_MEMORY_COUNTERS_EX::default();
    let size = size_of_val(&counters) as u32;
    // SAFETY: no preconditions; a pseudo-handle, which is not closed.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: the handle is this process's; the pointer is to a writable structure of `size` bytes, and the function
    // fills the extended one when it is told its size.
    let succeeded = unsafe {
        K32GetProcessMemoryInfo(
            process,
            (&raw mut counters).cast::<PROCESS_MEMORY_COUNTERS>(),
            size,
        )
    };
    (succeeded != 0).then_some(counters)
}

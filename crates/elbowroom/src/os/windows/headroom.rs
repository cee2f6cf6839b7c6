//! Windows: how much this process may still commit, and which limit says so.

use std::mem::size_of;
use std::ptr;

use windows_sys::Win32::System::JobObjects::{
    JOB_OBJECT_LIMIT_JOB_MEMORY, JOB_OBJECT_LIMIT_PROCESS_MEMORY, JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
    JobObjectExtendedLimitInformation, QueryInformationJobObject,
};
use windows_sys::Win32::System::ProcessStatus::{
    K32GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS, PROCESS_MEMORY_COUNTERS_EX,
};
use windows_sys::Win32::System::SystemInformation::{GlobalMemoryStatusEx, MEMORYSTATUSEX};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

use crate::os::Headroom;

/// The tightest of the limits that the system sets.
pub(crate) fn headroom() -> Headroom {
    let bounds = [commit_limit(), job_limit()];
    let tightest = bounds.into_iter().flatten().min_by_key(|headroom| headroom.bytes);
    tightest.unwrap_or(Headroom { bytes: usize::MAX, limit: "none" })
}

/// What this process may commit, by the system's commit limit.
fn commit_limit() -> Option<Headroom> {
    let mut status = MEMORYSTATUSEX { dwLength: size_of::<MEMORYSTATUSEX>() as u32, ..MEMORYSTATUSEX::default() };
    // SAFETY: the structure is writable and says its own size.
    if unsafe { GlobalMemoryStatusEx(&mut status) } == 0 {
        return None;
    }
    Some(Headroom { bytes: usize::try_from(status.ullAvailPageFile).unwrap_or(usize::MAX), limit: "commit limit" })
}

/// What the job object leaves, if the process is in one with a limit on memory.
fn job_limit() -> Option<Headroom> {
    let mut job = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
    let size = size_of::<JOBOBJECT_EXTENDED_LIMIT_INFORMATION>() as u32;
    // SAFETY: a null handle means the job of this process; the structure is writable, of the class asked for, and
    // `size` its size; the length returned is not wanted.
    let known = unsafe {
        QueryInformationJobObject(
            ptr::null_mut(),
            JobObjectExtendedLimitInformation,
            (&raw mut job).cast(),
            size,
            ptr::null_mut(),
        )
    };
    if known == 0 {
        return None;
    }
    let flags = job.BasicLimitInformation.LimitFlags;
    let used = private_commit().unwrap_or(0);
    // What the other processes of the job use is not told; its limit less our own use is the most there can be.
    let limits = [
        (JOB_OBJECT_LIMIT_PROCESS_MEMORY, job.ProcessMemoryLimit, "job object, per process"),
        (JOB_OBJECT_LIMIT_JOB_MEMORY, job.JobMemoryLimit, "job object, all processes"),
    ];
    let set = limits.into_iter().filter(|&(flag, ..)| flags & flag != 0);
    set.map(|(_, bytes, limit)| Headroom { bytes: bytes.saturating_sub(used), limit }).min_by_key(|limit| limit.bytes)
}

/// What this process has committed.
fn private_commit() -> Option<usize> {
    let mut counters = PROCESS_MEMORY_COUNTERS_EX::default();
    let size = size_of::<PROCESS_MEMORY_COUNTERS_EX>() as u32;
    let start: *mut PROCESS_MEMORY_COUNTERS = (&raw mut counters).cast();
    // SAFETY: no preconditions; a pseudo-handle that need not be closed.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: the handle is this process's; the call fills the extended structure if `size` is that one's.
    let known = unsafe { K32GetProcessMemoryInfo(process, start, size) };
    (known != 0).then_some(counters.PrivateUsage)
}

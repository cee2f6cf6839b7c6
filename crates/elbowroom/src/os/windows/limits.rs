//! Windows: the limits on the commits of this process.

use std::mem::size_of;
use std::ptr;

use windows_sys::Win32::System::JobObjects::{
    JOB_OBJECT_LIMIT_JOB_MEMORY, JOB_OBJECT_LIMIT_PROCESS_MEMORY,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation,
    QueryInformationJobObject,
};
use windows_sys::Win32::System::ProcessStatus::{
    K32GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS, PROCESS_MEMORY_COUNTERS_EX,
};
use windows_sys::Win32::System::SystemInformation::{GlobalMemoryStatusEx, MEMORYSTATUSEX};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

use crate::plain::SystemLimit;

/// Returns all limits that are set.
pub(crate) fn limits() -> Vec<SystemLimit> {
    commit_limit().into_iter().chain(job_limits()).collect()
}

fn limit(name: &'static str, limit_bytes: usize, used_bytes: usize) -> SystemLimit {
    SystemLimit {
        name,
        file: None,
        limit_bytes,
        used_bytes,
        is_hard: true,
    }
}

/// Returns the system's commit limit.
fn commit_limit() -> Option<SystemLimit> {
    let mut status = MEMORYSTATUSEX {
        dwLength: size_of::<MEMORYSTATUSEX>() as u32,
        ..MEMORYSTATUSEX::default()
    };
    // SAFETY: the call writes the structure, which is live and contains its own size.
    if unsafe { GlobalMemoryStatusEx(&mut status) } == 0 {
        return None;
    }
    let bytes = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
    // The available bytes are "the maximum amount of memory the current process can commit".
    let (total, available) = (
        bytes(status.ullTotalPageFile),
        bytes(status.ullAvailPageFile),
    );
    Some(limit(
        "commit limit",
        total,
        total.saturating_sub(available),
    ))
}

/// Returns the limits of the job object, if the process is in one with a limit on memory.
fn job_limits() -> Vec<SystemLimit> {
    let mut job = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
    let size = size_of::<JOBOBJECT_EXTENDED_LIMIT_INFORMATION>() as u32;
    // SAFETY: a null handle means the job of this process. The structure is writable and of the class requested, and
    // `size` is its size. The returned length is not requested.
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
        return Vec::new();
    }
    let flags = job.BasicLimitInformation.LimitFlags;
    let used = private_commit().unwrap_or(0);
    // The usage of the job's other processes is not reported. The limit less our own usage is an upper bound.
    let limits = [
        (
            JOB_OBJECT_LIMIT_PROCESS_MEMORY,
            job.ProcessMemoryLimit,
            "job object, per process",
        ),
        (
            JOB_OBJECT_LIMIT_JOB_MEMORY,
            job.JobMemoryLimit,
            "job object, all processes",
        ),
    ];
    let set = limits.into_iter().filter(|&(flag, ..)| flags & flag != 0);
    set.map(|(_, bytes, name)| limit(name, bytes, used))
        .collect()
}

/// Returns the number of bytes that this process has committed.
fn private_commit() -> Option<usize> {
    let mut counters = PROCESS_MEMORY_COUNTERS_EX::default();
    let size = size_of::<PROCESS_MEMORY_COUNTERS_EX>() as u32;
    let start: *mut PROCESS_MEMORY_COUNTERS = (&raw mut counters).cast();
    // SAFETY: GetCurrentProcess has no preconditions; it returns a pseudo-handle that need not be closed.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: the handle is this process's. The call fills the extended structure, because `size` is the size of that
    // one.
    let known = unsafe { K32GetProcessMemoryInfo(process, start, size) };
    (known != 0).then_some(counters.PrivateUsage)
}

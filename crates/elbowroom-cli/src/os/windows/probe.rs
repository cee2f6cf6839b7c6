//! Probes of the abilities of this Windows. A probe releases at once whatever it acquires.

#![allow(unsafe_code, reason = "Win32 calls")]

use std::env;
use std::ffi::{CStr, c_void};
use std::io;
use std::process::{Command, Stdio};
use std::ptr;

use windows_sys::Wdk::System::SystemServices::RtlGetVersion;
use windows_sys::Win32::Foundation::{CloseHandle, HANDLE, LUID};
use windows_sys::Win32::Security::{
    GetTokenInformation, LookupPrivilegeValueW, SE_LOCK_MEMORY_NAME, SE_PRIVILEGE_ENABLED,
    TOKEN_QUERY, TokenPrivileges,
};
use windows_sys::Win32::System::Diagnostics::Debug::IsDebuggerPresent;
use windows_sys::Win32::System::JobObjects::{
    IsProcessInJob, JOB_OBJECT_LIMIT_JOB_MEMORY, JOB_OBJECT_LIMIT_PROCESS_MEMORY,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation,
    QueryInformationJobObject,
};
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};
use windows_sys::Win32::System::Memory::{
    GetLargePageMinimum, MEM_COMMIT, MEM_LARGE_PAGES, MEM_RELEASE, MEM_RESERVE, PAGE_READWRITE,
    VirtualAlloc, VirtualFree,
};
use windows_sys::Win32::System::SystemInformation::{
    GetNativeSystemInfo, OSVERSIONINFOW, SYSTEM_INFO,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};
use windows_sys::w;

use crate::findings::Trial;

/// The limits of the job object of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JobLimits {
    pub(super) process_bytes: Option<u64>,
    pub(super) job_bytes: Option<u64>,
}

/// Whether this process has the privilege that large pages need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Privilege {
    Absent,
    Held,
    Enabled,
}

impl Privilege {
    pub(super) fn word(self) -> &'static str {
        match self {
            Privilege::Absent => "without the privilege",
            Privilege::Held => "with the privilege, not enabled",
            Privilege::Enabled => "with the privilege",
        }
    }
}

/// Returns the name and version of the system, and of Wine.
pub(crate) fn system() -> String {
    let arch = env::consts::ARCH;
    let version = version().map_or_else(String::new, |version| format!(" {version}"));
    let wine = wine_version().map_or_else(String::new, |wine| format!(", by Wine {wine}"));
    format!("Windows{version}, {arch}{wine}")
}

/// Returns the version by RtlGetVersion. GetVersionEx reports the version that the program was made for.
fn version() -> Option<String> {
    let mut info = OSVERSIONINFOW {
        dwOSVersionInfoSize: size_of::<OSVERSIONINFOW>() as u32,
        ..OSVERSIONINFOW::default()
    };
    // SAFETY: the structure is writable and says its own size.
    let status = unsafe { RtlGetVersion(&mut info) };
    let (major, minor) = (info.dwMajorVersion, info.dwMinorVersion);
    (status == 0).then(|| format!("{major}.{minor}.{}", info.dwBuildNumber))
}

/// Returns Wine's version, by a function that only Wine has.
fn wine_version() -> Option<String> {
    type WineGetVersion = unsafe extern "C" fn() -> *const std::ffi::c_char;
    // SAFETY: a zero-terminated name; ntdll is in every process and stays.
    let ntdll = unsafe { GetModuleHandleW(w!("ntdll.dll")) };
    // SAFETY: a module that stays loaded, and a zero-terminated name.
    let function = unsafe { GetProcAddress(ntdll, c"wine_get_version".as_ptr().cast()) }?;
    // SAFETY: that is the type of the function of this name.
    let function: WineGetVersion = unsafe { std::mem::transmute(function) };
    // SAFETY: no preconditions.
    let version = unsafe { function() };
    // SAFETY: a zero-terminated string that lives as long as ntdll.
    let version = unsafe { CStr::from_ptr(version) };
    Some(version.to_string_lossy().into_owned())
}

pub(super) fn highest_address() -> u64 {
    let mut info = SYSTEM_INFO::default();
    // SAFETY: the structure is writable.
    unsafe { GetNativeSystemInfo(&mut info) };
    info.lpMaximumApplicationAddress.addr() as u64
}

/// Memory of VirtualAlloc's, given back when dropped.
struct Allocation(*mut c_void);

impl Allocation {
    fn new(bytes: usize, flags: u32) -> io::Result<Allocation> {
        let flags = MEM_RESERVE | MEM_COMMIT | flags;
        // SAFETY: a new allocation, wherever there is room.
        let memory = unsafe { VirtualAlloc(ptr::null(), bytes, flags, PAGE_READWRITE) };
        match memory.is_null() {
            true => Err(io::Error::last_os_error()),
            false => Ok(Allocation(memory)),
        }
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // SAFETY: allocated by `new`, released only here, and nothing points into it.
        unsafe { VirtualFree(self.0, 0, MEM_RELEASE) };
    }
}

/// Returns whether this process's figures rise by a commit that is not touched.
pub(super) fn is_charged() -> Option<bool> {
    const BYTES: usize = 64 << 20;
    let before = super::usage::usage().process_commit_bytes?;
    let memory = Allocation::new(BYTES, 0).ok()?;
    let after = super::usage::usage().process_commit_bytes?;
    drop(memory);
    Some(after.saturating_sub(before) >= BYTES as u64 / 2)
}

/// Runs the command's own demonstration in another process, which may crash.
pub(super) fn touch() -> Trial {
    let program = match env::current_exe() {
        Ok(program) => program,
        Err(error) => return Trial::NotTried(format!("this program cannot be found: {error}")),
    };
    let mut demo = Command::new(program);
    demo.args(["demo", "--quiet", "--page-limit", "3"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match demo.status() {
        Ok(status) if status.success() => Trial::Works,
        Ok(status) => Trial::Fails(status.to_string()),
        Err(error) => Trial::NotTried(error.to_string()),
    }
}

/// Returns the limits of the job that this process is in; `None` if it is in none.
pub(super) fn job_limits() -> Option<JobLimits> {
    let mut is_in_job = 0;
    // SAFETY: a null job asks about any; the answer is written to a place for it.
    let known = unsafe { IsProcessInJob(this_process(), ptr::null_mut(), &mut is_in_job) };
    let mut job = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
    let size = size_of_val(&job) as u32;
    // SAFETY: a null handle means the job of this process; the structure is writable, of the class asked for, and
    // `size` its size; the length returned is not wanted.
    let succeeded = unsafe {
        let (class, job) = (JobObjectExtendedLimitInformation, (&raw mut job).cast());
        QueryInformationJobObject(ptr::null_mut(), class, job, size, ptr::null_mut())
    };
    if succeeded == 0 || (known != 0 && is_in_job == 0) {
        return None;
    }
    let limit = |flag: u32, bytes: usize| {
        (job.BasicLimitInformation.LimitFlags & flag != 0).then_some(bytes as u64)
    };
    Some(JobLimits {
        process_bytes: limit(JOB_OBJECT_LIMIT_PROCESS_MEMORY, job.ProcessMemoryLimit),
        job_bytes: limit(JOB_OBJECT_LIMIT_JOB_MEMORY, job.JobMemoryLimit),
    })
}

/// Returns a pseudo-handle, which is not closed.
fn this_process() -> HANDLE {
    // SAFETY: no preconditions.
    unsafe { GetCurrentProcess() }
}

pub(super) fn is_debugged() -> bool {
    // SAFETY: no preconditions.
    unsafe { IsDebuggerPresent() != 0 }
}

pub(super) fn large_page_bytes() -> u64 {
    // SAFETY: no preconditions.
    unsafe { GetLargePageMinimum() as u64 }
}

/// Returns the error of a request for one large page.
pub(super) fn large_page_error(bytes: usize) -> Option<String> {
    if bytes == 0 {
        return None;
    }
    let allocated = Allocation::new(bytes, MEM_LARGE_PAGES);
    allocated.err().map(|error| error.to_string())
}

/// Returns whether this process may lock pages in memory, if the system reports it.
pub(super) fn large_page_privilege() -> Option<Privilege> {
    let mut wanted = LUID::default();
    // SAFETY: a null system is this one; the name is zero-terminated; the answer is written to a place for it.
    if unsafe { LookupPrivilegeValueW(ptr::null(), SE_LOCK_MEMORY_NAME, &mut wanted) } == 0 {
        return None;
    }
    let mut token = ptr::null_mut();
    // SAFETY: this process's handle; the token is written to a place for it.
    if unsafe { OpenProcessToken(this_process(), TOKEN_QUERY, &mut token) } == 0 {
        return None;
    }
    // TOKEN_PRIVILEGES: a count, and for each privilege its LUID, low half first, and its attributes: words all.
    let mut words = vec![0u32; 1024];
    let size = size_of_val(words.as_slice()) as u32;
    let mut written = 0;
    // SAFETY: an open token; the buffer is writable for `size` bytes and aligned as the structure is.
    let known = unsafe {
        let words = words.as_mut_ptr().cast();
        GetTokenInformation(token, TokenPrivileges, words, size, &mut written)
    };
    // SAFETY: opened above, and not used any more.
    unsafe { CloseHandle(token) };
    if known == 0 {
        return None;
    }
    let count = words[0] as usize;
    let all = words[1..].chunks_exact(3).take(count);
    let mut ours =
        all.filter(|entry| entry[0] == wanted.LowPart && entry[1] == wanted.HighPart as u32);
    Some(match ours.next() {
        None => Privilege::Absent,
        Some(entry) if entry[2] & SE_PRIVILEGE_ENABLED != 0 => Privilege::Enabled,
        Some(_) => Privilege::Held,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_system_answers() {
        assert!(system().starts_with("Windows "));
        assert!(highest_address() > 1 << 32);
        let memory = super::super::usage::system_memory().unwrap();
        assert!(memory.total_bytes >= memory.available_bytes && memory.commit_limit_bytes > 0);
        assert!(large_page_error(0).is_none());
        large_page_privilege();
        job_limits();
    }
}

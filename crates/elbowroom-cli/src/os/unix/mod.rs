//! What Linux and the other Unixes have in common.

#![allow(unsafe_code, reason = "getrusage, mmap and ioctl")]

pub(crate) mod doctor;
pub(crate) mod isolate;
pub(crate) mod signals;

pub(crate) use signals::forgo_core_file;

use std::env;
use std::ffi::CString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, fchown};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{self, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use elbowroom::Region;

/// Returns the number of page faults of this process that needed no input or output.
pub(super) fn minor_faults() -> Option<u64> {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: getrusage(2) writes one rusage to the pointer, which is writable and large enough.
    let result = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    if result != 0 {
        return None;
    }
    // SAFETY: getrusage has succeeded, so it is written.
    let usage = unsafe { usage.assume_init() };
    u64::try_from(usage.ru_minflt).ok()
}

/// clock_gettime(2): of all threads, in the kernel too.
pub(crate) fn cpu_time() -> Option<Duration> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure is writable.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    (result == 0).then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Returns how a child that gave no answer ended.
pub(crate) fn ending(status: ExitStatus) -> String {
    status.signal().map_or_else(
        || status.to_string(),
        |signal| isolate::Failure::Killed(signal).to_string(),
    )
}

/// Of SIGHUP, SIGINT and SIGTERM, whichever comes first.
pub(crate) fn when_asked_to_end() -> io::Result<Arc<AtomicUsize>> {
    let number = Arc::new(AtomicUsize::new(0));
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
        signal_hook::flag::register_usize(signal, Arc::clone(&number), signal as usize)?;
    }
    Ok(number)
}

/// statvfs(3): the free blocks of users without privileges.
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    let name = CString::new(folder.as_os_str().as_bytes()).ok()?;
    let mut stat = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the name ends with zero; statvfs(3) writes one statvfs to the pointer, which is writable and large
    // enough.
    let result = unsafe { libc::statvfs(name.as_ptr(), stat.as_mut_ptr()) };
    if result != 0 {
        return None;
    }
    // SAFETY: statvfs has succeeded, so it is written.
    let stat = unsafe { stat.assume_init() };
    let bytes = u128::from(stat.f_bavail) * u128::from(stat.f_frsize);
    Some(u64::try_from(bytes).unwrap_or(u64::MAX))
}

/// fchown(2). Only root can give a file to another user.
pub(crate) fn give_owner(file: &File, of: &Metadata) {
    // A file that stays this user's is what every program leaves that replaces a file.
    let _ = fchown(file, Some(of.uid()), Some(of.gid()));
}

/// poll(2): POLLHUP, or POLLERR, which are told whether asked for or not.
pub(crate) fn terminal_is_gone() -> bool {
    let mut output = libc::pollfd {
        fd: libc::STDOUT_FILENO,
        events: 0,
        revents: 0,
    };
    // SAFETY: one structure, which is writable; it does not wait.
    let told = unsafe { libc::poll(&raw mut output, 1, 0) };
    told > 0 && output.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0
}

/// By the locale (locale(7)): the first of these variables that says anything decides.
pub(crate) fn is_utf8() -> bool {
    let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(set)
        .unwrap_or_default()
        .to_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// Maps a file over the page and takes the file's end away: a touch behind the end of a file is SIGBUS (mmap(2)).
pub(crate) fn plant_other_fault(region: &Region, page: usize) -> io::Result<()> {
    let (address, len) = super::plain::page_of(region, page)?;
    let file = nameless_file()?;
    // An empty file cannot be mapped everywhere: QEMU, for one, refuses when its pages are larger than the host's.
    file.set_len(len as u64)?;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: MAP_FIXED replaces what is mapped at `address..address + len`: one page of the region, which belongs to
    // this program alone, and which Rust has no reference into: it is only reached through accessors. The region's own
    // handling of the page, mprotect and munmap, works on any mapping.
    let mapped = unsafe {
        libc::mmap(
            address.cast(),
            len,
            protection,
            libc::MAP_SHARED | libc::MAP_FIXED,
            file.as_raw_fd(),
            0,
        )
    };
    if mapped == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // The mapping keeps the file when the descriptor goes.
    file.set_len(0)
}

/// Creates a file without a name.
fn nameless_file() -> io::Result<File> {
    let path = env::temp_dir().join(format!("elbowroom-{}", process::id()));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_child_ended_is_told_in_words() {
        let told = |status| ending(ExitStatus::from_raw(status));
        assert!(told(libc::SIGSYS).contains("seccomp"));
        assert!(told(libc::SIGKILL).contains("memory"));
        assert_eq!(told(libc::SIGTERM), "ended by signal 15");
        assert_eq!(told(1 << 8), "exit status: 1");
    }
}

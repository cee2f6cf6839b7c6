//! O_DIRECT, RWF_DONTCACHE, cachestat(2) and posix_fadvise(2).

#![allow(unsafe_code, reason = "calls the system")]

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The number of cachestat(2), since Linux 6.5: the same everywhere but on MIPS and Alpha, where no call has it.
const SYS_CACHESTAT: libc::c_long = 451;

/// `struct cachestat_range`.
#[repr(C)]
struct CachestatRange {
    off: u64,
    len: u64,
}

/// `struct cachestat`.
#[repr(C)]
#[derive(Default)]
struct Cachestat {
    nr_cache: u64,
    nr_dirty: u64,
    nr_writeback: u64,
    nr_evicted: u64,
    nr_recently_evicted: u64,
}

pub(crate) fn reopen_direct(file: &File) -> Option<File> {
    // Not by its path, which may mean another file by now. Without /proc there are no such reads.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let mut options = OpenOptions::new();
    let options = options.read(true).custom_flags(libc::O_DIRECT);
    options.open(path).ok()
}

pub(crate) fn is_cached(file: &File, range: Range<u64>) -> bool {
    static IS_KNOWN: AtomicBool = AtomicBool::new(true);
    if !IS_KNOWN.load(Relaxed) {
        return false;
    }
    let page = elbowroom::page_size() as u64;
    let pages = range.start / page..range.end.div_ceil(page);
    let asked = CachestatRange {
        off: pages.start * page,
        len: (pages.end - pages.start) * page,
    };
    let mut found = Cachestat::default();
    // SAFETY: an open descriptor and two live structures with the layout of the kernel's, of which it reads the first
    // and fills the second.
    let result = unsafe {
        libc::syscall(
            SYS_CACHESTAT,
            file.as_raw_fd(),
            &raw const asked,
            &raw mut found,
            0,
        )
    };
    if result != 0 {
        // Also refused for files of other users that may not be written, since Linux 6.15.
        if io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS) {
            IS_KNOWN.store(false, Relaxed);
        }
        return false;
    }
    found.nr_cache >= pages.end - pages.start
}

/// Reads with "uncached buffered IO" (preadv2(2), since Linux 6.14).
pub(crate) fn read_uncached_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // The kernel takes the offset in two words, the second of which a machine of 64 bits ignores.
    let (low, high) = (offset as libc::c_long, (offset >> 32) as libc::c_long);
    // SAFETY: an open descriptor and one live `iovec`, which describes a live buffer that is borrowed exclusively.
    let count = unsafe {
        libc::syscall(
            libc::SYS_preadv2,
            file.as_raw_fd(),
            &raw const part,
            1,
            low,
            high,
            libc::RWF_DONTCACHE,
        )
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

pub(crate) fn drop_cached(file: &File, range: Range<u64>) {
    let (Ok(start), Ok(len)) = (
        range.start.try_into(),
        range.end.saturating_sub(range.start).try_into(),
    ) else {
        return;
    };
    // SAFETY: an open descriptor; the call touches no memory. It is advice, so a refusal does not matter.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), start, len, libc::POSIX_FADV_DONTNEED) };
}

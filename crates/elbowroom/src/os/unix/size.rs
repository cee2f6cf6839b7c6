//! Sizes of pages.

/// Returns the page size in bytes. It is the same on every x86-64 processor, so that code compiled for it need not ask.
/// Async-signal-safe.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) const fn page_size() -> usize {
    4096
}

/// Returns the page size in bytes: a power of two, at least 4096. Read from the system once;
/// async-signal-safe after that.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(crate) fn page_size() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    // 0 before the first call. Two threads that ask at once store the same number.
    static SIZE: AtomicUsize = AtomicUsize::new(0);
    match SIZE.load(Ordering::Relaxed) {
        0 => {
            let size = ask();
            SIZE.store(size, Ordering::Relaxed);
            size
        }
        size => size,
    }
}

/// Returns the number of bytes that a full page table covers: the next larger page size of x86-64 and arm64, which is 2
/// MiB if pages have 4 KiB.
pub(crate) fn huge_page_size() -> usize {
    const ENTRY_BYTES: usize = 8;
    page_size() * (page_size() / ENTRY_BYTES)
}

#[cfg(not(target_arch = "x86_64"))]
#[cold]
fn ask() -> usize {
    // SAFETY: sysconf reads a number and has no preconditions (sysconf(3)).
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    // POSIX requires _SC_PAGESIZE; every kernel that runs this code answers 4096 or more.
    usize::try_from(size).unwrap_or(4096)
}

/// Returns the page size: mmap(2) places mappings at page boundaries.
pub(crate) fn granularity() -> usize {
    page_size()
}

/// Returns the size of the address space, found by rounding an address on the stack, which lies near its upper end, up
/// to a power of two.
pub(crate) fn address_space() -> usize {
    let local = 0u8;
    (&raw const local).addr().next_power_of_two()
}

/// Returns the number of bytes that RLIMIT_AS leaves.
pub(crate) fn addresses_left() -> Option<usize> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is live and writable (getrlimit(2)).
    let is_known = unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) } == 0;
    if !is_known || limit.rlim_cur == libc::RLIM_INFINITY {
        return None;
    }
    let limit = usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX);
    Some(limit.saturating_sub(reserved_bytes()))
}

/// Returns the number of bytes of addresses that the process has mapped: the first figure of /proc/self/statm, in pages
/// (proc(5)).
#[cfg(target_os = "linux")]
fn reserved_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').next().and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0usize).saturating_mul(page_size())
}

/// Returns the number of bytes of addresses that the process has mapped, as far as it is known.
#[cfg(target_os = "macos")]
fn reserved_bytes() -> usize {
    0
}

//! Sizes of pages and reservations.

use std::sync::atomic::{AtomicUsize, Ordering};

use windows_sys::Win32::System::SystemInformation::{GetSystemInfo, SYSTEM_INFO};

/// Returns the page size in bytes: a power of two, at least 4096. Read from the system once;
/// async-signal-safe after that.
pub(crate) fn page_size() -> usize {
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

fn ask() -> usize {
    system_info().dwPageSize as usize
}

pub(crate) fn granularity() -> usize {
    system_info().dwAllocationGranularity as usize
}

/// Returns the size of the part of the address space that programs can use.
pub(crate) fn address_space() -> usize {
    system_info().lpMaximumApplicationAddress.addr()
}

/// Returns `None`: Windows limits commits, not addresses.
pub(crate) fn addresses_left() -> Option<usize> {
    None
}

fn system_info() -> SYSTEM_INFO {
    let mut info = SYSTEM_INFO::default();
    // SAFETY: the call fills the structure it is given, and cannot fail.
    unsafe { GetSystemInfo(&mut info) };
    info
}

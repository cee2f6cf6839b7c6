//! Sizes of pages and reservations.

use std::sync::atomic::{AtomicUsize, Ordering};

use windows_sys::Win32::System::SystemInformation::{GetSystemInfo, SYSTEM_INFO};

/// Returns the page size in bytes: a power of two, at least 4096. Read from the system once;
/// async-signal-safe after that.
pub(crate) fn page_size() -> usize {
    // 0 until first asked. Two threads may both ask; they store the same number.
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

/// Returns the bytes that a full page table covers: the next larger page size of x86-64 and arm64, which
/// is 2 MiB where pages have 4 KiB.
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

/// Returns the part of the address space that programs have.
pub(crate) fn address_space() -> usize {
    system_info().lpMaximumApplicationAddress.addr()
}

/// Windows limits commits, and no addresses.
pub(crate) fn addresses_left() -> Option<usize> {
    None
}

fn system_info() -> SYSTEM_INFO {
    let mut info = SYSTEM_INFO::default();
    // SAFETY: fills the structure it is given; cannot fail.
    unsafe { GetSystemInfo(&mut info) };
    info
}

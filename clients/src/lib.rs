//! Functions for programs in other languages: a region, by a handle.

use std::ffi::c_void;
use std::ptr;

use elbowroom::{Region, fault};

/// Reserves a region of `len` bytes. Returns null if that fails.
#[unsafe(no_mangle)]
pub extern "C" fn clients_region(len: usize) -> *mut Region {
    match Region::builder(len).name("client").build() {
        Ok(region) => Box::into_raw(Box::new(region)),
        Err(error) => {
            eprintln!("{error}");
            ptr::null_mut()
        }
    }
}

/// Returns the address of a region's first byte.
///
/// # Safety
/// `region` comes from [`clients_region`] and is not released.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clients_base(region: *const Region) -> *mut u8 {
    // SAFETY: a live region (contract).
    unsafe { (*region).as_ptr() }
}

/// Returns how many bytes of a region are committed.
///
/// # Safety
/// `region` comes from [`clients_region`] and is not released.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clients_committed(region: *const Region) -> usize {
    // SAFETY: a live region (contract).
    unsafe { (*region).stats().committed_bytes }
}

/// Releases a region.
///
/// # Safety
/// `region` comes from [`clients_region`], and is released once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clients_release(region: *mut Region) {
    // SAFETY: from `Box::into_raw`, once (contract).
    drop(unsafe { Box::from_raw(region) });
}

/// Puts the library's handler in front of those that were installed since.
#[unsafe(no_mangle)]
pub extern "C" fn clients_reinstall() -> bool {
    fault::reinstall().is_ok()
}

/// `static native long touch(long pages)` of the class Client: touches that many pages of a new region through a plain
/// pointer, and returns the sum of what it wrote and read again.
#[unsafe(no_mangle)]
pub extern "system" fn Java_Client_touch(_: *mut c_void, _: *mut c_void, pages: i64) -> i64 {
    let pages = usize::try_from(pages).unwrap_or(0);
    let page = elbowroom::page_size();
    let Ok(region) = Region::new(pages.max(1) * page) else {
        return -1;
    };
    let place = |index: usize| region.as_ptr().wrapping_add(index * page);
    for index in 0..pages {
        // SAFETY: a page of the region, to which nothing refers.
        unsafe { place(index).write_volatile(1) };
    }
    // SAFETY: a page of the region, to which nothing refers.
    (0..pages)
        .map(|index| i64::from(unsafe { place(index).read_volatile() }))
        .sum()
}

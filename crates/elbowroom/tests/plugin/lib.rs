//! A second copy of the library in the process of a test, as a plug-in would contain it.

#![allow(unsafe_code, reason = "the functions are found by their names")]

use elbowroom::Region;

/// Reserves a region of this copy, and touches it.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_region() -> *mut Region {
    let region = Region::new(1 << 20).expect("a region");
    region.try_write(0, 7u8).expect("a touch is resolved");
    Box::into_raw(Box::new(region))
}

/// Releases a region of this copy.
///
/// # Safety
/// `region` comes from [`plugin_region`], and is released once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn plugin_release(region: *mut Region) {
    // SAFETY: from `Box::into_raw` in `plugin_region`, and released once (contract).
    drop(unsafe { Box::from_raw(region) });
}

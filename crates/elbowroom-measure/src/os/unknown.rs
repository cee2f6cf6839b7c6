//! Unix systems other than Linux.

#![allow(unsafe_code, reason = "`prefault` is unsafe on other systems")]

use crate::pages::Pages;

/// Returns an error for pages that this system cannot make resident.
///
/// # Safety
/// None: it touches nothing.
///
/// # Errors
/// Fails for all kinds of pages except those that come on demand.
pub unsafe fn prefault(_base: *mut u8, _len: usize, pages: Pages) -> Result<(), String> {
    match pages {
        Pages::Demand => Ok(()),
        _ => Err("this system has no call that prefaults pages".to_owned()),
    }
}

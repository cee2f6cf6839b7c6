//! The baseline in C: a signal handler that only calls mprotect.

#![allow(unsafe_code, reason = "calls C")]

/// A block of memory whose pages the handler commits when they are touched. There is one at a time.
pub(crate) struct BareHandler {
    base: *mut u8,
}

#[cfg(has_bare_handler)]
mod c {
    use std::ffi::c_void;

    unsafe extern "C" {
        pub(super) fn bare_handler_begin(bytes: usize, window_bytes: usize) -> *mut c_void;
        pub(super) fn bare_handler_end();
    }
}

#[cfg(has_bare_handler)]
impl BareHandler {
    /// Reserves `len` bytes. Each fault commits `window_bytes` of them. `len` is a multiple of `window_bytes`, which is
    /// a multiple of the page size.
    pub(crate) fn new(len: usize, window_bytes: usize) -> Result<BareHandler, String> {
        // SAFETY: the function sets its own static variables and a signal handler. It has no concurrent calls, because
        // measurements run one after the other.
        let base = unsafe { c::bare_handler_begin(len, window_bytes) };
        if base.is_null() {
            Err("mmap failed".to_owned())
        } else {
            Ok(BareHandler { base: base.cast() })
        }
    }
}

#[cfg(not(has_bare_handler))]
impl BareHandler {
    pub(crate) fn new(_: usize, _: usize) -> Result<BareHandler, String> {
        Err("not built: no C compiler for a Unix system".to_owned())
    }
}

impl BareHandler {
    pub(crate) fn base(&self) -> *mut u8 {
        self.base
    }
}

impl Drop for BareHandler {
    fn drop(&mut self) {
        #[cfg(has_bare_handler)]
        // SAFETY: runs once for each `new`, and no pointer into the block is used after the drop of its owner.
        unsafe {
            c::bare_handler_end();
        }
    }
}

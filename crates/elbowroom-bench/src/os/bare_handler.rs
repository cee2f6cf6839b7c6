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
    /// Reserves `len` bytes, of which `window_bytes` are committed at each fault: both multiples of the page size, the
    /// first one also of the second.
    pub(crate) fn new(len: usize, window_bytes: usize) -> Result<BareHandler, String> {
        // SAFETY: sets globals of its own and a signal handler; nothing else in this program calls it at the same time,
        // since measurements follow each other.
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
        // SAFETY: once for each `new`; nobody uses the block any more.
        unsafe {
            c::bare_handler_end();
        }
    }
}

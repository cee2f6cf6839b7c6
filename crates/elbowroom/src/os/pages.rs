//! A token for pages that the system may be asked to change.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// Whole pages of one live reservation. No call of the system on them reaches other memory.
///
/// `'a` is a borrow of the object that keeps the reservation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pages<'a> {
    // Invariant: `base..base + len` are whole pages of one reservation, which is not released during `'a`.
    base: NonNull<u8>,
    len: usize,
    reservation: PhantomData<&'a ()>,
}

impl Pages<'_> {
    /// # Safety
    /// `base..base + len` are whole pages of one reservation that [`reserve`](super::reserve) made and that is not
    /// released during `'a`.
    pub(crate) unsafe fn new<'a>(base: NonNull<u8>, len: usize) -> Pages<'a> {
        Pages {
            base,
            len,
            reservation: PhantomData,
        }
    }

    /// Returns the address of the first byte, as C functions take it.
    pub(crate) fn start(self) -> *mut c_void {
        self.base.as_ptr().cast()
    }

    /// Returns the length in bytes.
    pub(crate) fn len(self) -> usize {
        self.len
    }
}

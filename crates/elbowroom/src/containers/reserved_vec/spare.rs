//! The committed room behind the last element.

#![allow(unsafe_code, reason = "lends memory that the vector has committed")]

use std::mem::MaybeUninit;
use std::slice;

use super::ReservedVec;

impl<T> ReservedVec<T> {
    /// Returns the committed room behind the last element, to be filled and then counted with
    /// [`set_len`](ReservedVec::set_len).
    ///
    /// Its contents are unspecified: they may be left over from a dropped vector.
    #[inline]
    pub fn spare_capacity_mut(&mut self) -> &mut [MaybeUninit<T>] {
        let spare = self.place(self.owned.len).cast();
        // SAFETY: the pages from the last element to the capacity are committed (or T has no size), and borrowed
        // exclusively; any bytes are valid MaybeUninit.
        unsafe { slice::from_raw_parts_mut(spare, self.capacity() - self.owned.len) }
    }

    /// Returns the elements, and the committed room behind them as
    /// [`spare_capacity_mut`](ReservedVec::spare_capacity_mut) does.
    ///
    /// ```
    /// let mut vec = elbowroom::reserved_vec![1, 2, 4];
    /// vec.reserve(3);
    /// let (elements, spare) = vec.split_at_spare_mut();
    /// for (place, element) in spare.iter_mut().zip(elements) {
    ///     place.write(*element * 2);
    /// }
    /// // SAFETY: three elements more were written.
    /// unsafe { vec.set_len(6) };
    /// assert_eq!(vec, [1, 2, 4, 2, 4, 8]);
    /// ```
    #[inline]
    pub fn split_at_spare_mut(&mut self) -> (&mut [T], &mut [MaybeUninit<T>]) {
        let (len, spare) = (self.owned.len, self.capacity() - self.owned.len);
        let (first, behind) = (self.place(0), self.place(len).cast());
        // SAFETY: the first `len` elements are initialised, and on committed pages (or have no size). They stay so
        // while borrowed, and the borrow is exclusive.
        let elements = unsafe { slice::from_raw_parts_mut(first, len) };
        // SAFETY: the pages from the last element to the capacity are committed (or T has no size), and borrowed
        // exclusively. The room does not overlap the elements; any bytes are valid MaybeUninit.
        let spare = unsafe { slice::from_raw_parts_mut(behind, spare) };
        (elements, spare)
    }

    /// Changes the length, and nothing else.
    ///
    /// # Safety
    /// `len` is at most the [`capacity`](ReservedVec::capacity), and the first `len` elements are initialised.
    #[inline]
    pub unsafe fn set_len(&mut self, len: usize) {
        debug_assert!(len <= self.capacity());
        self.ready = self.ready.max(len);
        self.owned.len = len;
    }
}

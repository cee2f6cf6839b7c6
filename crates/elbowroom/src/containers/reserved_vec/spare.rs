//! The committed room behind the last element.

#![allow(unsafe_code, reason = "lends memory that the vector has committed")]

use std::mem::MaybeUninit;
use std::slice;

use super::ReservedVec;

impl<T> ReservedVec<T> {
    /// Returns the committed room behind the last element, to be filled and then counted with
    /// [`set_len`](ReservedVec::set_len). What it holds is unknown: perhaps what a vector that is gone left there.
    #[inline]
    pub fn spare_capacity_mut(&mut self) -> &mut [MaybeUninit<T>] {
        let spare = self.place(self.owned.len).cast();
        // SAFETY: from the last element to the capacity the pages are committed (or T takes no space), and borrowed
        // exclusively; MaybeUninit asks for nothing else.
        unsafe { slice::from_raw_parts_mut(spare, self.capacity() - self.owned.len) }
    }

    /// Returns the elements, and the committed room behind the last one as
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
        // SAFETY: so many elements are initialised, on committed pages (or of no size), and stay so while borrowed; the
        // borrow is exclusive.
        let elements = unsafe { slice::from_raw_parts_mut(first, len) };
        // SAFETY: from the last element to the capacity the pages are committed (or T takes no space), and borrowed
        // exclusively; it does not overlap the elements; MaybeUninit asks for nothing else.
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

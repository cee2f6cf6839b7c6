//! Access to elements, one or all.

#![allow(unsafe_code, reason = "lends elements that are finished")]

use std::slice;

use super::{AppendVec, Finished};

impl<T> AppendVec<T> {
    /// Returns the elements before the first unfinished one.
    ///
    /// While the vector is borrowed exclusively, only two things leave an unfinished element: a closure that panicked,
    /// and a `fork` during another thread's push.
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        let len = self.len();
        // SAFETY: the first `len` elements are finished: they lie in committed pages, and were written before this
        // call. The vector is borrowed exclusively, so nothing else refers to them.
        unsafe { slice::from_raw_parts_mut(self.place(0), len) }
    }

    /// Returns the element at `index` if its push has finished. Wait-free.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&T> {
        if !self.owned.claims.is_finished(index, &self.owned.storage) {
            return None;
        }
        // SAFETY: the element is finished: it lies in committed pages, was written before this call, and is not written
        // again while `self` is borrowed.
        Some(unsafe { &*self.place(index) })
    }

    /// Returns an iterator over [`as_slice`](AppendVec::as_slice).
    pub fn iter(&self) -> slice::Iter<'_, T> {
        self.as_slice().iter()
    }

    /// Returns an iterator that allows changing each element of [`as_mut_slice`](AppendVec::as_mut_slice).
    pub fn iter_mut(&mut self) -> slice::IterMut<'_, T> {
        self.as_mut_slice().iter_mut()
    }

    /// Returns the element at `index`, to be changed, if its push has finished.
    ///
    /// ```
    /// let mut scores = elbowroom::AppendVec::new();
    /// scores.extend([1, 2]);
    /// if let Some(score) = scores.get_mut(1) {
    ///     *score += 10;
    /// }
    /// assert_eq!(scores, [1, 12]);
    /// assert_eq!(scores.get_mut(2), None);
    /// ```
    #[inline]
    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        if !self.owned.claims.is_finished(index, &self.owned.storage) {
            return None;
        }
        // SAFETY: the element is finished: it lies in committed pages, and was written before this call. The vector is
        // borrowed exclusively, so nothing else refers to it.
        Some(unsafe { &mut *self.place(index) })
    }

    /// Returns the first element of [`as_slice`](AppendVec::as_slice), or `None` if that is empty. Wait-free.
    #[inline]
    pub fn first(&self) -> Option<&T> {
        self.as_slice().first()
    }

    /// Returns the last element of [`as_slice`](AppendVec::as_slice), or `None` if that is empty. Wait-free.
    ///
    /// Other threads may append at any time, so the result may be outdated when it is used.
    #[inline]
    pub fn last(&self) -> Option<&T> {
        self.as_slice().last()
    }

    /// Returns an iterator over all elements whose pushes have finished, with their indices.
    ///
    /// It includes those behind an unfinished element, which [`iter`](AppendVec::iter) does not reach.
    ///
    /// The iterator ends at the last index that was claimed when it was made. An element that is finished during the
    /// iteration is yielded if the iterator has not passed it yet.
    ///
    /// ```
    /// let names = elbowroom::AppendVec::new();
    /// names.push_with(|_| {
    ///     names.push("second"); // finished before the first
    ///     assert_eq!(names.iter().count(), 0);
    ///     assert_eq!(names.iter_finished().collect::<Vec<_>>(), [(1, &"second")]);
    ///     "first"
    /// });
    /// assert_eq!(names, ["first", "second"]);
    /// ```
    pub fn iter_finished(&self) -> Finished<'_, T> {
        let end = self.owned.claims.claimed().min(self.capacity());
        Finished::new(self, end)
    }
}

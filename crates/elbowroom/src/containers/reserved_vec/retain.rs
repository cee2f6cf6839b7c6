//! Dropping or removing elements that a function chooses.

#![allow(unsafe_code, reason = "moves elements down inside a vector")]

use std::fmt;
use std::ops::RangeBounds;
use std::ptr;

use super::{ReservedVec, drain};

/// A vector with a gap that moves up as elements are inspected:
///
/// ```text
///  0        kept       read             end
///  | kept   | nothing  | not looked at  |
/// ```
///
/// The vector's length is 0 meanwhile, so forgetting the sieve leaks the elements. Dropping it closes the gap, also if
/// a function of the caller panics.
struct Sieve<'a, T> {
    vec: &'a mut ReservedVec<T>,
    // Invariant: kept <= read <= end <= the ready length. Elements 0..kept and read..end are initialised, and none in
    // between.
    kept: usize,
    read: usize,
    end: usize,
}

impl<'a, T> Sieve<'a, T> {
    /// Returns a sieve that keeps the first `start` elements. `start` is at most the length.
    fn new(vec: &'a mut ReservedVec<T>, start: usize) -> Sieve<'a, T> {
        let end = vec.owned.len;
        vec.owned.len = 0;
        Sieve {
            vec,
            kept: start,
            read: start,
            end,
        }
    }

    /// Returns the next element to inspect. There must be one.
    fn next(&mut self) -> &mut T {
        // SAFETY: `read` is below `end`, so the element is initialised (invariant); it is borrowed from the vector.
        unsafe { &mut *self.vec.place(self.read) }
    }

    /// Returns the last element kept and the next one to inspect. There must be both.
    fn last_and_next(&mut self) -> (&mut T, &mut T) {
        debug_assert!(self.kept > 0 && self.read < self.end);
        let last = self.vec.place(self.kept - 1);
        let next = self.vec.place(self.read);
        // SAFETY: the element is initialised and differs from the next one (invariant: kept <= read); it is borrowed
        // from the vector.
        let last = unsafe { &mut *last };
        // SAFETY: the element is initialised and differs from the last one kept (invariant: kept <= read); it is
        // borrowed from the vector.
        (last, unsafe { &mut *next })
    }

    fn keep(&mut self) {
        if self.kept != self.read {
            let (from, to) = (self.vec.place(self.read), self.vec.place(self.kept));
            // SAFETY: the element is initialised, and is moved to a place in the gap.
            unsafe { ptr::copy_nonoverlapping(from, to, 1) };
        }
        self.read += 1;
        self.kept += 1;
    }

    fn take(&mut self) -> T {
        let place = self.vec.place(self.read);
        // Advanced before the element is passed on, because the code that gets it may panic.
        self.read += 1;
        // SAFETY: the element is initialised, and its place is now in the gap, so it is read once.
        unsafe { place.read() }
    }

    /// Drops the next element in place.
    fn discard(&mut self) {
        let place = self.vec.place(self.read);
        self.read += 1;
        // SAFETY: the element is initialised, and its place is now in the gap, so it is dropped once.
        unsafe { ptr::drop_in_place(place) };
    }
}

impl<T> Drop for Sieve<'_, T> {
    fn drop(&mut self) {
        let rest = self.end - self.read;
        if self.kept != self.read {
            let (from, to) = (self.vec.place(self.read), self.vec.place(self.kept));
            // SAFETY: the elements not yet inspected are initialised, and are moved down over the gap.
            unsafe { ptr::copy(from, to, rest) };
        }
        self.vec.owned.len = self.kept + rest;
    }
}

impl<T> ReservedVec<T> {
    /// Keeps the elements for which `keep` returns true, in order, and drops the others.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.retain_mut(|element| keep(element));
    }

    /// Keeps the elements for which `keep` returns true, in order, and drops the others.
    pub fn retain_mut(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        let mut sieve = Sieve::new(self, 0);
        while sieve.read < sieve.end {
            if keep(sieve.next()) {
                sieve.keep();
            } else {
                sieve.discard();
            }
        }
    }

    /// Drops each element that equals the one before it.
    pub fn dedup(&mut self)
    where
        T: PartialEq,
    {
        self.dedup_by(|a, b| a == b);
    }

    /// Drops each element whose key equals that of the one before it.
    pub fn dedup_by_key<K: PartialEq>(&mut self, mut key: impl FnMut(&mut T) -> K) {
        self.dedup_by(|a, b| key(a) == key(b));
    }

    /// Drops each element `a` for which `same(a, b)` returns true, where `b` is the element before it.
    pub fn dedup_by(&mut self, mut same: impl FnMut(&mut T, &mut T) -> bool) {
        if self.owned.len < 2 {
            return;
        }
        let mut sieve = Sieve::new(self, 1);
        while sieve.read < sieve.end {
            let (last, next) = sieve.last_and_next();
            if same(next, last) {
                sieve.discard();
            } else {
                sieve.keep();
            }
        }
    }

    /// Returns an iterator that removes and yields the elements of `range` for which `take` returns true.
    ///
    /// The other elements stay, in order, and so do all that the iterator has not reached. If the iterator is
    /// forgotten, all elements may be lost.
    ///
    /// ```
    /// let mut vec = elbowroom::ReservedVec::from([1, 2, 3, 4]);
    /// assert!(vec.extract_if(.., |n| *n % 2 == 0).eq([2, 4]));
    /// assert_eq!(vec, [1, 3]);
    /// ```
    ///
    /// # Panics
    /// Panics if the range is inverted or ends beyond the length.
    #[track_caller]
    pub fn extract_if<F: FnMut(&mut T) -> bool>(
        &mut self,
        range: impl RangeBounds<usize>,
        take: F,
    ) -> ExtractIf<'_, T, F> {
        let range = drain::resolve(range, self.owned.len);
        ExtractIf {
            sieve: Sieve::new(self, range.start),
            end: range.end,
            take,
        }
    }
}

/// An iterator that removes chosen elements from a [`ReservedVec`]; made by [`ReservedVec::extract_if`].
#[must_use = "an iterator does nothing until it is asked"]
pub struct ExtractIf<'a, T, F> {
    sieve: Sieve<'a, T>,
    // At most the end of the sieve.
    end: usize,
    take: F,
}

impl<T, F: FnMut(&mut T) -> bool> Iterator for ExtractIf<'_, T, F> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        while self.sieve.read < self.end {
            if (self.take)(self.sieve.next()) {
                return Some(self.sieve.take());
            }
            self.sieve.keep();
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.end - self.sieve.read))
    }
}

impl<T, F> fmt::Debug for ExtractIf<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtractIf")
            .field("left", &(self.end - self.sieve.read))
            .finish_non_exhaustive()
    }
}

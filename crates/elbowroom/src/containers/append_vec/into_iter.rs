//! The elements of a vector, one by one.

#![allow(unsafe_code, reason = "moves elements out of a vector")]

use std::fmt;
use std::iter::FusedIterator;

use super::{AppendVec, Taken};

/// The elements of an [`AppendVec`], by value, in the order of their indices.
pub struct IntoIter<T> {
    // The elements that were not given out. Dropped before `vec`, which has their memory: fields are dropped in this
    // order.
    remaining: Taken,
    // Invariant: has no elements of its own, so that it drops none.
    vec: AppendVec<T>,
}

// SAFETY: it owns its elements and the memory they are in, as the vector did.
unsafe impl<T: Send> Send for IntoIter<T> {}
// SAFETY: `&self` gives out `&T` and figures only.
unsafe impl<T: Send + Sync> Sync for IntoIter<T> {}

impl<T> IntoIter<T> {
    fn len(&self) -> usize {
        self.remaining.len()
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        while self.remaining.holes.first() == Some(&self.remaining.range.start) {
            self.remaining.holes.remove(0);
            self.remaining.range.start += 1;
        }
        let index = self.remaining.range.next()?;
        // SAFETY: initialised (invariant), and given out only once.
        Some(unsafe { self.vec.place(index).read() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl<T> DoubleEndedIterator for IntoIter<T> {
    #[inline]
    fn next_back(&mut self) -> Option<T> {
        while self
            .remaining
            .holes
            .last()
            .is_some_and(|&hole| hole + 1 == self.remaining.range.end)
        {
            self.remaining.holes.pop();
            self.remaining.range.end -= 1;
        }
        let index = self.remaining.range.next_back()?;
        // SAFETY: initialised (invariant), and given out only once.
        Some(unsafe { self.vec.place(index).read() })
    }
}

impl<T> ExactSizeIterator for IntoIter<T> {}
impl<T> FusedIterator for IntoIter<T> {}

impl<T: fmt::Debug> fmt::Debug for IntoIter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IntoIter").field(&Remaining(self)).finish()
    }
}

/// The elements that are not yet given out, as a list.
struct Remaining<'a, T>(&'a IntoIter<T>);

impl<T: fmt::Debug> fmt::Debug for Remaining<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let IntoIter { remaining, vec } = self.0;
        let holes = &remaining.holes;
        let indices = remaining.range.clone();
        let indices = indices.filter(|index| holes.binary_search(index).is_err());
        let elements = indices.map(|index| {
            // SAFETY: in the range and no hole, so initialised and not yet given out (invariant), in committed pages of
            // `vec`. It stays so while the iterator is borrowed.
            unsafe { &*vec.place(index) }
        });
        f.debug_list().entries(elements).finish()
    }
}

impl<T> IntoIterator for AppendVec<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(mut self) -> IntoIter<T> {
        let remaining = self.owned.take();
        IntoIter {
            remaining,
            vec: self,
        }
    }
}

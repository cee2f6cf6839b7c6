//! The elements of a vector, one by one.

#![allow(unsafe_code, reason = "moves elements out of a vector")]

use std::fmt;
use std::iter::FusedIterator;

use super::{AppendVec, Taken};

/// The elements of an [`AppendVec`], by value, in the order of their indices.
pub struct IntoIter<T> {
    // The elements not yet given out. Dropped before `vec`, which owns their memory: fields are dropped in declaration
    // order.
    remaining: Taken,
    // Invariant: holds no elements, so its drop drops none.
    vec: AppendVec<T>,
}

// SAFETY: the iterator owns its elements and the memory they lie in. Moving it to another thread moves Ts there, which
// is allowed because T is Send.
unsafe impl<T: Send> Send for IntoIter<T> {}
// SAFETY: `&self` gives access to `&T` and to plain figures only.
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
        // SAFETY: the index was just taken from `remaining`, so the element is initialised (invariant) and is read only
        // once.
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
        // SAFETY: the index was just taken from `remaining`, so the element is initialised (invariant) and is read only
        // once.
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

/// A view of the elements not yet given out, for printing.
struct Remaining<'a, T>(&'a IntoIter<T>);

impl<T: fmt::Debug> fmt::Debug for Remaining<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let IntoIter { remaining, vec } = self.0;
        let holes = &remaining.holes;
        let indices = remaining.range.clone();
        let indices = indices.filter(|index| holes.binary_search(index).is_err());
        let elements = indices.map(|index| {
            // SAFETY: the index is in the range and is not a hole, so the element is initialised, not given out
            // (invariant), and in committed pages of `vec`. It stays there while the iterator is borrowed.
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

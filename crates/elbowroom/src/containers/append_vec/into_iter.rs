//! The elements of a vector, one by one.

#![allow(unsafe_code, reason = "moves elements out of a vector")]

use std::fmt;
use std::iter::FusedIterator;

use super::super::drop_each;
use super::{AppendVec, Taken};

/// The elements of an [`AppendVec`], by value, in the order of their indices.
pub struct IntoIter<T> {
    // Invariant: has no elements of its own, so that it drops none.
    vec: AppendVec<T>,
    // Invariant: those from `next` on but for holes are initialised, and not yet given out.
    next: usize,
    remaining: Taken,
}

impl<T> IntoIter<T> {
    fn len(&self) -> usize {
        self.remaining.end - self.next - self.remaining.holes.len()
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        while self.remaining.holes.first() == Some(&self.next) {
            self.remaining.holes.remove(0);
            self.next += 1;
        }
        if self.next == self.remaining.end {
            return None;
        }
        let index = self.next;
        self.next += 1;
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
            .is_some_and(|&hole| hole + 1 == self.remaining.end)
        {
            self.remaining.holes.pop();
            self.remaining.end -= 1;
        }
        if self.next == self.remaining.end {
            return None;
        }
        self.remaining.end -= 1;
        // SAFETY: initialised (invariant), and given out only once.
        Some(unsafe { self.vec.place(self.remaining.end).read() })
    }
}

impl<T> ExactSizeIterator for IntoIter<T> {}
impl<T> FusedIterator for IntoIter<T> {}

impl<T> Drop for IntoIter<T> {
    fn drop(&mut self) {
        drop_each(self, drop);
    }
}

impl<T: fmt::Debug> fmt::Debug for IntoIter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IntoIter").field(&Remaining(self)).finish()
    }
}

/// The elements that are not yet given out, as a list.
struct Remaining<'a, T>(&'a IntoIter<T>);

impl<T: fmt::Debug> fmt::Debug for Remaining<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let IntoIter {
            vec,
            next,
            remaining,
        } = self.0;
        let indices =
            (*next..remaining.end).filter(|index| remaining.holes.binary_search(index).is_err());
        let elements = indices.map(|index| {
            // SAFETY: from `next` on, before the end and no hole, so initialised and not yet given out (invariant), in
            // the committed pages of `vec`. It stays so while the iterator is borrowed.
            unsafe { &*vec.place(index) }
        });
        f.debug_list().entries(elements).finish()
    }
}

impl<T> IntoIterator for AppendVec<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(mut self) -> IntoIter<T> {
        let remaining = self.take();
        IntoIter {
            vec: self,
            next: 0,
            remaining,
        }
    }
}

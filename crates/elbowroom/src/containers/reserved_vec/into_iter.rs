//! The elements of a vector, one by one.

#![allow(unsafe_code, reason = "moves elements out of a vector")]

use std::fmt;
use std::iter::FusedIterator;
use std::mem;
use std::ops::Range;
use std::ptr;
use std::slice;

use super::{ReservedVec, accept};

/// The elements of a [`ReservedVec`], by value.
pub struct IntoIter<T> {
    // Invariant: its length is 0, so that it drops no elements.
    vec: ReservedVec<T>,
    // Invariant: initialised elements, not yet given out.
    remaining: Range<usize>,
}

impl<T> IntoIter<T> {
    /// Returns the elements that have not been taken yet.
    pub fn as_slice(&self) -> &[T] {
        // SAFETY: initialised elements (invariant) that this borrows.
        unsafe { slice::from_raw_parts(self.vec.place(self.remaining.start), self.remaining.len()) }
    }

    /// Returns the elements that have not been taken yet.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: as above, and borrowed exclusively.
        unsafe {
            slice::from_raw_parts_mut(self.vec.place(self.remaining.start), self.remaining.len())
        }
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        let index = self.remaining.next()?;
        // SAFETY: initialised (invariant), and given out only once.
        Some(unsafe { self.vec.place(index).read() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.remaining.size_hint()
    }

    fn count(self) -> usize {
        self.remaining.len()
    }
}

impl<T> DoubleEndedIterator for IntoIter<T> {
    #[inline]
    fn next_back(&mut self) -> Option<T> {
        let index = self.remaining.next_back()?;
        // SAFETY: as in `next`.
        Some(unsafe { self.vec.place(index).read() })
    }
}

impl<T> ExactSizeIterator for IntoIter<T> {}
impl<T> FusedIterator for IntoIter<T> {}

impl<T> AsRef<[T]> for IntoIter<T> {
    fn as_ref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<T: Clone> Clone for IntoIter<T> {
    /// # Panics
    /// As the clone of a vector.
    #[track_caller]
    fn clone(&self) -> IntoIter<T> {
        let mut vec = accept(self.vec.like());
        vec.extend_from_slice(self.as_slice());
        vec.into_iter()
    }
}

impl<T: fmt::Debug> fmt::Debug for IntoIter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IntoIter").field(&self.as_slice()).finish()
    }
}

impl<T> Drop for IntoIter<T> {
    fn drop(&mut self) {
        let first = self.vec.place(self.remaining.start);
        let remaining = mem::take(&mut self.remaining);
        // SAFETY: initialised elements, no longer counted as remaining. The memory goes after them, with `vec`.
        unsafe { ptr::drop_in_place(ptr::slice_from_raw_parts_mut(first, remaining.len())) };
    }
}

impl<T> IntoIterator for ReservedVec<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    #[inline]
    fn into_iter(mut self) -> IntoIter<T> {
        let remaining = 0..mem::take(&mut self.len);
        IntoIter {
            vec: self,
            remaining,
        }
    }
}

impl<'a, T> IntoIterator for &'a ReservedVec<T> {
    type Item = &'a T;
    type IntoIter = slice::Iter<'a, T>;

    #[inline]
    fn into_iter(self) -> slice::Iter<'a, T> {
        self.as_slice().iter()
    }
}

impl<'a, T> IntoIterator for &'a mut ReservedVec<T> {
    type Item = &'a mut T;
    type IntoIter = slice::IterMut<'a, T>;

    #[inline]
    fn into_iter(self) -> slice::IterMut<'a, T> {
        self.as_mut_slice().iter_mut()
    }
}

//! The iterator over a vector's elements by value.

#![allow(unsafe_code, reason = "moves elements out of a vector")]

use std::fmt;
use std::iter::FusedIterator;
use std::mem;
use std::ops::Range;
use std::ptr::NonNull;
use std::slice;

use super::super::drop_glue::DropGlue;
use super::{ReservedVec, accept};

/// An iterator over the elements of a [`ReservedVec`], by value.
pub struct IntoIter<T> {
    // Dropped before `vec`, which owns their memory: fields are dropped in declaration order.
    remaining: Remaining,
    // Invariant: its length is 0, so its drop drops no elements.
    vec: ReservedVec<T>,
}

/// The elements that were not given out. Dropping this drops them.
struct Remaining {
    // Invariant: the address of the vector's element 0, aligned for the elements.
    first: NonNull<u8>,
    // Invariant: the indices of initialised elements.
    range: Range<usize>,
    // Invariant: made for the type of the elements.
    glue: DropGlue,
}

impl Drop for Remaining {
    fn drop(&mut self) {
        let range = mem::take(&mut self.range);
        // SAFETY: the elements are initialised, of the type of `glue`, and in the memory of the vector, which is
        // dropped later (invariants). They no longer count as remaining, so nothing else uses them.
        unsafe { self.glue.drop(self.first.as_ptr(), range) };
    }
}

// SAFETY: the iterator owns its elements and their memory, as the vector did; so T must be Send.
unsafe impl<T: Send> Send for IntoIter<T> {}
// SAFETY: `&self` gives out `&T` and plain figures only.
unsafe impl<T: Sync> Sync for IntoIter<T> {}

impl<T> IntoIter<T> {
    /// Returns the elements that have not been taken yet.
    pub fn as_slice(&self) -> &[T] {
        // SAFETY: the elements are initialised (invariant), and borrowed with `self`.
        unsafe {
            slice::from_raw_parts(
                self.vec.place(self.remaining.range.start),
                self.remaining.range.len(),
            )
        }
    }

    /// Returns the elements that have not been taken yet.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: the elements are initialised (invariant), and borrowed exclusively with `self`.
        unsafe {
            slice::from_raw_parts_mut(
                self.vec.place(self.remaining.range.start),
                self.remaining.range.len(),
            )
        }
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        let index = self.remaining.range.next()?;
        // SAFETY: the index was just taken from `remaining`, so the element is initialised (invariant) and is read only
        // once.
        Some(unsafe { self.vec.place(index).read() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.remaining.range.size_hint()
    }

    fn count(self) -> usize {
        self.remaining.range.len()
    }
}

impl<T> DoubleEndedIterator for IntoIter<T> {
    #[inline]
    fn next_back(&mut self) -> Option<T> {
        let index = self.remaining.range.next_back()?;
        // SAFETY: the index was just taken from `remaining`, so the element is initialised (invariant) and is read only
        // once.
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

impl<T> Default for IntoIter<T> {
    /// Returns an iterator without elements.
    fn default() -> IntoIter<T> {
        ReservedVec::new().into_iter()
    }
}

impl<T: Clone> Clone for IntoIter<T> {
    /// # Panics
    /// See [`ReservedVec::clone`].
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

impl<T> IntoIterator for ReservedVec<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    #[inline]
    fn into_iter(mut self) -> IntoIter<T> {
        let remaining = Remaining {
            first: self.owned.ptr,
            range: 0..mem::take(&mut self.owned.len),
            glue: self.owned.glue,
        };
        IntoIter {
            remaining,
            vec: self,
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

//! Standard traits of `AppendVec`: indexing, comparison and conversion.

#![allow(unsafe_code, reason = "moves the elements of vectors as bytes")]

use std::fmt;
use std::ops::{
    Index, IndexMut, Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive,
};
use std::ptr;
use std::slice;

use super::super::reserved_vec::accept;
use super::AppendVec;
use crate::error::Error;

impl<T> Index<usize> for AppendVec<T> {
    type Output = T;

    /// Returns the element at `index`.
    ///
    /// # Panics
    /// Panics if its push has not finished.
    #[inline]
    #[track_caller]
    #[expect(clippy::panic, reason = "as every slice, documented")]
    fn index(&self, index: usize) -> &T {
        match self.get(index) {
            Some(element) => element,
            None => panic!(
                "no element at index {index}, or its push has not finished; the first {} have",
                self.len()
            ),
        }
    }
}

impl<T> IndexMut<usize> for AppendVec<T> {
    /// Returns the element at `index`, to be changed.
    ///
    /// # Panics
    /// Panics if its push has not finished.
    #[inline]
    #[track_caller]
    #[expect(clippy::panic, reason = "as every slice, documented")]
    fn index_mut(&mut self, index: usize) -> &mut T {
        let len = self.len();
        match self.get_mut(index) {
            Some(element) => element,
            None => panic!(
                "no element at index {index}, or its push has not finished; the first {len} have"
            ),
        }
    }
}

/// Implements indexing by ranges.
macro_rules! index_by {
    ($($range:ty),*) => {$(
        impl<T> Index<$range> for AppendVec<T> {
            type Output = [T];

            /// Returns a part of [`as_slice`](AppendVec::as_slice).
            ///
            /// # Panics
            /// Panics if the range is not inside the slice.
            #[inline]
            #[track_caller]
            fn index(&self, range: $range) -> &[T] {
                &self.as_slice()[range] // PANIC: as every slice.
            }
        }

        impl<T> IndexMut<$range> for AppendVec<T> {
            /// Returns a part of [`as_mut_slice`](AppendVec::as_mut_slice).
            ///
            /// # Panics
            /// Panics if the range is not inside the slice.
            #[inline]
            #[track_caller]
            fn index_mut(&mut self, range: $range) -> &mut [T] {
                &mut self.as_mut_slice()[range] // PANIC: as every slice.
            }
        }
    )*};
}

index_by!(
    Range<usize>,
    RangeFrom<usize>,
    RangeTo<usize>,
    RangeFull,
    RangeInclusive<usize>,
    RangeToInclusive<usize>
);

/// Implements comparison of [`as_slice`](AppendVec::as_slice) with other kinds of slices.
macro_rules! equals {
    ($([$($parameters:tt)*] $left:ty, $right:ty;)*) => {$(
        impl<T: PartialEq<U>, U, $($parameters)*> PartialEq<$right> for $left {
            #[inline]
            fn eq(&self, other: &$right) -> bool {
                self[..] == other[..]
            }
        }
    )*};
}

equals! {
    [] AppendVec<T>, AppendVec<U>;
    [] AppendVec<T>, [U];
    [] AppendVec<T>, &[U];
    [] AppendVec<T>, &mut [U];
    [] AppendVec<T>, Vec<U>;
    [const N: usize] AppendVec<T>, [U; N];
    [const N: usize] AppendVec<T>, &[U; N];
    [] [T], AppendVec<U>;
    [] &[T], AppendVec<U>;
    [] &mut [T], AppendVec<U>;
    [] Vec<T>, AppendVec<U>;
    [const N: usize] [T; N], AppendVec<U>;
    [const N: usize] &[T; N], AppendVec<U>;
}

impl<T: Eq> Eq for AppendVec<T> {}

impl<T: Clone> AppendVec<T> {
    /// Returns a vector of clones of [`as_slice`](AppendVec::as_slice) at this moment, with the same maximum, limits,
    /// budget, growth policy and name.
    ///
    /// Elements behind an unfinished one are not cloned.
    ///
    /// # Errors
    /// See [above](AppendVec#errors), and `build` of the [builder](AppendVec::builder).
    pub fn try_clone(&self) -> Result<AppendVec<T>, Error> {
        let clone = AppendVec::with_storage(self.owned.storage.like()?);
        let elements = self.as_slice();
        clone.try_reserve(elements.len())?;
        clone.try_extend(elements.iter().cloned())?;
        Ok(clone)
    }
}

impl<T: Clone> Clone for AppendVec<T> {
    /// Returns a vector of clones of [`as_slice`](AppendVec::as_slice) at this moment, with the same maximum, limits,
    /// budget, growth policy and name. Elements behind an unfinished one are not cloned.
    ///
    /// # Panics
    /// Panics with the text of the error that [`try_clone`](AppendVec::try_clone) would return.
    #[track_caller]
    fn clone(&self) -> AppendVec<T> {
        accept(self.try_clone())
    }

    /// Replaces the elements by clones of those of `source`. Maximum, limits and name stay.
    ///
    /// # Panics
    /// Panics with the text of the error that [`try_extend`](AppendVec::try_extend) would return.
    #[track_caller]
    fn clone_from(&mut self, source: &AppendVec<T>) {
        self.clear();
        AppendVec::extend(self, source.as_slice().iter().cloned());
    }
}

impl<T> From<AppendVec<T>> for Vec<T> {
    /// Moves all finished elements, in order, including those behind an index whose closure panicked.
    ///
    /// ```
    /// let numbers = elbowroom::AppendVec::new();
    /// numbers.extend([1, 2, 3]);
    /// assert_eq!(Vec::from(numbers), [1, 2, 3]);
    /// ```
    fn from(mut elements: AppendVec<T>) -> Vec<T> {
        let mut taken = elements.owned.take();
        let mut vec = Vec::<T>::with_capacity(taken.len());
        for run in taken.give_out() {
            let count = vec.len();
            // SAFETY: the `Vec` has room for the elements of all runs, of which the first `count` are already there.
            let place = unsafe { vec.as_mut_ptr().add(count) };
            // SAFETY: the run consists of finished elements in committed pages, which the other vector no longer counts
            // as its own. The `Vec` is a separate allocation, and has room for all runs.
            unsafe { ptr::copy_nonoverlapping(elements.place(run.start), place, run.len()) };
            // SAFETY: the elements before `count + run.len()` were moved in.
            unsafe { vec.set_len(count + run.len()) };
        }
        vec
    }
}

impl<T: fmt::Debug> fmt::Debug for AppendVec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<T> Extend<T> for AppendVec<T> {
    #[track_caller]
    fn extend<I: IntoIterator<Item = T>>(&mut self, elements: I) {
        AppendVec::extend(self, elements);
    }
}

impl<'a, T: Copy + 'a> Extend<&'a T> for AppendVec<T> {
    /// # Panics
    /// Panics with the text of the error that [`try_extend`](AppendVec::try_extend) would return.
    #[track_caller]
    fn extend<I: IntoIterator<Item = &'a T>>(&mut self, elements: I) {
        AppendVec::extend(self, elements.into_iter().copied());
    }
}

impl<T> FromIterator<T> for AppendVec<T> {
    #[track_caller]
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> AppendVec<T> {
        let vec = AppendVec::new();
        AppendVec::extend(&vec, elements);
        vec
    }
}

impl<'a, T> IntoIterator for &'a AppendVec<T> {
    type Item = &'a T;
    type IntoIter = slice::Iter<'a, T>;

    fn into_iter(self) -> slice::Iter<'a, T> {
        self.iter()
    }
}

impl<'a, T> IntoIterator for &'a mut AppendVec<T> {
    type Item = &'a mut T;
    type IntoIter = slice::IterMut<'a, T>;

    fn into_iter(self) -> slice::IterMut<'a, T> {
        self.iter_mut()
    }
}

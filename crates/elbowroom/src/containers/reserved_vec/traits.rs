//! Standard traits of `ReservedVec`: slices, comparison, cloning.

use std::borrow::{Borrow, BorrowMut, Cow};
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::io;
use std::ops::{Deref, DerefMut, Index, IndexMut};
use std::slice::SliceIndex;

use super::{ReservedVec, accept};
use crate::error::Error;

impl<T> Default for ReservedVec<T> {
    fn default() -> ReservedVec<T> {
        ReservedVec::new()
    }
}

impl<T> Deref for ReservedVec<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<T> DerefMut for ReservedVec<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        self.as_mut_slice()
    }
}

impl<T, I: SliceIndex<[T]>> Index<I> for ReservedVec<T> {
    type Output = I::Output;

    #[inline]
    fn index(&self, index: I) -> &I::Output {
        &self.as_slice()[index] // PANIC: as every slice.
    }
}

impl<T, I: SliceIndex<[T]>> IndexMut<I> for ReservedVec<T> {
    #[inline]
    fn index_mut(&mut self, index: I) -> &mut I::Output {
        &mut self.as_mut_slice()[index] // PANIC: as every slice.
    }
}

impl<T> Borrow<[T]> for ReservedVec<T> {
    fn borrow(&self) -> &[T] {
        self
    }
}

impl<T> BorrowMut<[T]> for ReservedVec<T> {
    fn borrow_mut(&mut self) -> &mut [T] {
        self
    }
}

impl<T> AsRef<[T]> for ReservedVec<T> {
    fn as_ref(&self) -> &[T] {
        self
    }
}

impl<T> AsMut<[T]> for ReservedVec<T> {
    fn as_mut(&mut self) -> &mut [T] {
        self
    }
}

impl<T> AsRef<ReservedVec<T>> for ReservedVec<T> {
    fn as_ref(&self) -> &ReservedVec<T> {
        self
    }
}

impl<T> AsMut<ReservedVec<T>> for ReservedVec<T> {
    fn as_mut(&mut self) -> &mut ReservedVec<T> {
        self
    }
}

impl<T: fmt::Debug> fmt::Debug for ReservedVec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_slice(), f)
    }
}

/// Implements comparison with other kinds of slices.
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
    [] ReservedVec<T>, ReservedVec<U>;
    [] ReservedVec<T>, [U];
    [] ReservedVec<T>, &[U];
    [] ReservedVec<T>, &mut [U];
    [] ReservedVec<T>, Vec<U>;
    [const N: usize] ReservedVec<T>, [U; N];
    [const N: usize] ReservedVec<T>, &[U; N];
    [] [T], ReservedVec<U>;
    [] &[T], ReservedVec<U>;
    [] &mut [T], ReservedVec<U>;
    [] Vec<T>, ReservedVec<U>;
    [const N: usize] [T; N], ReservedVec<U>;
    [const N: usize] &[T; N], ReservedVec<U>;
}

impl<T: PartialEq<U>, U: Clone> PartialEq<Cow<'_, [U]>> for ReservedVec<T> {
    #[inline]
    fn eq(&self, other: &Cow<'_, [U]>) -> bool {
        self[..] == other[..]
    }
}

impl<T: PartialEq<U> + Clone, U> PartialEq<ReservedVec<U>> for Cow<'_, [T]> {
    #[inline]
    fn eq(&self, other: &ReservedVec<U>) -> bool {
        self[..] == other[..]
    }
}

impl<T: PartialEq<U>, U> PartialEq<ReservedVec<U>> for VecDeque<T> {
    fn eq(&self, other: &ReservedVec<U>) -> bool {
        *self == other.as_slice()
    }
}

impl<T: Eq> Eq for ReservedVec<T> {}

impl<T: PartialOrd> PartialOrd for ReservedVec<T> {
    fn partial_cmp(&self, other: &ReservedVec<T>) -> Option<Ordering> {
        self.as_slice().partial_cmp(other.as_slice())
    }
}

impl<T: Ord> Ord for ReservedVec<T> {
    fn cmp(&self, other: &ReservedVec<T>) -> Ordering {
        self.as_slice().cmp(other.as_slice())
    }
}

impl<T: Hash> Hash for ReservedVec<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl<T: Clone> ReservedVec<T> {
    /// Returns a clone with the same maximum, limits, budget, growth policy and name.
    ///
    /// # Errors
    /// See [`try_reserve`](ReservedVec::try_reserve), and `build` of the [builder](ReservedVec::builder).
    pub fn try_clone(&self) -> Result<ReservedVec<T>, Error> {
        let mut clone = self.like()?;
        clone.try_extend_from_slice(self)?;
        Ok(clone)
    }
}

impl<T: Clone> Clone for ReservedVec<T> {
    /// Returns a clone with the same maximum, limits, budget, growth policy and name.
    ///
    /// # Panics
    /// Panics with the text of the error that [`try_clone`](ReservedVec::try_clone) would return.
    #[track_caller]
    fn clone(&self) -> ReservedVec<T> {
        accept(self.try_clone())
    }

    /// Replaces the elements by clones of those of `source`. Maximum, limits and name stay. It cannot panic for lack of
    /// memory if the [`capacity`](ReservedVec::capacity) suffices: see [`try_reserve`](ReservedVec::try_reserve).
    ///
    /// # Panics
    /// See [`extend_from_slice`](ReservedVec::extend_from_slice).
    #[track_caller]
    fn clone_from(&mut self, source: &ReservedVec<T>) {
        self.truncate(source.owned.len);
        let (replaced, more) = source.split_at(self.owned.len);
        self.clone_from_slice(replaced);
        self.extend_from_slice(more);
    }
}

impl<T> FromIterator<T> for ReservedVec<T> {
    /// Collects into a vector with the maximum of [`ReservedVec::new`]. To avoid a panic, use
    /// [`try_extend`](ReservedVec::try_extend) on a new vector.
    ///
    /// # Panics
    /// See [`extend`](ReservedVec::extend).
    #[track_caller]
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> ReservedVec<T> {
        let mut vec = ReservedVec::new();
        vec.extend(elements);
        vec
    }
}

impl io::Write for ReservedVec<u8> {
    /// Appends all of `bytes`.
    ///
    /// # Errors
    /// The error of [`try_extend_from_slice`](ReservedVec::try_extend_from_slice), inside the [`io::Error`].
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        Ok(self.try_extend_from_slice(bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! An iterator over finished elements, while other threads append.

use std::fmt;
use std::iter::FusedIterator;
use std::ops::Range;

use super::AppendVec;

/// An iterator over the finished elements of an [`AppendVec`] and their indices, made by
/// [`AppendVec::iter_finished`].
pub struct Finished<'a, T> {
    vec: &'a AppendVec<T>,
    indices: Range<usize>,
}

impl<'a, T> Finished<'a, T> {
    /// Returns an iterator over the finished elements before the index `end`.
    pub(super) fn new(vec: &'a AppendVec<T>, end: usize) -> Finished<'a, T> {
        Finished {
            vec,
            indices: 0..end,
        }
    }
}

impl<'a, T> Iterator for Finished<'a, T> {
    type Item = (usize, &'a T);

    #[inline]
    fn next(&mut self) -> Option<(usize, &'a T)> {
        let vec = self.vec;
        self.indices
            .find_map(|index| Some((index, vec.get(index)?)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // Elements that were once in a slice stay in every later one.
        let surely = self.vec.len().min(self.indices.end);
        let least = surely.saturating_sub(self.indices.start);
        (least, Some(self.indices.len()))
    }
}

impl<T> DoubleEndedIterator for Finished<'_, T> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        let vec = self.vec;
        let mut indices = self.indices.by_ref().rev();
        indices.find_map(|index| Some((index, vec.get(index)?)))
    }
}

impl<T> FusedIterator for Finished<'_, T> {}

impl<T> Clone for Finished<'_, T> {
    fn clone(&self) -> Self {
        Finished {
            vec: self.vec,
            indices: self.indices.clone(),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Finished<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.clone()).finish()
    }
}

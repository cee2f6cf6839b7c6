//! Replacing a range by the elements of an iterator.

use std::ops::RangeBounds;

use super::{Drain, IntoIter, ReservedVec, drain};
use crate::error::Error;

/// An iterator that removes a range of a [`ReservedVec`] and replaces it; made by [`ReservedVec::splice`].
#[derive(Debug)]
pub struct Splice<'a, I: Iterator + 'a> {
    drain: Drain<'a, I::Item>,
    replacement: I,
}

impl<T> ReservedVec<T> {
    /// Removes the elements of `range` and returns an iterator over them.
    ///
    /// Dropping the iterator puts the elements of `replacement` in their place. If it is forgotten, elements behind the
    /// range may be lost.
    ///
    /// ```
    /// let mut vec = elbowroom::ReservedVec::from([1, 2, 3]);
    /// assert!(vec.splice(1..2, [20, 21]).eq([2]));
    /// assert_eq!(vec, [1, 20, 21, 3]);
    /// ```
    ///
    /// # Panics
    /// Panics if the range is inverted or ends beyond the length. Dropping the iterator panics with the text of the
    /// error that [`try_splice`](ReservedVec::try_splice) would return; a part of the replacement is then in place.
    #[track_caller]
    pub fn splice<I: IntoIterator<Item = T>>(
        &mut self,
        range: impl RangeBounds<usize>,
        replacement: I,
    ) -> Splice<'_, I::IntoIter> {
        let range = drain::resolve(range, self.owned.len);
        Splice {
            drain: Drain::new(self, range),
            replacement: replacement.into_iter(),
        }
    }

    /// Replaces as [`splice`](ReservedVec::splice) does, but takes all elements of `replacement` at once, and makes
    /// room for them before anything is changed.
    ///
    /// ```
    /// use elbowroom::ReservedVec;
    ///
    /// let mut words = ReservedVec::with_max_len(3);
    /// words.extend(["one", "two", "three"]);
    /// let replaced: Vec<_> = words.try_splice(1..2, ["2"])?.collect();
    /// assert_eq!(replaced, ["two"]);
    /// assert!(words.try_splice(1..2, ["2", "2.5"]).unwrap_err().is_limit());
    /// assert_eq!(words, ["one", "2", "three"]);
    /// # Ok::<(), elbowroom::Error>(())
    /// ```
    ///
    /// # Errors
    /// See [`try_reserve`](ReservedVec::try_reserve). The elements already yielded are dropped then.
    ///
    /// # Panics
    /// Panics if the range is inverted or ends beyond the length.
    #[track_caller]
    pub fn try_splice<I: IntoIterator<Item = T>>(
        &mut self,
        range: impl RangeBounds<usize>,
        replacement: I,
    ) -> Result<Splice<'_, IntoIter<T>>, Error> {
        let range = drain::resolve(range, self.owned.len);
        // Collected into a vector, so that a lack of memory for the temporary elements is an error as well.
        let mut new = self.with_same_max();
        new.try_extend(replacement)?;
        self.make_room(new.owned.len.saturating_sub(range.len()))?;
        Ok(self.splice(range, new))
    }
}

impl<I: Iterator> Iterator for Splice<'_, I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.drain.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.drain.size_hint()
    }
}

impl<I: Iterator> DoubleEndedIterator for Splice<'_, I> {
    fn next_back(&mut self) -> Option<I::Item> {
        self.drain.next_back()
    }
}

impl<I: Iterator> ExactSizeIterator for Splice<'_, I> {}

impl<I: Iterator> Drop for Splice<'_, I> {
    fn drop(&mut self) {
        self.drain.by_ref().for_each(drop);
        if !self.drain.fill_gap(&mut self.replacement) {
            return;
        }
        // Room is made for as many elements as the iterator announces. Further elements are collected first, so that
        // the tail moves once for all of them.
        let announced = self.replacement.size_hint().0;
        if announced > 0 {
            self.drain.widen_gap(announced);
            if !self.drain.fill_gap(&mut self.replacement) {
                return;
            }
        }
        let mut rest = self.replacement.by_ref().collect::<Vec<_>>().into_iter();
        if rest.len() > 0 {
            self.drain.widen_gap(rest.len());
            self.drain.fill_gap(&mut rest);
        }
        // The drain's own drop closes the remaining gap.
    }
}

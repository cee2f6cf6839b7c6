//! Appending from iterators and slices.

#![allow(
    unsafe_code,
    reason = "writes into memory that the vector has committed"
)]

use std::ops::RangeBounds;

use super::{ReservedVec, accept, drain};
use crate::error::Error;

/// The length of a vector that is being filled, kept in a register. It is written back at the end, also if the code
/// that makes the elements panics.
struct Filling<'a> {
    len: &'a mut usize,
    // Invariant: the first `filled` elements are initialised.
    filled: usize,
}

impl<'a> Filling<'a> {
    fn new(len: &'a mut usize) -> Filling<'a> {
        let filled = *len;
        Filling { len, filled }
    }
}

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        *self.len = self.filled;
    }
}

impl<T> ReservedVec<T> {
    /// Appends `count` elements that `make` returns. There is room for them.
    #[inline]
    pub(super) fn fill_ready(&mut self, count: usize, mut make: impl FnMut() -> T) {
        self.extend_ready((0..count).map(|_| make()));
    }

    /// Appends from an iterator until it ends or the ready memory is full. Each element counts as soon as it is
    /// written.
    #[inline]
    fn extend_ready(&mut self, elements: impl Iterator<Item = T>) {
        let base = self.owned.ptr.cast::<T>();
        let room = self.ready - self.owned.len;
        let mut filling = Filling::new(&mut self.owned.len);
        elements.take(room).for_each(|element| {
            // SAFETY: the place is inside the ready memory, because `take` yields at most as many elements as there is
            // room for.
            let place = unsafe { base.add(filling.filled) };
            // SAFETY: the place is on committed pages or has no size; it is aligned because the base is; it is behind
            // the last element.
            unsafe { place.write(element) };
            filling.filled += 1;
        });
    }

    /// Appends all elements of an iterator. On an error, the elements already appended stay.
    fn extend_until_refused(&mut self, mut elements: impl Iterator<Item = T>) -> Result<(), Error> {
        self.make_room(elements.size_hint().0)?;
        loop {
            self.extend_ready(elements.by_ref());
            if self.owned.len < self.ready {
                return Ok(()); // It has ended, and is not asked again.
            }
            let Some(element) = elements.next() else {
                return Ok(());
            };
            self.make_room(elements.size_hint().0.saturating_add(1))?;
            // SAFETY: `make_room` has made room for at least one element.
            unsafe { self.push_ready(element) };
        }
    }

    /// Appends all elements of an iterator, or none on an error; the elements already yielded are dropped then.
    ///
    /// # Errors
    /// See [`try_reserve`](ReservedVec::try_reserve).
    pub fn try_extend(&mut self, elements: impl IntoIterator<Item = T>) -> Result<(), Error> {
        let before = self.owned.len;
        let result = self.extend_until_refused(elements.into_iter());
        if result.is_err() {
            self.truncate(before);
        }
        result
    }
}

impl<T: Clone> ReservedVec<T> {
    /// Appends clones of all elements of a slice.
    ///
    /// # Panics
    /// Panics with the text of the error that [`try_extend_from_slice`](ReservedVec::try_extend_from_slice) would
    /// return.
    #[track_caller]
    pub fn extend_from_slice(&mut self, elements: &[T]) {
        accept(self.try_extend_from_slice(elements));
    }

    /// Appends clones of all elements of a slice.
    ///
    /// # Errors
    /// See [`try_reserve`](ReservedVec::try_reserve).
    pub fn try_extend_from_slice(&mut self, elements: &[T]) -> Result<(), Error> {
        self.make_room(elements.len())?;
        self.extend_ready(elements.iter().cloned());
        Ok(())
    }

    /// Appends clones of the elements of `range`.
    ///
    /// # Panics
    /// Panics if the range is inverted or ends beyond the length. Panics with the text of the error that
    /// [`try_extend_from_within`](ReservedVec::try_extend_from_within) would return.
    #[track_caller]
    pub fn extend_from_within(&mut self, range: impl RangeBounds<usize>) {
        accept(self.try_extend_from_within(range));
    }

    /// Appends clones of the elements of `range`.
    ///
    /// # Errors
    /// See [`try_reserve`](ReservedVec::try_reserve).
    ///
    /// # Panics
    /// Panics if the range is inverted or ends beyond the length.
    #[track_caller]
    pub fn try_extend_from_within(&mut self, range: impl RangeBounds<usize>) -> Result<(), Error> {
        let range = drain::resolve(range, self.owned.len);
        self.make_room(range.len())?;
        let mut next = self.place(range.start).cast_const();
        self.fill_ready(range.len(), || {
            // SAFETY: an element of the range is initialised, and is not written while places behind the last element
            // are filled.
            let element = unsafe { &*next };
            next = next.wrapping_add(1);
            element.clone()
        });
        Ok(())
    }
}

impl<T> Extend<T> for ReservedVec<T> {
    /// # Panics
    /// Panics with the text of the error that [`try_reserve`](ReservedVec::try_reserve) would return. The elements
    /// already appended stay.
    #[track_caller]
    fn extend<I: IntoIterator<Item = T>>(&mut self, elements: I) {
        accept(self.extend_until_refused(elements.into_iter()));
    }
}

impl<'a, T: Copy + 'a> Extend<&'a T> for ReservedVec<T> {
    /// # Panics
    /// See the implementation for elements by value.
    #[track_caller]
    fn extend<I: IntoIterator<Item = &'a T>>(&mut self, elements: I) {
        accept(self.extend_until_refused(elements.into_iter().copied()));
    }
}

//! Exclusive access to a part of an array.

#![allow(unsafe_code, reason = "copies elements into pinned pages")]

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Range, RangeBounds};

use bytemuck::{AnyBitPattern, NoUninit};

use super::elements::{bytes_of, check, copy_out, resolve};
use super::guards::{Slice, SliceMut};
use crate::error::{Error, Operation};
use crate::fetch::Fetch;
use crate::table::Pin;

/// Exclusive access to a part of an array. Indices start at the part's first element.
///
/// Writers of different parts may be used by different threads at once, also where the parts meet inside a page.
/// Returned by [`PagedArray::writer`](crate::PagedArray::writer) and
/// [`PagedArray::writers`](crate::PagedArray::writers).
pub struct Writer<'a, T> {
    fetch: &'a Fetch,
    // Invariant: inside the array, and no other writer has any of them.
    elements: Range<usize>,
    borrow: PhantomData<&'a mut [T]>,
}

impl<'a, T: AnyBitPattern + NoUninit> Writer<'a, T> {
    /// Returns the writer of elements that are inside the array, and that the caller borrows exclusively for `'a`.
    pub(super) fn new(fetch: &'a Fetch, elements: Range<usize>) -> Writer<'a, T> {
        Writer {
            fetch,
            elements,
            borrow: PhantomData,
        }
    }

    /// Splits the part: the first `mid` elements, and the rest.
    ///
    /// # Panics
    /// If `mid` is more than the length, as `split_at_mut` of a slice does.
    pub fn split_at(self, mid: usize) -> (Writer<'a, T>, Writer<'a, T>) {
        assert!(mid <= self.len(), "mid {mid} of {} elements", self.len());
        let Range { start, end } = self.elements;
        let middle = start + mid;
        (
            Writer::new(self.fetch, start..middle),
            Writer::new(self.fetch, middle..end),
        )
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Returns whether the part has no elements.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// Returns the elements of the array that are in this part.
    pub fn range(&self) -> Range<usize> {
        self.elements.clone()
    }

    /// Returns the element at `index`.
    ///
    /// # Errors
    /// As [`PagedArray::get`](crate::PagedArray::get).
    pub fn get(&self, index: usize) -> Result<T, Error> {
        let place = self.part(Operation::Read, &(index..index.saturating_add(1)))?;
        copy_out(self.fetch, place.start)
    }

    /// Changes the element at `index`.
    ///
    /// # Errors
    /// As [`PagedArray::set`](crate::PagedArray::set).
    pub fn set(&mut self, index: usize, value: T) -> Result<(), Error> {
        let element = self.part(Operation::Write, &(index..index.saturating_add(1)))?;
        let bytes = bytes_of::<T>(&element);
        let pages = self.fetch.pool.frames.pages_of(bytes.clone());
        // A visit pins one page, so that it waits for nothing while it pins.
        let is_one = pages.len() == 1;
        let pin = if is_one { Pin::VisitMut } else { Pin::Write };
        self.fetch.pin(pages.clone(), pin)?;
        // SAFETY: inside the reservation, since the element is inside the array (invariant of `elements`).
        let place = unsafe { self.fetch.pool.frames.base().add(bytes.start) }.cast::<T>();
        // SAFETY: the pages are committed and writable while they are pinned, and neither loaded nor written back. The
        // base is aligned to a page, of which the alignment of `T` is a divisor (checked at opening). Nothing else
        // touches the element: this writer alone has it, and is borrowed exclusively. The value has no uninitialised
        // bytes (`NoUninit`), so the memory stays initialised.
        unsafe { place.write(value) };
        self.fetch.unpin(pages, pin);
        Ok(())
    }

    /// Brings the elements of `range` into memory and lends them.
    ///
    /// # Errors
    /// As [`PagedArray::slice`](crate::PagedArray::slice).
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Result<Slice<'_, T>, Error> {
        Slice::new(self.fetch, self.part(Operation::Read, &range)?)
    }

    /// Brings the elements of `range` into memory and lends them for writing.
    ///
    /// # Errors
    /// As [`PagedArray::slice_mut`](crate::PagedArray::slice_mut).
    pub fn slice_mut(&mut self, range: impl RangeBounds<usize>) -> Result<SliceMut<'_, T>, Error> {
        SliceMut::new(self.fetch, self.part(Operation::Write, &range)?)
    }

    /// Returns elements of the array for a range of the part.
    fn part(
        &self,
        operation: Operation,
        range: &impl RangeBounds<usize>,
    ) -> Result<Range<usize>, Error> {
        let part = resolve(range, self.len());
        let size = size_of::<T>();
        check(self.fetch, operation, part.clone(), self.len(), size)?;
        Ok(self.elements.start + part.start..self.elements.start + part.end)
    }
}

impl<T> fmt::Debug for Writer<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("elements", &self.elements)
            .finish_non_exhaustive()
    }
}

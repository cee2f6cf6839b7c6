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
/// Different threads may use writers of different parts at once, even if the parts meet inside a page. Returned by
/// [`PagedArray::writer`](crate::PagedArray::writer) and [`PagedArray::writers`](crate::PagedArray::writers).
pub struct Writer<'a, T> {
    pub(super) fetch: &'a Fetch,
    // Invariant: inside the array, and no other writer has any of them.
    pub(super) elements: Range<usize>,
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

    /// Splits the part into its first `mid` elements and the rest.
    ///
    /// # Panics
    /// Panics if `mid` is more than the length.
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
    /// Fails as [`PagedArray::get`](crate::PagedArray::get) does.
    pub fn get(&self, index: usize) -> Result<T, Error> {
        let place = self.part(Operation::Read, &(index..index.saturating_add(1)))?;
        copy_out(self.fetch, place.start)
    }

    /// Changes the element at `index`.
    ///
    /// # Errors
    /// Fails as [`PagedArray::set`](crate::PagedArray::set) does.
    pub fn set(&mut self, index: usize, value: T) -> Result<(), Error> {
        let element = self.part(Operation::Write, &(index..index.saturating_add(1)))?;
        let bytes = bytes_of::<T>(&element);
        let pages = self.fetch.pool.frames.pages_of(bytes.clone());
        // A visit pins only one page, so it never waits while it holds a pin.
        let is_one = pages.len() == 1;
        let pin = if is_one { Pin::VisitMut } else { Pin::Write };
        self.fetch.pin(pages.clone(), pin)?;
        if !pin.is_visit() {
            self.fetch.pool.source.counters.ask(bytes.len());
        }
        // SAFETY: the offset is inside the reservation, because the element is inside the array (invariant of
        // `elements`).
        let place = unsafe { self.fetch.pool.frames.base().add(bytes.start) }.cast::<T>();
        // SAFETY: the pages are committed and writable while they are pinned, and neither loaded nor written back. The
        // base is aligned to a page, and the alignment of `T` divides the size of a page (checked at opening). No other
        // code accesses the element: only this writer has it, and the writer is borrowed exclusively. The value has no
        // uninitialised bytes (`NoUninit`), so the memory stays initialised.
        unsafe { place.write(value) };
        self.fetch.unpin(pages, pin);
        Ok(())
    }

    /// Brings the elements of `range` into memory and lends them.
    ///
    /// # Errors
    /// Fails as [`PagedArray::slice`](crate::PagedArray::slice) does.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Result<Slice<'_, T>, Error> {
        Slice::new(self.fetch, self.part(Operation::Read, &range)?)
    }

    /// Brings the elements of `range` into memory and lends them for writing.
    ///
    /// # Errors
    /// Fails as [`PagedArray::slice_mut`](crate::PagedArray::slice_mut) does.
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

//! Elements that are lent. Their pages are pinned until the guard is dropped.

#![allow(unsafe_code, reason = "lends elements in pinned pages")]

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;

use bytemuck::{AnyBitPattern, NoUninit};

use super::elements::bytes_of;
use crate::error::Error;
use crate::fetch::Fetch;
use crate::table::Pin;

/// Pinned pages, and where in them the elements are.
struct Pinned<'a, T> {
    fetch: &'a Fetch,
    pages: Range<usize>,
    pin: Pin,
    // Not a reference: it would have to be valid until the end of a function that this is passed to, and so after the
    // pages are unpinned.
    // Invariant: `len` elements are there, aligned, and in the pinned pages.
    start: NonNull<T>,
    len: usize,
}

impl<'a, T> Pinned<'a, T> {
    /// Pins the pages of elements that are inside the array.
    fn new(fetch: &'a Fetch, elements: Range<usize>, pin: Pin) -> Result<Pinned<'a, T>, Error> {
        let bytes = bytes_of::<T>(&elements);
        let pages = fetch.pool.frames.pages_of(bytes.clone());
        fetch.pin(pages.clone(), pin)?;
        fetch.pool.source.counters.ask(bytes.len());
        // The address of no element is any in the reservation. It is not null: a reservation starts at no null pointer,
        // and does not wrap.
        let start = fetch.pool.frames.base().wrapping_add(bytes.start);
        Ok(Pinned {
            fetch,
            pages,
            pin,
            start: NonNull::new(start.cast()).unwrap_or(NonNull::dangling()),
            len: elements.len(),
        })
    }

    /// # Safety
    /// Nothing writes the elements while the slice lives.
    unsafe fn elements(&self) -> &[T]
    where
        T: AnyBitPattern,
    {
        // SAFETY: `len` elements in one reservation of at most isize::MAX bytes (invariant of `start`), aligned,
        // because the base is aligned to a page, of which the alignment of `T` is a divisor (checked at opening). Their
        // pages are committed and have their contents while this lives, and any bytes make a `T` (`AnyBitPattern`).
        // Nothing writes them (contract).
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> Drop for Pinned<'_, T> {
    fn drop(&mut self) {
        self.fetch.unpin(self.pages.clone(), self.pin);
    }
}

/// Elements of an array, in memory until this is dropped. Derefs to `&[T]`.
#[must_use = "the elements are let go as soon as the guard is dropped"]
pub struct Slice<'a, T> {
    pinned: Pinned<'a, T>,
    borrow: PhantomData<&'a [T]>,
}

// SAFETY: it lends `&[T]`, which may be sent if `T` is Sync; any thread may unpin.
unsafe impl<T: Sync> Send for Slice<'_, T> {}
// SAFETY: it lends `&[T]`, which may be shared if `T` is Sync.
unsafe impl<T: Sync> Sync for Slice<'_, T> {}

impl<'a, T: AnyBitPattern> Slice<'a, T> {
    /// Lends elements that are inside the array, and that the caller borrows for `'a`.
    pub(super) fn new(fetch: &'a Fetch, elements: Range<usize>) -> Result<Slice<'a, T>, Error> {
        Ok(Slice {
            pinned: Pinned::new(fetch, elements, Pin::Read)?,
            borrow: PhantomData,
        })
    }
}

impl<T: AnyBitPattern> Deref for Slice<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: writing takes an exclusive borrow of the array, or of the writer that has the elements, which is
        // borrowed for as long as this lives.
        unsafe { self.pinned.elements() }
    }
}

impl<T: AnyBitPattern + fmt::Debug> fmt::Debug for Slice<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Elements of an array for writing, in memory until this is dropped. Derefs to `&mut [T]`.
#[must_use = "the elements are let go as soon as the guard is dropped"]
pub struct SliceMut<'a, T> {
    pinned: Pinned<'a, T>,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: it lends `&mut [T]`, which may be sent if `T` is Send; any thread may unpin.
unsafe impl<T: Send> Send for SliceMut<'_, T> {}
// SAFETY: shared, it lends `&[T]` only.
unsafe impl<T: Sync> Sync for SliceMut<'_, T> {}

impl<'a, T: AnyBitPattern + NoUninit> SliceMut<'a, T> {
    /// Lends elements that are inside the array, and that the caller borrows exclusively for `'a`.
    pub(super) fn new(fetch: &'a Fetch, elements: Range<usize>) -> Result<SliceMut<'a, T>, Error> {
        Ok(SliceMut {
            pinned: Pinned::new(fetch, elements, Pin::Write)?,
            borrow: PhantomData,
        })
    }
}

impl<T: AnyBitPattern> Deref for SliceMut<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: this borrows the elements exclusively, and is itself borrowed.
        unsafe { self.pinned.elements() }
    }
}

impl<T: AnyBitPattern + NoUninit> DerefMut for SliceMut<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let Pinned { start, len, .. } = self.pinned;
        // SAFETY: `len` elements in one reservation of at most isize::MAX bytes (invariant of `start`), aligned,
        // because the base is aligned to a page, of which the alignment of `T` is a divisor (checked at opening). Their
        // pages are committed and have their contents while this lives, and any bytes make a `T` (`AnyBitPattern`).
        // Nothing else reads or writes the elements: this borrows them exclusively and is itself borrowed exclusively;
        // a page with a pin for writing is neither loaded nor written back nor evicted. What is stored has no
        // uninitialised bytes (`NoUninit`), so the memory stays initialised.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), len) }
    }
}

impl<T: AnyBitPattern + fmt::Debug> fmt::Debug for SliceMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

//! Checks of ranges of elements, and copies of elements out of pages.

#![allow(unsafe_code, reason = "copies elements out of pinned pages")]

use std::ops::{Bound, Range, RangeBounds};

use bytemuck::AnyBitPattern;

use crate::error::{Cause, Error, Operation};
use crate::fetch::Fetch;
use crate::table::Pin;

/// Returns the indices of a range's elements in an array of this length. Checks nothing.
pub(super) fn resolve(range: &impl RangeBounds<usize>, len: usize) -> Range<usize> {
    let start = match range.start_bound() {
        Bound::Included(&start) => start,
        Bound::Excluded(&before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&last) => last.saturating_add(1),
        Bound::Excluded(&end) => end,
        Bound::Unbounded => len,
    };
    start..end
}

/// Refuses elements that are not among the first `len`.
pub(super) fn check(
    fetch: &Fetch,
    operation: Operation,
    elements: Range<usize>,
    len: usize,
    size: usize,
) -> Result<(), Error> {
    if elements.start <= elements.end && elements.end <= len {
        return Ok(());
    }
    let byte = |element: usize| element.saturating_mul(size);
    let bytes = byte(elements.start)..byte(elements.end);
    let cause = Cause::OutOfRange(elements, len);
    Err(fetch.pool.source.error(operation, bytes, cause))
}

/// Returns the bytes of elements that are inside the array.
pub(super) fn bytes_of<T>(elements: &Range<usize>) -> Range<usize> {
    elements.start * size_of::<T>()..elements.end * size_of::<T>()
}

/// Copies an element out that is inside the array.
pub(super) fn copy_out<T: AnyBitPattern>(fetch: &Fetch, index: usize) -> Result<T, Error> {
    let bytes = bytes_of::<T>(&(index..index + 1));
    let pages = fetch.pool.frames.pages_of(bytes.clone());
    // A visit pins one page, so that it waits for nothing while it pins.
    let pin = if pages.len() == 1 {
        Pin::Visit
    } else {
        Pin::Read
    };
    fetch.pin(pages.clone(), pin)?;
    if !pin.is_visit() {
        fetch.pool.source.counters.ask(bytes.len());
    }
    let base = fetch.pool.frames.base();
    // SAFETY: inside the reservation, since the element is inside the array (contract of this function's callers, which
    // check the index against the length).
    let place = unsafe { base.add(bytes.start) }.cast::<T>();
    // SAFETY: the pages are committed and have their contents while they are pinned, so `size_of::<T>()` initialised
    // bytes are there, which make a `T` whatever they are (`AnyBitPattern`). The base is aligned to a page, of which
    // the alignment of `T` is a divisor (checked at opening), and elements are a multiple of it apart. Nothing writes
    // the element: writing takes an exclusive borrow of the array or of the part that has it, which the caller borrows.
    let value = unsafe { place.read() };
    fetch.unpin(pages, pin);
    Ok(value)
}

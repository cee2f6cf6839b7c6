//! Draining a range of a vector.

#![allow(
    unsafe_code,
    reason = "moves elements out of a vector and closes the gap"
)]

use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::mem;
use std::ops::{Bound, Range, RangeBounds};
use std::ptr::{self, NonNull};
use std::slice;

use super::ReservedVec;

/// Returns the indices of `range` in a vector of length `len`.
///
/// # Panics
/// Panics if the range is inverted or ends beyond `len`.
#[track_caller]
pub(super) fn resolve(range: impl RangeBounds<usize>, len: usize) -> Range<usize> {
    let start = match range.start_bound() {
        Bound::Included(&start) => Some(start),
        Bound::Excluded(&start) => start.checked_add(1),
        Bound::Unbounded => Some(0),
    };
    let end = match range.end_bound() {
        Bound::Included(&end) => end.checked_add(1),
        Bound::Excluded(&end) => Some(end),
        Bound::Unbounded => Some(len),
    };
    match (start, end) {
        (Some(start), Some(end)) if start <= end && end <= len => start..end,
        _ => out_of_range(
            range.start_bound().cloned(),
            range.end_bound().cloned(),
            len,
        ),
    }
}

#[cold]
#[track_caller]
#[expect(clippy::panic, reason = "as std's vector, documented")]
fn out_of_range(start: Bound<usize>, end: Bound<usize>, len: usize) -> ! {
    panic!("the range {start:?} to {end:?} is not inside the length of {len}")
}

/// An iterator that removes a range from a [`ReservedVec`]; made by [`ReservedVec::drain`].
pub struct Drain<'a, T> {
    // Invariant: exclusively borrowed for 'a. Its length is the start of the drained range. `tail` counts the
    // initialised elements that remain, at or behind `remaining.end`.
    vec: NonNull<ReservedVec<T>>,
    // The base of the vector, which does not move.
    base: NonNull<T>,
    // Invariant: the indices of initialised elements behind the vector's length and before the tail, not yet given out.
    remaining: Range<usize>,
    // Invariant: the indices of initialised elements.
    tail: Range<usize>,
    borrow: PhantomData<&'a [T]>,
}

// SAFETY: the drained elements and their vector are exclusively this object's, as with `&mut [T]`; so T must be Send.
unsafe impl<T: Send> Send for Drain<'_, T> {}
// SAFETY: through a shared drain, threads get `&T`s (`as_slice`), which they may have because T is Sync, and the number
// of elements. Everything that changes the drain, its vector or an element takes `&mut self`.
unsafe impl<T: Sync> Sync for Drain<'_, T> {}

impl<'a, T> Drain<'a, T> {
    /// Returns a drain of `range`, which is inside the length.
    pub(super) fn new(vec: &'a mut ReservedVec<T>, range: Range<usize>) -> Drain<'a, T> {
        let tail = range.end..vec.owned.len;
        // If the drain is forgotten, the vector no longer owns any element that was given out.
        vec.owned.len = range.start;
        let base = vec.owned.ptr.cast();
        Drain {
            vec: NonNull::from(vec),
            base,
            remaining: range,
            tail,
            borrow: PhantomData,
        }
    }

    fn vec_mut(&mut self) -> &mut ReservedVec<T> {
        // SAFETY: the vector is exclusively borrowed for longer than `self` lives (invariant).
        unsafe { self.vec.as_mut() }
    }

    /// Returns the address of an element, valid up to the end of the tail.
    #[inline(always)]
    fn place(&self, index: usize) -> *mut T {
        self.base.as_ptr().wrapping_add(index)
    }

    /// Returns the elements that have not been taken yet.
    pub fn as_slice(&self) -> &[T] {
        let first = self.place(self.remaining.start);
        // SAFETY: the elements are initialised (invariant), and borrowed with `self`.
        unsafe { slice::from_raw_parts(first, self.remaining.len()) }
    }

    /// Leaves the elements that have not been taken yet in the vector.
    ///
    /// ```
    /// let mut vec = elbowroom::reserved_vec![1, 2, 3, 4];
    /// let mut drain = vec.drain(..3);
    /// assert_eq!(drain.next(), Some(1));
    /// drain.keep_rest();
    /// assert_eq!(vec, [2, 3, 4]);
    /// ```
    pub fn keep_rest(mut self) {
        let Range { start, end } = mem::take(&mut self.remaining);
        let gap = self.vec_mut().owned.len;
        let (from, to) = (self.place(start), self.place(gap));
        // SAFETY: the elements are initialised (invariant) and no longer counted as remaining. They are moved down
        // inside the vector, over elements that were taken.
        unsafe { ptr::copy(from, to, end - start) };
        // The drop moves the tail behind them.
        self.vec_mut().owned.len = gap + (end - start);
    }

    /// Fills the gap from an iterator, until the gap is full or the iterator ends. Returns whether the gap is full. No
    /// element remains to be given out.
    pub(super) fn fill_gap(&mut self, elements: &mut impl Iterator<Item = T>) -> bool {
        debug_assert!(self.remaining.is_empty());
        let end = self.tail.start;
        let vec = self.vec_mut();
        while vec.owned.len < end {
            let Some(element) = elements.next() else {
                return false;
            };
            // SAFETY: the place is before the tail, and therefore inside the ready memory.
            unsafe { vec.push_ready(element) };
        }
        true
    }

    /// Widens the gap by `more` places and moves the tail up. Panics without a change if there is no memory for that.
    #[track_caller]
    pub(super) fn widen_gap(&mut self, more: usize) {
        let Range { start, end } = self.tail;
        let vec = self.vec_mut();
        if more > vec.ready - end {
            super::accept(vec.grow(end, more, super::Extent::Ahead));
        }
        // SAFETY: the elements are initialised, and are moved up within the ready memory.
        unsafe { ptr::copy(vec.place(start), vec.place(start + more), end - start) };
        self.tail = start + more..end + more;
    }
}

impl<T> Iterator for Drain<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        let index = self.remaining.next()?;
        // SAFETY: the index was just taken from `remaining`, so the element is initialised (invariant) and is read only
        // once.
        Some(unsafe { self.place(index).read() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.remaining.size_hint()
    }
}

impl<T> DoubleEndedIterator for Drain<'_, T> {
    #[inline]
    fn next_back(&mut self) -> Option<T> {
        let index = self.remaining.next_back()?;
        // SAFETY: the index was just taken from `remaining`, so the element is initialised (invariant) and is read only
        // once.
        Some(unsafe { self.place(index).read() })
    }
}

impl<T> ExactSizeIterator for Drain<'_, T> {}
impl<T> FusedIterator for Drain<'_, T> {}

impl<T> AsRef<[T]> for Drain<'_, T> {
    fn as_ref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<T: fmt::Debug> fmt::Debug for Drain<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Drain").field(&self.as_slice()).finish()
    }
}

impl<T> Drop for Drain<'_, T> {
    fn drop(&mut self) {
        /// Closes the gap when dropped, also if the drop of an element panics.
        struct CloseGap<'d, 'a, T>(&'d mut Drain<'a, T>);

        impl<T> Drop for CloseGap<'_, '_, T> {
            fn drop(&mut self) {
                let Range { start, end } = self.0.tail;
                let vec = self.0.vec_mut();
                let gap = vec.owned.len;
                if gap != start {
                    // SAFETY: the elements of the tail are initialised, and are moved down over places whose elements
                    // are gone.
                    unsafe { ptr::copy(vec.place(start), vec.place(gap), end - start) };
                }
                vec.owned.len = gap + (end - start);
            }
        }

        let remaining = mem::take(&mut self.remaining);
        let first = self.place(remaining.start);
        let closing = CloseGap(self);
        // SAFETY: the elements are initialised, and no longer counted as remaining, so they are dropped once.
        unsafe { ptr::drop_in_place(ptr::slice_from_raw_parts_mut(first, remaining.len())) };
        drop(closing);
    }
}

//! Taking a range out of a vector.

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

/// The indices of `range` in a vector of length `len`.
///
/// # Panics
/// If it is inverted or ends beyond.
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

/// Elements on their way out of a [`ReservedVec`]; made by [`ReservedVec::drain`].
pub struct Drain<'a, T> {
    // Invariant: exclusively borrowed for 'a. Its length is where the drained range began; behind `remaining.end` at
    // least, `tail` counts initialised elements that are to follow there.
    vec: NonNull<ReservedVec<T>>,
    // The vector's: it does not move.
    base: NonNull<T>,
    // Invariant: initialised elements behind the vector's length, not yet given out; before the tail.
    remaining: Range<usize>,
    // Invariant: initialised elements.
    tail: Range<usize>,
    borrow: PhantomData<&'a [T]>,
}

// SAFETY: the drained elements and the vector they are in are exclusively this one's, like `&mut [T]`.
unsafe impl<T: Send> Send for Drain<'_, T> {}
// SAFETY: `&self` gives out `&T` only.
unsafe impl<T: Sync> Sync for Drain<'_, T> {}

impl<'a, T> Drain<'a, T> {
    /// `range` is inside the length.
    pub(super) fn new(vec: &'a mut ReservedVec<T>, range: Range<usize>) -> Drain<'a, T> {
        let tail = range.end..vec.owned.len;
        // If this is forgotten, nothing that it has given out is the vector's any more.
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
        // SAFETY: exclusively borrowed for longer than this lives (invariant).
        unsafe { self.vec.as_mut() }
    }

    /// The place of an element, which may be used up to the end of the tail.
    #[inline(always)]
    fn place(&self, index: usize) -> *mut T {
        self.base.as_ptr().wrapping_add(index)
    }

    /// Returns the elements that have not been taken yet.
    pub fn as_slice(&self) -> &[T] {
        let first = self.place(self.remaining.start);
        // SAFETY: initialised elements (invariant) that this borrows.
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
        // SAFETY: initialised elements (invariant), no longer counted as remaining, are moved down over ones that were
        // taken.
        unsafe { ptr::copy(from, to, end - start) };
        // The drop moves the tail behind them.
        self.vec_mut().owned.len = gap + (end - start);
    }

    /// Fills the gap from an iterator, as far as both go; whether the gap is full. Nothing remains to be given out.
    pub(super) fn fill_gap(&mut self, elements: &mut impl Iterator<Item = T>) -> bool {
        debug_assert!(self.remaining.is_empty());
        let end = self.tail.start;
        let vec = self.vec_mut();
        while vec.owned.len < end {
            let Some(element) = elements.next() else {
                return false;
            };
            // SAFETY: before the tail, which is inside what is ready.
            unsafe { vec.push_ready(element) };
        }
        true
    }

    /// Makes the gap wider by `more`, with the tail moved up. Panics if there is no memory for that, with nothing
    /// changed.
    #[track_caller]
    pub(super) fn widen_gap(&mut self, more: usize) {
        let Range { start, end } = self.tail;
        let vec = self.vec_mut();
        if more > vec.ready - end {
            super::accept(vec.grow(end, more, super::Extent::Ahead));
        }
        // SAFETY: initialised elements, moved up within what is ready.
        unsafe { ptr::copy(vec.place(start), vec.place(start + more), end - start) };
        self.tail = start + more..end + more;
    }
}

impl<T> Iterator for Drain<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        let index = self.remaining.next()?;
        // SAFETY: initialised (invariant), and given out only once.
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
        // SAFETY: initialised (invariant), and given out only once.
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
        /// Closes the gap: also when the drop of an element panics.
        struct CloseGap<'d, 'a, T>(&'d mut Drain<'a, T>);

        impl<T> Drop for CloseGap<'_, '_, T> {
            fn drop(&mut self) {
                let Range { start, end } = self.0.tail;
                let vec = self.0.vec_mut();
                let gap = vec.owned.len;
                if gap != start {
                    // SAFETY: initialised elements, moved down over ones that are gone.
                    unsafe { ptr::copy(vec.place(start), vec.place(gap), end - start) };
                }
                vec.owned.len = gap + (end - start);
            }
        }

        let remaining = mem::take(&mut self.remaining);
        let first = self.place(remaining.start);
        let closing = CloseGap(self);
        // SAFETY: initialised elements, no longer counted as remaining.
        unsafe { ptr::drop_in_place(ptr::slice_from_raw_parts_mut(first, remaining.len())) };
        drop(closing);
    }
}

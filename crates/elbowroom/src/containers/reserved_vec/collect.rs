//! Collecting from rayon's threads in place.

#![allow(
    unsafe_code,
    reason = "threads write to parts of the memory behind a vector's elements"
)]

use std::marker::PhantomData;
use std::mem;
use std::ops::Range;
use std::ptr;

use ::rayon::iter::ParallelIterator;
use ::rayon::iter::plumbing::{Consumer, Folder, Reducer, UnindexedConsumer};

use super::ReservedVec;

impl<T: Send> ReservedVec<T> {
    /// Appends `count` elements, the number that `opt_len` of the iterator returns. There is room for them.
    ///
    /// # Panics
    /// Panics if the iterator yields another number of elements; nothing is appended then.
    pub(super) fn collect_in_place(
        &mut self,
        count: usize,
        elements: impl ParallelIterator<Item = T>,
    ) {
        assert!(count <= self.capacity() - self.owned.len);
        let indices = self.owned.len..self.owned.len + count;
        let places = Places {
            first: self.as_mut_ptr(),
            indices: indices.clone(),
            vec: PhantomData,
        };
        let written = elements.drive_unindexed(places);
        // An iterator with a wrong `opt_len`, or one that ends early, leaves a gap. The elements written are dropped.
        assert!(
            written.indices == indices,
            "a parallel iterator of {count} elements has yielded {}",
            written.indices.len()
        );
        mem::forget(written);
        self.owned.len = indices.end;
        self.ready = self.ready.max(indices.end);
    }
}

/// Places for elements that one thread fills, or splits among several threads.
struct Places<'a, T> {
    // Invariant: the address of the vector's element 0. Each of the indices has committed room for one element.
    first: *mut T,
    // Invariant: nothing else uses the places with these indices, and they hold no elements.
    indices: Range<usize>,
    vec: PhantomData<&'a mut T>,
}

// SAFETY: the places are this object's alone, and the thread that has it moves Ts into them; so T must be Send.
unsafe impl<T: Send> Send for Places<'_, T> {}

/// Elements in consecutive places, which this object owns.
struct Written<'a, T> {
    // Invariant: the address of the vector's element 0.
    first: *mut T,
    // Invariant: at these indices are initialised elements, which nothing else uses.
    indices: Range<usize>,
    // Invariant: the indices from the end of `indices` up to this one meet the invariants of `Places`.
    end: usize,
    vec: PhantomData<&'a mut T>,
}

// SAFETY: it owns its elements, as a `Vec` does; so T must be Send.
unsafe impl<T: Send> Send for Written<'_, T> {}

impl<T> Drop for Written<'_, T> {
    fn drop(&mut self) {
        let first = self.first.wrapping_add(self.indices.start);
        let elements = ptr::slice_from_raw_parts_mut(first, self.indices.len());
        // SAFETY: the elements are initialised and nothing else uses them (invariant).
        unsafe { elements.drop_in_place() };
    }
}

impl<'a, T: Send> Consumer<T> for Places<'a, T> {
    type Folder = Written<'a, T>;
    type Reducer = Join;
    type Result = Written<'a, T>;

    fn split_at(self, count: usize) -> (Self, Self, Join) {
        let Places {
            first,
            indices: Range { start, end },
            vec,
        } = self;
        assert!(count <= end - start);
        let part = |indices| Places {
            first,
            indices,
            vec,
        };
        (part(start..start + count), part(start + count..end), Join)
    }

    fn into_folder(self) -> Written<'a, T> {
        let Range { start, end } = self.indices;
        Written {
            first: self.first,
            indices: start..start,
            end,
            vec: PhantomData,
        }
    }

    fn full(&self) -> bool {
        false
    }
}

/// An iterator with an `opt_len` uses only the methods of `Consumer` (rayon, `ParallelIterator::opt_len`).
impl<T: Send> UnindexedConsumer<T> for Places<'_, T> {
    fn split_off_left(&self) -> Self {
        unreachable!("a parallel iterator with an `opt_len` splits at indices")
    }

    fn to_reducer(&self) -> Join {
        Join
    }
}

impl<T: Send> Folder<T> for Written<'_, T> {
    type Result = Self;

    fn consume(mut self, element: T) -> Self {
        assert!(self.indices.end < self.end, "more elements than places");
        // SAFETY: the place is behind the elements written so far, has committed room, and nothing else uses it
        // (invariants).
        unsafe { self.first.wrapping_add(self.indices.end).write(element) };
        self.indices.end += 1;
        self
    }

    fn complete(self) -> Self {
        self
    }

    fn full(&self) -> bool {
        false
    }
}

/// Joins the elements of two adjacent parts.
struct Join;

impl<'a, T> Reducer<Written<'a, T>> for Join {
    fn reduce(self, mut left: Written<'a, T>, right: Written<'a, T>) -> Written<'a, T> {
        // Otherwise the first part has not filled its places. The second is dropped, and the final count is too small.
        if left.indices.end == right.indices.start {
            left.indices.end = right.indices.end;
            left.end = right.end;
            mem::forget(right);
        }
        left
    }
}

//! Appending several elements in one piece.

#![allow(unsafe_code, reason = "writes elements whose indices it has claimed")]

use std::ops::Range;
use std::{mem, ptr, slice};

use super::super::reserved_vec::accept;
use super::AppendVec;
use crate::error::Error;

/// Claimed indices whose elements are being written. Dropping this gives the indices back.
struct Run<'a, T> {
    vec: &'a AppendVec<T>,
    // Invariant: claimed by this thread, not empty, and neither published nor given back.
    indices: Range<usize>,
    // Invariant: the elements from the first index up to `end` are written.
    end: usize,
}

impl<T> Run<'_, T> {
    /// Writes the elements, one for each index.
    fn write(&mut self, values: impl Iterator<Item = T>) {
        let first = self.vec.place(self.indices.start);
        for (nth, value) in values.take(self.indices.len()).enumerate() {
            // SAFETY: a claimed index is below the capacity, so the place is in committed pages; it is aligned because
            // the base is. No other thread writes there, and no thread reads it before it is published.
            unsafe { first.wrapping_add(nth).write(value) };
            self.end += 1;
        }
    }
}

impl<T> Drop for Run<'_, T> {
    fn drop(&mut self) {
        let Run {
            vec,
            ref indices,
            end,
        } = *self;
        let written = ptr::slice_from_raw_parts_mut(vec.place(indices.start), end - indices.start);
        // SAFETY: this thread has written the elements (invariant). They are not published, so nothing else refers to
        // them.
        unsafe { written.drop_in_place() };
        let owned = &vec.owned;
        owned.claims.give_back(indices.clone(), &owned.storage);
    }
}

impl<T: Clone> AppendVec<T> {
    /// Appends clones of all values in one piece: no element of another thread comes between them.
    ///
    /// Returns the index of the first clone, and the clones.
    ///
    /// All of them take one claim, so threads that append in batches contend less. Slices of the vector show all of
    /// these elements or none, and end before them until all are cloned: see
    /// [above](AppendVec#which-elements-are-visible-and-when). If a clone panics, later pushes use the indices; a later
    /// slice uses them if it fits into the gap. For an empty slice, the index is that of a future push.
    ///
    /// ```
    /// static NAMES: elbowroom::AppendVec<u8> = elbowroom::AppendVec::new();
    ///
    /// let (index, name) = NAMES.push_slice(b"a name that stays where it is");
    /// assert_eq!(&NAMES[index..index + name.len()], name);
    /// ```
    ///
    /// # Panics
    /// Panics with the text of the error that [`try_push_slice`](AppendVec::try_push_slice) would return.
    #[track_caller]
    pub fn push_slice(&self, values: &[T]) -> (usize, &[T]) {
        accept(self.try_push_slice(values))
    }

    /// Appends as [`push_slice`](AppendVec::push_slice) does, or returns an error.
    ///
    /// # Errors
    /// See [above](AppendVec#errors); nothing is cloned then.
    pub fn try_push_slice(&self, values: &[T]) -> Result<(usize, &[T]), Error> {
        if values.is_empty() {
            return Ok((self.owned.claims.claimed(), &[]));
        }
        let storage = &self.owned.storage;
        storage.reserve_for(values.len())?;
        let first = self.owned.claims.claim_run(values.len(), storage)?;
        let mut run = Run {
            vec: self,
            indices: first..first + values.len(),
            end: first,
        };
        run.write(values.iter().cloned());
        let indices = run.indices.clone();
        mem::forget(run);
        self.owned.claims.publish_run(indices, storage);
        // SAFETY: `values.len()` elements lie there in one piece. They were just written, and are not written again
        // while `self` is borrowed.
        Ok((first, unsafe {
            slice::from_raw_parts(self.place(first), values.len())
        }))
    }
}

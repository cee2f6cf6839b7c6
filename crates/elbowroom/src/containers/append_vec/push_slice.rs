//! Many elements at once, in one piece.

#![allow(unsafe_code, reason = "writes elements whose indices it has claimed")]

use std::ops::Range;
use std::{mem, ptr, slice};

use super::super::reserved_vec::accept;
use super::AppendVec;
use crate::error::Error;

/// Indices that are claimed and whose elements are being written. Dropping this gives them back.
struct Run<'a, T> {
    vec: &'a AppendVec<T>,
    // Invariant: claimed by this thread, not empty, and neither published nor given back.
    indices: Range<usize>,
    // Invariant: the elements from the first index up to this one are written.
    end: usize,
}

impl<T> Run<'_, T> {
    /// Writes the elements, one for each index.
    fn write(&mut self, values: impl Iterator<Item = T>) {
        let first = self.vec.place(self.indices.start);
        for (nth, value) in values.take(self.indices.len()).enumerate() {
            // SAFETY: an index that was claimed is below the capacity, so this is in committed pages, and aligned, as
            // the base is; no other thread writes there, and none reads it before it is published.
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
        // SAFETY: written by this thread (invariant), and not published, so that nothing else has a reference to them.
        unsafe { written.drop_in_place() };
        let owned = &vec.owned;
        owned.claims.give_back(indices.clone(), &owned.storage);
    }
}

impl<T: Clone> AppendVec<T> {
    /// Appends clones of all values in one piece: no element of another thread comes between them. Returns the index of
    /// the first one, and where they are.
    ///
    /// One claim serves all of them, so that threads that append in batches meet less often. Slices of the vector show
    /// all of these elements or none, and end before them until all are cloned: see
    /// [above](AppendVec#what-is-seen-when). If a clone panics, later pushes use the indices; a slice uses them if it
    /// is no longer than the gap. For no values, the index is that of a push to come.
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
    /// See [above](AppendVec#errors); nothing was cloned.
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
        // SAFETY: as many elements as there are values, in one piece, written just now and never again while `self` is
        // borrowed.
        Ok((first, unsafe {
            slice::from_raw_parts(self.place(first), values.len())
        }))
    }
}

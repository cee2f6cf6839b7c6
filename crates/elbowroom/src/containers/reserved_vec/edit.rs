//! Adding, taking out and moving elements.

#![allow(
    unsafe_code,
    reason = "moves elements in and out of memory that the vector has committed"
)]

use std::ops::RangeBounds;
use std::ptr;

use super::super::PushError;
use super::{Extent, ReservedVec, accept, drain, refused};
use crate::error::Error;

impl<T> ReservedVec<T> {
    /// Appends an element.
    ///
    /// # Panics
    /// With the text of the error that [`try_push`](ReservedVec::try_push) would return.
    #[inline]
    #[track_caller]
    pub fn push(&mut self, value: T) {
        if self.owned.len == self.ready {
            self.grow_for_push();
        }
        // SAFETY: there is room for one more.
        unsafe { self.push_ready(value) };
    }

    /// Appends an element, or gives it back.
    ///
    /// # Errors
    /// [`PushError::error`] as of [`try_reserve`](ReservedVec::try_reserve). It turns into that one with `?`.
    #[inline]
    pub fn try_push(&mut self, value: T) -> Result<(), PushError<T>> {
        if self.owned.len == self.ready {
            if let Err(error) = self.grow(self.owned.len, 1, Extent::Ahead) {
                return Err(PushError::new(value, error));
            }
        }
        // SAFETY: there is room for one more.
        unsafe { self.push_ready(value) };
        Ok(())
    }

    /// Appends an element, and returns a reference to it.
    ///
    /// # Panics
    /// As [`push`](ReservedVec::push).
    #[inline]
    #[track_caller]
    pub fn push_mut(&mut self, value: T) -> &mut T {
        self.push(value);
        let last = self.place(self.owned.len - 1);
        // SAFETY: the element that was pushed just now, borrowed with the vector.
        unsafe { &mut *last }
    }

    /// Appends an element if it fits into the [`capacity`](ReservedVec::capacity), and returns a reference to it.
    /// Otherwise gives the element back. Asks the system for nothing.
    ///
    /// # Errors
    /// The element, if there is no room.
    #[inline]
    pub fn push_within_capacity(&mut self, value: T) -> Result<&mut T, T> {
        if self.owned.len == self.capacity() {
            return Err(value);
        }
        // Committed pages may be used; that they are `ready` only says that they are in memory.
        self.ready = self.ready.max(self.owned.len + 1);
        // SAFETY: there is room for one more.
        unsafe { self.push_ready(value) };
        let last = self.place(self.owned.len - 1);
        // SAFETY: the element that was pushed just now, borrowed with the vector.
        Ok(unsafe { &mut *last })
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    fn grow_for_push(&mut self) {
        accept(self.grow(self.owned.len, 1, Extent::Ahead));
    }

    /// # Safety
    /// The length is less than what is ready.
    #[inline(always)]
    pub(super) unsafe fn push_ready(&mut self, value: T) {
        let len = self.owned.len;
        let place = self.place(len);
        // SAFETY: ready (contract), so on committed pages, or of no size; aligned as the base is; nothing
        // is there that would have to be dropped.
        unsafe { place.write(value) };
        // Not counted up in memory, which the compiler would have to read again after the write.
        self.owned.len = len + 1;
    }

    /// Takes the last element.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if self.owned.len == 0 {
            return None;
        }
        self.owned.len -= 1;
        // SAFETY: it was the last element, and the vector no longer counts it as its own.
        Some(unsafe { self.place(self.owned.len).read() })
    }

    /// Takes the last element if `predicate` says so.
    pub fn pop_if(&mut self, predicate: impl FnOnce(&mut T) -> bool) -> Option<T> {
        let last = self.last_mut()?;
        if predicate(last) { self.pop() } else { None }
    }

    /// Puts an element at `index`, and moves those from there on up by one.
    ///
    /// # Panics
    /// If `index` is beyond the length; and with the text of the error that [`try_insert`](ReservedVec::try_insert)
    /// would return.
    #[track_caller]
    pub fn insert(&mut self, index: usize, value: T) {
        if let Err(refusal) = self.try_insert(index, value) {
            refused(refusal.error());
        }
    }

    /// Puts an element at `index`, and moves those from there on up by one; or gives it back.
    ///
    /// # Errors
    /// As [`try_push`](ReservedVec::try_push).
    ///
    /// # Panics
    /// If `index` is beyond the length.
    #[track_caller]
    pub fn try_insert(&mut self, index: usize, value: T) -> Result<(), PushError<T>> {
        let len = self.owned.len;
        assert!(index <= len, "index {index} is beyond the length of {len}");
        if let Err(error) = self.make_room(1) {
            return Err(PushError::new(value, error));
        }
        let place = self.place(index);
        // SAFETY: the elements from there on, and one place more, are ready.
        unsafe { ptr::copy(place, self.place(index + 1), len - index) };
        // SAFETY: what was there has been moved away.
        unsafe { place.write(value) };
        self.owned.len = len + 1;
        Ok(())
    }

    /// Puts an element at `index`, and returns a reference to it.
    ///
    /// # Panics
    /// As [`insert`](ReservedVec::insert).
    #[track_caller]
    pub fn insert_mut(&mut self, index: usize, value: T) -> &mut T {
        self.insert(index, value);
        &mut self[index]
    }

    /// Takes the element at `index`, as [`remove`](ReservedVec::remove) does, if there is one.
    pub fn try_remove(&mut self, index: usize) -> Option<T> {
        (index < self.owned.len).then(|| self.remove(index))
    }

    /// Takes the element at `index`, and moves those behind it down by one.
    ///
    /// # Panics
    /// If there is no such element.
    #[track_caller]
    pub fn remove(&mut self, index: usize) -> T {
        let len = self.owned.len;
        assert!(
            index < len,
            "index {index} is not below the length of {len}"
        );
        let place = self.place(index);
        // SAFETY: an element, which is moved out and then overwritten or no longer counted.
        let value = unsafe { place.read() };
        // SAFETY: the elements behind it move down by one.
        unsafe { ptr::copy(self.place(index + 1), place, len - index - 1) };
        self.owned.len = len - 1;
        value
    }

    /// Takes the element at `index`, and moves the last one there.
    ///
    /// # Panics
    /// If there is no such element.
    #[track_caller]
    pub fn swap_remove(&mut self, index: usize) -> T {
        let len = self.owned.len;
        assert!(
            index < len,
            "index {index} is not below the length of {len}"
        );
        self.as_mut_slice().swap(index, len - 1);
        self.owned.len = len - 1;
        // SAFETY: it was the last element, and the vector no longer counts it as its own.
        unsafe { self.place(len - 1).read() }
    }

    /// Drops the elements from `len` on. What is committed stays so.
    pub fn truncate(&mut self, len: usize) {
        let Some(dropped) = self.owned.len.checked_sub(len) else {
            return;
        };
        let rest = ptr::slice_from_raw_parts_mut(self.place(len), dropped);
        // Before anything is dropped: if that panics, nothing is dropped twice.
        self.owned.len = len;
        // SAFETY: initialised elements that the vector no longer counts as its own.
        unsafe { ptr::drop_in_place(rest) };
    }

    /// Drops all elements. What is committed stays so.
    #[inline]
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Moves all elements of `other` to the end of this one.
    ///
    /// # Panics
    /// With the text of the error that [`try_append`](ReservedVec::try_append) would return.
    #[track_caller]
    pub fn append(&mut self, other: &mut ReservedVec<T>) {
        accept(self.try_append(other));
    }

    /// Moves all elements of `other` to the end of this one, or none.
    ///
    /// # Errors
    /// As [`try_reserve`](ReservedVec::try_reserve).
    pub fn try_append(&mut self, other: &mut ReservedVec<T>) -> Result<(), Error> {
        let more = other.owned.len;
        self.make_room(more)?;
        // SAFETY: initialised elements of another vector, into room for as many.
        unsafe { ptr::copy_nonoverlapping(other.as_ptr(), self.place(self.owned.len), more) };
        other.owned.len = 0;
        self.owned.len += more;
        Ok(())
    }

    /// Takes the elements from `at` on into a vector with the same maximum, limits, budget, growth and name.
    ///
    /// # Panics
    /// If `at` is beyond the length; and with the text of the error that [`try_split_off`](ReservedVec::try_split_off)
    /// would return.
    #[track_caller]
    #[must_use = "use `truncate` to drop the elements"]
    pub fn split_off(&mut self, at: usize) -> ReservedVec<T> {
        accept(self.try_split_off(at))
    }

    /// Takes the elements from `at` on into a vector with the same maximum, limits, budget, growth and name.
    ///
    /// # Errors
    /// As [`try_reserve`](ReservedVec::try_reserve), and as of the builder.
    ///
    /// # Panics
    /// If `at` is beyond the length.
    #[track_caller]
    pub fn try_split_off(&mut self, at: usize) -> Result<ReservedVec<T>, Error> {
        let len = self.owned.len;
        assert!(at <= len, "index {at} is beyond the length of {len}");
        let mut other = self.like()?;
        other.make_room(len - at)?;
        // SAFETY: initialised elements, into room for as many in another vector.
        unsafe { ptr::copy_nonoverlapping(self.place(at), other.as_mut_ptr(), len - at) };
        self.owned.len = at;
        other.owned.len = len - at;
        Ok(other)
    }

    /// Drops elements or appends what `make` returns, until there are `len`.
    ///
    /// # Panics
    /// With the text of the error that [`try_resize_with`](ReservedVec::try_resize_with) would return.
    #[track_caller]
    pub fn resize_with(&mut self, len: usize, make: impl FnMut() -> T) {
        accept(self.try_resize_with(len, make));
    }

    /// Drops elements or appends what `make` returns, until there are `len`.
    ///
    /// # Errors
    /// As [`try_reserve`](ReservedVec::try_reserve).
    pub fn try_resize_with(
        &mut self,
        len: usize,
        mut make: impl FnMut() -> T,
    ) -> Result<(), Error> {
        match len.checked_sub(self.owned.len) {
            Some(more) => {
                self.make_room(more)?;
                while self.owned.len < len {
                    // SAFETY: there is room for all of them.
                    unsafe { self.push_ready(make()) };
                }
            }
            None => self.truncate(len),
        }
        Ok(())
    }

    /// Takes the elements of `range` out, which are dropped if they are not asked for, and closes the gap when the
    /// iterator is dropped. (If it is forgotten, elements behind the range may be lost.)
    ///
    /// # Panics
    /// If the range is inverted or ends beyond the length.
    #[track_caller]
    pub fn drain(&mut self, range: impl RangeBounds<usize>) -> drain::Drain<'_, T> {
        let range = drain::resolve(range, self.owned.len);
        drain::Drain::new(self, range)
    }
}

impl<T: Clone> ReservedVec<T> {
    /// Drops elements or appends clones of `value`, until there are `len`.
    ///
    /// # Panics
    /// With the text of the error that [`try_resize`](ReservedVec::try_resize) would return.
    #[track_caller]
    pub fn resize(&mut self, len: usize, value: T) {
        accept(self.try_resize(len, value));
    }

    /// Drops elements or appends clones of `value`, until there are `len`.
    ///
    /// # Errors
    /// As [`try_reserve`](ReservedVec::try_reserve).
    pub fn try_resize(&mut self, len: usize, value: T) -> Result<(), Error> {
        if len <= self.owned.len {
            self.truncate(len);
            return Ok(());
        }
        self.make_room(len - self.owned.len)?;
        self.fill_ready(len - self.owned.len - 1, || value.clone());
        // SAFETY: there is room for all of them, and one is left.
        unsafe { self.push_ready(value) };
        Ok(())
    }
}

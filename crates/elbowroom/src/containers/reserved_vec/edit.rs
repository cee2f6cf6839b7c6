//! Adding, removing and moving elements.

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
    /// Panics with the text of the error that [`try_push`](ReservedVec::try_push) would return.
    #[inline]
    #[track_caller]
    pub fn push(&mut self, value: T) {
        if self.owned.len == self.ready {
            self.grow_for_push();
        }
        // SAFETY: the length is at most `ready` (invariant). It is less, because `grow_for_push` makes one more ready,
        // or panics.
        unsafe { self.push_ready(value) };
    }

    /// Appends an element, or returns it in the error.
    ///
    /// # Errors
    /// [`PushError::error`] is that of [`try_reserve`](ReservedVec::try_reserve). The operator `?` converts to it.
    #[inline]
    pub fn try_push(&mut self, value: T) -> Result<(), PushError<T>> {
        if self.owned.len == self.ready {
            if let Err(error) = self.grow(self.owned.len, 1, Extent::Ahead) {
                return Err(PushError::new(value, error));
            }
        }
        // SAFETY: the length is at most `ready` (invariant). It is less, because `grow` has made one more ready.
        unsafe { self.push_ready(value) };
        Ok(())
    }

    /// Appends an element, and returns a reference to it.
    ///
    /// # Panics
    /// See [`push`](ReservedVec::push).
    #[inline]
    #[track_caller]
    pub fn push_mut(&mut self, value: T) -> &mut T {
        self.push(value);
        let last = self.place(self.owned.len - 1);
        // SAFETY: this is the element that was just pushed, borrowed with the vector.
        unsafe { &mut *last }
    }

    /// Appends an element if it fits into the [`capacity`](ReservedVec::capacity), and returns a reference to it.
    ///
    /// Otherwise returns the element. Makes no system call.
    ///
    /// # Errors
    /// The element is returned if there is no room.
    #[inline]
    pub fn push_within_capacity(&mut self, value: T) -> Result<&mut T, T> {
        if self.owned.len == self.capacity() {
            return Err(value);
        }
        // Committed pages may be used at any time; `ready` only says that they are resident.
        self.ready = self.ready.max(self.owned.len + 1);
        // SAFETY: the length is less than the capacity, and `ready` was just raised above the length.
        unsafe { self.push_ready(value) };
        let last = self.place(self.owned.len - 1);
        // SAFETY: this is the element that was just pushed, borrowed with the vector.
        Ok(unsafe { &mut *last })
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    fn grow_for_push(&mut self) {
        accept(self.grow(self.owned.len, 1, Extent::Ahead));
    }

    /// # Safety
    /// The length is less than `ready`.
    #[inline(always)]
    pub(super) unsafe fn push_ready(&mut self, value: T) {
        let len = self.owned.len;
        let place = self.place(len);
        // SAFETY: the place is ready (contract), so it is on committed pages or has no size. It is aligned because the
        // base is. It holds no value that would need dropping.
        unsafe { place.write(value) };
        // The length is not incremented in memory, because the compiler would have to read it again after the write.
        self.owned.len = len + 1;
    }

    /// Removes the last element and returns it, or `None` if the vector is empty.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if self.owned.len == 0 {
            return None;
        }
        self.owned.len -= 1;
        // SAFETY: this was the last element, and the vector no longer counts it as its own.
        Some(unsafe { self.place(self.owned.len).read() })
    }

    /// Removes the last element and returns it, if `predicate` returns true for it.
    pub fn pop_if(&mut self, predicate: impl FnOnce(&mut T) -> bool) -> Option<T> {
        let last = self.last_mut()?;
        if predicate(last) { self.pop() } else { None }
    }

    /// Inserts an element at `index`, and moves the elements from there on up by one.
    ///
    /// # Panics
    /// Panics if `index` is beyond the length. Panics with the text of the error that
    /// [`try_insert`](ReservedVec::try_insert) would return.
    #[track_caller]
    pub fn insert(&mut self, index: usize, value: T) {
        if let Err(refusal) = self.try_insert(index, value) {
            refused(refusal.error());
        }
    }

    /// Inserts an element at `index`, and moves the elements from there on up by one.
    ///
    /// Returns the element if there is no room.
    ///
    /// # Errors
    /// See [`try_push`](ReservedVec::try_push).
    ///
    /// # Panics
    /// Panics if `index` is beyond the length.
    #[track_caller]
    pub fn try_insert(&mut self, index: usize, value: T) -> Result<(), PushError<T>> {
        let len = self.owned.len;
        assert!(index <= len, "index {index} is beyond the length of {len}");
        if let Err(error) = self.make_room(1) {
            return Err(PushError::new(value, error));
        }
        let place = self.place(index);
        // SAFETY: `make_room` has returned, so the elements from there on, and one place more, are ready.
        unsafe { ptr::copy(place, self.place(index + 1), len - index) };
        // SAFETY: the place is ready, and its element has been moved away.
        unsafe { place.write(value) };
        self.owned.len = len + 1;
        Ok(())
    }

    /// Inserts an element at `index`, and returns a reference to it.
    ///
    /// # Panics
    /// See [`insert`](ReservedVec::insert).
    #[track_caller]
    pub fn insert_mut(&mut self, index: usize, value: T) -> &mut T {
        self.insert(index, value);
        &mut self[index]
    }

    /// Removes the element at `index` as [`remove`](ReservedVec::remove) does, or returns `None` if there is none.
    pub fn try_remove(&mut self, index: usize) -> Option<T> {
        (index < self.owned.len).then(|| self.remove(index))
    }

    /// Removes the element at `index` and returns it. Moves the elements behind it down by one.
    ///
    /// # Panics
    /// Panics if `index` is not less than the length.
    #[track_caller]
    pub fn remove(&mut self, index: usize) -> T {
        let len = self.owned.len;
        assert!(
            index < len,
            "index {index} is not below the length of {len}"
        );
        let place = self.place(index);
        // SAFETY: the element is initialised; its place is then overwritten or no longer counted, so it is owned once.
        let value = unsafe { place.read() };
        // SAFETY: the elements behind it are initialised, and move down by one place inside the vector.
        unsafe { ptr::copy(self.place(index + 1), place, len - index - 1) };
        self.owned.len = len - 1;
        value
    }

    /// Removes the element at `index` and returns it. Moves the last element into its place.
    ///
    /// # Panics
    /// Panics if `index` is not less than the length.
    #[track_caller]
    pub fn swap_remove(&mut self, index: usize) -> T {
        let len = self.owned.len;
        assert!(
            index < len,
            "index {index} is not below the length of {len}"
        );
        self.as_mut_slice().swap(index, len - 1);
        self.owned.len = len - 1;
        // SAFETY: this was the last element, and the vector no longer counts it as its own.
        unsafe { self.place(len - 1).read() }
    }

    /// Drops the elements from `len` on. Committed pages stay committed.
    pub fn truncate(&mut self, len: usize) {
        let Some(dropped) = self.owned.len.checked_sub(len) else {
            return;
        };
        let rest = ptr::slice_from_raw_parts_mut(self.place(len), dropped);
        // Set before any drop: if one panics, no element is dropped twice.
        self.owned.len = len;
        // SAFETY: the elements are initialised, and the vector no longer counts them as its own.
        unsafe { ptr::drop_in_place(rest) };
    }

    /// Drops all elements. Committed pages stay committed.
    #[inline]
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Moves all elements of `other` to the end of this vector.
    ///
    /// # Panics
    /// Panics with the text of the error that [`try_append`](ReservedVec::try_append) would return.
    #[track_caller]
    pub fn append(&mut self, other: &mut ReservedVec<T>) {
        accept(self.try_append(other));
    }

    /// Moves all elements of `other` to the end of this vector, or none.
    ///
    /// # Errors
    /// See [`try_reserve`](ReservedVec::try_reserve).
    pub fn try_append(&mut self, other: &mut ReservedVec<T>) -> Result<(), Error> {
        let more = other.owned.len;
        self.make_room(more)?;
        // SAFETY: the elements are initialised, in another vector, and this one has room for `more` elements.
        unsafe { ptr::copy_nonoverlapping(other.as_ptr(), self.place(self.owned.len), more) };
        other.owned.len = 0;
        self.owned.len += more;
        Ok(())
    }

    /// Moves the elements from `at` on into a new vector with the same maximum, limits, budget, growth policy and name.
    ///
    /// # Panics
    /// Panics if `at` is beyond the length. Panics with the text of the error that
    /// [`try_split_off`](ReservedVec::try_split_off) would return.
    #[track_caller]
    #[must_use = "use `truncate` to drop the elements"]
    pub fn split_off(&mut self, at: usize) -> ReservedVec<T> {
        accept(self.try_split_off(at))
    }

    /// Moves the elements from `at` on into a new vector with the same maximum, limits, budget, growth policy and name.
    ///
    /// # Errors
    /// See [`try_reserve`](ReservedVec::try_reserve), and `build` of the [builder](ReservedVec::builder).
    ///
    /// # Panics
    /// Panics if `at` is beyond the length.
    #[track_caller]
    pub fn try_split_off(&mut self, at: usize) -> Result<ReservedVec<T>, Error> {
        let len = self.owned.len;
        assert!(at <= len, "index {at} is beyond the length of {len}");
        let mut other = self.like()?;
        other.make_room(len - at)?;
        // SAFETY: the elements are initialised, and the other vector has room for `len - at` elements in separate
        // memory.
        unsafe { ptr::copy_nonoverlapping(self.place(at), other.as_mut_ptr(), len - at) };
        self.owned.len = at;
        other.owned.len = len - at;
        Ok(other)
    }

    /// Drops elements, or appends elements that `make` returns, until the length is `len`.
    ///
    /// # Panics
    /// Panics with the text of the error that [`try_resize_with`](ReservedVec::try_resize_with) would return.
    #[track_caller]
    pub fn resize_with(&mut self, len: usize, make: impl FnMut() -> T) {
        accept(self.try_resize_with(len, make));
    }

    /// Drops elements, or appends elements that `make` returns, until the length is `len`.
    ///
    /// # Errors
    /// See [`try_reserve`](ReservedVec::try_reserve).
    pub fn try_resize_with(
        &mut self,
        len: usize,
        mut make: impl FnMut() -> T,
    ) -> Result<(), Error> {
        match len.checked_sub(self.owned.len) {
            Some(more) => {
                self.make_room(more)?;
                while self.owned.len < len {
                    // SAFETY: `make_room` has made room for all of them.
                    unsafe { self.push_ready(make()) };
                }
            }
            None => self.truncate(len),
        }
        Ok(())
    }

    /// Removes the elements of `range` and returns an iterator over them.
    ///
    /// Dropping the iterator drops those that were not taken and closes the gap. If it is forgotten, elements behind
    /// the range may be lost.
    ///
    /// ```
    /// let mut vec = elbowroom::ReservedVec::from([1, 2, 3, 4]);
    /// assert!(vec.drain(1..3).eq([2, 3]));
    /// assert_eq!(vec, [1, 4]);
    /// ```
    ///
    /// # Panics
    /// Panics if the range is inverted or ends beyond the length.
    #[track_caller]
    pub fn drain(&mut self, range: impl RangeBounds<usize>) -> drain::Drain<'_, T> {
        let range = drain::resolve(range, self.owned.len);
        drain::Drain::new(self, range)
    }
}

impl<T: Clone> ReservedVec<T> {
    /// Drops elements, or appends clones of `value`, until the length is `len`.
    ///
    /// # Panics
    /// Panics with the text of the error that [`try_resize`](ReservedVec::try_resize) would return.
    #[track_caller]
    pub fn resize(&mut self, len: usize, value: T) {
        accept(self.try_resize(len, value));
    }

    /// Drops elements, or appends clones of `value`, until the length is `len`.
    ///
    /// # Errors
    /// See [`try_reserve`](ReservedVec::try_reserve).
    pub fn try_resize(&mut self, len: usize, value: T) -> Result<(), Error> {
        if len <= self.owned.len {
            self.truncate(len);
            return Ok(());
        }
        self.make_room(len - self.owned.len)?;
        self.fill_ready(len - self.owned.len - 1, || value.clone());
        // SAFETY: `make_room` has made room for all of them, and this is the last.
        unsafe { self.push_ready(value) };
        Ok(())
    }
}

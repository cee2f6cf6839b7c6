//! Allocation of values whose construction may fail.

#![allow(unsafe_code, reason = "lends memory that the arena has handed out")]

use std::alloc::Layout;
use std::mem;
use std::ptr::NonNull;

use super::super::reserved_vec::accept;
use super::blocks::{Arena, Fit};
use super::room;
use super::slice_builder::SliceBuilder;
use crate::error::Error;

/// A block for a value that is being made. Dropping it frees the block, if it is the last one.
struct Room<'a> {
    arena: &'a Arena,
    // Invariant: a block of the arena of `size` bytes, owned by this guard alone. When it was handed out, the arena's
    // next address was `before`.
    block: NonNull<u8>,
    size: usize,
    before: usize,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        // SAFETY: the guard alone owns the block, which was handed out with `size` at `before` (invariant), and the
        // guard ends here.
        unsafe { self.arena.give_back(self.block, self.size, self.before) };
    }
}

#[expect(clippy::mut_from_ref, reason = "each call lends another place")]
impl Arena {
    /// Makes room for a value, and stores the value that `make` returns.
    ///
    /// If `make` returns an error or panics, the room is freed, unless `make` allocated in the arena itself.
    ///
    /// ```
    /// let arena = elbowroom::Arena::new();
    /// let port = arena.alloc_try_with(|| "8080".parse::<u16>())?;
    /// assert_eq!(*port, 8080);
    /// assert!(arena.alloc_try_with(|| "http".parse::<u16>()).is_err());
    /// assert_eq!(arena.allocated_bytes(), 2);
    /// # Ok::<(), std::num::ParseIntError>(())
    /// ```
    ///
    /// # Errors
    /// Returns the error of `make`.
    ///
    /// # Panics
    /// Panics if there is no room, with the text of the [error](Arena#errors). `make` is not called then.
    #[inline]
    #[track_caller]
    pub fn alloc_try_with<T, E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<&mut T, E> {
        accept(self.try_alloc_try_with(make))
    }

    /// Allocates as [`alloc_try_with`](Arena::alloc_try_with) does, or returns an error without calling `make`.
    ///
    /// # Errors
    /// The outer error is the arena's [error](Arena#errors), the inner one that of `make`.
    ///
    /// ```
    /// fn store<'a>(arena: &'a elbowroom::Arena, text: &str) -> Result<&'a mut u16, Box<dyn std::error::Error>> {
    ///     Ok(arena.try_alloc_try_with(|| text.parse())??)
    /// }
    /// # assert_eq!(*store(&elbowroom::Arena::new(), "7")?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn try_alloc_try_with<T, E>(
        &self,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Result<&mut T, E>, Error> {
        let layout = Layout::new::<T>();
        let before = self.next_address();
        let block = self.try_place(layout, Fit::Whole)?;
        let guard = Room {
            arena: self,
            block,
            size: layout.size(),
            before,
        };
        Ok(make().map(|value| {
            mem::forget(guard);
            // SAFETY: the block has the layout of a T. The guard owned it alone, and has been forgotten without giving
            // it back.
            unsafe { room::<T>(block) }.write(value)
        }))
    }

    /// Makes room for `len` values, and stores the values that `make` returns for 0, 1 and so on.
    ///
    /// If `make` returns an error or panics, the values already made are dropped and the room is freed, unless `make`
    /// allocated in the arena itself.
    ///
    /// ```
    /// let arena = elbowroom::Arena::new();
    /// let numbers = ["1", "2", "three"];
    /// let parsed = arena.alloc_slice_try_fill_with(2, |index| numbers[index].parse::<u32>())?;
    /// assert_eq!(parsed, [1, 2]);
    /// assert!(arena.alloc_slice_try_fill_with(3, |index| numbers[index].parse::<u32>()).is_err());
    /// # Ok::<(), std::num::ParseIntError>(())
    /// ```
    ///
    /// # Errors
    /// Returns the first error of `make`.
    ///
    /// # Panics
    /// Panics if there is no room, with the text of the [error](Arena#errors). `make` is not called then.
    #[inline]
    #[track_caller]
    pub fn alloc_slice_try_fill_with<T, E>(
        &self,
        len: usize,
        make: impl FnMut(usize) -> Result<T, E>,
    ) -> Result<&mut [T], E> {
        accept(self.try_alloc_slice_try_fill_with(len, make))
    }

    /// Allocates as [`alloc_slice_try_fill_with`](Arena::alloc_slice_try_fill_with) does, or returns an error without
    /// calling `make`.
    ///
    /// # Errors
    /// The outer error is the arena's [error](Arena#errors), the inner one that of `make`.
    #[inline]
    pub fn try_alloc_slice_try_fill_with<T, E>(
        &self,
        len: usize,
        mut make: impl FnMut(usize) -> Result<T, E>,
    ) -> Result<Result<&mut [T], E>, Error> {
        let mut failure = None;
        let mut slice = SliceBuilder::with_capacity(self, len)?;
        slice.fill(|index| make(index).map_err(|error| failure = Some(error)).ok());
        Ok(match failure {
            Some(error) => Err(error),
            None => Ok(slice.finish()),
        })
    }

    /// Puts all values that `values` yields into the arena, up to the first error, as
    /// [`alloc_slice_fill_iter`](Arena::alloc_slice_fill_iter) does.
    ///
    /// On an error or a panic, the values already stored are dropped and the room is freed, unless the iterator
    /// allocated in the arena itself.
    ///
    /// ```
    /// let arena = elbowroom::Arena::new();
    /// let numbers = arena.alloc_slice_try_fill_iter("1 2 3".split(' ').map(str::parse::<u8>))?;
    /// assert_eq!(numbers, [1, 2, 3]);
    /// # Ok::<(), std::num::ParseIntError>(())
    /// ```
    ///
    /// # Errors
    /// Returns the first error that `values` yields.
    ///
    /// # Panics
    /// Panics if there is no room, with the text of the [error](Arena#errors).
    #[inline]
    #[track_caller]
    pub fn alloc_slice_try_fill_iter<T, E>(
        &self,
        values: impl IntoIterator<Item = Result<T, E>>,
    ) -> Result<&mut [T], E> {
        accept(self.try_alloc_slice_try_fill_iter(values))
    }

    /// Allocates as [`alloc_slice_try_fill_iter`](Arena::alloc_slice_try_fill_iter) does, or returns an error and drops
    /// the items that the iterator has yielded.
    ///
    /// # Errors
    /// The outer error is the arena's [error](Arena#errors), the inner one is the first that `values` yields.
    #[inline]
    pub fn try_alloc_slice_try_fill_iter<T, E>(
        &self,
        values: impl IntoIterator<Item = Result<T, E>>,
    ) -> Result<Result<&mut [T], E>, Error> {
        let mut failure = None;
        let mut values = values.into_iter();
        let mut slice = SliceBuilder::with_capacity(self, values.size_hint().0)?;
        let mut next = || values.next()?.map_err(|error| failure = Some(error)).ok();
        slice.fill_from(&mut next)?;
        Ok(match failure {
            Some(error) => Err(error),
            None => Ok(slice.finish()),
        })
    }
}

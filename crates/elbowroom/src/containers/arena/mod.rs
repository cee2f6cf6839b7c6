//! An arena: values of all types, one behind another, freed all at once.
//!
//! ```text
//!  base            next        end (ready)      committed            the reservation's end
//!  | handed out    | free      | free, later    | reserved           |
//! ```

#![allow(unsafe_code, reason = "lends memory that the arena has handed out")]

use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
use std::slice;

use super::reserved_vec::accept;
use crate::error::Error;
use blocks::Fit;
use slice_builder::SliceBuilder;

#[cfg(feature = "allocator-api2")]
mod allocator;
mod arena_box;
mod blocks;
mod builder;
mod capacity;
mod fallible;
mod scope;
mod slice_builder;
mod strings;

pub use arena_box::ArenaBox;
pub use blocks::Arena;
pub use scope::Scope;

#[expect(clippy::mut_from_ref, reason = "each call lends another place")]
impl Arena {
    /// Puts a value into the arena.
    ///
    /// # Panics
    /// Panics with the text of the [error](Arena#errors), as do all the plain forms below.
    #[inline]
    #[track_caller]
    pub fn alloc<T>(&self, value: T) -> &mut T {
        self.alloc_with(|| value)
    }

    /// Allocates as [`alloc`](Arena::alloc) does, or returns an error.
    ///
    /// # Errors
    /// See [above](Arena#errors), as for all the forms with `try_` below.
    #[inline]
    pub fn try_alloc<T>(&self, value: T) -> Result<&mut T, Error> {
        self.try_alloc_with(|| value)
    }

    /// Makes room for a value, and then stores the value that `make` returns.
    ///
    /// The optimiser can usually avoid a copy on the stack. `make` may allocate in the arena itself.
    ///
    /// ```
    /// let arena = elbowroom::Arena::new();
    /// let table = arena.alloc_with(|| [0u8; 100_000]);
    /// table[7] = 1;
    /// ```
    #[inline]
    #[track_caller]
    pub fn alloc_with<T>(&self, make: impl FnOnce() -> T) -> &mut T {
        let place = self.place(Layout::new::<T>(), Fit::Whole);
        // SAFETY: the block has the layout of a T, and belongs to the caller from now on.
        unsafe { room::<T>(place) }.write(make())
    }

    /// Allocates as [`alloc_with`](Arena::alloc_with) does, or returns an error without calling `make`.
    #[inline]
    pub fn try_alloc_with<T>(&self, make: impl FnOnce() -> T) -> Result<&mut T, Error> {
        let place = self.try_place(Layout::new::<T>(), Fit::Whole)?;
        // SAFETY: the block has the layout of a T, and belongs to the caller from now on.
        Ok(unsafe { room::<T>(place) }.write(make()))
    }

    /// Puts a copy of `values` into the arena.
    #[inline]
    #[track_caller]
    pub fn alloc_slice_copy<T: Copy>(&self, values: &[T]) -> &mut [T] {
        let place = self.place(Layout::for_value(values), Fit::Whole);
        // SAFETY: the block has the layout of `values`, and belongs to the caller from now on.
        unsafe { copy_to(place, values) }
    }

    /// Allocates as [`alloc_slice_copy`](Arena::alloc_slice_copy) does, or returns an error.
    #[inline]
    pub fn try_alloc_slice_copy<T: Copy>(&self, values: &[T]) -> Result<&mut [T], Error> {
        let place = self.try_place(Layout::for_value(values), Fit::Whole)?;
        // SAFETY: the block has the layout of `values`, and belongs to the caller from now on.
        Ok(unsafe { copy_to(place, values) })
    }

    /// Puts clones of `values` into the arena. If a clone panics, those made before it are dropped.
    #[inline]
    #[track_caller]
    pub fn alloc_slice_clone<T: Clone>(&self, values: &[T]) -> &mut [T] {
        accept(self.try_alloc_slice_clone(values))
    }

    /// Allocates as [`alloc_slice_clone`](Arena::alloc_slice_clone) does, or returns an error before anything is
    /// cloned.
    #[inline]
    pub fn try_alloc_slice_clone<T: Clone>(&self, values: &[T]) -> Result<&mut [T], Error> {
        let mut slice = SliceBuilder::with_capacity(self, values.len())?;
        slice.fill(|index| values.get(index).cloned());
        Ok(slice.finish())
    }

    /// Makes room for `len` values, and then stores the values that `make` returns for 0, 1 and so on.
    ///
    /// If it panics, the values already made are dropped.
    ///
    /// ```
    /// let arena = elbowroom::Arena::new();
    /// let squares = arena.alloc_slice_fill_with(5, |n| n * n);
    /// assert_eq!(squares, [0, 1, 4, 9, 16]);
    /// ```
    #[inline]
    #[track_caller]
    pub fn alloc_slice_fill_with<T>(&self, len: usize, make: impl FnMut(usize) -> T) -> &mut [T] {
        accept(self.try_alloc_slice_fill_with(len, make))
    }

    /// Allocates as [`alloc_slice_fill_with`](Arena::alloc_slice_fill_with) does, or returns an error without calling
    /// `make`.
    #[inline]
    pub fn try_alloc_slice_fill_with<T>(
        &self,
        len: usize,
        mut make: impl FnMut(usize) -> T,
    ) -> Result<&mut [T], Error> {
        let mut slice = SliceBuilder::with_capacity(self, len)?;
        slice.fill(|index| Some(make(index)));
        Ok(slice.finish())
    }

    /// Puts `len` default values into the arena.
    #[inline]
    #[track_caller]
    pub fn alloc_slice_fill_default<T: Default>(&self, len: usize) -> &mut [T] {
        self.alloc_slice_fill_with(len, |_| T::default())
    }

    /// Allocates as [`alloc_slice_fill_default`](Arena::alloc_slice_fill_default) does, or returns an error.
    #[inline]
    pub fn try_alloc_slice_fill_default<T: Default>(&self, len: usize) -> Result<&mut [T], Error> {
        self.try_alloc_slice_fill_with(len, |_| T::default())
    }

    /// Puts all values that `values` yields into the arena.
    ///
    /// The slice grows in place, unless the iterator allocates in the arena itself.
    ///
    /// ```
    /// let arena = elbowroom::Arena::new();
    /// let words = arena.alloc_slice_fill_iter("a few words".split(' '));
    /// assert_eq!(words, ["a", "few", "words"]);
    /// ```
    #[inline]
    #[track_caller]
    pub fn alloc_slice_fill_iter<T>(&self, values: impl IntoIterator<Item = T>) -> &mut [T] {
        accept(self.try_alloc_slice_fill_iter(values))
    }

    /// Allocates as [`alloc_slice_fill_iter`](Arena::alloc_slice_fill_iter) does, or returns an error and drops the
    /// items that the iterator has yielded.
    #[inline]
    pub fn try_alloc_slice_fill_iter<T>(
        &self,
        values: impl IntoIterator<Item = T>,
    ) -> Result<&mut [T], Error> {
        let mut values = values.into_iter();
        let mut slice = SliceBuilder::with_capacity(self, values.size_hint().0)?;
        slice.fill_from(|| values.next())?;
        Ok(slice.finish())
    }

    /// Allocates bytes with the size and alignment of `layout`.
    ///
    /// Their contents are unspecified: they may be left over from before a reset, or from a container that was dropped.
    #[inline]
    #[track_caller]
    pub fn alloc_layout(&self, layout: Layout) -> &mut [MaybeUninit<u8>] {
        let place = self.place(layout, Fit::Any);
        // SAFETY: the block has `layout.size()` bytes and belongs to the caller from now on; any bytes are valid
        // MaybeUninit.
        unsafe { slice::from_raw_parts_mut(place.cast().as_ptr(), layout.size()) }
    }

    /// Allocates as [`alloc_layout`](Arena::alloc_layout) does, or returns an error.
    #[inline]
    pub fn try_alloc_layout(&self, layout: Layout) -> Result<&mut [MaybeUninit<u8>], Error> {
        let place = self.try_place(layout, Fit::Any)?;
        // SAFETY: the block has `layout.size()` bytes and belongs to the caller from now on; any bytes are valid
        // MaybeUninit.
        Ok(unsafe { slice::from_raw_parts_mut(place.cast().as_ptr(), layout.size()) })
    }
}

impl Arena {
    /// Calls `f` with a part of the arena, and then frees that part, in a few instructions.
    ///
    /// Values that `f` allocates there cannot leave it. See [`Scope`].
    pub fn scope<R>(&mut self, f: impl FnOnce(&mut Scope<'_>) -> R) -> R {
        Scope::open(self, f)
    }
}

/// Returns a block as room for a value.
///
/// # Safety
/// `place` has the size and alignment of a T, and belongs to the caller for the lifetime.
#[inline(always)]
unsafe fn room<'a, T>(place: NonNull<u8>) -> &'a mut MaybeUninit<T> {
    // SAFETY: the block is aligned, large enough, and has no other owner (contract); any bytes are valid MaybeUninit.
    unsafe { place.cast().as_mut() }
}

/// Copies values into a block.
///
/// # Safety
/// `place` has the size and alignment of `values`, and belongs to the caller for the lifetime.
#[inline(always)]
unsafe fn copy_to<'a, T: Copy>(place: NonNull<u8>, values: &[T]) -> &'a mut [T] {
    let place = place.cast::<T>().as_ptr();
    // SAFETY: `values` has `values.len()` Ts, and the block has room for them and no other owner (contract).
    unsafe { ptr::copy_nonoverlapping(values.as_ptr(), place, values.len()) };
    // SAFETY: the block is aligned and has no other owner for the lifetime (contract); `values.len()` Ts were just
    // written to it.
    unsafe { slice::from_raw_parts_mut(place, values.len()) }
}

//! A slice of an arena while it is being filled.

#![allow(unsafe_code, reason = "keeps elements in a block of an arena")]

use std::alloc::Layout;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::slice;

use super::blocks::{Arena, Fit};
use crate::error::{Error, Operation, Reason};

/// A slice that takes elements one by one. Dropped before it is finished, it drops them and makes the block free again,
/// with the padding before it, if that is the last one.
pub(super) struct SliceBuilder<'a, T> {
    arena: &'a Arena,
    // Invariant: a block of the arena, for `capacity` elements, that is this builder's alone.
    block: NonNull<T>,
    capacity: usize,
    // The arena's next address when it handed the block out.
    before: usize,
    // Invariant: at most `capacity`; so many elements are initialised.
    len: usize,
    elements: PhantomData<T>,
}

impl<'a, T> SliceBuilder<'a, T> {
    #[inline]
    pub(super) fn with_capacity(
        arena: &'a Arena,
        capacity: usize,
    ) -> Result<SliceBuilder<'a, T>, Error> {
        let layout = Self::layout(capacity)?;
        let before = arena.next_address();
        let block = arena.try_place(layout, Fit::Whole)?.cast();
        Ok(SliceBuilder {
            arena,
            block,
            capacity,
            before,
            len: 0,
            elements: PhantomData,
        })
    }

    #[inline]
    fn layout(capacity: usize) -> Result<Layout, Error> {
        Layout::array::<T>(capacity)
            .map_err(|_| Error::new(Operation::Commit, 0..usize::MAX, Reason::TooLarge))
    }

    /// Writes what `make` returns for each index that there is room for, until it returns none. Whether it returned one
    /// for each.
    #[inline]
    pub(super) fn fill(&mut self, mut make: impl FnMut(usize) -> Option<T>) -> bool {
        for index in self.len..self.capacity {
            let Some(element) = make(index) else {
                return false;
            };
            // SAFETY: the index is that of the first place that is not initialised, and before the end.
            unsafe { self.write(element) };
        }
        true
    }

    /// Adds what `next` returns until it returns none, and makes room if need be. `next` is not called again after
    /// that.
    #[inline]
    pub(super) fn fill_from(&mut self, mut next: impl FnMut() -> Option<T>) -> Result<(), Error> {
        while self.fill(|_| next()) {
            let Some(element) = next() else { break };
            self.push(element)?;
        }
        Ok(())
    }

    /// Adds an element, and makes room for it if need be.
    fn push(&mut self, element: T) -> Result<(), Error> {
        if self.len == self.capacity {
            self.make_room(1)?;
        }
        // SAFETY: there is room now.
        unsafe { self.write(element) };
        Ok(())
    }

    /// Adds copies of elements, and makes room for them if need be.
    pub(super) fn extend_from_slice(&mut self, elements: &[T]) -> Result<(), Error>
    where
        T: Copy,
    {
        if elements.len() > self.capacity - self.len {
            self.make_room(elements.len())?;
        }
        // SAFETY: inside the block, or at its end: `len` is at most `capacity`.
        let place = unsafe { self.block.add(self.len) };
        // SAFETY: there is room for so many elements behind the first `len`, and `elements` does not lie there: that
        // part of the block is this builder's alone, and nothing is initialised there.
        unsafe { ptr::copy_nonoverlapping(elements.as_ptr(), place.as_ptr(), elements.len()) };
        self.len += elements.len();
        Ok(())
    }

    /// # Safety
    /// There is room for an element more.
    #[inline]
    unsafe fn write(&mut self, element: T) {
        // SAFETY: in the block, as there is room (contract).
        let place = unsafe { self.block.add(self.len) };
        // SAFETY: in the block, aligned, and this builder's alone; nothing that would have to be dropped is there.
        unsafe { place.write(element) };
        self.len += 1;
    }

    /// Makes room for as many elements again, or if that is refused, for `more`, of which not all have room.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, more: usize) -> Result<(), Error> {
        let needed = self.len.saturating_add(more);
        self.enlarge_to(self.capacity.saturating_mul(2).max(4).max(needed))
            .or_else(|_| self.enlarge_to(needed))
    }

    /// To more than there is room for.
    fn enlarge_to(&mut self, capacity: usize) -> Result<(), Error> {
        let (old, new) = (Self::layout(self.capacity)?, Self::layout(capacity)?);
        let before = self.arena.next_address();
        // SAFETY: this builder's block (invariant), which it forgets for the new one.
        let block = unsafe { self.arena.enlarge(self.block.cast(), old, new) }?.cast();
        if block != self.block {
            (self.block, self.before) = (block, before);
        }
        self.capacity = capacity;
        Ok(())
    }

    /// Lends the elements, and gives back the room that they did not need.
    #[inline]
    pub(super) fn finish(self) -> &'a mut [T] {
        let slice = ManuallyDrop::new(self);
        if slice.len < slice.capacity {
            slice.cut();
        }
        // SAFETY: initialised elements (invariant), in a block that was this builder's, which is gone.
        unsafe { slice::from_raw_parts_mut(slice.block.as_ptr(), slice.len) }
    }

    /// Gives back what is behind the elements, and the padding if there are none, or leaves it if it is not the last
    /// block. The builder uses neither any more.
    #[inline]
    fn cut(&self) {
        if self.len == 0 {
            self.give_back();
            return;
        }
        let size = size_of::<T>();
        // SAFETY: this builder's block (invariant), with the size that it was handed out with, or enlarged to last. It
        // keeps the bytes of the elements.
        unsafe {
            self.arena
                .cut(self.block.cast(), self.capacity * size, self.len * size)
        };
    }

    /// Gives the whole block back, or leaves it if it is not the last one. The builder does not use it any more.
    fn give_back(&self) {
        let size = self.capacity * size_of::<T>();
        // SAFETY: this builder's block (invariant), with the size that it was handed out with, or enlarged to last.
        // `before` was read just before the block was handed out, and anew when it was handed out elsewhere.
        unsafe { self.arena.give_back(self.block.cast(), size, self.before) };
    }
}

impl<T> Drop for SliceBuilder<'_, T> {
    fn drop(&mut self) {
        struct GiveBack<'b, 'a, T>(&'b SliceBuilder<'a, T>);
        impl<T> Drop for GiveBack<'_, '_, T> {
            fn drop(&mut self) {
                self.0.give_back();
            }
        }
        let elements = ptr::slice_from_raw_parts_mut(self.block.as_ptr(), self.len);
        // Dropped after the elements, also if the drop of one panics.
        let _block = GiveBack(self);
        // SAFETY: initialised elements (invariant), which nothing reaches any more: the builder is being dropped, and
        // what gives the block back does not look at them.
        unsafe { elements.drop_in_place() };
    }
}

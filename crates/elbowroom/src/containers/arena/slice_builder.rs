//! A slice in an arena while it is being filled.

#![allow(unsafe_code, reason = "keeps elements in a block of an arena")]

use std::alloc::Layout;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::slice;

use super::blocks::{Arena, Fit};
use crate::error::{Error, Operation, Reason};

/// A slice that takes elements one by one. Dropping it unfinished drops the elements and frees the block and the
/// padding before it, if the block is the last one.
pub(super) struct SliceBuilder<'a, T> {
    arena: &'a Arena,
    // Invariant: a block of the arena for `capacity` elements, owned by this builder alone.
    block: NonNull<T>,
    capacity: usize,
    // The arena's next address when the block was handed out.
    before: usize,
    // Invariant: at most `capacity`; the first `len` elements are initialised.
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
        Layout::array::<T>(capacity).map_err(|_| too_large())
    }

    /// Writes the element that `make` returns for each index that has room, until `make` returns `None`. Returns
    /// whether every place was filled.
    #[inline]
    pub(super) fn fill(&mut self, mut make: impl FnMut(usize) -> Option<T>) -> bool {
        for index in self.len..self.capacity {
            let Some(element) = make(index) else {
                return false;
            };
            // SAFETY: the index is `len`, which each turn advances by one, and is below the capacity. So there is room
            // for one more element.
            unsafe { self.write(element) };
        }
        true
    }

    /// Adds the elements that `next` returns, until it returns `None`, and makes room if needed. `next` is not called
    /// again after that.
    #[inline]
    pub(super) fn fill_from(&mut self, mut next: impl FnMut() -> Option<T>) -> Result<(), Error> {
        while self.fill(|_| next()) {
            let Some(element) = next() else { break };
            self.push(element)?;
        }
        Ok(())
    }

    /// Adds an element, and makes room for it if needed.
    fn push(&mut self, element: T) -> Result<(), Error> {
        if self.len == self.capacity {
            self.make_room(1)?;
        }
        // SAFETY: there is room for one more: either `len` was below `capacity` (it is never above, invariant), or
        // `make_room` has succeeded, which leaves the capacity at `len + 1` or more.
        unsafe { self.write(element) };
        Ok(())
    }

    /// Adds copies of elements, and makes room for them if needed.
    pub(super) fn extend_from_slice(&mut self, elements: &[T]) -> Result<(), Error>
    where
        T: Copy,
    {
        if elements.len() > self.capacity - self.len {
            self.make_room(elements.len())?;
        }
        // SAFETY: the place is inside the block or at its end, because `len` is at most `capacity` (invariant).
        let place = unsafe { self.block.add(self.len) };
        // SAFETY: there is room for `elements.len()` elements behind the first `len`. `elements` does not overlap that
        // room: it belongs to this builder alone, and nothing is initialised there.
        unsafe { ptr::copy_nonoverlapping(elements.as_ptr(), place.as_ptr(), elements.len()) };
        self.len += elements.len();
        Ok(())
    }

    /// # Safety
    /// There is room for one more element.
    #[inline]
    unsafe fn write(&mut self, element: T) {
        // SAFETY: the place is in the block, because there is room (contract).
        let place = unsafe { self.block.add(self.len) };
        // SAFETY: the place is in the block, aligned, and owned by this builder alone. It holds no value that would
        // need dropping.
        unsafe { place.write(element) };
        self.len += 1;
    }

    /// Doubles the capacity; if that is refused, makes room for `more` elements only. There is not enough room for them
    /// yet.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, more: usize) -> Result<(), Error> {
        let Some(needed) = self.len.checked_add(more) else {
            return Err(too_large());
        };
        self.enlarge_to(self.capacity.saturating_mul(2).max(4).max(needed))
            .or_else(|_| self.enlarge_to(needed))
    }

    /// Enlarges the block to a larger capacity.
    fn enlarge_to(&mut self, capacity: usize) -> Result<(), Error> {
        let (old, new) = (Self::layout(self.capacity)?, Self::layout(capacity)?);
        let before = self.arena.next_address();
        // SAFETY: the builder owns this block (invariant), and replaces it by the new one.
        let block = unsafe { self.arena.enlarge(self.block.cast(), old, new) }?.cast();
        if block != self.block {
            (self.block, self.before) = (block, before);
        }
        self.capacity = capacity;
        Ok(())
    }

    /// Returns the elements, and frees the room that they do not need.
    #[inline]
    pub(super) fn finish(self) -> &'a mut [T] {
        let slice = ManuallyDrop::new(self);
        if slice.len < slice.capacity {
            slice.cut();
        }
        // SAFETY: the elements are initialised (invariant), in a block that only this builder owned, and the builder is
        // gone.
        unsafe { slice::from_raw_parts_mut(slice.block.as_ptr(), slice.len) }
    }

    /// Frees the room behind the elements, and the padding as well if there are none. Does nothing if the block is not
    /// the last one. The builder uses neither afterwards.
    #[inline]
    fn cut(&self) {
        if self.len == 0 {
            self.give_back();
            return;
        }
        let size = size_of::<T>();
        // SAFETY: the builder owns this block (invariant), and `size` is the size that it was handed out with or last
        // enlarged to. The bytes of the elements are kept.
        unsafe {
            self.arena
                .cut(self.block.cast(), self.capacity * size, self.len * size)
        };
    }

    /// Frees the whole block if it is the last one. The builder does not use it afterwards.
    fn give_back(&self) {
        let size = self.capacity * size_of::<T>();
        // SAFETY: the builder owns this block (invariant), and `size` is the size that it was handed out with or last
        // enlarged to. `before` was read just before the block was handed out, and again when it was moved.
        unsafe { self.arena.give_back(self.block.cast(), size, self.before) };
    }
}

/// Returns the error for more elements than can be addressed.
fn too_large() -> Error {
    Error::new(Operation::Commit, 0..usize::MAX, Reason::TooLarge)
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
        // SAFETY: the elements are initialised (invariant), and nothing can reach them any more: the builder is being
        // dropped, and giving the block back does not look at them.
        unsafe { elements.drop_in_place() };
    }
}

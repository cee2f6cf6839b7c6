//! Arenas as allocators, for the collections of other crates.

#![allow(unsafe_code, reason = "promises to be an allocator")]

use std::alloc::Layout;
use std::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};

use super::blocks::{Arena, Fit};
use super::scope::Scope;

/// For what the arena holds: a block is free again when it is deallocated while it is the last one, and with the whole
/// arena otherwise. The last block grows and shrinks where it is. An [`AllocError`] does not say why.
//
// SAFETY: a block is in memory of the arena's that is handed out once (or of no size), and it is made free only when
// its owner says so, with `&mut Arena` or at the end of a scope. For both the arena must not be borrowed, but this
// allocator and its copies are borrows of it. They are all the same allocator.
unsafe impl Allocator for &Arena {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        sized(self.try_place(layout, Fit::Any).ok(), layout)
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: a block of this allocator's with that layout (contract).
        unsafe { self.cut(block, layout.size(), 0) };
    }

    #[inline]
    unsafe fn grow(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: a block of this allocator's with that layout, and the new size is no less (contract).
        sized(unsafe { self.enlarge(block, old, new) }.ok(), new)
    }

    #[inline]
    unsafe fn grow_zeroed(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: a block of this allocator's with the layout `old`, and the new size is no less (contract).
        let block = unsafe { self.grow(block, old, new) }?;
        // SAFETY: in the new block, which is no smaller than the old one (contract).
        let added = unsafe { block.cast::<u8>().add(old.size()) };
        // SAFETY: from there to its end, and the caller has not got it yet.
        unsafe { added.write_bytes(0, new.size() - old.size()) };
        Ok(block)
    }

    #[inline]
    unsafe fn shrink(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if block.addr().get() % new.align() == 0 {
            // SAFETY: a block of this allocator's with that layout (contract).
            unsafe { self.cut(block, old.size(), new.size()) };
            return sized(Some(block), new);
        }
        let place = self.try_place(new, Fit::Any).map_err(|_| AllocError)?;
        // SAFETY: both have so many bytes (the new size is no more, by contract), and what was just handed out is apart
        // from what was before.
        unsafe { place.copy_from_nonoverlapping(block, new.size()) };
        sized(Some(place), new)
    }
}

/// For what a scope holds: as that of its arena.
//
// SAFETY: the blocks are the arena's, which stay where they are and valid while the arena is borrowed. Those of a
// scope are made free at its end, when it is not borrowed any more; a scope within it, which makes free its own, is
// not opened while this one is borrowed. Copies of the reference are one allocator, because they are of one arena.
unsafe impl Allocator for &Scope<'_> {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.arena().allocate(layout)
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: a block of the arena's with that layout (contract: every block of the scope is one).
        unsafe { self.arena().deallocate(block, layout) };
    }

    #[inline]
    unsafe fn grow(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: a block of the arena's with the layout `old`, and the new size is no less (contract).
        unsafe { self.arena().grow(block, old, new) }
    }

    #[inline]
    unsafe fn grow_zeroed(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: a block of the arena's with the layout `old`, and the new size is no less (contract).
        unsafe { self.arena().grow_zeroed(block, old, new) }
    }

    #[inline]
    unsafe fn shrink(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: a block of the arena's with the layout `old`, and the new size is no more (contract).
        unsafe { self.arena().shrink(block, old, new) }
    }
}

#[inline]
fn sized(block: Option<NonNull<u8>>, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
    block
        .map(|block| NonNull::slice_from_raw_parts(block, layout.size()))
        .ok_or(AllocError)
}

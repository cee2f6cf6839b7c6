//! `Arena` and `Scope` as allocators for collections of other crates.

#![allow(unsafe_code, reason = "promises to be an allocator")]

use std::alloc::Layout;
use std::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};

use super::blocks::{Arena, Fit};
use super::scope::Scope;

/// Allocates in the arena. Deallocating a block frees it if it is the last one; otherwise its memory is free when the
/// arena is reset. The last block grows and shrinks in place. An [`AllocError`] does not tell the reason.
//
// SAFETY: a block lies in the arena's memory and is handed out once (or has no size). It becomes free only when its
// owner deallocates it, by a call that takes `&mut Arena`, or at the end of a scope. The last two need the arena
// unborrowed, and this allocator and its copies borrow it. All copies are the same allocator.
unsafe impl Allocator for &Arena {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        sized(self.try_place(layout, Fit::Any).ok(), layout)
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the block is from this allocator and has that layout (contract).
        unsafe { self.cut(block, layout.size(), 0) };
    }

    #[inline]
    unsafe fn grow(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the block is from this allocator, has the layout `old`, and the new size is not smaller (contract).
        sized(unsafe { self.enlarge(block, old, new) }.ok(), new)
    }

    #[inline]
    unsafe fn grow_zeroed(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the block is from this allocator, has the layout `old`, and the new size is not smaller (contract).
        let block = unsafe { self.grow(block, old, new) }?;
        // SAFETY: the offset is inside the new block, which is not smaller than the old one (contract).
        let added = unsafe { block.cast::<u8>().add(old.size()) };
        // SAFETY: the bytes lie between the offset and the end of the block, and the caller has not received it yet.
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
            // SAFETY: the block is from this allocator, has the layout `old`, and the new size is not larger
            // (contract).
            unsafe { self.cut(block, old.size(), new.size()) };
            return sized(Some(block), new);
        }
        let place = self.try_place(new, Fit::Any).map_err(|_| AllocError)?;
        // SAFETY: both blocks have at least `new.size()` bytes (the new size is not larger, by contract). The new block
        // was just handed out, so it does not overlap the old one.
        unsafe { place.copy_from_nonoverlapping(block, new.size()) };
        sized(Some(place), new)
    }
}

/// Allocates in the scope, as the arena's allocator does.
//
// SAFETY: the blocks belong to the arena; they stay in place and valid while the arena is borrowed. The blocks of a
// scope become free at its end, when it is no longer borrowed. An inner scope frees only its own blocks, and cannot be
// opened while this scope is borrowed. Copies of the reference are the same allocator, because they refer to the same
// arena.
unsafe impl Allocator for &Scope<'_> {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.arena().allocate(layout)
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: every block of a scope is a block of its arena, and it has that layout (contract).
        unsafe { self.arena().deallocate(block, layout) };
    }

    #[inline]
    unsafe fn grow(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: every block of a scope is a block of its arena; it has the layout `old`, and the new size is not
        // smaller (contract).
        unsafe { self.arena().grow(block, old, new) }
    }

    #[inline]
    unsafe fn grow_zeroed(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: every block of a scope is a block of its arena; it has the layout `old`, and the new size is not
        // smaller (contract).
        unsafe { self.arena().grow_zeroed(block, old, new) }
    }

    #[inline]
    unsafe fn shrink(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: every block of a scope is a block of its arena; it has the layout `old`, and the new size is not
        // larger (contract).
        unsafe { self.arena().shrink(block, old, new) }
    }
}

#[inline]
fn sized(block: Option<NonNull<u8>>, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
    block
        .map(|block| NonNull::slice_from_raw_parts(block, layout.size()))
        .ok_or(AllocError)
}

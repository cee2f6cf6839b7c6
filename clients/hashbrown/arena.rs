//! The allocator that maps have by default in this copy: one arena for the whole process.

extern crate std;

use core::alloc::Layout;
use core::ptr::NonNull;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use allocator_api2::alloc::{AllocError, Allocator};
use elbowroom::Arena;

static ARENA: LazyLock<Mutex<Arena>> =
    LazyLock::new(|| Mutex::new(Arena::with_max_bytes(64 << 30)));

/// Named as what it stands for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Global;

fn arena() -> MutexGuard<'static, Arena> {
    ARENA.lock().unwrap_or_else(PoisonError::into_inner)
}

// SAFETY: the arena lives as long as the process and is never reset, so a block stays where it is and valid until it is
// given back. All copies of `Global` are one allocator, by one lock.
unsafe impl Allocator for Global {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        (&*arena()).allocate(layout)
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the block is the arena's, with this layout (contract).
        unsafe { (&*arena()).deallocate(block, layout) }
    }

    unsafe fn grow(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the block is the arena's, with the layout `old`, and `new` is no smaller (contract).
        unsafe { (&*arena()).grow(block, old, new) }
    }

    unsafe fn shrink(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the block is the arena's, with the layout `old`, and `new` is no larger (contract).
        unsafe { (&*arena()).shrink(block, old, new) }
    }
}

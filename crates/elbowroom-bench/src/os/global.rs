//! The global allocator: the C library's, or mimalloc in a child that is told so.
//!
//! One program with both, so that one build measures both. It costs a load and a branch for each allocation, the same
//! for every contender.

#![allow(
    unsafe_code,
    reason = "is an allocator, and asks for a variable before the standard library can"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::CStr;
use std::sync::atomic::{AtomicU8, Ordering};

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: Chosen = Chosen;

struct Chosen;

const UNKNOWN: u8 = 0;
const SYSTEM: u8 = 1;
const MIMALLOC: u8 = 2;

// Invariant: set once to something else than UNKNOWN, always to the same, before the first allocation.
static CHOICE: AtomicU8 = AtomicU8::new(UNKNOWN);

const VARIABLE: &CStr = c"ELBOWROOM_BENCH_ALLOCATOR";
const _: () = assert!(VARIABLE.count_bytes() == super::ALLOCATOR_VARIABLE.len());

#[inline]
fn is_mimalloc() -> bool {
    match CHOICE.load(Ordering::Relaxed) {
        UNKNOWN => choose(),
        choice => choice == MIMALLOC,
    }
}

#[cold]
fn choose() -> bool {
    // SAFETY: a C string. Nobody changes the environment meanwhile (getenv(3)): this program never does.
    let value = unsafe { libc::getenv(VARIABLE.as_ptr()) };
    // SAFETY: what getenv returns is null or a C string, valid until the environment changes.
    let is_mimalloc = !value.is_null() && unsafe { CStr::from_ptr(value) } == c"mimalloc";
    CHOICE.store(
        if is_mimalloc { MIMALLOC } else { SYSTEM },
        Ordering::Relaxed,
    );
    is_mimalloc
}

// SAFETY: every call goes to one and the same allocator for the life of the process (the choice never changes), with
// the caller's arguments.
unsafe impl GlobalAlloc for Chosen {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_mimalloc() {
            // SAFETY: the caller's contract, passed on.
            unsafe { MiMalloc.alloc(layout) }
        } else {
            // SAFETY: the caller's contract, passed on to the allocator that all of its blocks are from.
            unsafe { System.alloc(layout) }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_mimalloc() {
            // SAFETY: the caller's contract, passed on to the allocator that all of its blocks are from.
            unsafe { MiMalloc.alloc_zeroed(layout) }
        } else {
            // SAFETY: the caller's contract, passed on to the allocator that all of its blocks are from.
            unsafe { System.alloc_zeroed(layout) }
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if is_mimalloc() {
            // SAFETY: the caller's contract, passed on to the allocator that all of its blocks are from.
            unsafe { MiMalloc.realloc(block, layout, new_size) }
        } else {
            // SAFETY: the caller's contract, passed on to the allocator that all of its blocks are from.
            unsafe { System.realloc(block, layout, new_size) }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_mimalloc() {
            // SAFETY: the caller's contract, passed on to the allocator that all of its blocks are from.
            unsafe { MiMalloc.dealloc(block, layout) }
        } else {
            // SAFETY: the caller's contract, passed on to the allocator that all of its blocks are from.
            unsafe { System.dealloc(block, layout) }
        }
    }
}

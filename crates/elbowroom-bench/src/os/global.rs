//! The global allocator: the C library's, or mimalloc in a child process with the variable set.
//!
//! One program contains both, so one build measures both. The choice costs a load and a branch per allocation, the
//! same for every contender.

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

// Invariant: set before the first allocation, and always to the same value other than UNKNOWN.
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
    // SAFETY: the argument is a C string. The environment must not change meanwhile (getenv(3)); this program never
    // changes it.
    let value = unsafe { libc::getenv(VARIABLE.as_ptr()) };
    // SAFETY: getenv returned a pointer that is not null, so it is a C string, valid until the environment changes,
    // which this program never does.
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
            // SAFETY: the arguments satisfy the caller's contract, and every block comes from this same allocator.
            unsafe { MiMalloc.alloc(layout) }
        } else {
            // SAFETY: the arguments satisfy the caller's contract, and every block comes from this same allocator.
            unsafe { System.alloc(layout) }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_mimalloc() {
            // SAFETY: the arguments satisfy the caller's contract, and every block comes from this same allocator.
            unsafe { MiMalloc.alloc_zeroed(layout) }
        } else {
            // SAFETY: the arguments satisfy the caller's contract, and every block comes from this same allocator.
            unsafe { System.alloc_zeroed(layout) }
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if is_mimalloc() {
            // SAFETY: the arguments satisfy the caller's contract, and every block comes from this same allocator.
            unsafe { MiMalloc.realloc(block, layout, new_size) }
        } else {
            // SAFETY: the arguments satisfy the caller's contract, and every block comes from this same allocator.
            unsafe { System.realloc(block, layout, new_size) }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_mimalloc() {
            // SAFETY: the arguments satisfy the caller's contract, and every block comes from this same allocator.
            unsafe { MiMalloc.dealloc(block, layout) }
        } else {
            // SAFETY: the arguments satisfy the caller's contract, and every block comes from this same allocator.
            unsafe { System.dealloc(block, layout) }
        }
    }
}

//! Memory for values of all kinds that are freed at once.

#![allow(unsafe_code, reason = "follows handles of C, and exports functions")]

use std::alloc::Layout;
use std::ffi::{c_char, c_void};
use std::ptr;

use room::Arena;

use crate::budget::er_budget;
use crate::container::configured;
use crate::error::{Failure, er_code, er_error};
use crate::handle::{act, create, take_back};
use crate::options::{Options, read};

/// An arena. One thread at a time may use it.
pub struct er_arena(Arena);

/// The options of an arena. Set `size` to the size of the structure. Zero in any other member selects the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct er_arena_options {
    /// The size of this structure in bytes.
    pub size: usize,
    /// The maximum in bytes, for which addresses are reserved. 0 means 64 GiB.
    pub max_bytes: usize,
    /// The commit limit in bytes, rounded down to whole pages. 0 means the maximum.
    pub commit_limit: usize,
    /// The budget to charge, or null.
    pub budget: *const er_budget,
    /// A name for diagnosis, or null. The library copies it.
    pub name: *const c_char,
}

// SAFETY: the type is `repr(C)`, begins with a `usize`, and consists of integers and pointers.
unsafe impl Options for er_arena_options {}

const MAX_BYTES_DEFAULT: usize = 64 << 30;

/// Makes an arena. The options may be null.
///
/// # Safety
/// `options` is null or valid, its budget null or living, and its name null or a string. `out` is valid, and `error`
/// null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_arena_new(
    options: *const er_arena_options,
    out: *mut *mut er_arena,
    error: *mut er_error,
) -> er_code {
    let make = || {
        // SAFETY: `options` is null or valid, and begins with its size (contract of this function).
        let options = unsafe { read(options) }?;
        let max_bytes = match options.max_bytes {
            0 => MAX_BYTES_DEFAULT,
            bytes => bytes,
        };
        let builder = Arena::builder(max_bytes);
        // SAFETY: the budget is null or living, and the name is null or a string (contract of this function).
        let builder =
            unsafe { configured(builder, options.commit_limit, options.budget, options.name) }?;
        Ok(er_arena(builder.build()?))
    };
    // SAFETY: `out` is null or valid for writing, and `error` is null or valid (contract of this function).
    unsafe { create(out, error, make) }
}

/// Frees the arena and everything that was allocated from it. Ignores null.
///
/// # Safety
/// `arena` is null or a living arena. Neither it nor its memory is used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_arena_free(arena: *mut er_arena) {
    // SAFETY: `arena` is null or a living arena that nothing uses afterwards (contract of this function).
    drop(unsafe { take_back(arena) });
}

/// Allocates `size` bytes at a multiple of `align`, a power of two. The memory is not initialised. Returns null on
/// failure, and fills the error.
///
/// # Safety
/// `arena` is null or a living arena that no other thread uses at the same time; `error` is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_arena_alloc(
    arena: *mut er_arena,
    size: usize,
    align: usize,
    error: *mut er_error,
) -> *mut c_void {
    let mut block = ptr::null_mut();
    let allocate = |arena: &er_arena| {
        let layout = Layout::from_size_align(size, align).map_err(|_| {
            let text = format!("no {size} bytes can lie at a multiple of {align}");
            Failure::Argument(format!("{text}; the alignment is a power of two"))
        })?;
        block = arena.0.try_alloc_layout(layout)?.as_mut_ptr().cast();
        Ok(())
    };
    // SAFETY: `arena` is null or a living arena that no other thread uses, and `error` is null or valid (contract of
    // this function).
    unsafe { act(arena, "arena", error, allocate) };
    block
}

/// Returns the number of allocated bytes, which is a checkpoint for `er_arena_reset_to`. Returns 0 for null.
///
/// # Safety
/// `arena` is null or a living arena that no other thread uses at the same time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_arena_allocated(arena: *const er_arena) -> usize {
    // SAFETY: `arena` is null or a living arena that no other thread uses (contract of this function).
    unsafe { arena.as_ref() }.map_or(0, |arena| arena.0.allocated_bytes())
}

/// Frees everything that was allocated after a checkpoint. The checkpoint 0 frees everything. Pages stay committed for
/// later allocations. Ignores null.
///
/// # Safety
/// `arena` is null or a living arena that no other thread uses at the same time. Blocks allocated after the checkpoint
/// are not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_arena_reset_to(arena: *mut er_arena, checkpoint: usize) {
    // SAFETY: `arena` is null or a living arena that no other thread uses (contract of this function).
    if let Some(arena) = unsafe { arena.as_mut() } {
        arena.0.reset_to(checkpoint);
    }
}

/// Decommits the pages behind the last allocated byte. Ignores null.
///
/// # Safety
/// `arena` is null or a living arena that no other thread uses at the same time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_arena_shrink(arena: *mut er_arena) {
    // SAFETY: `arena` is null or a living arena that no other thread uses (contract of this function).
    if let Some(arena) = unsafe { arena.as_mut() } {
        arena.0.shrink_to_fit();
    }
}

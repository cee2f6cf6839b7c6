//! Memory for values of all kinds that go all at once.

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

/// What an arena should be like. Set `size` to the size of the structure; zero in any other member is the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct er_arena_options {
    /// The size of this structure in bytes.
    pub size: usize,
    /// The most bytes it can hold; as many addresses are reserved. 0: 64 GiB.
    pub max_bytes: usize,
    /// The most bytes that are committed at once, rounded down to whole pages. 0: the maximum.
    pub commit_limit: usize,
    /// A budget to charge as well, or null.
    pub budget: *const er_budget,
    /// A name for diagnosis, or null. Copied.
    pub name: *const c_char,
}

// SAFETY: `repr(C)`, a `usize` first, and integers and pointers.
unsafe impl Options for er_arena_options {}

const MAX_BYTES_DEFAULT: usize = 64 << 30;

/// Makes an arena. The options may be null.
///
/// # Safety
/// `options` is null or valid, with a budget that lives and a name that is a string; `out` is valid, `error` null or
/// valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_arena_new(
    options: *const er_arena_options,
    out: *mut *mut er_arena,
    error: *mut er_error,
) -> er_code {
    let make = || {
        // SAFETY: null or valid options with their size (contract of this function).
        let options = unsafe { read(options) }?;
        let max_bytes = match options.max_bytes {
            0 => MAX_BYTES_DEFAULT,
            bytes => bytes,
        };
        let builder = Arena::builder(max_bytes);
        // SAFETY: null or a living budget, and null or a string (contract of this function).
        let builder =
            unsafe { configured(builder, options.commit_limit, options.budget, options.name) }?;
        Ok(er_arena(builder.build()?))
    };
    // SAFETY: null or valid for writing, and null or a valid error (contract of this function).
    unsafe { create(out, error, make) }
}

/// Gives the arena back, with all that was allocated from it. Null is ignored.
///
/// # Safety
/// `arena` is null or a living arena. Neither it nor its memory is used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_arena_free(arena: *mut er_arena) {
    // SAFETY: null or a living handle that nothing uses any more (contract of this function).
    drop(unsafe { take_back(arena) });
}

/// Allocates `size` bytes at a multiple of `align`, a power of two. The memory is not initialised. Returns null where
/// this fails, and fills the error.
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
    // SAFETY: null or a living arena that no other thread uses, and null or a valid error (contract of this function).
    unsafe { act(arena, "arena", error, allocate) };
    block
}

/// Returns how many bytes are allocated: a checkpoint for `er_arena_reset_to`. 0 for null.
///
/// # Safety
/// `arena` is null or a living arena that no other thread uses at the same time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_arena_allocated(arena: *const er_arena) -> usize {
    // SAFETY: null or a living arena that no other thread uses (contract of this function).
    unsafe { arena.as_ref() }.map_or(0, |arena| arena.0.allocated_bytes())
}

/// Makes free again what was allocated after a checkpoint; 0 is the beginning. Pages stay committed for what comes
/// next. Null is ignored.
///
/// # Safety
/// `arena` is null or a living arena that no other thread uses at the same time. What was allocated after the
/// checkpoint is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_arena_reset_to(arena: *mut er_arena, checkpoint: usize) {
    // SAFETY: null or a living arena that no other thread uses (contract of this function).
    if let Some(arena) = unsafe { arena.as_mut() } {
        arena.0.reset_to(checkpoint);
    }
}

/// Gives back the pages behind what is allocated. Null is ignored.
///
/// # Safety
/// `arena` is null or a living arena that no other thread uses at the same time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_arena_shrink(arena: *mut er_arena) {
    // SAFETY: null or a living arena that no other thread uses (contract of this function).
    if let Some(arena) = unsafe { arena.as_mut() } {
        arena.0.shrink_to_fit();
    }
}

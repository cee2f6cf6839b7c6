//! Bytes that grow without moving.

#![allow(unsafe_code, reason = "follows handles of C, and exports functions")]

use std::ffi::{c_char, c_void};
use std::{ptr, slice};

use room::ReservedVec;

use crate::budget::er_budget;
use crate::container::configured;
use crate::error::{Failure, er_code, er_error, null};
use crate::handle::{act_mut, create, take_back};
use crate::options::{Options, read};

/// A vector of bytes. One thread at a time may change it. Its bytes never move, so a pointer to a byte is valid for as
/// long as the byte is in the vector.
pub struct er_vec(ReservedVec<u8>);

/// What a vector should be like. Set `size` to the size of the structure; zero in any other member is the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct er_vec_options {
    /// The size of this structure in bytes.
    pub size: usize,
    /// The most bytes that are committed at once, rounded down to whole pages. 0: the maximum.
    pub commit_limit: usize,
    /// A budget to charge as well, or null.
    pub budget: *const er_budget,
    /// A name for diagnosis, or null. Copied.
    pub name: *const c_char,
}

// SAFETY: `repr(C)`, a `usize` first, and integers and pointers.
unsafe impl Options for er_vec_options {}

/// Makes a vector of at most `max` bytes, for which it reserves addresses. The options may be null.
///
/// # Safety
/// `options` is null or valid, with a budget that lives and a name that is a string; `out` is valid, `error` null or
/// valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_vec_new(
    max: usize,
    options: *const er_vec_options,
    out: *mut *mut er_vec,
    error: *mut er_error,
) -> er_code {
    let make = || {
        // SAFETY: null or valid options with their size (contract of this function).
        let options = unsafe { read(options) }?;
        let builder = ReservedVec::builder(max);
        // SAFETY: null or a living budget, and null or a string (contract of this function).
        let builder =
            unsafe { configured(builder, options.commit_limit, options.budget, options.name) }?;
        Ok(er_vec(builder.build()?))
    };
    // SAFETY: null or valid for writing, and null or a valid error (contract of this function).
    unsafe { create(out, error, make) }
}

/// Gives the vector back, with its bytes. Null is ignored.
///
/// # Safety
/// `vec` is null or a living vector. Neither it nor its bytes are used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_vec_free(vec: *mut er_vec) {
    // SAFETY: null or a living handle that nothing uses any more (contract of this function).
    drop(unsafe { take_back(vec) });
}

/// Returns the address of the first byte. It does not change. Null for null.
///
/// # Safety
/// `vec` is null or a living vector that no other thread changes at the same time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_vec_data(vec: *mut er_vec) -> *mut c_void {
    // SAFETY: null or a living vector (contract of this function).
    unsafe { vec.as_mut() }.map_or(ptr::null_mut(), |vec| vec.0.as_mut_ptr().cast())
}

/// Returns the number of bytes; 0 for null.
///
/// # Safety
/// `vec` is null or a living vector that no other thread changes at the same time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_vec_len(vec: *const er_vec) -> usize {
    // SAFETY: null or a living vector (contract of this function).
    unsafe { vec.as_ref() }.map_or(0, |vec| vec.0.len())
}

/// Appends `size` bytes, which may be bytes of the vector. If it fails, the vector is as it was.
///
/// # Safety
/// `vec` is null or a living vector that no other thread uses at the same time; `from` is valid for reading `size`
/// bytes; `error` is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_vec_append(
    vec: *mut er_vec,
    from: *const c_void,
    size: usize,
    error: *mut er_error,
) -> er_code {
    let append = |er_vec(vec): &mut er_vec| {
        if size == 0 {
            return Ok(());
        }
        if from.is_null() {
            return Err(null("from"));
        }
        // Bytes of the vector must not be borrowed while it grows.
        let (start, base) = (from.addr(), vec.as_ptr().addr());
        let end = start.saturating_add(size);
        if start < base + vec.len() && base < end {
            if start < base || base + vec.len() < end {
                let text = format!("only a part of the {size} bytes is in the vector");
                return Err(Failure::Argument(text));
            }
            return Ok(vec.try_extend_from_within(start - base..end - base)?);
        }
        // SAFETY: not null, valid for reading as many bytes (contract of this function), so no more than `isize::MAX`,
        // and none of them is in the vector (looked at above), which alone this function changes.
        let bytes = unsafe { slice::from_raw_parts(from.cast(), size) };
        Ok(vec.try_extend_from_slice(bytes)?)
    };
    // SAFETY: null or a living vector that no other thread uses, and null or a valid error (contract of this function).
    unsafe { act_mut(vec, "vec", error, append) }
}

/// Makes the vector `len` bytes long. Bytes that are new are zero. If it fails, the vector is as it was.
///
/// # Safety
/// `vec` is null or a living vector that no other thread uses at the same time. Bytes from `len` on are not used any
/// more. `error` is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_vec_resize(
    vec: *mut er_vec,
    len: usize,
    error: *mut er_error,
) -> er_code {
    let resize = |er_vec(vec): &mut er_vec| Ok(vec.try_resize(len, 0)?);
    // SAFETY: null or a living vector that no other thread uses, and null or a valid error (contract of this function).
    unsafe { act_mut(vec, "vec", error, resize) }
}

/// Commits room for `additional` more bytes, so that appending them cannot fail.
///
/// # Safety
/// `vec` is null or a living vector that no other thread uses at the same time; `error` is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_vec_reserve(
    vec: *mut er_vec,
    additional: usize,
    error: *mut er_error,
) -> er_code {
    let reserve = |er_vec(vec): &mut er_vec| Ok(vec.try_reserve(additional)?);
    // SAFETY: null or a living vector that no other thread uses, and null or a valid error (contract of this function).
    unsafe { act_mut(vec, "vec", error, reserve) }
}

/// Gives back the pages behind the last byte. Null is ignored.
///
/// # Safety
/// `vec` is null or a living vector that no other thread uses at the same time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_vec_shrink(vec: *mut er_vec) {
    // SAFETY: null or a living vector that no other thread uses (contract of this function).
    if let Some(vec) = unsafe { vec.as_mut() } {
        vec.0.shrink_to_fit();
    }
}

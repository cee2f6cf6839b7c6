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

/// A vector of bytes. One thread at a time may use it. Its bytes never move, so a pointer to a byte is valid for as
/// long as the byte is in the vector.
pub struct er_vec(ReservedVec<u8>);

/// The options of a vector. Set `size` to the size of the structure. Zero in any other member selects the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct er_vec_options {
    /// The size of this structure in bytes.
    pub size: usize,
    /// The commit limit in bytes, rounded down to whole pages. 0 means the maximum.
    pub commit_limit: usize,
    /// The budget to charge, or null.
    pub budget: *const er_budget,
    /// A name for diagnosis, or null. The library copies it.
    pub name: *const c_char,
}

// SAFETY: the type is `repr(C)`, begins with a `usize`, and consists of integers and pointers.
unsafe impl Options for er_vec_options {}

/// Makes a vector of at most `max` bytes, for which it reserves addresses. The options may be null.
///
/// # Safety
/// `options` is null or valid, its budget null or living, and its name null or a string. `out` is valid, and `error`
/// null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_vec_new(
    max: usize,
    options: *const er_vec_options,
    out: *mut *mut er_vec,
    error: *mut er_error,
) -> er_code {
    let make = || {
        // SAFETY: `options` is null or valid, and begins with its size (contract of this function).
        let options = unsafe { read(options) }?;
        let builder = ReservedVec::builder(max);
        // SAFETY: the budget is null or living, and the name is null or a string (contract of this function).
        let builder =
            unsafe { configured(builder, options.commit_limit, options.budget, options.name) }?;
        Ok(er_vec(builder.build()?))
    };
    // SAFETY: `out` is null or valid for writing, and `error` is null or valid (contract of this function).
    unsafe { create(out, error, make) }
}

/// Frees the vector and its bytes. Ignores null.
///
/// # Safety
/// `vec` is null or a living vector. Neither it nor its bytes are used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_vec_free(vec: *mut er_vec) {
    // SAFETY: `vec` is null or a living vector that nothing uses afterwards (contract of this function).
    drop(unsafe { take_back(vec) });
}

/// Returns the address of the first byte, which never changes. Returns null for null.
///
/// # Safety
/// `vec` is null or a living vector that no other thread uses at the same time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_vec_data(vec: *mut er_vec) -> *mut c_void {
    // SAFETY: `vec` is null or a living vector that no other thread uses (contract of this function).
    unsafe { vec.as_mut() }.map_or(ptr::null_mut(), |vec| vec.0.as_mut_ptr().cast())
}

/// Returns the number of bytes; 0 for null.
///
/// # Safety
/// `vec` is null or a living vector that no other thread changes at the same time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_vec_len(vec: *const er_vec) -> usize {
    // SAFETY: `vec` is null or a living vector (contract of this function).
    unsafe { vec.as_ref() }.map_or(0, |vec| vec.0.len())
}

/// Appends `size` bytes, which may be bytes of the vector. If it fails, the vector is unchanged.
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
        // SAFETY: `from` is not null, and is valid for reading `size` bytes (contract of this function), so they are at
        // most `isize::MAX`. None of them is in the vector, as checked above, and this function changes only the
        // vector.
        let bytes = unsafe { slice::from_raw_parts(from.cast(), size) };
        Ok(vec.try_extend_from_slice(bytes)?)
    };
    // SAFETY: `vec` is null or a living vector that no other thread uses, and `error` is null or valid (contract of
    // this function).
    unsafe { act_mut(vec, "vec", error, append) }
}

/// Makes the vector `len` bytes long. New bytes are zero. If it fails, the vector is unchanged.
///
/// # Safety
/// `vec` is null or a living vector that no other thread uses at the same time. Bytes from `len` on are not used
/// afterwards. `error` is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_vec_resize(
    vec: *mut er_vec,
    len: usize,
    error: *mut er_error,
) -> er_code {
    let resize = |er_vec(vec): &mut er_vec| Ok(vec.try_resize(len, 0)?);
    // SAFETY: `vec` is null or a living vector that no other thread uses, and `error` is null or valid (contract of
    // this function).
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
    // SAFETY: `vec` is null or a living vector that no other thread uses, and `error` is null or valid (contract of
    // this function).
    unsafe { act_mut(vec, "vec", error, reserve) }
}

/// Decommits the pages behind the last byte. Ignores null.
///
/// # Safety
/// `vec` is null or a living vector that no other thread uses at the same time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_vec_shrink(vec: *mut er_vec) {
    // SAFETY: `vec` is null or a living vector that no other thread uses (contract of this function).
    if let Some(vec) = unsafe { vec.as_mut() } {
        vec.0.shrink_to_fit();
    }
}

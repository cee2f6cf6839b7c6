//! Ranges of addresses that are committed by hand.

#![allow(unsafe_code, reason = "follows handles of C, and exports functions")]

use std::ffi::{c_char, c_void};
use std::ptr;

use room::{Access, Reservation};

use crate::budget::er_budget;
use crate::error::{Failure, er_code, er_error, text};
use crate::handle::{act, bytes, create, release};
use crate::options::{Options, read};

/// A reservation. Thread-safe, except for `er_reservation_release`.
pub struct er_reservation(Reservation);

/// The access to committed pages.
#[repr(i32)]
#[derive(Clone, Copy)]
pub enum er_protection {
    /// No access: a touch faults.
    ER_NO_ACCESS = 0,
    /// Reading.
    ER_READ_ONLY = 1,
    /// Reading and writing.
    ER_READ_WRITE = 2,
    /// Reading and executing.
    ER_READ_EXECUTE = 3,
}

/// The options of a reservation. Set `size` to the size of the structure. Zero in any other member selects the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct er_reservation_options {
    /// The size of this structure in bytes.
    pub size: usize,
    /// The alignment of the base in bytes, a power of two. 0 means the system's.
    pub align: usize,
    /// The exact address of the base, or null. Existing mappings are never replaced.
    pub at: *mut c_void,
    /// The preferred address of the base, which is used if it is free; or null.
    pub near_to: *mut c_void,
    /// The budget to charge, or null.
    pub budget: *const er_budget,
    /// A name for diagnosis, or null. The library copies it.
    pub name: *const c_char,
}

// SAFETY: the type is `repr(C)`, begins with a `usize`, and consists of integers and pointers.
unsafe impl Options for er_reservation_options {}

/// Reserves `len` bytes, rounded up to whole pages. The options may be null.
///
/// # Safety
/// `options` is null or valid, its budget null or living, and its name null or a string. `out` is valid, and `error`
/// null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_reservation_new(
    len: usize,
    options: *const er_reservation_options,
    out: *mut *mut er_reservation,
    error: *mut er_error,
) -> er_code {
    let make = || {
        // SAFETY: `options` is null or valid, and begins with its size (contract of this function).
        let options = unsafe { read(options) }?;
        // SAFETY: the name is null or a string (contract of this function).
        let name = unsafe { text(options.name, "name") }?;
        let mut builder = Reservation::builder(len).name(name);
        if options.align > 0 {
            builder = builder.align(options.align);
        }
        builder = match (options.at.is_null(), options.near_to.is_null()) {
            (true, true) => builder,
            (false, true) => builder.at(options.at.addr()),
            (true, false) => builder.near(options.near_to.addr()),
            (false, false) => {
                let text = "`at` and `near_to` exclude each other; set one of them to null";
                return Err(Failure::Argument(text.into()));
            }
        };
        // SAFETY: the budget is null or living (contract of this function).
        if let Some(budget) = unsafe { options.budget.as_ref() } {
            builder = builder.budget(&budget.0);
        }
        Ok(er_reservation(builder.build()?))
    };
    // SAFETY: `out` is null or valid for writing, and `error` is null or valid (contract of this function).
    unsafe { create(out, error, make) }
}

/// Gives everything back to the system. The handle is invalid afterwards, even on a failure. Ignores null.
///
/// # Safety
/// `reservation` is null or a living reservation that no thread uses afterwards. `error` is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_reservation_release(
    reservation: *mut er_reservation,
    error: *mut er_error,
) -> er_code {
    // SAFETY: `reservation` is null or a living reservation that nothing uses afterwards, and `error` is null or valid
    // (contract of this function).
    unsafe { release(reservation, error, |reservation| reservation.0.release()) }
}

/// Returns the address of the first byte; null for null.
///
/// # Safety
/// `reservation` is null or a living reservation.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_reservation_base(reservation: *const er_reservation) -> *mut c_void {
    // SAFETY: `reservation` is null or a living reservation (contract of this function).
    let reservation = unsafe { reservation.as_ref() };
    reservation.map_or(ptr::null_mut(), |reservation| reservation.0.as_ptr().cast())
}

/// Returns the length in bytes; 0 for null.
///
/// # Safety
/// `reservation` is null or a living reservation.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_reservation_len(reservation: *const er_reservation) -> usize {
    // SAFETY: `reservation` is null or a living reservation (contract of this function).
    unsafe { reservation.as_ref() }.map_or(0, |reservation| reservation.0.len())
}

/// Commits the pages of a range. Pages that were reserved are zero; committed pages keep their contents.
///
/// # Safety
/// `reservation` is null or a living reservation, `error` null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_reservation_commit(
    reservation: *const er_reservation,
    offset: usize,
    size: usize,
    error: *mut er_error,
) -> er_code {
    let commit = |found: &er_reservation| Ok(found.0.commit(bytes(offset, size))?);
    // SAFETY: `reservation` is null or a living reservation, and `error` is null or valid (contract of this function).
    unsafe { act(reservation, "reservation", error, commit) }
}

/// Decommits the pages of a range. Their contents are lost.
///
/// # Safety
/// `reservation` is null or a living reservation, `error` null or valid. No thread is using the pages.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_reservation_decommit(
    reservation: *const er_reservation,
    offset: usize,
    size: usize,
    error: *mut er_error,
) -> er_code {
    let decommit = |found: &er_reservation| Ok(found.0.decommit(bytes(offset, size))?);
    // SAFETY: `reservation` is null or a living reservation, and `error` is null or valid (contract of this function).
    unsafe { act(reservation, "reservation", error, decommit) }
}

/// Sets the access to the committed pages of a range: an `er_protection`.
///
/// # Safety
/// `reservation` is null or a living reservation, `error` null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_reservation_protect(
    reservation: *const er_reservation,
    offset: usize,
    size: usize,
    protection: i32,
    error: *mut er_error,
) -> er_code {
    let protect = |found: &er_reservation| {
        let all = [
            (er_protection::ER_NO_ACCESS, Access::None),
            (er_protection::ER_READ_ONLY, Access::Read),
            (er_protection::ER_READ_WRITE, Access::ReadWrite),
            (er_protection::ER_READ_EXECUTE, Access::ReadExecute),
        ];
        let known = all
            .into_iter()
            .find(|&(known, _)| known as i32 == protection);
        let (_, access) = known.ok_or_else(|| {
            let text = format!("there is no protection {protection}; take one of `er_protection`");
            Failure::Argument(text)
        })?;
        Ok(found.0.protect(bytes(offset, size), access)?)
    };
    // SAFETY: `reservation` is null or a living reservation, and `error` is null or valid (contract of this function).
    unsafe { act(reservation, "reservation", error, protect) }
}

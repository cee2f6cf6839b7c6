//! Ranges of addresses that are committed by hand.

#![allow(unsafe_code, reason = "follows handles of C, and exports functions")]

use std::ffi::{c_char, c_void};
use std::ptr;

use room::{Access, Reservation};

use crate::budget::er_budget;
use crate::error::{Failure, er_code, er_error, hand_out, null, object, report, take_back, text};
use crate::options::{Options, read};

/// A reservation. Thread-safe, except for [`er_reservation_release`].
pub struct er_reservation(Reservation);

/// What may be done with committed pages.
#[repr(i32)]
#[derive(Clone, Copy)]
pub enum er_protection {
    /// Nothing: a touch faults.
    ER_NO_ACCESS = 0,
    /// Reading.
    ER_READ_ONLY = 1,
    /// Reading and writing.
    ER_READ_WRITE = 2,
    /// Reading and running code.
    ER_READ_EXECUTE = 3,
}

/// What a reservation should be like. Set `size` to the size of the structure; zero in any other member is the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct er_reservation_options {
    /// The size of this structure in bytes.
    pub size: usize,
    /// The alignment of the base in bytes, a power of two. 0: that of the system.
    pub align: usize,
    /// The exact address of the base, or null. What is mapped there is never replaced.
    pub at: *mut c_void,
    /// The address of the base if it is free, or null.
    pub near_to: *mut c_void,
    /// A budget to charge, or null.
    pub budget: *const er_budget,
    /// A name for diagnosis, or null. Copied.
    pub name: *const c_char,
}

// SAFETY: `repr(C)`, a `usize` first, and integers and pointers.
unsafe impl Options for er_reservation_options {}

/// Reserves `len` bytes, rounded up to whole pages. The options may be null.
///
/// # Safety
/// `options` is null or valid, with a budget that lives and a name that is a string; `out` is valid, `error` null or
/// valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_reservation_new(
    len: usize,
    options: *const er_reservation_options,
    out: *mut *mut er_reservation,
    error: *mut er_error,
) -> er_code {
    let make = || {
        if out.is_null() {
            return Err(null("out"));
        }
        // SAFETY: null or valid options with their size (contract of this function).
        let options = unsafe { read(options) }?;
        // SAFETY: a string or null (contract of this function).
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
        // SAFETY: null or a living budget (contract of this function).
        if let Some(budget) = unsafe { options.budget.as_ref() } {
            builder = builder.budget(&budget.0);
        }
        // SAFETY: valid for writing (contract of this function).
        unsafe { hand_out(out, er_reservation(builder.build()?)) }
    };
    // SAFETY: null or valid (contract of this function).
    unsafe { report(error, make()) }
}

/// Gives everything back to the system. The handle is gone also where this fails. Null is ignored.
///
/// # Safety
/// `reservation` is null or a living reservation that no thread uses any more. `error` is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_reservation_release(
    reservation: *mut er_reservation,
    error: *mut er_error,
) -> er_code {
    // SAFETY: null or a living handle that nothing uses any more (contract of this function).
    let reservation = unsafe { take_back(reservation) };
    let released = reservation.map_or(Ok(()), |reservation| reservation.0.release());
    // SAFETY: null or valid (contract of this function).
    unsafe { report(error, released.map_err(Failure::from)) }
}

/// Returns the address of the first byte; null for null.
///
/// # Safety
/// `reservation` is null or a living reservation.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_reservation_base(reservation: *const er_reservation) -> *mut c_void {
    // SAFETY: null or a living reservation (contract of this function).
    let reservation = unsafe { reservation.as_ref() };
    reservation.map_or(ptr::null_mut(), |reservation| reservation.0.as_ptr().cast())
}

/// Returns the length in bytes; 0 for null.
///
/// # Safety
/// `reservation` is null or a living reservation.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_reservation_len(reservation: *const er_reservation) -> usize {
    // SAFETY: null or a living reservation (contract of this function).
    unsafe { reservation.as_ref() }.map_or(0, |reservation| reservation.0.len())
}

/// Commits the pages of a range. They are zero, unless they were committed before.
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
    // SAFETY: null or a living reservation (contract of this function).
    let found = unsafe { object(reservation, "reservation") };
    let commit = |found: &er_reservation| found.0.commit(offset..offset.saturating_add(size));
    let committed = found.and_then(|found| commit(found).map_err(Failure::from));
    // SAFETY: null or valid (contract of this function).
    unsafe { report(error, committed) }
}

/// Decommits the pages of a range. Their contents are lost.
///
/// # Safety
/// `reservation` is null or a living reservation, `error` null or valid. No thread is in the middle of using the pages.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_reservation_decommit(
    reservation: *const er_reservation,
    offset: usize,
    size: usize,
    error: *mut er_error,
) -> er_code {
    // SAFETY: null or a living reservation (contract of this function).
    let found = unsafe { object(reservation, "reservation") };
    let decommit = |found: &er_reservation| found.0.decommit(offset..offset.saturating_add(size));
    let decommitted = found.and_then(|found| decommit(found).map_err(Failure::from));
    // SAFETY: null or valid (contract of this function).
    unsafe { report(error, decommitted) }
}

/// Sets what may be done with the committed pages of a range: an `er_protection`.
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
    let protect = || {
        // SAFETY: null or a living reservation (contract of this function).
        let found = unsafe { object(reservation, "reservation") }?;
        let access = match protection {
            0 => Access::None,
            1 => Access::Read,
            2 => Access::ReadWrite,
            3 => Access::ReadExecute,
            _ => {
                let text =
                    format!("there is no protection {protection}; take one of `er_protection`");
                return Err(Failure::Argument(text));
            }
        };
        Ok(found
            .0
            .protect(offset..offset.saturating_add(size), access)?)
    };
    // SAFETY: null or valid (contract of this function).
    unsafe { report(error, protect()) }
}

//! Handles: objects that C holds by opaque pointers.

#![allow(unsafe_code, reason = "follows and hands out handles of C")]

use std::ffi::c_void;
use std::ops::Range;

use crate::error::{Failure, er_code, er_error, null, report};

/// A pointer of the C program, which the library passes to a function of the program.
pub(crate) struct User(pub(crate) *mut c_void);

impl User {
    /// Returns the pointer. A closure that calls this captures the whole `User`, and may therefore go to another
    /// thread.
    pub(crate) fn get(&self) -> *mut c_void {
        self.0
    }
}

// SAFETY: the pointer is only passed to the program's function, and never followed here. `er_filter` and
// `er_budget_callback` require that any number of threads may call the function at once.
unsafe impl Send for User {}
// SAFETY: the pointer is only passed to the program's function, and never followed here. `er_filter` and
// `er_budget_callback` require that any number of threads may call the function at once.
unsafe impl Sync for User {}

/// Makes an object, and stores a handle to it in `out`.
///
/// # Safety
/// `out` is null or valid for writing a pointer, `error` null or valid.
pub(crate) unsafe fn create<T>(
    out: *mut *mut T,
    error: *mut er_error,
    make: impl FnOnce() -> Result<T, Failure>,
) -> er_code {
    let made = if out.is_null() {
        Err(null("out"))
    } else {
        make()
    };
    let handed = made.map(|object| {
        let handle = Box::into_raw(Box::new(object));
        // SAFETY: `out` is not null, because an object was made, so it is valid for writing a pointer (contract of this
        // function).
        unsafe { out.write(handle) };
    });
    // SAFETY: `error` is null or valid (contract of this function).
    unsafe { report(error, handed) }
}

/// Takes the object out of its handle, which is then invalid. Returns `None` for null.
///
/// # Safety
/// `handle` is null, or is from [`create`] and was not taken back before. Nothing uses it afterwards.
pub(crate) unsafe fn take_back<T>(handle: *mut T) -> Option<T> {
    if handle.is_null() {
        return None;
    }
    // SAFETY: the handle is not null, so it is from `Box::into_raw` in `create`, was not taken back before, and is not
    // used afterwards (contract of this function).
    Some(*unsafe { Box::from_raw(handle) })
}

/// Takes an object out of its handle, releases it, and returns the code of the result. Null is a success.
///
/// # Safety
/// `handle` is null, or is from [`create`] and was not taken back before. Nothing uses it afterwards. `error` is null
/// or valid.
pub(crate) unsafe fn release<T>(
    handle: *mut T,
    error: *mut er_error,
    release: impl FnOnce(T) -> Result<(), room::Error>,
) -> er_code {
    // SAFETY: `handle` is null, or is from `create`, was not taken back before, and is not used afterwards (contract of
    // this function).
    let object = unsafe { take_back(handle) };
    let released = object.map_or(Ok(()), release);
    // SAFETY: `error` is null or valid (contract of this function).
    unsafe { report(error, released.map_err(Failure::from)) }
}

/// Calls `action` with an object, and returns the code of the result. For a null handle, the error names the argument
/// `name`.
///
/// # Safety
/// `handle` is null or a living object that no other thread changes meanwhile; `error` is null or valid.
pub(crate) unsafe fn act<T>(
    handle: *const T,
    name: &str,
    error: *mut er_error,
    action: impl FnOnce(&T) -> Result<(), Failure>,
) -> er_code {
    // SAFETY: `handle` is null or points to a living object that no other thread changes meanwhile (contract of this
    // function).
    let object = unsafe { handle.as_ref() };
    let done = object.ok_or_else(|| null(name)).and_then(action);
    // SAFETY: `error` is null or valid (contract of this function).
    unsafe { report(error, done) }
}

/// Calls `action` with an object that it may change, and returns the code of the result. For a null handle, the error
/// names the argument `name`.
///
/// # Safety
/// `handle` is null or a living object that no other thread uses meanwhile; `error` is null or valid.
pub(crate) unsafe fn act_mut<T>(
    handle: *mut T,
    name: &str,
    error: *mut er_error,
    action: impl FnOnce(&mut T) -> Result<(), Failure>,
) -> er_code {
    // SAFETY: `handle` is null or points to a living object that no other thread uses meanwhile (contract of this
    // function).
    let object = unsafe { handle.as_mut() };
    let done = object.ok_or_else(|| null(name)).and_then(action);
    // SAFETY: `error` is null or valid (contract of this function).
    unsafe { report(error, done) }
}

/// Returns the bytes from an offset on.
pub(crate) fn bytes(offset: usize, size: usize) -> Range<usize> {
    offset..offset.saturating_add(size)
}

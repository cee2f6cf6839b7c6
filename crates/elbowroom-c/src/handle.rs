//! Handles: objects that C holds by opaque pointers.

#![allow(unsafe_code, reason = "follows and hands out handles of C")]

use std::ffi::c_void;
use std::ops::Range;

use crate::error::{Failure, er_code, er_error, null, report};

/// The pointer that a C program gave for a function of its own that the library calls.
pub(crate) struct User(pub(crate) *mut c_void);

impl User {
    /// Returns the pointer. A closure that calls this has the whole `User`, and may go to another thread.
    pub(crate) fn get(&self) -> *mut c_void {
        self.0
    }
}

// SAFETY: the pointer is handed to the function of the program and not followed here. That the function is called on any
// thread, several at once, is what `er_filter` and `er_budget_callback` say.
unsafe impl Send for User {}
// SAFETY: the pointer is handed to the function of the program and not followed here. That the function is called on any
// thread, several at once, is what `er_filter` and `er_budget_callback` say.
unsafe impl Sync for User {}

/// Makes an object, and hands a handle of it to C.
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
        // SAFETY: not null, since there is an object, so valid for writing a pointer (contract of this function).
        unsafe { out.write(handle) };
    });
    // SAFETY: null or valid (contract of this function).
    unsafe { report(error, handed) }
}

/// Returns the object of a handle, which is gone with it; `None` for null.
///
/// # Safety
/// `handle` is null or was handed out by [`create`], and was not taken back; nothing uses it any more.
pub(crate) unsafe fn take_back<T>(handle: *mut T) -> Option<T> {
    if handle.is_null() {
        return None;
    }
    // SAFETY: from `Box::into_raw` in `create`, not taken back before, and nothing else uses it (contract of this
    // function).
    Some(*unsafe { Box::from_raw(handle) })
}

/// Takes an object back and releases it, and reports how that went. Null is released already.
///
/// # Safety
/// `handle` is null or was handed out by [`create`], and was not taken back; nothing uses it any more. `error` is null
/// or valid.
pub(crate) unsafe fn release<T>(
    handle: *mut T,
    error: *mut er_error,
    release: impl FnOnce(T) -> Result<(), room::Error>,
) -> er_code {
    // SAFETY: null or a living handle that nothing uses any more (contract of this function).
    let object = unsafe { take_back(handle) };
    let released = object.map_or(Ok(()), release);
    // SAFETY: null or valid (contract of this function).
    unsafe { report(error, released.map_err(Failure::from)) }
}

/// Does something with an object, and reports how it went. `name` is the argument, for the error if it is null.
///
/// # Safety
/// `handle` is null or a living object that no other thread changes meanwhile; `error` is null or valid.
pub(crate) unsafe fn act<T>(
    handle: *const T,
    name: &str,
    error: *mut er_error,
    action: impl FnOnce(&T) -> Result<(), Failure>,
) -> er_code {
    // SAFETY: null or a living object that no thread changes (contract of this function).
    let object = unsafe { handle.as_ref() };
    let done = object.ok_or_else(|| null(name)).and_then(action);
    // SAFETY: null or valid (contract of this function).
    unsafe { report(error, done) }
}

/// Changes an object, and reports how it went. `name` is the argument, for the error if it is null.
///
/// # Safety
/// `handle` is null or a living object that no other thread uses meanwhile; `error` is null or valid.
pub(crate) unsafe fn act_mut<T>(
    handle: *mut T,
    name: &str,
    error: *mut er_error,
    action: impl FnOnce(&mut T) -> Result<(), Failure>,
) -> er_code {
    // SAFETY: null or a living object that no other thread uses (contract of this function).
    let object = unsafe { handle.as_mut() };
    let done = object.ok_or_else(|| null(name)).and_then(action);
    // SAFETY: null or valid (contract of this function).
    unsafe { report(error, done) }
}

/// Returns the bytes from an offset on.
pub(crate) fn bytes(offset: usize, size: usize) -> Range<usize> {
    offset..offset.saturating_add(size)
}

//! The error number of the last system call.

use crate::plain::OsCode;

#[cfg(target_os = "linux")]
pub(super) fn location() -> *mut i32 {
    // SAFETY: the function has no preconditions; it returns the address of this thread's errno.
    unsafe { libc::__errno_location() }
}

#[cfg(target_os = "macos")]
pub(super) fn location() -> *mut i32 {
    // SAFETY: the function has no preconditions; it returns the address of this thread's errno.
    unsafe { libc::__error() }
}

/// Returns the code of the call that has just failed.
pub(super) fn last_error() -> OsCode {
    // SAFETY: the address is that of this thread's errno, which is valid to read while the thread lives.
    OsCode(unsafe { *location() })
}

//! The error number of the last call.

use windows_sys::Win32::Foundation::GetLastError;

use crate::plain::OsCode;

/// Returns the code of the call that has just failed.
pub(super) fn last_error() -> OsCode {
    // SAFETY: GetLastError has no preconditions.
    OsCode(unsafe { GetLastError() } as i32)
}

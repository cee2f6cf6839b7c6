//! The fault handler of the process.

#![allow(unsafe_code, reason = "exports functions that fill what C points to")]

use crate::error::{Failure, er_code, er_error, report};

/// Returns 1 if a touch of an uncommitted page reaches its region, as far as the system tells. Returns 0 if another
/// handler has displaced the library's, or if a thread blocks SIGSEGV or SIGBUS.
#[unsafe(no_mangle)]
pub extern "C" fn er_fault_handler_is_good() -> i32 {
    i32::from(room::fault::status().is_good())
}

/// Puts the fault handler of the library in front of all others again. Call it after other code has installed a handler
/// that does not forward faults. Without a living region it does nothing.
///
/// # Safety
/// `error` is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_fault_handler_reinstall(error: *mut er_error) -> er_code {
    let done = room::fault::reinstall().map_err(Failure::from);
    // SAFETY: `error` is null or valid (contract of this function).
    unsafe { report(error, done) }
}

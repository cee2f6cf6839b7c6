//! The process-wide vectored exception handler.
//!
//! Our handler is first in the list, so that it sees a fault before handlers that treat every access violation as a
//! crash. It leaves other faults to the next handler: `EXCEPTION_CONTINUE_SEARCH`, with the record and the context
//! unchanged. Stack overflow has its own exception code and is always left to the next handler.

use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use windows_sys::Win32::Foundation::{GetLastError, SetLastError};
use windows_sys::Win32::System::Diagnostics::Debug::{
    AddVectoredExceptionHandler, EXCEPTION_CONTINUE_EXECUTION, EXCEPTION_CONTINUE_SEARCH,
    EXCEPTION_POINTERS, RemoveVectoredExceptionHandler,
};

use windows_sys::Win32::System::LibraryLoader::{
    GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, GET_MODULE_HANDLE_EX_FLAG_PIN, GetModuleHandleExW,
};

use super::error::last_error;
use super::touch;
use super::trap::Trap;
use crate::os::types::Decision;
use crate::plain::{OsCode, Place};

/// The function that decides about a fault; set before the handler is installed.
static DECIDE: OnceLock<fn(&mut Trap) -> Decision> = OnceLock::new();

/// The handle of our handler while it is installed, otherwise 0.
static INSTALLED: AtomicUsize = AtomicUsize::new(0);

/// Puts our handler first.
pub(crate) fn install(decide: fn(&mut Trap) -> Decision) -> Result<(), OsCode> {
    DECIDE.get_or_init(|| {
        keep_loaded();
        decide
    });
    if INSTALLED.load(Ordering::Relaxed) == 0 {
        // SAFETY: the handler below has the right type, does not unwind, and is never unloaded.
        let handle = unsafe { AddVectoredExceptionHandler(1, Some(on_exception)) };
        if handle.is_null() {
            return Err(last_error());
        }
        INSTALLED.store(handle.expose_provenance(), Ordering::Relaxed);
    }
    Ok(())
}

/// Keeps the module that contains this code loaded until the process ends: a thread may be in the handler when the last
/// region is released.
fn keep_loaded() {
    let flags = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN;
    let mut module = ptr::null_mut();
    let address = on_exception as *const u16;
    // SAFETY: with FROM_ADDRESS the second argument is an address inside a module (GetModuleHandleExW); `module` is
    // live and writable. A failure changes nothing.
    unsafe { GetModuleHandleExW(flags, address, &mut module) };
}

/// Removes our handler.
pub(crate) fn uninstall() {
    let handle = INSTALLED.swap(0, Ordering::Relaxed);
    if handle != 0 {
        // SAFETY: the handle came from AddVectoredExceptionHandler and is removed once. A thread inside the handler
        // finishes there: Windows removes the entry, not the code.
        unsafe { RemoveVectoredExceptionHandler(ptr::with_exposed_provenance(handle)) };
    }
}

/// Returns whether our handler is installed. Windows does not tell the order of handlers.
pub(crate) fn places() -> Vec<(&'static str, Place)> {
    let place = match INSTALLED.load(Ordering::Relaxed) {
        0 => Place::Absent,
        _ => Place::Installed,
    };
    vec![("vectored exception handler", place)]
}

/// Does nothing: threads leave no state here.
pub(crate) fn forget_other_threads() {}

/// # Safety
/// Called only by Windows, as a vectored handler.
unsafe extern "system" fn on_exception(pointers: *mut EXCEPTION_POINTERS) -> i32 {
    // SAFETY: Windows calls a vectored handler with a valid structure (PVECTORED_EXCEPTION_HANDLER).
    let pointers = unsafe { *pointers };
    let mut trap = Trap {
        record: pointers.ExceptionRecord,
        context: pointers.ContextRecord,
    };
    if !trap.has_address() {
        return EXCEPTION_CONTINUE_SEARCH;
    }
    if touch::leave(&mut trap) {
        return EXCEPTION_CONTINUE_EXECUTION;
    }
    // SAFETY: GetLastError has no preconditions.
    let saved = unsafe { GetLastError() };
    let outcome = DECIDE
        .get()
        .map_or(Decision::PassOn, |decide| decide(&mut trap));
    // SAFETY: SetLastError has no preconditions.
    unsafe { SetLastError(saved) };
    match outcome {
        Decision::Resume => EXCEPTION_CONTINUE_EXECUTION,
        Decision::PassOn => EXCEPTION_CONTINUE_SEARCH,
    }
}

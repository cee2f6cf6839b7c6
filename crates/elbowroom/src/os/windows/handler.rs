//! The process-wide vectored exception handler.
//!
//! First in the list, so that it sees a fault before handlers that treat every access violation as a crash. What is not
//! ours it leaves to the next: `EXCEPTION_CONTINUE_SEARCH`, with the record and the context untouched. Stack overflow
//! has a code of its own and is never looked at.

use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use windows_sys::Win32::Foundation::{
    EXCEPTION_ACCESS_VIOLATION, EXCEPTION_GUARD_PAGE, EXCEPTION_IN_PAGE_ERROR, GetLastError, SetLastError,
};
use windows_sys::Win32::System::Diagnostics::Debug::{
    AddVectoredExceptionHandler, CONTEXT, EXCEPTION_CONTINUE_EXECUTION, EXCEPTION_CONTINUE_SEARCH, EXCEPTION_POINTERS,
    EXCEPTION_RECORD, RemoveVectoredExceptionHandler,
};

use super::{last_error, touch};
use crate::error::OsCode;
use crate::fault::{self, Decision, FaultAccess, FaultCode, Place};

/// Serialises installing and uninstalling.
pub(crate) static INSTALLING: Mutex<()> = Mutex::new(());

/// The handle of our handler while it is installed, else 0.
static INSTALLED: AtomicUsize = AtomicUsize::new(0);

/// Puts our handler first.
pub(crate) fn install() -> Result<(), OsCode> {
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if INSTALLED.load(Ordering::Relaxed) == 0 {
        // SAFETY: the handler below has the right type, does not unwind, and stays in the program for good.
        let handle = unsafe { AddVectoredExceptionHandler(1, Some(on_exception)) };
        if handle.is_null() {
            return Err(last_error());
        }
        INSTALLED.store(handle.expose_provenance(), Ordering::Relaxed);
    }
    Ok(())
}

/// Takes it away again.
pub(crate) fn uninstall() {
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let handle = INSTALLED.swap(0, Ordering::Relaxed);
    if handle != 0 {
        // SAFETY: the handle came from AddVectoredExceptionHandler and is removed once. A thread that is in the handler
        // meanwhile finishes there: Windows removes the entry, not the code.
        unsafe { RemoveVectoredExceptionHandler(ptr::with_exposed_provenance(handle)) };
    }
}

/// Whether ours is installed; the order is Windows' secret.
pub(crate) fn places() -> Vec<(&'static str, Place)> {
    vec![("vectored exception handler", if fault::is_armed() { Place::Installed } else { Place::Absent })]
}

/// # Safety
/// Called by Windows as a vectored handler.
unsafe extern "system" fn on_exception(pointers: *mut EXCEPTION_POINTERS) -> i32 {
    // SAFETY: Windows calls a vectored handler with a valid structure (PVECTORED_EXCEPTION_HANDLER).
    let EXCEPTION_POINTERS { ExceptionRecord: record, ContextRecord: context } = unsafe { *pointers };
    let mut trap = Trap { record, context };
    if !trap.has_address() {
        return EXCEPTION_CONTINUE_SEARCH;
    }
    if touch::leave(&mut trap) {
        return EXCEPTION_CONTINUE_EXECUTION;
    }
    // SAFETY: no preconditions.
    let saved = unsafe { GetLastError() };
    let outcome = fault::decide(&mut trap);
    // SAFETY: no preconditions.
    unsafe { SetLastError(saved) };
    match outcome {
        Decision::Resume => EXCEPTION_CONTINUE_EXECUTION,
        Decision::PassOn => EXCEPTION_CONTINUE_SEARCH,
    }
}

/// A fault, as Windows delivered it to the vectored handler.
pub(crate) struct Trap {
    // Invariant: both point at what Windows passed to the handler that is running; valid to read, and the context to
    // write, until that handler returns (EXCEPTION_POINTERS).
    record: *const EXCEPTION_RECORD,
    context: *mut CONTEXT,
}

impl Trap {
    fn raw_code(&self) -> i32 {
        // SAFETY: the record is valid to read (invariant).
        unsafe { (*self.record).ExceptionCode }
    }

    /// EXCEPTION_RECORD: these three carry the kind of access and the address.
    fn has_address(&self) -> bool {
        let carries = [EXCEPTION_ACCESS_VIOLATION, EXCEPTION_GUARD_PAGE, EXCEPTION_IN_PAGE_ERROR];
        // SAFETY: the record is valid to read (invariant).
        let parameters = unsafe { (*self.record).NumberParameters };
        carries.contains(&self.raw_code()) && parameters >= 2
    }

    fn parameter(&self, index: usize) -> usize {
        // SAFETY: the record is valid to read (invariant); the index is 0 or 1 of 15.
        unsafe { (*self.record).ExceptionInformation[index] }
    }

    /// The address that was touched.
    pub(crate) fn address(&self) -> usize {
        self.parameter(1)
    }

    pub(crate) fn code(&self) -> FaultCode {
        FaultCode::Exception(self.raw_code() as u32)
    }

    /// Whether a commit can cure it: an access violation, not a guard page and not a failed read of a backing file.
    pub(crate) fn is_page_fault(&self) -> bool {
        self.raw_code() == EXCEPTION_ACCESS_VIOLATION
    }

    /// EXCEPTION_RECORD: 0 is a read, 1 a write, 8 a violation of data execution prevention.
    pub(crate) fn access(&self) -> FaultAccess {
        match self.parameter(0) {
            0 => FaultAccess::Read,
            1 => FaultAccess::Write,
            _ => FaultAccess::Execute,
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Trap {
    pub(crate) fn program_counter(&self) -> usize {
        // SAFETY: the context is valid to read (invariant).
        unsafe { (*self.context).Rip as usize }
    }

    /// The first result register, rax.
    pub(super) fn result(&self) -> u64 {
        // SAFETY: the context is valid to read (invariant).
        unsafe { (*self.context).Rax }
    }

    /// Makes the thread continue at `resume` with `refusal` in the first result register, rax.
    pub(crate) fn recover(&mut self, resume: usize, refusal: u64) {
        // SAFETY: the context is valid to write (invariant).
        let context = unsafe { &mut *self.context };
        context.Rip = resume as u64;
        context.Rax = refusal;
    }
}

#[cfg(target_arch = "aarch64")]
impl Trap {
    pub(crate) fn program_counter(&self) -> usize {
        // SAFETY: the context is valid to read (invariant).
        unsafe { (*self.context).Pc as usize }
    }

    /// The first result register, x0.
    pub(super) fn result(&self) -> u64 {
        // SAFETY: the context is valid to read (invariant); all fields of the union are numbers.
        unsafe { (*self.context).Anonymous.Anonymous.X0 }
    }

    /// Makes the thread continue at `resume` with `refusal` in the first result register, x0.
    pub(crate) fn recover(&mut self, resume: usize, refusal: u64) {
        // SAFETY: the context is valid to write (invariant).
        let context = unsafe { &mut *self.context };
        context.Pc = resume as u64;
        context.Anonymous.Anonymous.X0 = refusal;
    }
}

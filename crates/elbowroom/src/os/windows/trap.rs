//! A fault as Windows describes it to a vectored handler.

use windows_sys::Win32::Foundation::{
    EXCEPTION_ACCESS_VIOLATION, EXCEPTION_GUARD_PAGE, EXCEPTION_IN_PAGE_ERROR,
};
use windows_sys::Win32::System::Diagnostics::Debug::{CONTEXT, EXCEPTION_RECORD};

use crate::plain::{FaultAccess, FaultCode};

/// A fault, as Windows delivered it to the vectored handler.
pub(crate) struct Trap {
    // Invariant: both point to the structures that Windows passed to the running handler. They are valid to read, and
    // the context is valid to write, until that handler returns (EXCEPTION_POINTERS).
    pub(super) record: *const EXCEPTION_RECORD,
    pub(super) context: *mut CONTEXT,
}

impl Trap {
    fn raw_code(&self) -> i32 {
        // SAFETY: the record is valid to read (invariant).
        unsafe { (*self.record).ExceptionCode }
    }

    /// Returns whether the exception carries the kind of access and the address (EXCEPTION_RECORD): three kinds do.
    pub(super) fn has_address(&self) -> bool {
        let carries = [
            EXCEPTION_ACCESS_VIOLATION,
            EXCEPTION_GUARD_PAGE,
            EXCEPTION_IN_PAGE_ERROR,
        ];
        // SAFETY: the record is valid to read (invariant).
        let parameters = unsafe { (*self.record).NumberParameters };
        carries.contains(&self.raw_code()) && parameters >= 2
    }

    fn parameter(&self, index: usize) -> usize {
        // SAFETY: the record is valid to read (invariant); the index is 0 or 1 of 15.
        unsafe { (*self.record).ExceptionInformation[index] }
    }

    /// Returns the address that was touched.
    pub(crate) fn address(&self) -> usize {
        self.parameter(1)
    }

    pub(crate) fn code(&self) -> FaultCode {
        FaultCode::Exception(self.raw_code() as u32)
    }

    /// Returns whether a commit can resolve the fault: an access violation, not a guard page, and not a failed read of
    /// a backing file.
    pub(crate) fn is_page_fault(&self) -> bool {
        self.raw_code() == EXCEPTION_ACCESS_VIOLATION
    }

    /// Returns the access (EXCEPTION_RECORD): 0 is a read, 1 a write, 8 a violation of data execution prevention.
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

    /// Returns the first result register, rax.
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

    /// Returns the first result register, x0.
    pub(super) fn result(&self) -> u64 {
        // SAFETY: the context is valid to read (invariant).
        let context = unsafe { &*self.context };
        // SAFETY: all fields of the union are plain numbers.
        unsafe { context.Anonymous.Anonymous.X0 }
    }

    /// Makes the thread continue at `resume` with `refusal` in the first result register, x0.
    pub(crate) fn recover(&mut self, resume: usize, refusal: u64) {
        // SAFETY: the context is valid to write (invariant).
        let context = unsafe { &mut *self.context };
        context.Pc = resume as u64;
        context.Anonymous.Anonymous.X0 = refusal;
    }
}

//! Filters, and the faults that they receive.

#![allow(unsafe_code, reason = "follows pointers of C, and exports functions")]

use std::ffi::c_void;

use room::{Fault, FaultAccess};

use crate::error::{Failure, er_code, er_error, report};

/// A fault that a filter is asked about. Valid until the filter returns.
pub struct er_fault {
    // A pointer to this type points to a `Fault`.
    _opaque: [u8; 0],
}

/// The answer of a filter. Any other number declines.
#[repr(i32)]
#[derive(Clone, Copy)]
pub enum er_verdict {
    /// Refuse the touch.
    ER_DECLINE = 0,
    /// Commit the page, within the region's limits, and run the instruction that faulted again.
    ER_COMMIT = 1,
}

/// The access of the instruction that faulted.
#[repr(i32)]
#[derive(Clone, Copy)]
pub enum er_access {
    /// Reading.
    ER_READ = 0,
    /// Writing.
    ER_WRITE = 1,
    /// Fetching an instruction.
    ER_EXECUTE = 2,
    /// An access without a name in this version.
    ER_OTHER_ACCESS = 3,
}

/// Decides about a fault, and returns an `er_verdict`. It runs on the faulting thread, in the middle of the touch, on a
/// separate stack of at least 128 KiB (on Windows, on the thread's own). Several threads may call it at once.
///
/// It may call `er_region_commit`, `er_region_decommit` and `er_region_get_stats` for its own region, and may touch
/// committed pages of it. If the touch may come from inside the allocator, the filter must not allocate.
///
/// It must return: neither longjmp nor a C++ exception may leave it. Otherwise its stack is lost, and the region
/// refuses the next touches of this thread. To jump, decline the touch, and leave the handler that then receives the
/// signal.
pub type er_filter =
    Option<unsafe extern "C-unwind" fn(fault: *const er_fault, user: *mut c_void) -> i32>;

/// Returns the fault that a filter's pointer points to.
///
/// # Safety
/// `fault` is the pointer that the library passed to a filter that has not returned.
unsafe fn fault_of<'a>(fault: *const er_fault) -> &'a Fault<'a> {
    // SAFETY: the library passed a pointer to a `Fault`, which lives until the filter returns (contract of this
    // function).
    unsafe { &*fault.cast::<Fault<'a>>() }
}

/// Returns the address that was touched.
///
/// # Safety
/// `fault` is the pointer that the library passed to a filter that has not returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_fault_address(fault: *const er_fault) -> *mut c_void {
    // SAFETY: `fault` was passed to a filter that has not returned (contract of this function).
    let address = unsafe { fault_of(fault) }.address();
    std::ptr::with_exposed_provenance_mut(address)
}

/// Returns the offset of the byte that was touched, from the base of the region.
///
/// # Safety
/// `fault` is the pointer that the library passed to a filter that has not returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_fault_offset(fault: *const er_fault) -> usize {
    // SAFETY: `fault` was passed to a filter that has not returned (contract of this function).
    unsafe { fault_of(fault) }.offset()
}

/// Returns the kind of access.
///
/// # Safety
/// `fault` is the pointer that the library passed to a filter that has not returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_fault_access(fault: *const er_fault) -> er_access {
    // SAFETY: `fault` was passed to a filter that has not returned (contract of this function).
    match unsafe { fault_of(fault) }.access() {
        FaultAccess::Read => er_access::ER_READ,
        FaultAccess::Write => er_access::ER_WRITE,
        FaultAccess::Execute => er_access::ER_EXECUTE,
        _ => er_access::ER_OTHER_ACCESS,
    }
}

/// Returns the number of the signal, or the exception code as the signed number that Windows programs print.
///
/// # Safety
/// `fault` is the pointer that the library passed to a filter that has not returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_fault_code(fault: *const er_fault) -> i32 {
    // SAFETY: `fault` was passed to a filter that has not returned (contract of this function).
    unsafe { fault_of(fault) }.code().number()
}

/// Returns 1 if the fault is a touch of an uncommitted page, which a commit resolves, and 0 otherwise.
///
/// # Safety
/// `fault` is the pointer that the library passed to a filter that has not returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_fault_is_page_fault(fault: *const er_fault) -> i32 {
    // SAFETY: `fault` was passed to a filter that has not returned (contract of this function).
    i32::from(unsafe { fault_of(fault) }.is_page_fault())
}

/// Returns the number of committed bytes of the region.
///
/// # Safety
/// `fault` is the pointer that the library passed to a filter that has not returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_fault_committed(fault: *const er_fault) -> usize {
    // SAFETY: `fault` was passed to a filter that has not returned (contract of this function).
    unsafe { fault_of(fault) }.committed_bytes()
}

/// Commits the window of the fault, as the verdict `ER_COMMIT` would, and returns an error if that fails.
///
/// # Safety
/// `fault` is the pointer that the library passed to a filter that has not returned; `error` is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_fault_commit(fault: *const er_fault, error: *mut er_error) -> er_code {
    // SAFETY: `fault` was passed to a filter that has not returned (contract of this function).
    let committed = unsafe { fault_of(fault) }.commit();
    // SAFETY: `error` is null or valid (contract of this function).
    unsafe { report(error, committed.map(drop).map_err(Failure::from)) }
}

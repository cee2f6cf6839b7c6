//! A platform that elbowroom does not know: everything type-checks, and every reservation is refused.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

use super::{Headroom, Placement, UNSUPPORTED};
use crate::error::OsCode;
use crate::fault::{FaultAccess, FaultCode};
use crate::reservation::Access;

#[path = "no_userfault.rs"]
mod no_userfault;

pub(crate) use no_userfault::{Userfault, bar, is_in_system_call, is_missing_page, unbar, userfault_advice};

#[cfg(feature = "faulty")]
pub(super) const INJECTED: OsCode = UNSUPPORTED;

pub(crate) fn is_out_of_memory(_code: OsCode) -> bool {
    false
}

pub(crate) fn is_address_in_use(_code: OsCode) -> bool {
    false
}

pub(crate) fn is_unsupported(_code: OsCode) -> bool {
    false
}

pub(crate) fn thread_number() -> u64 {
    0
}

pub(crate) fn threads_that_block_faults() -> Vec<u64> {
    Vec::new()
}

pub(crate) fn alternate_stack_bytes() -> Option<usize> {
    None
}

pub(crate) fn is_out_of_mappings(_base: NonNull<u8>, _len: usize) -> bool {
    false
}

pub(crate) fn advice(_code: OsCode) -> Option<&'static str> {
    Some("elbowroom runs on Linux, Windows and macOS")
}

pub(crate) fn page_size() -> usize {
    4096
}

pub(crate) fn granularity() -> usize {
    page_size()
}

pub(crate) fn reserve(_len: usize, _align: usize, _placement: Placement) -> Result<NonNull<u8>, OsCode> {
    Err(UNSUPPORTED)
}

/// # Safety
/// See [`os::commit`](super::commit). None: it refuses.
pub(crate) unsafe fn commit(_base: NonNull<u8>, _len: usize) -> Result<(), OsCode> {
    Err(UNSUPPORTED)
}

/// # Safety
/// See [`os::decommit`](super::decommit). None: it refuses.
pub(crate) unsafe fn decommit(_base: NonNull<u8>, _len: usize) -> Result<(), OsCode> {
    Err(UNSUPPORTED)
}

/// # Safety
/// See [`os::protect`](super::protect). None: it refuses.
pub(crate) unsafe fn protect(_base: NonNull<u8>, _len: usize, _access: Access) -> Result<(), OsCode> {
    Err(UNSUPPORTED)
}

/// # Safety
/// See [`os::populate`](super::populate). None: it does nothing.
pub(crate) unsafe fn populate(_base: NonNull<u8>, _len: usize) {}

/// # Safety
/// See [`os::advise_huge`](super::advise_huge). None: it does nothing.
pub(crate) unsafe fn advise_huge(_base: NonNull<u8>, _len: usize) {}

/// # Safety
/// See [`os::release`](super::release). None: it refuses.
pub(crate) unsafe fn release(_base: NonNull<u8>, _len: usize) -> Result<(), OsCode> {
    Err(UNSUPPORTED)
}

pub(crate) fn allows(_address: usize, _access: FaultAccess) -> Option<bool> {
    None
}

pub(crate) fn headroom() -> Headroom {
    Headroom { bytes: 0, limit: "no support for this platform" }
}

pub(crate) fn name(_base: NonNull<u8>, _len: usize, _name: &str) {}

pub(crate) fn thread_token() -> usize {
    1
}

pub(crate) fn wait(_word: &AtomicU32, _expected: u32) {
    std::thread::yield_now();
}

pub(crate) fn wake_one(_word: *const AtomicU32) {}

pub(crate) fn write_stderr(_bytes: &[u8]) {}

pub(crate) fn at_fork(_before: extern "C" fn(), _in_parent: extern "C" fn(), _in_child: extern "C" fn()) {}

pub(crate) mod handler {
    use std::sync::Mutex;

    use super::{OsCode, UNSUPPORTED};
    use crate::fault::Place;

    pub(crate) static INSTALLING: Mutex<()> = Mutex::new(());

    pub(crate) fn install() -> Result<(), OsCode> {
        Err(UNSUPPORTED)
    }

    pub(crate) fn uninstall() {}

    pub(crate) fn places() -> Vec<(&'static str, Place)> {
        Vec::new()
    }
}

pub(crate) struct SignalsBlocked;

impl SignalsBlocked {
    pub(crate) fn new() -> SignalsBlocked {
        SignalsBlocked
    }
}

/// No handler is ever installed, so there is never a trap.
pub(crate) enum Trap {}

impl Trap {
    pub(crate) fn address(&self) -> usize {
        match *self {}
    }

    pub(crate) fn code(&self) -> FaultCode {
        match *self {}
    }

    pub(crate) fn is_page_fault(&self) -> bool {
        match *self {}
    }

    pub(crate) fn access(&self) -> FaultAccess {
        match *self {}
    }

    pub(crate) fn program_counter(&self) -> usize {
        match *self {}
    }

    pub(crate) fn recover(&mut self, _resume: usize, _refusal: u64) {
        match *self {}
    }
}

/// Never made, for want of a fault to filter.
pub(crate) enum FilterStack {}

impl FilterStack {
    pub(crate) fn new() -> Result<FilterStack, OsCode> {
        Err(UNSUPPORTED)
    }

    /// # Safety
    /// None: there is no stack.
    pub(crate) unsafe fn run(&self, _function: extern "C" fn(*mut c_void), _data: *mut c_void) {
        match *self {}
    }
}

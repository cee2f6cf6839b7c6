//! A platform that the library does not support: everything type-checks, and every reservation is refused.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

use super::pages::Pages;
use super::types::Decision;
use crate::plain::{Access, FaultAccess, FaultCode, OsCode, Placement, SystemLimit};

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

pub(crate) fn set_in_core_dumps(_pages: Pages<'_>, _in_dumps: bool) {}

pub(crate) fn is_out_of_mappings() -> bool {
    false
}

pub(crate) fn advice(_code: OsCode) -> Option<&'static str> {
    Some("elbowroom runs on Linux, Windows and macOS")
}

pub(crate) fn fault_code(_is_missing: bool) -> FaultCode {
    FaultCode::Exception(0)
}

/// Returns advice to a person after `code` refused a reservation.
pub(crate) fn reserve_advice(code: OsCode) -> Option<&'static str> {
    advice(code)
}

/// Returns advice to a person after `code` refused a thread.
pub(crate) fn thread_advice(code: OsCode) -> Option<&'static str> {
    advice(code)
}

pub(crate) fn page_size() -> usize {
    4096
}

pub(crate) fn huge_page_size() -> usize {
    512 * page_size()
}

pub(crate) fn granularity() -> usize {
    page_size()
}

pub(crate) fn reserve(
    _len: usize,
    _align: usize,
    _placement: Placement,
) -> Result<NonNull<u8>, OsCode> {
    Err(OsCode::UNSUPPORTED)
}

pub(crate) fn commit(_pages: Pages<'_>) -> Result<(), OsCode> {
    Err(OsCode::UNSUPPORTED)
}

/// # Safety
/// See [`os::decommit`](super::decommit). None: it refuses.
pub(crate) unsafe fn decommit(_pages: Pages<'_>) -> Result<(), OsCode> {
    Err(OsCode::UNSUPPORTED)
}

/// # Safety
/// See [`os::uncommit`](super::uncommit). None: it refuses.
pub(crate) unsafe fn uncommit(_pages: Pages<'_>) -> Result<(), OsCode> {
    Err(OsCode::UNSUPPORTED)
}

/// # Safety
/// See [`os::protect`](super::protect). None: it refuses.
pub(crate) unsafe fn protect(_pages: Pages<'_>, _access: Access) -> Result<(), OsCode> {
    Err(OsCode::UNSUPPORTED)
}

/// # Safety
/// See [`os::populate`](super::populate). None: it does nothing.
pub(crate) unsafe fn populate(_pages: Pages<'_>) {}

pub(crate) fn advise_huge(_pages: Pages<'_>) {}

pub(crate) fn refuse_huge(_pages: Pages<'_>) {}

pub(crate) fn may_keep_access(_pages: Pages<'_>) -> bool {
    false
}

/// # Safety
/// See [`os::discard`](crate::os::discard). None: it does nothing.
pub(crate) unsafe fn discard(_pages: Pages<'_>) -> Result<(), OsCode> {
    Err(OsCode::UNSUPPORTED)
}

/// # Safety
/// See [`os::release`](super::release). None: it refuses.
pub(crate) unsafe fn release(_base: NonNull<u8>, _len: usize) -> Result<(), OsCode> {
    Err(OsCode::UNSUPPORTED)
}

pub(crate) fn allows(_address: usize, _access: FaultAccess) -> Option<bool> {
    None
}

pub(crate) fn address_space() -> usize {
    0
}

pub(crate) fn addresses_left() -> Option<usize> {
    None
}

pub(crate) fn limits() -> Vec<SystemLimit> {
    vec![SystemLimit {
        name: "no support for this platform",
        file: None,
        limit_bytes: 0,
        used_bytes: 0,
        is_hard: true,
    }]
}

pub(crate) fn name(_pages: Pages<'_>, _name: &str) {}

pub(crate) fn thread_token() -> usize {
    1
}

pub(crate) fn wait(_word: &AtomicU32, _expected: u32) {
    std::thread::yield_now();
}

pub(crate) fn wake_one(_word: *const AtomicU32) {}

pub(crate) fn write_stderr(_bytes: &[u8]) {}

pub(crate) fn at_fork(
    _before: extern "C" fn(),
    _in_parent: extern "C" fn(),
    _in_child: extern "C" fn(),
) {
}

pub(crate) mod handler {
    use super::{Decision, OsCode, Trap};
    use crate::plain::Place;

    pub(crate) fn install(_decide: fn(&mut Trap) -> Decision) -> Result<(), OsCode> {
        Err(OsCode::UNSUPPORTED)
    }

    pub(crate) fn uninstall() {}

    pub(crate) fn forget_other_threads() {}

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

/// Uninhabited, because no handler is ever installed.
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

/// Uninhabited, because there is no fault to filter.
pub(crate) enum FilterStack {}

impl FilterStack {
    pub(crate) fn new() -> Result<FilterStack, OsCode> {
        Err(OsCode::UNSUPPORTED)
    }

    pub(crate) fn guard_page(&self) -> usize {
        match *self {}
    }

    /// # Safety
    /// None: there is no stack.
    pub(crate) unsafe fn run(&self, _function: extern "C" fn(*mut c_void), _data: *mut c_void) {
        match *self {}
    }
}

//! Where there is no userfaultfd.

use std::ptr::NonNull;

use super::Trap;
use crate::error::OsCode;
use crate::os::UNSUPPORTED;

/// Never made.
pub(crate) enum Userfault {}

impl Userfault {
    pub(crate) fn open() -> Result<Userfault, OsCode> {
        Err(UNSUPPORTED)
    }

    pub(crate) fn reopen(&self) -> Result<(), OsCode> {
        match *self {}
    }

    /// # Safety
    /// None: there is no such object.
    pub(crate) unsafe fn attach(&self, _base: NonNull<u8>, _len: usize) -> Result<(), OsCode> {
        match *self {}
    }

    pub(crate) fn register(&self, _base: NonNull<u8>, _len: usize) -> Result<(), OsCode> {
        match *self {}
    }

    /// # Safety
    /// None: there is no such object.
    pub(crate) unsafe fn fill(&self, _base: NonNull<u8>, _len: usize) -> Result<(), OsCode> {
        match *self {}
    }

    /// # Safety
    /// None: there is no such object.
    pub(crate) unsafe fn fill_written(&self, _base: NonNull<u8>) -> Result<(), OsCode> {
        match *self {}
    }

    /// # Safety
    /// None: there is no such object.
    pub(crate) unsafe fn empty(&self, _base: NonNull<u8>, _len: usize) -> Result<(), OsCode> {
        match *self {}
    }
}

pub(crate) fn is_missing_page(_trap: &Trap) -> bool {
    false
}

pub(crate) fn userfault_advice(_code: OsCode) -> &'static str {
    "only Linux has userfaultfd; choose Backend::Protection, or Backend::Auto"
}

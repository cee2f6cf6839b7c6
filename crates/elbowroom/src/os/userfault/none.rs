//! The stand-in for userfaultfd on systems without it: none can be opened.

use std::time::Duration;

use super::event::{Next, Poison};
use crate::os::Pages;
use crate::plain::OsCode;

/// A userfaultfd that no system call returns.
pub(crate) enum Userfault {}

impl Userfault {
    pub(crate) fn open() -> Result<Userfault, OsCode> {
        Err(OsCode::UNSUPPORTED)
    }

    pub(crate) fn open_for_events() -> Result<Userfault, OsCode> {
        Err(OsCode::UNSUPPORTED)
    }

    pub(crate) fn next(&self, _time: Option<Duration>) -> Next {
        match *self {}
    }

    pub(crate) fn ring(&self) {
        match *self {}
    }

    pub(crate) fn wake(&self, _pages: Pages<'_>) {
        match *self {}
    }

    pub(crate) fn reopen(&self) -> Result<(), OsCode> {
        match *self {}
    }

    /// # Safety
    /// None: there is no such object.
    pub(crate) unsafe fn attach(&self, _pages: Pages<'_>) -> Result<(), OsCode> {
        match *self {}
    }

    pub(crate) fn register(&self, _pages: Pages<'_>) -> Result<(), OsCode> {
        match *self {}
    }

    pub(crate) fn fill(&self, _pages: Pages<'_>) -> Result<(), OsCode> {
        match *self {}
    }

    pub(crate) fn fill_written(&self, _pages: Pages<'_>) -> Result<(), OsCode> {
        match *self {}
    }

    pub(crate) fn fill_with(&self, _pages: Pages<'_>, _contents: &[u8]) -> Result<(), OsCode> {
        match *self {}
    }

    /// # Safety
    /// None: there is no such object.
    pub(crate) unsafe fn empty(&self, _pages: Pages<'_>) -> Result<(), OsCode> {
        match *self {}
    }
}

pub(crate) fn is_missing_page<T>(_trap: &T) -> bool {
    false
}

pub(crate) fn is_in_system_call(_thread: u64) -> bool {
    false
}

/// # Safety
/// None: it refuses.
pub(crate) unsafe fn poison(_pages: Pages<'_>) -> Result<Poison, OsCode> {
    Err(OsCode::UNSUPPORTED)
}

pub(crate) fn cure(_pages: Pages<'_>, _poison: Poison) {}

pub(crate) fn userfault_advice(_code: OsCode, _for_events: bool) -> &'static str {
    "only Linux has userfaultfd; choose Backend::Protection, or Backend::Auto"
}

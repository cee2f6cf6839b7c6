//! userfaultfd(2), which only Linux has. On other systems none can be opened, and nothing here is ever called.
//!
//! Pages that are *attached* to a `Userfault` are accessible, and missing until they are *filled*. A touch of a missing
//! page is a fault. *Emptied* pages are missing again. A fork detaches the pages in the child, which must `reopen` the
//! descriptor and `register` them.
//!
//! A descriptor opened for events reports each touch instead of raising a signal. `next` waits for the next event,
//! `ring` ends that wait for ever, and `wake` lets the waiting threads continue. `poison` makes touches of a missing
//! page fail, and `cure` undoes it. `is_missing_page(trap)` returns whether a fault is a touch of a missing page,
//! `is_in_system_call(thread)` whether a waiting thread is in a system call, and `userfault_advice` advice to a person
//! if none can be opened.

#![allow(unsafe_code, reason = "emptying pages is unsafe: their contents go")]

use super::Pages;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
use super::unix as sys;
use crate::plain::OsCode;
#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
use none as sys;

pub(in crate::os) mod event;
#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
mod none;

pub(crate) use event::{Missing, Next, Poison};
pub(crate) use sys::{
    Userfault, cure, is_in_system_call, is_missing_page, poison, userfault_advice,
};

/// Opens a userfaultfd that raises signals.
pub(crate) fn open() -> Result<Userfault, OsCode> {
    refusable!(OpenUserfault);
    Userfault::open()
}

/// Opens a userfaultfd that reports events.
pub(crate) fn open_for_events() -> Result<Userfault, OsCode> {
    refusable!(OpenUserfault);
    Userfault::open_for_events()
}

/// Commits attached pages: fills them with zeros.
pub(crate) fn fill(userfault: &Userfault, pages: Pages<'_>) -> Result<(), OsCode> {
    refusable!(Commit);
    userfault.fill(pages)
}

/// Commits attached pages that are about to be written.
pub(crate) fn fill_written(userfault: &Userfault, pages: Pages<'_>) -> Result<(), OsCode> {
    refusable!(Commit);
    userfault.fill_written(pages)
}

/// Commits attached pages with these contents, which are exactly as long as the pages.
pub(crate) fn fill_with(
    userfault: &Userfault,
    pages: Pages<'_>,
    contents: &[u8],
) -> Result<(), OsCode> {
    refusable!(Commit);
    userfault.fill_with(pages, contents)
}

/// Decommits attached pages.
///
/// # Safety
/// No reference points into the pages.
pub(crate) unsafe fn empty(userfault: &Userfault, pages: Pages<'_>) -> Result<(), OsCode> {
    refusable!(Decommit);
    // SAFETY: no reference points into the pages (contract).
    unsafe { userfault.empty(pages) }
}

//! The operating system, behind one contract. The only place with platform `cfg`.
//!
//! Each platform is a module that provides the items listed here, with the same meaning:
//!
//! **Memory.** A *reservation* is a range of addresses that nothing else will be given. Its pages are *reserved* (any
//! access faults, nothing is charged) or *committed* (charged to the system's commit limit where the system has one;
//! zero when first seen).
//!
//! - `page_size()`: bytes, a power of two, at least 4096, constant.
//! - `granularity()`: what the base of a reservation is a multiple of; a multiple of the page size.
//! - `reserve(len, align, placement)`: `len > 0`, a multiple of the page size; `align` a power of two, at least the
//!   granularity. All pages reserved. Never replaces a mapping that exists.
//! - `commit(base, len)`: reserved pages become committed, readable and writable, zero. On failure some may be; the
//!   caller decommits them. May wait a while (half a second at most) for a refusal that passes.
//! - `decommit(base, len)`: pages become reserved, whatever they were; contents lost, charge refunded.
//! - `protect(base, len, access)`: committed pages get this access, contents kept.
//! - `populate(base, len)`: brings committed pages in as a write would, without changing their contents, as far as the
//!   system has a means for that; returns when they are in. A touch would do the same later, so failure is silent, also
//!   where pages are not committed: they stay so. A single page may be left to the program's own touch, where that
//!   costs no more. If pages may be other than readable and writable, the fault handler is installed.
//!   Async-signal-safe.
//! - `advise_huge(base, len)`: lets the system use huge pages for committed ones, where it has such and would not by
//!   itself. Failure is silent. Async-signal-safe.
//! - `release(base, len)`: a whole reservation, as `reserve` made it, is given back.
//! - `allows(address, access)`: whether the system lets the program do that at an address right now, without a fault;
//!   `None` if it cannot be asked. Async-signal-safe.
//! - `name(base, len, name)`: a label for diagnosis, where the system has such. Failure is silent; allocates nothing.
//! - `is_out_of_mappings(base, len)`: after a commit that failed for want of memory, whether it was for want of a
//!   mapping (Linux limits their number).
//! - `Userfault`, `is_missing_page(trap)`, `userfault_advice(code)`: userfaultfd(2), which only Linux has. Pages that
//!   are *attached* to one are accessible, and missing until they are *filled*; the touch of a missing one is a fault.
//!   *Empty* pages are missing again. A fork detaches them in the child, which must `reopen` and `register` them.
//! - `at_fork(before, in_parent, in_child)`: where processes fork, calls these around every fork, on the thread that
//!   forks.
//! - `headroom()`: how much this process may still commit by the tightest limit that the system sets, and which that
//!   is.
//!
//! **Faults.** `handler::install()` makes the system call [`fault::decide`](crate::fault::decide) for each fault that
//! the processor raised, with a `Trap` that describes it, on the thread that faulted; `handler::uninstall()` restores
//! what was there. Where `decide` passes a fault on, the handlers that were there before get it unchanged.
//! `handler::places()` says where it stands; `threads_that_block_faults()` and `alternate_stack_bytes()`, what may keep
//! faults from it. `exception_table()` is the table that the accessors' asm wrote (see
//! [`fault::access`](crate::fault::access)).
//!
//! **Threads.** `thread_token()` tells threads apart and is never 0. `wait(word, expected)` sleeps while the word has
//! that value and may wake early; `wake_one(word)` wakes one that waits on it, and uses the word only as a key: it may
//! be gone. Both are async-signal-safe. `SignalsBlocked` keeps asynchronous signals from this thread while it lives.
//! `FilterStack::run` calls a function with at least 128 KiB of stack, where the system does not call handlers on the
//! thread's own.

#![allow(unsafe_code, reason = "the contract's memory calls are unsafe: they change what pointers may be used for")]

use std::ptr::NonNull;

use crate::error::OsCode;
use crate::fault::FaultAccess;
use crate::reservation::Access;

#[cfg(any(test, all(target_os = "linux", target_arch = "aarch64")))]
mod arm64;
#[cfg(feature = "faulty")]
pub mod faulty;
mod table;

#[cfg(all(any(target_os = "linux", target_os = "macos"), any(target_arch = "x86_64", target_arch = "aarch64")))]
#[path = "unix/mod.rs"]
mod sys;
#[cfg(all(windows, any(target_arch = "x86_64", target_arch = "aarch64")))]
#[path = "windows/mod.rs"]
mod sys;
#[cfg(not(all(
    any(target_os = "linux", target_os = "macos", windows),
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
#[path = "unsupported.rs"]
mod sys;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("elbowroom needs a 64-bit address space");

pub(crate) use sys::{
    FilterStack, SignalsBlocked, Trap, Userfault, advice, allows, alternate_stack_bytes, at_fork, bar, granularity,
    handler, headroom, is_address_in_use, is_in_system_call, is_missing_page, is_out_of_mappings, is_out_of_memory,
    name, page_size, thread_number, thread_token, threads_that_block_faults, unbar, userfault_advice, wait, wake_one,
    write_stderr,
};
pub(crate) use table::{AccessEntry, access_anchor, access_entry, access_section, exception_table};

/// No system has this number; it stands for "not supported here".
pub(crate) const UNSUPPORTED: OsCode = OsCode(i32::MIN);

pub(crate) fn is_unsupported(code: OsCode) -> bool {
    code == UNSUPPORTED || sys::is_unsupported(code)
}

/// Where a reservation should lie.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Placement {
    /// The system chooses.
    Anywhere,
    /// Here if that is free, else the system chooses.
    Near(usize),
    /// Here or nowhere. A multiple of the granularity.
    Exactly(usize),
}

/// An event: somebody waits for a page that is missing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Missing {
    /// What was touched, or, on older kernels, the first byte of its page.
    pub(crate) address: usize,
    pub(crate) access: FaultAccess,
    pub(crate) flags: u64,
    /// The kernel's number of the thread that waits.
    pub(crate) thread: u64,
}

/// How the wait for an event ended.
#[allow(dead_code, reason = "made where there is userfaultfd")]
pub(crate) enum Next {
    Missing(Missing),
    TimeUp,
    /// The bell was rung, or there is nothing to wait for any more.
    End,
}

/// How a page was barred.
#[allow(dead_code, reason = "made where there is userfaultfd")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bar {
    Guard,
    Protection,
}

/// What this process may still commit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Headroom {
    pub(crate) bytes: usize,
    /// The limit that says so.
    pub(crate) limit: &'static str,
}

/// Asks the fault-injection layer first, where it is compiled in.
macro_rules! refusable {
    ($call:ident) => {
        #[cfg(feature = "faulty")]
        faulty::check(faulty::Call::$call)?;
    };
}

pub(crate) fn reserve(len: usize, align: usize, placement: Placement) -> Result<NonNull<u8>, OsCode> {
    refusable!(Reserve);
    sys::reserve(len, align, placement)
}

/// # Safety
/// `base..base + len` are whole pages of one live reservation of the caller's, and all of them reserved.
pub(crate) unsafe fn commit(base: NonNull<u8>, len: usize) -> Result<(), OsCode> {
    refusable!(Commit);
    // SAFETY: the same contract, passed on.
    unsafe { sys::commit(base, len) }
}

/// [`commit`], for pages that hold the library's own tables.
///
/// # Safety
/// As for `commit`.
pub(crate) unsafe fn commit_bookkeeping(base: NonNull<u8>, len: usize) -> Result<(), OsCode> {
    refusable!(CommitBookkeeping);
    // SAFETY: the same contract, passed on.
    unsafe { sys::commit(base, len) }
}

/// # Safety
/// `base..base + len` are whole pages of one live reservation of the caller's, and no reference points into them.
pub(crate) unsafe fn decommit(base: NonNull<u8>, len: usize) -> Result<(), OsCode> {
    refusable!(Decommit);
    // SAFETY: the same contract, passed on.
    unsafe { sys::decommit(base, len) }
}

/// # Safety
/// `base..base + len` are whole committed pages of one live reservation of the caller's, and no reference points into
/// them whose use the new access forbids.
pub(crate) unsafe fn protect(base: NonNull<u8>, len: usize, access: Access) -> Result<(), OsCode> {
    refusable!(Protect);
    // SAFETY: the same contract, passed on.
    unsafe { sys::protect(base, len, access) }
}

/// # Safety
/// `base..base + len` are whole pages of one live reservation of the caller's, `len > 0`. If they may be other than
/// committed, readable and writable, the fault handler is installed.
pub(crate) unsafe fn populate(base: NonNull<u8>, len: usize) {
    #[cfg(feature = "faulty")]
    if faulty::check(faulty::Call::Populate).is_err() {
        return;
    }
    // SAFETY: the same contract, passed on.
    unsafe { sys::populate(base, len) };
}

/// # Safety
/// `base..base + len` are whole pages of one live reservation of the caller's.
pub(crate) unsafe fn advise_huge(base: NonNull<u8>, len: usize) {
    // SAFETY: the same contract, passed on.
    unsafe { sys::advise_huge(base, len) };
}

/// # Safety
/// `base` and `len` are those of one successful `reserve`, not released before; nothing uses the addresses after.
pub(crate) unsafe fn release(base: NonNull<u8>, len: usize) -> Result<(), OsCode> {
    refusable!(Release);
    // SAFETY: the same contract, passed on.
    unsafe { sys::release(base, len) }
}

pub(crate) fn open_userfault() -> Result<Userfault, OsCode> {
    refusable!(OpenUserfault);
    Userfault::open()
}

/// [`open_userfault`], for events.
pub(crate) fn open_userfault_for_events() -> Result<Userfault, OsCode> {
    refusable!(OpenUserfault);
    Userfault::open_for_events()
}

/// [`commit`], for pages that are attached to a userfaultfd.
///
/// # Safety
/// As for [`Userfault::fill`].
pub(crate) unsafe fn fill(userfault: &Userfault, base: NonNull<u8>, len: usize) -> Result<(), OsCode> {
    refusable!(Commit);
    // SAFETY: the same contract, passed on.
    unsafe { userfault.fill(base, len) }
}

/// [`fill`] for one page that is about to be written.
///
/// # Safety
/// As for [`Userfault::fill_written`].
pub(crate) unsafe fn fill_written(userfault: &Userfault, base: NonNull<u8>) -> Result<(), OsCode> {
    refusable!(Commit);
    // SAFETY: the same contract, passed on.
    unsafe { userfault.fill_written(base) }
}

/// [`decommit`], for pages that are attached to a userfaultfd.
///
/// # Safety
/// As for [`Userfault::empty`].
pub(crate) unsafe fn empty(userfault: &Userfault, base: NonNull<u8>, len: usize) -> Result<(), OsCode> {
    refusable!(Decommit);
    // SAFETY: the same contract, passed on.
    unsafe { userfault.empty(base, len) }
}

/// Installs the process-wide fault handler.
pub(crate) fn install_handler() -> Result<(), OsCode> {
    refusable!(InstallHandler);
    handler::install()
}

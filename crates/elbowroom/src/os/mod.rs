//! The operating system, behind one contract. The only place with platform `cfg`.
//!
//! Each platform is a module that provides the items listed here, with the same meaning.
//!
//! **Memory.** A *reservation* is a range of addresses that the system gives to nothing else. Its pages are *reserved*
//! (an access faults, nothing is charged) or *committed* (charged to the system's commit limit if there is one; zero at
//! first).
//!
//! - `page_size()`: in bytes, a power of two, at least 4096, constant. `huge_page_size()`: the bytes that a full page
//!   table covers.
//! - `granularity()`: the alignment of a reservation's base; a multiple of the page size.
//! - `reserve(len, align, placement)`: `len > 0`, a multiple of the page size; `align` a power of two, at least the
//!   granularity. All pages are reserved. It never replaces an existing mapping.
//!
//! The calls below take [`Pages`], which are always whole pages of one live reservation.
//!
//! - `commit(pages)`: reserved pages become committed, readable, writable and zero. Committed pages become readable and
//!   writable, and keep their contents. After a failure some pages may be committed; the caller uncommits them. The
//!   call may wait half a second for a temporary refusal to pass.
//! - `uncommit(pages)`: undoes a commit that failed or that was never announced. The pages are reserved again. The
//!   program's advice to the system about them is kept. The system may keep their charge until they are decommitted or
//!   released.
//! - `decommit(pages)`: pages become reserved, in whatever state they are. Contents are lost, and the charge is
//!   refunded.
//! - `protect(pages, access)`: committed pages get this access and keep their contents.
//! - `populate(pages)`: makes committed pages resident as a write would, without changing their contents, if the system
//!   can. A touch does the same later, so failure is silent. Pages that are not committed stay so. A single page may be
//!   left to the program's own touch, if that costs no more. If pages may be other than readable and writable, the
//!   fault handler is installed. Async-signal-safe.
//! - `advise_huge(pages)`: lets the system use huge pages for committed pages, if it has them and would not use them by
//!   itself. Failure is silent. Async-signal-safe.
//! - `may_keep_access(pages)`: whether `discard` works for these pages, and pages that are accessible and have no
//!   memory cost nothing. Nothing has the address of the pages yet, and all of them are reserved.
//! - `discard(pages)`: pages lose their contents and their memory, and keep their access. Those that are accessible
//!   read as zero. Only for pages for which access may be kept.
//! - `refuse_huge(pages)`: keeps the system from using huge pages, which have more memory than was touched. Failure is
//!   silent.
//! - `release(base, len)`: gives back a whole reservation, as `reserve` made it.
//! - `allows(address, access)`: whether the system lets the program access an address right now without a fault;
//!   `None` if it cannot be asked. Async-signal-safe.
//! - `name(pages, name)`: sets a label for diagnosis, if the system has labels. Failure is silent. Allocates nothing.
//! - `set_in_core_dumps(pages, in_dumps)`: sets whether core dumps include these pages, if a program can set it
//!   (Linux). Failure is silent. Async-signal-safe.
//! - `is_out_of_mappings()`: after a commit failed for lack of memory, returns whether the process has reached its
//!   limit of mappings (Linux). Async-signal-safe.
//! - `userfault`: userfaultfd(2), which only Linux has, behind a separate contract.
//! - `at_fork(before, in_parent, in_child)`: if the system has fork, calls these functions around every fork, on the
//!   forking thread.
//! - `address_space()`: the approximate number of bytes of addresses that programs have. `addresses_left()`: how many
//!   of them a limit of this process leaves, if it has such a limit.
//! - `limits()`: the limits of the system on the memory of this process, as far as they are known.
//!
//! **Faults.** `handler::install(decide)` makes the system call `decide` for each fault that the processor raised, on
//! the faulting thread, with a `Trap` that describes it. `handler::uninstall()` restores the previous handlers. If
//! `decide` passes a fault on, the previous handlers get it unchanged. One thread at a time calls these two and
//! `handler::places()`, which returns the places of our handler. `threads_that_block_faults()` and
//! `alternate_stack_bytes()` return conditions that may keep faults from it. `sort_table()` prepares the exception
//! table that the accessors' asm has written; `resume_after(address)` looks an instruction up in it.
//!
//! **Threads.** `thread_token()` identifies a thread and is never 0. `wait(word, expected)` sleeps while the word has
//! that value, and may wake early. `wake_one(word)` wakes one thread that waits on the word. It uses the address only
//! as a key, so the word may no longer exist. Both are async-signal-safe. `SignalsBlocked` keeps asynchronous signals
//! from this thread while it exists. `FilterStack::run` calls a function with at least 128 KiB of stack, if the system
//! does not call handlers on the thread's own stack; `guard_page()` is the page below that stack, or 0.

#![allow(
    unsafe_code,
    reason = "the contract's memory calls are unsafe: they change what pointers may be used for"
)]

use std::ptr::NonNull;

use crate::plain::{Access, OsCode, Placement};

/// Asks the fault-injection layer first, if it is compiled in. A refused call returns the error, or nothing if it is
/// marked as silent.
macro_rules! refusable {
    ($call:ident) => {
        #[cfg(feature = "inject")]
        crate::os::inject::check(crate::os::inject::Call::$call)?;
    };
    ($call:ident, silent) => {
        #[cfg(feature = "inject")]
        if crate::os::inject::check(crate::os::inject::Call::$call).is_err() {
            return;
        }
    };
}

#[cfg(any(test, all(target_os = "linux", target_arch = "aarch64")))]
mod arm64;
#[cfg(feature = "inject")]
pub mod inject;
mod pages;
mod table;
mod types;
pub(crate) mod userfault;

#[cfg(all(
    any(target_os = "linux", target_os = "macos"),
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod unix;
#[cfg(not(all(
    any(target_os = "linux", target_os = "macos", windows),
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
mod unsupported;
#[cfg(all(windows, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod windows;

#[cfg(all(
    any(target_os = "linux", target_os = "macos"),
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
use unix as sys;
#[cfg(not(all(
    any(target_os = "linux", target_os = "macos", windows),
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
use unsupported as sys;
#[cfg(all(windows, any(target_arch = "x86_64", target_arch = "aarch64")))]
use windows as sys;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("elbowroom needs a 64-bit address space");

pub(crate) use pages::Pages;
pub(crate) use sys::{
    FilterStack, SignalsBlocked, Trap, address_space, addresses_left, advice, advise_huge, allows,
    alternate_stack_bytes, at_fork, fault_code, granularity, handler, huge_page_size,
    is_address_in_use, is_out_of_mappings, is_out_of_memory, limits, may_keep_access, name,
    page_size, refuse_huge, reserve_advice, set_in_core_dumps, thread_advice, thread_number,
    thread_token, threads_that_block_faults, wait, wake_one, write_stderr,
};
pub(crate) use table::{access_anchor, access_entry, access_section, resume_after, sort_table};
pub(crate) use types::Decision;

/// Returns whether `code` says that this system lacks the operation.
pub(crate) fn is_unsupported(code: OsCode) -> bool {
    code == OsCode::UNSUPPORTED || sys::is_unsupported(code)
}

pub(crate) fn reserve(
    len: usize,
    align: usize,
    placement: Placement,
) -> Result<NonNull<u8>, OsCode> {
    refusable!(Reserve);
    sys::reserve(len, align, placement)
}

pub(crate) fn commit(pages: Pages<'_>) -> Result<(), OsCode> {
    refusable!(Commit);
    sys::commit(pages)
}

/// Commits pages that hold the library's own tables.
pub(crate) fn commit_bookkeeping(pages: Pages<'_>) -> Result<(), OsCode> {
    refusable!(CommitBookkeeping);
    sys::commit(pages)
}

/// # Safety
/// No reference points into the pages.
pub(crate) unsafe fn decommit(pages: Pages<'_>) -> Result<(), OsCode> {
    refusable!(Decommit);
    // SAFETY: no reference points into the pages (contract).
    unsafe { sys::decommit(pages) }
}

/// # Safety
/// No reference points into the pages.
pub(crate) unsafe fn uncommit(pages: Pages<'_>) -> Result<(), OsCode> {
    refusable!(Decommit);
    // SAFETY: no reference points into the pages (contract).
    unsafe { sys::uncommit(pages) }
}

/// # Safety
/// No reference points into the pages.
pub(crate) unsafe fn discard(pages: Pages<'_>) -> Result<(), OsCode> {
    // SAFETY: no reference points into the pages (contract).
    unsafe { sys::discard(pages) }
}

/// # Safety
/// The pages are committed, and no reference points into them whose use the new access forbids.
pub(crate) unsafe fn protect(pages: Pages<'_>, access: Access) -> Result<(), OsCode> {
    refusable!(Protect);
    // SAFETY: the pages are committed, and no reference points into them whose use the access forbids (contract).
    unsafe { sys::protect(pages, access) }
}

/// # Safety
/// If the pages may be other than committed, readable and writable, the fault handler is installed.
pub(crate) unsafe fn populate(pages: Pages<'_>) {
    refusable!(Populate, silent);
    // SAFETY: the pages are committed, readable and writable, or the fault handler is installed (contract).
    unsafe { sys::populate(pages) };
}

/// # Safety
/// `base` and `len` are those of one successful `reserve`, not released before. Nothing uses the addresses afterwards.
pub(crate) unsafe fn release(base: NonNull<u8>, len: usize) -> Result<(), OsCode> {
    refusable!(Release);
    // SAFETY: the range is from one successful `reserve`, is released here for the first time, and is not used
    // afterwards (contract).
    unsafe { sys::release(base, len) }
}

/// Installs the process-wide fault handler, or puts it in front again. One thread at a time installs and
/// uninstalls.
pub(crate) fn install_handler(decide: fn(&mut Trap) -> Decision) -> Result<(), OsCode> {
    refusable!(InstallHandler);
    handler::install(decide)
}

//! Linux and macOS: what POSIX gives both, and the choice between the two for the rest.

#![allow(unsafe_code, reason = "memory mappings and signals are C interfaces")]

use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;

use super::Placement;
use crate::error::OsCode;
use crate::reservation::Access;

pub(crate) mod handler;
mod stack;

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod flavour;
#[cfg(target_os = "macos")]
#[path = "macos.rs"]
mod flavour;

pub(crate) use flavour::{
    Trap, Userfault, advise_huge, allows, bar, headroom, is_in_system_call, is_missing_page, is_out_of_mappings, name,
    populate, thread_number, threads_that_block_faults, unbar, userfault_advice, wait, wake_one,
};
pub(crate) use stack::FilterStack;

/// What fault injection makes a call fail with.
#[cfg(feature = "faulty")]
pub(super) const INJECTED: OsCode = OsCode(libc::ENOMEM);

/// The code of the call that has just failed.
fn last_error() -> OsCode {
    // SAFETY: errno_location returns a pointer to this thread's errno, valid to read while the thread lives.
    OsCode(unsafe { *flavour::errno_location() })
}

pub(crate) fn is_out_of_memory(code: OsCode) -> bool {
    // mmap(2): EAGAIN is "too much memory has been locked", under mlockall(MCL_FUTURE).
    matches!(code.0, libc::ENOMEM | libc::EAGAIN)
}

pub(crate) fn is_address_in_use(code: OsCode) -> bool {
    code.0 == libc::EEXIST
}

pub(crate) fn is_unsupported(code: OsCode) -> bool {
    code.0 == libc::ENOSYS
}

/// What a person can try after `code`.
pub(crate) fn advice(code: OsCode) -> Option<&'static str> {
    match code.0 {
        libc::ENOMEM => Some(flavour::OUT_OF_MEMORY_ADVICE),
        libc::EAGAIN => Some("memory is locked as it is mapped (mlockall), and RLIMIT_MEMLOCK leaves no room"),
        libc::EEXIST => Some("another mapping is there; choose another address, or let the system choose"),
        _ => None,
    }
}

pub(crate) fn page_size() -> usize {
    // SAFETY: sysconf reads a number and has no preconditions (sysconf(3)).
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    // POSIX requires _SC_PAGESIZE; every kernel that runs this code answers 4096 or more.
    usize::try_from(size).unwrap_or(4096)
}

/// mmap(2) places at page boundaries.
pub(crate) fn granularity() -> usize {
    page_size()
}

/// Private anonymous memory. Not MAP_NORESERVE: a mapping that may not be written is not charged anyway, and with the
/// flag Linux would not charge it later either, when a commit makes it writable (mprotect(2) of a VM_NORESERVE
/// mapping).
const RESERVED: i32 = libc::MAP_PRIVATE | libc::MAP_ANON;

/// Maps `len` bytes that may not be touched and are not charged.
fn map_reserved(hint: usize, len: usize, extra_flags: i32) -> Result<NonNull<u8>, OsCode> {
    let flags = RESERVED | extra_flags;
    // SAFETY: mmap(2) with no MAP_FIXED among the flags (`extra_flags` is 0 or MAP_FIXED_NOREPLACE) makes a new mapping
    // and leaves every existing one alone; any hint and length are allowed and answered with an error if unusable.
    let base = unsafe { libc::mmap(ptr::without_provenance_mut::<c_void>(hint), len, libc::PROT_NONE, flags, -1, 0) };
    if base == libc::MAP_FAILED {
        return Err(last_error());
    }
    // A hint of 0 means "anywhere", and vm.mmap_min_addr aside the kernel does not choose page 0 by itself.
    NonNull::new(base.cast()).ok_or(OsCode(libc::ENOMEM))
}

pub(crate) fn reserve(len: usize, align: usize, placement: Placement) -> Result<NonNull<u8>, OsCode> {
    match placement {
        Placement::Exactly(address) => {
            let base = map_reserved(address, len, flavour::MAP_EXACTLY)?;
            // Where the flag is unknown (Linux before 4.17, macOS) the address is only a hint.
            if base.as_ptr().addr() == address {
                return Ok(base);
            }
            unmap_new(base.as_ptr(), len);
            Err(OsCode(libc::EEXIST))
        }
        Placement::Near(address) => reserve_aligned(address, len, align),
        Placement::Anywhere => reserve_aligned(0, len, align),
    }
}

/// Reserves `len` bytes at a multiple of `align`: as is if the kernel happens to place it so, else with `align` more
/// and the two ends given back.
fn reserve_aligned(hint: usize, len: usize, align: usize) -> Result<NonNull<u8>, OsCode> {
    let base = map_reserved(hint, len, 0)?;
    if base.as_ptr().addr() % align == 0 {
        return Ok(base);
    }
    unmap_new(base.as_ptr(), len);

    let wide = len.checked_add(align).ok_or(OsCode(libc::ENOMEM))?;
    let base = map_reserved(hint, wide, 0)?;
    let head = base.as_ptr().addr().wrapping_neg() % align;
    let tail = wide - head - len;
    let aligned = base.as_ptr().wrapping_add(head);
    if head > 0 {
        unmap_new(base.as_ptr(), head);
    }
    if tail > 0 {
        unmap_new(aligned.wrapping_add(len), tail);
    }
    NonNull::new(aligned).ok_or(OsCode(libc::ENOMEM))
}

/// Gives back part of a mapping that `reserve` has just made and nobody has seen.
fn unmap_new(base: *mut u8, len: usize) {
    // SAFETY: the caller has just mapped these pages and given the address to nobody, so nothing refers to them.
    let result = unsafe { libc::munmap(base.cast(), len) };
    // munmap(2) fails on a bad range, which this is not, or when splitting a mapping would exceed vm.max_map_count;
    // then the pages stay reserved, which costs address space and nothing else.
    debug_assert_eq!(result, 0, "munmap: {:?}", last_error());
}

/// # Safety
/// See [`os::commit`](super::commit).
pub(crate) unsafe fn commit(base: NonNull<u8>, len: usize) -> Result<(), OsCode> {
    // A private writable mapping is what the kernel charges, and mprotect(2) from PROT_NONE to writable is where it
    // becomes one: this call, not a later touch, is what fails when memory is over-committed in strict mode.
    // SAFETY: the caller's pages are reserved, so no reference points into them, and its own to change.
    let result = unsafe { libc::mprotect(base.as_ptr().cast(), len, libc::PROT_READ | libc::PROT_WRITE) };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

/// # Safety
/// See [`os::decommit`](super::decommit).
pub(crate) unsafe fn decommit(base: NonNull<u8>, len: usize) -> Result<(), OsCode> {
    // A new mapping over the old one is the only way to refund the charge on Linux (MADV_DONTNEED keeps it), and to be
    // sure of zeros on macOS. mmap(2): MAP_FIXED replaces the range in one step, so nothing else can land in between.
    let flags = RESERVED | libc::MAP_FIXED;
    // SAFETY: the range is the caller's own, inside one of its reservations, and nothing refers to its contents.
    let result = unsafe { libc::mmap(base.as_ptr().cast(), len, libc::PROT_NONE, flags, -1, 0) };
    if result == libc::MAP_FAILED { Err(last_error()) } else { Ok(()) }
}

/// # Safety
/// See [`os::protect`](super::protect).
pub(crate) unsafe fn protect(base: NonNull<u8>, len: usize, access: Access) -> Result<(), OsCode> {
    let bits = match access {
        Access::None => libc::PROT_NONE,
        Access::Read => libc::PROT_READ,
        Access::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
        Access::ReadExecute => libc::PROT_READ | libc::PROT_EXEC,
    };
    // SAFETY: the caller's committed pages, and no reference into them is broken by the new access.
    let result = unsafe { libc::mprotect(base.as_ptr().cast(), len, bits) };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

/// # Safety
/// See [`os::release`](super::release).
pub(crate) unsafe fn release(base: NonNull<u8>, len: usize) -> Result<(), OsCode> {
    // SAFETY: one whole mapping of the caller's, which nothing uses any more.
    let result = unsafe { libc::munmap(base.as_ptr().cast(), len) };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

/// pthread_atfork(3). It fails only for want of memory; then a fork is as it would be without.
pub(crate) fn at_fork(before: extern "C" fn(), in_parent: extern "C" fn(), in_child: extern "C" fn()) {
    // SAFETY: functions of the right type that stay in the program.
    unsafe { libc::pthread_atfork(Some(as_c(before)), Some(as_c(in_parent)), Some(as_c(in_child))) };
}

fn as_c(function: extern "C" fn()) -> unsafe extern "C" fn() {
    function
}

/// Names the calling thread: never 0, unique among live threads.
pub(crate) fn thread_token() -> usize {
    // SAFETY: pthread_self(3) cannot fail; it reads the thread pointer, which is set up before any Rust code runs.
    let token = unsafe { libc::pthread_self() };
    token as usize
}

/// Writes to standard error as far as that goes. Async-signal-safe (signal-safety(7) lists write).
pub(crate) fn write_stderr(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: the pointer and length are those of a live slice.
        let written = unsafe { libc::write(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(written) {
            Ok(written) if written > 0 => bytes = &bytes[written.min(bytes.len())..],
            _ => return,
        }
    }
}

/// The signals that a processor raises at an instruction: blocking them would turn a fault into a kill
/// (sigprocmask(2): "the result is undefined").
const SYNCHRONOUS: [i32; 6] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS];

/// All signals but the [`SYNCHRONOUS`] ones and those that cannot be blocked, so that a mask that the kernel has
/// applied is equal to it.
fn asynchronous_signals() -> libc::sigset_t {
    // Made once: a handler that comes before that makes its own.
    static MADE: OnceLock<libc::sigset_t> = OnceLock::new();
    match MADE.get() {
        Some(set) => *set,
        None => {
            let set = make_asynchronous_signals();
            // Another thread may have made it meanwhile; it is the same.
            let _ = MADE.set(set);
            set
        }
    }
}

fn make_asynchronous_signals() -> libc::sigset_t {
    // SAFETY: sigset_t is plain data; all zeroes is a value of it, and sigfillset overwrites it.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is a live sigset_t (sigsetops(3)).
    unsafe { libc::sigfillset(&mut set) };
    for signal in SYNCHRONOUS.into_iter().chain([libc::SIGKILL, libc::SIGSTOP]) {
        // SAFETY: `set` is an initialised sigset_t and the signal number is valid.
        unsafe { libc::sigdelset(&mut set, signal) };
    }
    set
}

/// Whether the calling thread blocks a signal that a fault raises.
fn blocks_faults() -> bool {
    // SAFETY: plain data, as above; pthread_sigmask fills it.
    let mut mask: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: a null new set only reads (pthread_sigmask(3)).
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), &mut mask) };
    [libc::SIGSEGV, libc::SIGBUS].iter().any(|&signal| {
        // SAFETY: an initialised set and a valid signal.
        unsafe { libc::sigismember(&mask, signal) == 1 }
    })
}

/// The size of this thread's alternate signal stack; 0 without one.
pub(crate) fn alternate_stack_bytes() -> Option<usize> {
    // SAFETY: plain data, of which all zeroes is a value.
    let mut stack: libc::stack_t = unsafe { std::mem::zeroed() };
    // SAFETY: a null new stack only reads (sigaltstack(2)).
    unsafe { libc::sigaltstack(ptr::null(), &mut stack) };
    Some(if stack.ss_flags & libc::SS_DISABLE != 0 { 0 } else { stack.ss_size })
}

/// While this lives, no asynchronous signal interrupts the thread: a lock held meanwhile is never waited for by a
/// signal handler on top of its own holder.
pub(crate) struct SignalsBlocked {
    before: libc::sigset_t,
}

impl SignalsBlocked {
    pub(crate) fn new() -> SignalsBlocked {
        let set = asynchronous_signals();
        // SAFETY: plain data, as above; pthread_sigmask fills it.
        let mut before: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: both sets are live and initialised; pthread_sigmask(3) fails only for an unknown `how`.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, &mut before) };
        SignalsBlocked { before }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: `before` was filled by pthread_sigmask; the old set may be null.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, ptr::null_mut()) };
    }
}

//! The process-wide signal handler for SIGSEGV and SIGBUS, and the chain to what was there before.
//!
//! Flags, and why:
//! - `SA_SIGINFO`: the address and the context are the point.
//! - `SA_ONSTACK`: the fault may be a stack overflow, which is somebody else's to report; without an alternate stack
//!   the kernel could not call us, nor we them.
//! - `SA_NODEFER`: a filter may touch another region, so the same signal must be able to nest.
//! - the mask blocks every asynchronous signal: whatever lock the handler takes, no other handler can interrupt its
//!   holder on this thread and wait for it. If another handler is in front of ours and passes on to it, the kernel has
//!   applied that one's mask, so ours is set once more on entry.
//!
//! Chaining keeps what the earlier handler would have seen without us: its mask, its flags, enough stack, and, for a
//! default disposition, death by the same signal at the same instruction. If the earlier handler resets the disposition
//! to the default (std's does, after any signal that is not a stack overflow), then that default becomes what comes
//! after us and we stay in front.
//!
//! Somebody may put a handler of their own in front of ours; it may pass on to ours or not. The next region puts ours
//! in front again. What comes after us then may pass back to us: a mark in the signal's own record tells, and the
//! second time around it goes on to what was there at first. If theirs is in front when the last region goes, ours
//! stays below.

use std::ffi::c_void;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Trap, asynchronous_signals, flavour, last_error};
use crate::error::OsCode;
use crate::fault::{self, Outcome, frames};

/// What comes after us.
struct Previous {
    // What ours was put in front of. Null (the default action), or a leaked action that is never changed or freed: the
    // handler may be reading it at any time. So for `below`.
    action: AtomicPtr<libc::sigaction>,
    // If ours has been put in front of a handler that may pass back to it: what ours was in front of at first.
    below: AtomicPtr<libc::sigaction>,
    // Ours was in front once and has not been taken back since: whatever else is in front may pass on to it.
    is_in_chain: AtomicBool,
}

impl Previous {
    const fn new() -> Previous {
        Previous {
            action: AtomicPtr::new(ptr::null_mut()),
            below: AtomicPtr::new(ptr::null_mut()),
            is_in_chain: AtomicBool::new(false),
        }
    }

    /// What to pass a signal on to, which has come round to us a second time or not.
    fn next(&self, second_time: bool) -> libc::sigaction {
        let below = self.below.load(Ordering::Acquire);
        let action = if second_time && !below.is_null() { below } else { self.action.load(Ordering::Acquire) };
        // SAFETY: null or leaked (invariant), so valid to read.
        match unsafe { action.as_ref() } {
            Some(action) => *action,
            None => default_action(),
        }
    }

    /// Remembers `action`. Allocates, so not for signal context; the same action again is not leaked again.
    fn store(&self, action: &libc::sigaction) {
        let known = self.next(false);
        let same_mask =
            (1..=HIGHEST_SIGNAL).all(|signal| is_member(&known.sa_mask, signal) == is_member(&action.sa_mask, signal));
        let same = known.sa_sigaction == action.sa_sigaction && known.sa_flags == action.sa_flags && same_mask;
        if !same {
            self.action.store(Box::leak(Box::new(*action)), Ordering::Release);
        }
    }

    /// Remembers the default action. Async-signal-safe.
    fn store_default(&self) {
        self.action.store(ptr::null_mut(), Ordering::Release);
    }
}

static SEGV: Previous = Previous::new();
static BUS: Previous = Previous::new();

/// Serialises installing and uninstalling.
pub(crate) static INSTALLING: Mutex<()> = Mutex::new(());

/// Real-time signals end at 64 on Linux, and there are 31 on macOS; asking for a higher one is answered "no".
const HIGHEST_SIGNAL: i32 = 64;

fn is_member(set: &libc::sigset_t, signal: i32) -> bool {
    // SAFETY: the set is initialised; an unknown signal number is answered with -1 (sigsetops(3)).
    unsafe { libc::sigismember(set, signal) == 1 }
}

fn default_action() -> libc::sigaction {
    // SAFETY: sigaction is plain data, and all zeroes is a value of it: SIG_DFL, no flags, an empty mask.
    unsafe { mem::zeroed() }
}

fn our_action() -> libc::sigaction {
    let mut action = default_action();
    action.sa_sigaction = on_signal as extern "C" fn(_, _, _) as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    action.sa_mask = asynchronous_signals();
    action
}

fn current_action(signal: i32) -> Result<libc::sigaction, OsCode> {
    let mut action = default_action();
    // SAFETY: sigaction(2) with a null new action only reads; `action` is live and writable.
    let result = unsafe { libc::sigaction(signal, ptr::null(), &mut action) };
    if result == 0 { Ok(action) } else { Err(last_error()) }
}

fn set_action(signal: i32, action: &libc::sigaction) -> Result<(), OsCode> {
    // SAFETY: `action` is either ours, whose handler below meets the contract of an SA_SIGINFO handler and stays in the
    // program for good, or one that was installed for this signal before.
    let result = unsafe { libc::sigaction(signal, action, ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

fn is_ours(action: &libc::sigaction) -> bool {
    action.sa_sigaction == our_action().sa_sigaction
}

/// Puts our handler in front for both signals, if it is not there.
pub(crate) fn install() -> Result<(), OsCode> {
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    install_one(libc::SIGSEGV, &SEGV)?;
    install_one(libc::SIGBUS, &BUS)
}

fn install_one(signal: i32, previous: &Previous) -> Result<(), OsCode> {
    let current = current_action(signal)?;
    if is_ours(&current) {
        return Ok(());
    }
    let passes_on = current.sa_sigaction != libc::SIG_DFL && current.sa_sigaction != libc::SIG_IGN;
    if !passes_on {
        previous.below.store(ptr::null_mut(), Ordering::Release);
    } else if previous.is_in_chain.load(Ordering::Relaxed) && previous.below.load(Ordering::Relaxed).is_null() {
        previous.below.store(Box::leak(Box::new(previous.next(false))), Ordering::Release);
    }
    previous.store(&current);
    set_action(signal, &our_action())?;
    previous.is_in_chain.store(true, Ordering::Relaxed);
    Ok(())
}

/// Restores what was there before, unless somebody has put their own handler in front meanwhile: that one may pass on
/// to ours, so ours stays and passes everything on.
pub(crate) fn uninstall() {
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    uninstall_one(libc::SIGSEGV, &SEGV);
    uninstall_one(libc::SIGBUS, &BUS);
}

fn uninstall_one(signal: i32, previous: &Previous) {
    let is_in_front = current_action(signal).is_ok_and(|current| is_ours(&current));
    if !is_in_front || set_action(signal, &previous.next(false)).is_err() {
        return;
    }
    // What is in front now may go on passing to ours, if it did before; from there only what was there at first is
    // left.
    let below = previous.below.swap(ptr::null_mut(), Ordering::AcqRel);
    previous.is_in_chain.store(!below.is_null(), Ordering::Relaxed);
    if !below.is_null() {
        previous.action.store(below, Ordering::Release);
    }
}

/// The signal handler.
extern "C" fn on_signal(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
    let errno = flavour::errno_location();
    // SAFETY: errno_location points at this thread's errno for as long as the thread lives.
    let saved = unsafe { *errno };

    let wanted = asynchronous_signals();
    let before = swap_mask(&wanted);

    // SAFETY: these are the arguments that the kernel gave to an SA_SIGINFO handler, this one or one in front of it
    // that passes them on, and the trap ends before it.
    let mut trap = unsafe { Trap::new(info, context) };
    let resolved = trap.is_raised_by_processor() && matches!(fault::decide(&mut trap), Outcome::Resume);
    if !resolved {
        // SAFETY: the arguments of this handler, for the signal it was called for.
        unsafe { chain(signal, info, context, &trap) };
    }

    // Called by the kernel, the mask was ours from the start, and the kernel puts back what was before.
    if !resolved || !is_same_mask(&before, &wanted) {
        swap_mask(&before);
    }
    // SAFETY: as above.
    unsafe { *errno = saved };
}

/// Sets the thread's signal mask; the one before.
fn swap_mask(mask: &libc::sigset_t) -> libc::sigset_t {
    let mut before = *mask;
    // SAFETY: both sets are live and initialised; it fails only for an unknown `how` (pthread_sigmask(3)).
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, &mut before) };
    before
}

fn is_same_mask(one: &libc::sigset_t, other: &libc::sigset_t) -> bool {
    // The kernel's part: 64 signals on Linux, 32 on macOS.
    let bits = |set: &libc::sigset_t| {
        let mut bytes = [0u8; 8];
        let len = size_of::<libc::sigset_t>().min(bytes.len());
        // SAFETY: a set is plain data, of which at least `len` bytes are there.
        unsafe { ptr::copy_nonoverlapping(ptr::from_ref(set).cast::<u8>(), bytes.as_mut_ptr(), len) };
        bytes
    };
    bits(one) == bits(other)
}

/// The last word of a signal's record, which no fault uses and the kernel fills with zero.
fn mark(info: *mut libc::siginfo_t) -> *mut usize {
    info.cast::<u8>().wrapping_add(size_of::<libc::siginfo_t>() - size_of::<usize>()).cast()
}

/// The mark in a record that we are passing on.
fn passed_on() -> usize {
    (&raw const SEGV).addr()
}

/// Does what the handler or disposition before ours would have done.
///
/// # Safety
/// Called from our signal handler with its own arguments.
unsafe fn chain(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void, trap: &Trap) {
    let slot = if signal == libc::SIGBUS { &BUS } else { &SEGV };
    let mark = mark(info);
    // SAFETY: the record is the handler's to read and write until it returns, and `mark` is its last word.
    let second_time = unsafe { mark.read() } == passed_on();
    let previous = slot.next(second_time);

    match previous.sa_sigaction {
        libc::SIG_IGN if !trap.is_raised_by_processor() => {}
        // The kernel kills on a fault whose signal is ignored, as if by default (signal(7)).
        libc::SIG_DFL | libc::SIG_IGN => die(signal, trap),
        handler => {
            if previous.sa_flags & libc::SA_RESETHAND != 0 && !second_time {
                slot.store_default();
            }
            let mut mask = trap.signal_mask();
            let blocks = |other| {
                is_member(&previous.sa_mask, other) || (other == signal && previous.sa_flags & libc::SA_NODEFER == 0)
            };
            for other in (1..=HIGHEST_SIGNAL).filter(|&other| blocks(other)) {
                // SAFETY: the mask is initialised; an unknown signal number is refused.
                unsafe { libc::sigaddset(&mut mask, other) };
            }
            swap_mask(&mask);

            // SAFETY: as above.
            unsafe { mark.write(passed_on()) };
            let call = || {
                if previous.sa_flags & libc::SA_SIGINFO != 0 {
                    type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void);
                    // SAFETY: whoever installed this address with SA_SIGINFO gave a function of this type
                    // (sigaction(2)).
                    let handler: Handler = unsafe { mem::transmute(handler) };
                    handler(signal, info, context);
                } else {
                    // SAFETY: without SA_SIGINFO it is a function of this type (sigaction(2)).
                    let handler: extern "C" fn(i32) = unsafe { mem::transmute(handler) };
                    handler(signal);
                }
            };
            // Without SA_ONSTACK it would have run on the thread's own stack, and may need more than the few kilobytes
            // of an alternate one.
            let wants_stack = previous.sa_flags & libc::SA_ONSTACK == 0 && is_on(&trap.alternate_stack());
            if !wants_stack || !frames::run_apart(call) {
                call();
            }
            // SAFETY: as above.
            unsafe { mark.write(0) };
            if !second_time {
                stay_in_front(signal, slot);
            }
        }
    }
}

/// Whether the caller runs on this alternate stack.
fn is_on(stack: &libc::stack_t) -> bool {
    let here = (&raw const stack).addr();
    stack.ss_flags & libc::SS_DISABLE == 0 && here.wrapping_sub(stack.ss_sp.addr()) < stack.ss_size
}

/// After an earlier handler ran: if it reset the disposition to the default, let the default come after us.
fn stay_in_front(signal: i32, slot: &Previous) {
    if current_action(signal).is_ok_and(|current| current.sa_sigaction == libc::SIG_DFL) {
        slot.store_default();
        // Cannot fail for a valid signal and action; if it did, the default disposition is what the handler wanted.
        let _ = set_action(signal, &our_action());
    }
}

/// Lets the default disposition end the process.
fn die(signal: i32, trap: &Trap) {
    // Cannot fail: SIGSEGV and SIGBUS are valid and may be reset (sigaction(2)).
    let _ = set_action(signal, &default_action());
    if !trap.is_raised_by_processor() {
        // Sent by kill or raise: it will not happen again by itself.
        // SAFETY: raise(3) has no preconditions; the signal is not blocked (SA_NODEFER), so it kills right here.
        unsafe { libc::raise(signal) };
    }
    // Otherwise the instruction runs again when we return, faults again, and the process dies there: same signal, same
    // registers in the core file.
}

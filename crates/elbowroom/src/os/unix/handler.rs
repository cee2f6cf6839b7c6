//! The process-wide signal handler for SIGSEGV and SIGBUS, and the chain to what was there before.
//!
//! Flags, and why:
//! - `SA_SIGINFO`: the address and the context are the point.
//! - `SA_ONSTACK`: the fault may be a stack overflow, which is somebody else's to report; without an alternate stack
//!   the kernel could not call us, nor we them.
//! - `SA_NODEFER`: a filter may touch another region, so the same signal must be able to nest.
//! - the mask blocks every asynchronous signal: whatever lock the handler takes, no other handler can interrupt its
//!   holder on this thread and wait for it.
//!
//! Chaining keeps what the earlier handler would have seen without us: its mask, its flags, and, for a default
//! disposition, death by the same signal at the same instruction. If the earlier handler resets the disposition to the
//! default (std's does, after any signal that is not a stack overflow), then that default becomes what comes after us
//! and we stay in front.

use std::ffi::c_void;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Trap, asynchronous_signals, flavour, last_error};
use crate::error::OsCode;
use crate::fault::{self, Outcome};

/// What a signal meant before us.
struct Previous {
    // Null, or a leaked action that is never changed or freed: the handler may be reading it at any time.
    action: AtomicPtr<libc::sigaction>,
    // The last uninstall found somebody else's handler in front of ours, and had to leave ours where it was.
    buried: AtomicBool,
}

impl Previous {
    const fn new() -> Previous {
        Previous { action: AtomicPtr::new(ptr::null_mut()), buried: AtomicBool::new(false) }
    }

    /// A copy of the action; the default one if there was none.
    fn load(&self) -> libc::sigaction {
        let action = self.action.load(Ordering::Acquire);
        // SAFETY: null or leaked (invariant), so valid to read.
        match unsafe { action.as_ref() } {
            Some(action) => *action,
            None => default_action(),
        }
    }

    /// Remembers `action`. Allocates, so not for signal context; the same action again is not leaked again.
    fn store(&self, action: &libc::sigaction) {
        let known = self.load();
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
static INSTALLING: Mutex<()> = Mutex::new(());

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
    install_one(libc::SIGBUS, &BUS).inspect_err(|_| uninstall_one(libc::SIGSEGV, &SEGV))
}

fn install_one(signal: i32, previous: &Previous) -> Result<(), OsCode> {
    let current = current_action(signal)?;
    if is_ours(&current) {
        return Ok(());
    }
    let is_default = current.sa_sigaction == libc::SIG_DFL || current.sa_sigaction == libc::SIG_IGN;
    if previous.buried.load(Ordering::Relaxed) && !is_default {
        // Our handler was left below this one, which presumably passes on to it. In front of it as well, ours would
        // pass on to itself, round and round.
        return Ok(());
    }
    previous.store(&current);
    previous.buried.store(false, Ordering::Relaxed);
    set_action(signal, &our_action())
}

/// Restores what was there before, unless somebody has put their own handler in front meanwhile: that one may pass on
/// to ours, so ours stays and passes everything on.
pub(crate) fn uninstall() {
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    uninstall_one(libc::SIGSEGV, &SEGV);
    uninstall_one(libc::SIGBUS, &BUS);
}

fn uninstall_one(signal: i32, previous: &Previous) {
    let restored = match current_action(signal) {
        Ok(current) if is_ours(&current) => set_action(signal, &previous.load()).is_ok(),
        _ => false,
    };
    previous.buried.store(!restored, Ordering::Relaxed);
}

/// The signal handler.
extern "C" fn on_signal(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
    let errno = flavour::errno_location();
    // SAFETY: errno_location points at this thread's errno for as long as the thread lives.
    let saved = unsafe { *errno };

    // SAFETY: these are the arguments that the kernel gave this SA_SIGINFO handler, and the trap ends before it.
    let mut trap = unsafe { Trap::new(info, context) };
    let resolved = trap.is_raised_by_processor() && matches!(fault::decide(&mut trap), Outcome::Resume);
    if !resolved {
        // SAFETY: the arguments of this handler, for the signal it was called for.
        unsafe { chain(signal, info, context, &trap) };
    }

    // SAFETY: as above.
    unsafe { *errno = saved };
}

/// Does what the handler or disposition before ours would have done.
///
/// # Safety
/// Called from our signal handler with its own arguments.
unsafe fn chain(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void, trap: &Trap) {
    let slot = if signal == libc::SIGBUS { &BUS } else { &SEGV };
    let previous = slot.load();

    match previous.sa_sigaction {
        libc::SIG_IGN if !trap.is_raised_by_processor() => {}
        // The kernel kills on a fault whose signal is ignored, as if by default (signal(7)).
        libc::SIG_DFL | libc::SIG_IGN => die(signal, trap),
        handler => {
            if previous.sa_flags & libc::SA_RESETHAND != 0 {
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
            // The kernel puts the interrupted mask back when our handler returns.
            // SAFETY: the mask is initialised, and the old one is not wanted.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &mask, ptr::null_mut()) };

            if previous.sa_flags & libc::SA_SIGINFO != 0 {
                // SAFETY: whoever installed this address with SA_SIGINFO gave a function of this type (sigaction(2)).
                let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void) = unsafe { mem::transmute(handler) };
                handler(signal, info, context);
            } else {
                // SAFETY: without SA_SIGINFO it is a function of this type (sigaction(2)).
                let handler: extern "C" fn(i32) = unsafe { mem::transmute(handler) };
                handler(signal);
            }
            stay_in_front(signal, slot);
        }
    }
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

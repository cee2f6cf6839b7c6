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
//! in front again, by another entry: each of a few *levels* has an entry function of its own and knows what it was put
//! in front of. So a handler that passes back to the entry that it found goes on down from there, each handler gets a
//! signal once, and an entry that is found in front again says that those above it have been taken back.

use std::ffi::c_void;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::stack::stack_pointer;
use super::{Trap, asynchronous_signals, flavour, last_error};
use crate::error::OsCode;
use crate::fault::{self, Decision, Place, frames};

/// How often ours can be in the chain at once. Beyond, a handler that somebody puts in front stays there.
const LEVELS: usize = 8;

type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void);

/// The entry of each level.
static ENTRIES: [Handler; LEVELS] = [
    on_signal::<0>,
    on_signal::<1>,
    on_signal::<2>,
    on_signal::<3>,
    on_signal::<4>,
    on_signal::<5>,
    on_signal::<6>,
    on_signal::<7>,
];

/// Our places in the chain of one signal.
struct Chain {
    // What each level comes before. Null (the default action), or a leaked action that is never changed or freed: the
    // handler may be reading it at any time.
    next: [AtomicPtr<libc::sigaction>; LEVELS],
    // How many levels are in the chain. Written only under INSTALLING.
    used: AtomicUsize,
    // Whether a handler in front has called the entry of this level, since it was put in front.
    was_passed_on_to: [AtomicBool; LEVELS],
}

impl Chain {
    const fn new() -> Chain {
        Chain {
            next: [const { AtomicPtr::new(ptr::null_mut()) }; LEVELS],
            used: AtomicUsize::new(0),
            was_passed_on_to: [const { AtomicBool::new(false) }; LEVELS],
        }
    }

    /// What a level passes on to.
    fn next(&self, level: usize) -> libc::sigaction {
        let action = self.next[level].load(Ordering::Acquire);
        // SAFETY: null or leaked (invariant), so valid to read.
        match unsafe { action.as_ref() } {
            Some(action) => *action,
            None => default_action(),
        }
    }

    /// Remembers what a level comes before. Allocates, so not for signal context; the same again is not leaked again.
    fn store(&self, level: usize, action: &libc::sigaction) {
        let known = self.next(level);
        let same = known.sa_sigaction == action.sa_sigaction
            && known.sa_flags == action.sa_flags
            && bits(&known.sa_mask) == bits(&action.sa_mask);
        if !same {
            self.next[level].store(Box::leak(Box::new(*action)), Ordering::Release);
        }
    }

    /// Remembers the default action. Async-signal-safe.
    fn store_default(&self, level: usize) {
        self.next[level].store(ptr::null_mut(), Ordering::Release);
    }
}

static SEGV: Chain = Chain::new();
static BUS: Chain = Chain::new();

fn chain_of(signal: i32) -> &'static Chain {
    if signal == libc::SIGBUS { &BUS } else { &SEGV }
}

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

fn our_action(level: usize) -> libc::sigaction {
    let mut action = default_action();
    action.sa_sigaction = ENTRIES[level] as usize;
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

/// Which of our levels an action is.
fn level_of(action: &libc::sigaction) -> Option<usize> {
    ENTRIES.iter().position(|&entry| action.sa_sigaction == entry as usize)
}

/// Puts our handler in front for both signals, if it is not there.
pub(crate) fn install() -> Result<(), OsCode> {
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    install_one(libc::SIGSEGV)?;
    install_one(libc::SIGBUS)
}

fn install_one(signal: i32) -> Result<(), OsCode> {
    let chain = chain_of(signal);
    let current = current_action(signal)?;
    if let Some(level) = level_of(&current) {
        // Whatever was in front of that level has been taken back, and our levels before it with it.
        chain.used.store(level + 1, Ordering::Relaxed);
        chain.was_passed_on_to[level].store(false, Ordering::Relaxed);
        return Ok(());
    }
    let passes_on = current.sa_sigaction != libc::SIG_DFL && current.sa_sigaction != libc::SIG_IGN;
    let level = if passes_on { chain.used.load(Ordering::Relaxed) } else { 0 };
    if level == LEVELS {
        return Ok(());
    }
    chain.store(level, &current);
    chain.was_passed_on_to[level].store(false, Ordering::Relaxed);
    set_action(signal, &our_action(level))?;
    chain.used.store(level + 1, Ordering::Relaxed);
    Ok(())
}

/// Restores what was there before, unless somebody has put their own handler in front meanwhile: that one may pass on
/// to ours, so ours stays and passes everything on.
pub(crate) fn uninstall() {
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    uninstall_one(libc::SIGSEGV);
    uninstall_one(libc::SIGBUS);
}

fn uninstall_one(signal: i32) {
    let chain = chain_of(signal);
    let Some(level) = current_action(signal).ok().as_ref().and_then(level_of) else { return };
    // Lower levels stay: what is restored here may pass on to them.
    if set_action(signal, &chain.next(level)).is_ok() {
        chain.used.store(level, Ordering::Relaxed);
    }
}

/// Where ours stands, for each signal.
pub(crate) fn places() -> Vec<(&'static str, Place)> {
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let place = |signal| {
        let chain = chain_of(signal);
        let front = current_action(signal).ok().as_ref().and_then(level_of);
        let used = chain.used.load(Ordering::Relaxed);
        match used.checked_sub(1) {
            // What was taken back while another was in front of it still passes on.
            _ if !fault::is_armed() => Place::Absent,
            None => Place::Absent,
            Some(_) if front.is_some() => Place::First,
            Some(level) if chain.was_passed_on_to[level].load(Ordering::Relaxed) => Place::Behind,
            Some(_) => Place::Displaced,
        }
    };
    vec![("SIGSEGV", place(libc::SIGSEGV)), ("SIGBUS", place(libc::SIGBUS))]
}

/// The signal handler, as the entry of a level.
extern "C" fn on_signal<const LEVEL: usize>(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
    let errno = flavour::errno_location();
    // SAFETY: errno_location points at this thread's errno for as long as the thread lives.
    let saved = unsafe { *errno };

    let asynchronous = asynchronous_signals();
    let before = change_mask(libc::SIG_BLOCK, &asynchronous);
    let may_not_nest = [libc::SIGSEGV, libc::SIGBUS].iter().any(|&signal| is_member(&before, signal));
    if may_not_nest {
        change_mask(libc::SIG_UNBLOCK, &faults());
    }

    // The kernel would have blocked the asynchronous signals, and not this one (SA_NODEFER). Of these the standard
    // ones: emulators leave out some of the others.
    const STANDARD: u64 = (1 << 31) - 1;
    let lacks = bits(&asynchronous) & !bits(&before);
    let is_passed_on = lacks & STANDARD != 0 || is_member(&before, signal);
    if is_passed_on {
        chain_of(signal).was_passed_on_to[LEVEL].store(true, Ordering::Relaxed);
    }

    // SAFETY: these are the arguments that the kernel gave to an SA_SIGINFO handler, this one or one in front of it
    // that passes them on, and the trap ends before it.
    let mut trap = unsafe { Trap::new(info, context) };
    let resolved = trap.is_raised_by_processor() && matches!(fault::decide(&mut trap), Decision::Resume);
    if !resolved {
        // SAFETY: the arguments of this handler, for the signal it was called for.
        unsafe { pass_on(signal, info, context, &trap, LEVEL) };
    }

    // Called by the kernel, the mask was ours from the start, and the kernel puts back what was before.
    if !resolved || may_not_nest || is_passed_on || lacks != 0 {
        change_mask(libc::SIG_SETMASK, &before);
    }
    // SAFETY: as above.
    unsafe { *errno = saved };
}

/// Changes the thread's signal mask; the one before.
fn change_mask(how: i32, set: &libc::sigset_t) -> libc::sigset_t {
    let mut before = *set;
    // SAFETY: both sets are live and initialised; it fails only for an unknown `how` (pthread_sigmask(3)).
    unsafe { libc::pthread_sigmask(how, set, &mut before) };
    before
}

/// SIGSEGV and SIGBUS.
fn faults() -> libc::sigset_t {
    let mut set = default_action().sa_mask;
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: an initialised set and a valid signal.
        unsafe { libc::sigaddset(&mut set, signal) };
    }
    set
}

/// The kernel's part of a set: 64 signals on Linux, 32 on macOS.
fn bits(set: &libc::sigset_t) -> u64 {
    let mut bytes = [0u8; 8];
    let len = size_of::<libc::sigset_t>().min(bytes.len());
    // SAFETY: a set is plain data, of which at least `len` bytes are there.
    unsafe { ptr::copy_nonoverlapping(ptr::from_ref(set).cast::<u8>(), bytes.as_mut_ptr(), len) };
    u64::from_ne_bytes(bytes)
}

/// Does what the handler or disposition that a level comes before would have done.
///
/// # Safety
/// Called from our signal handler with its own arguments.
unsafe fn pass_on(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void, trap: &Trap, level: usize) {
    let chain = chain_of(signal);
    let next = chain.next(level);

    match next.sa_sigaction {
        libc::SIG_IGN if !trap.is_raised_by_processor() => {}
        // The kernel kills on a fault whose signal is ignored, as if by default (signal(7)).
        libc::SIG_DFL | libc::SIG_IGN => die(signal, trap),
        handler => {
            if next.sa_flags & libc::SA_RESETHAND != 0 {
                chain.store_default(level);
            }
            let mut mask = trap.signal_mask();
            let blocks =
                |other| is_member(&next.sa_mask, other) || (other == signal && next.sa_flags & libc::SA_NODEFER == 0);
            for other in (1..=HIGHEST_SIGNAL).filter(|&other| blocks(other)) {
                // SAFETY: the mask is initialised; an unknown signal number is refused.
                unsafe { libc::sigaddset(&mut mask, other) };
            }
            change_mask(libc::SIG_SETMASK, &mask);

            let call = || {
                if next.sa_flags & libc::SA_SIGINFO != 0 {
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
            let wants_stack = next.sa_flags & libc::SA_ONSTACK == 0 && is_on(&trap.alternate_stack());
            if !wants_stack || !frames::run_apart(call) {
                call();
            }
            stay_in_front(signal, level);
        }
    }
}

/// Whether the caller runs on this alternate stack.
fn is_on(stack: &libc::stack_t) -> bool {
    // Not the address of a local: AddressSanitizer may keep those on the heap.
    let here = stack_pointer();
    stack.ss_flags & libc::SS_DISABLE == 0 && here.wrapping_sub(stack.ss_sp.addr()) < stack.ss_size
}

/// After the handler that a level comes before ran: if it reset the disposition to the default, let the default come
/// after that level.
fn stay_in_front(signal: i32, level: usize) {
    let chain = chain_of(signal);
    if current_action(signal).is_ok_and(|current| current.sa_sigaction == libc::SIG_DFL) {
        chain.store_default(level);
        let front = chain.used.load(Ordering::Relaxed).clamp(1, LEVELS) - 1;
        // Cannot fail for a valid signal and action; if it did, the default disposition is what the handler wanted.
        let _ = set_action(signal, &our_action(front));
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

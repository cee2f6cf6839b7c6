//! The process-wide signal handler for SIGSEGV and SIGBUS, and the chain to the handlers before it.
//!
//! # Flags
//! - `SA_SIGINFO`: the handler needs the address and the context.
//! - `SA_ONSTACK`: the fault may be a stack overflow, which another handler reports. Without an
//!   alternate stack the kernel could not call our handler, nor our handler the other one.
//! - The mask blocks every asynchronous signal. So, whatever lock the handler holds, no other signal handler can
//!   interrupt it on this thread and wait for that lock. The mask leaves out one signal, [`MARK`], by which the handler
//!   recognises a call by the kernel. The handler blocks that one on entry.
//! - The mask blocks SIGSEGV and SIGBUS as well, so that a fault of the handler itself ends the process
//!   (the kernel kills a thread that raises a blocked synchronous signal), however little is left of the
//!   alternate stack. Only a filter may fault: `FilterStack::run` unblocks the two signals around it.
//!
//! # Chaining
//! A handler to which we forward a signal sees what it would have seen without us: its mask, its flags, and enough
//! stack. The default action ends the process by the same signal at the same instruction. If the next handler resets
//! the action to the default and returns (as std's does after a fault that is not a stack overflow), the default stays:
//! the instruction runs again, and the process dies there.
//!
//! A program may put its own handler in front of ours, and that handler may or may not forward to ours. The next region
//! puts ours in front again, by another entry: each of a few *levels* has its own entry function, and remembers the
//! action that it was put in front of. A handler that forwards to the entry that it found therefore continues down from
//! there, and each handler gets a signal once. If an entry is found in front again, the entries above it have been
//! taken back.

use std::ffi::c_void;
use std::mem;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use super::errno::{self, last_error};
use super::flavour::{self, Trap};
use super::signals::Mask;
use super::stack::{self, stack_pointer};
use crate::os::types::Decision;
use crate::plain::{OsCode, Place};

/// The function that decides about a fault; set before the handler is installed.
static DECIDE: OnceLock<fn(&mut Trap) -> Decision> = OnceLock::new();

/// The asynchronous signal that our mask leaves out. Other handlers block all asynchronous signals or few. So if a
/// thread blocks all that our mask blocks but not this one, the kernel has called us.
const MARK: Mask = Mask::of(flavour::MARK_SIGNAL);

/// Returns the signals that are blocked while the handler runs.
fn blocked() -> Mask {
    Mask::asynchronous().with(Mask::FAULTS)
}

/// The number of entries that the chain can have. When all are used, a handler that the program puts in front stays
/// there.
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
    // The action that each level was put in front of. Invariant: null (the default action), or a leaked
    // action that is never changed or freed, because the handler may be reading it at any time.
    next: [AtomicPtr<libc::sigaction>; LEVELS],
    // How many levels are in the chain. Written only while installing and uninstalling.
    used: AtomicUsize,
    // The handler that was in front when another handler last called this level's entry; 0 if that has not happened
    // since the level was put in front.
    passer: [AtomicUsize; LEVELS],
}

impl Chain {
    const fn new() -> Chain {
        Chain {
            next: [const { AtomicPtr::new(ptr::null_mut()) }; LEVELS],
            used: AtomicUsize::new(0),
            passer: [const { AtomicUsize::new(0) }; LEVELS],
        }
    }

    /// Returns the action that a level forwards to.
    fn next(&self, level: usize) -> libc::sigaction {
        let action = self.next[level].load(Ordering::Acquire);
        // SAFETY: the pointer is null, or to an action that was leaked and is never changed (invariant), so it is valid
        // to read.
        match unsafe { action.as_ref() } {
            Some(action) => *action,
            None => default_action(),
        }
    }

    /// Stores the action that a level was put in front of. Allocates, so it must not run in a signal handler. An equal
    /// action is not leaked again.
    fn store(&self, level: usize, action: &libc::sigaction) {
        let known = self.next(level);
        let same = known.sa_sigaction == action.sa_sigaction
            && known.sa_flags == action.sa_flags
            && Mask::from_set(&known.sa_mask) == Mask::from_set(&action.sa_mask);
        if !same {
            self.next[level].store(Box::leak(Box::new(*action)), Ordering::Release);
        }
    }

    /// Stores the default action. Async-signal-safe.
    fn store_default(&self, level: usize) {
        self.next[level].store(ptr::null_mut(), Ordering::Release);
    }
}

static SEGV: Chain = Chain::new();
static BUS: Chain = Chain::new();

fn chain_of(signal: i32) -> &'static Chain {
    if signal == libc::SIGBUS { &BUS } else { &SEGV }
}

fn default_action() -> libc::sigaction {
    // SAFETY: sigaction is plain data, and all zeroes is a valid value: SIG_DFL, no flags, an empty mask.
    unsafe { mem::zeroed() }
}

fn our_action(level: usize) -> libc::sigaction {
    let mut action = default_action();
    action.sa_sigaction = ENTRIES[level] as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    action.sa_mask = blocked().without(MARK).to_set();
    action
}

fn current_action(signal: i32) -> Result<libc::sigaction, OsCode> {
    let mut action = default_action();
    // SAFETY: sigaction(2) with a null new action only reads; `action` is live and writable.
    let result = unsafe { libc::sigaction(signal, ptr::null(), &mut action) };
    if result == 0 {
        Ok(action)
    } else {
        Err(last_error())
    }
}

/// Sets the action of a signal, and returns the one that it replaced.
fn set_action(signal: i32, action: &libc::sigaction) -> Result<libc::sigaction, OsCode> {
    let mut before = default_action();
    // SAFETY: `action` is either ours, whose entry meets the contract of an SA_SIGINFO handler and stays
    // in the program for good, or one that was installed for this signal before. `before` is writable.
    let result = unsafe { libc::sigaction(signal, action, &mut before) };
    if result == 0 {
        Ok(before)
    } else {
        Err(last_error())
    }
}

/// Returns which of our levels an action is, if any.
fn level_of(action: &libc::sigaction) -> Option<usize> {
    level_at(action.sa_sigaction)
}

/// Returns which of our levels a handler is, if any.
fn level_at(handler: usize) -> Option<usize> {
    ENTRIES.iter().position(|&entry| handler == entry as usize)
}

/// Puts our handler in front for both signals, if it is not there.
pub(crate) fn install(decide: fn(&mut Trap) -> Decision) -> Result<(), OsCode> {
    DECIDE.get_or_init(|| {
        keep_loaded();
        decide
    });
    install_one(libc::SIGSEGV)?;
    install_one(libc::SIGBUS)
}

/// Keeps the object that contains this code loaded until the process ends: a handler of the program may forward to ours
/// at any time, even after the last region has been released.
fn keep_loaded() {
    let entry: *const c_void = ENTRIES[0] as *const c_void;
    // SAFETY: Dl_info is plain data, and all zeroes is a valid value.
    let mut object: libc::Dl_info = unsafe { mem::zeroed() };
    // SAFETY: dladdr(3) accepts any address, and `object` is live and writable.
    let is_known = unsafe { libc::dladdr(entry, &mut object) } != 0 && !object.dli_fname.is_null();
    // The program itself is never unloaded, and dlopen would open its file.
    if is_known && !flavour::is_program(object.dli_fbase) {
        let flags = libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
        // SAFETY: the name is a zero-terminated string of the loader. The object is loaded already, so none of its code
        // runs (dlopen(3), RTLD_NOLOAD).
        unsafe { libc::dlopen(object.dli_fname, flags) };
    }
}

fn install_one(signal: i32) -> Result<(), OsCode> {
    let chain = chain_of(signal);
    let current = current_action(signal)?;
    if let Some(level) = level_of(&current) {
        // Everything in front of that level has been taken back, including our higher levels.
        chain.used.store(level + 1, Ordering::Relaxed);
        chain.passer[level].store(0, Ordering::Relaxed);
        return Ok(());
    }
    let passes_on = current.sa_sigaction != libc::SIG_DFL && current.sa_sigaction != libc::SIG_IGN;
    let level = if passes_on {
        chain.used.load(Ordering::Relaxed)
    } else {
        0
    };
    if level == LEVELS {
        return Ok(());
    }
    // Stored before the entry can be called.
    chain.store(level, &current);
    chain.passer[level].store(0, Ordering::Relaxed);
    let before = set_action(signal, &our_action(level))?;
    // Another handler may have been installed after `current` was read. It must not be lost.
    if level_of(&before).is_none() {
        chain.store(level, &before);
    }
    chain.used.store(level + 1, Ordering::Relaxed);
    Ok(())
}

/// Restores the actions from before `install`. If the program has put its own handler in front, ours stays: that
/// handler may forward to ours, which then forwards every fault.
pub(crate) fn uninstall() {
    uninstall_one(libc::SIGSEGV);
    uninstall_one(libc::SIGBUS);
}

fn uninstall_one(signal: i32) {
    let chain = chain_of(signal);
    let Some(level) = current_action(signal).ok().as_ref().and_then(level_of) else {
        return;
    };
    // Lower levels stay: the restored action may forward to them.
    let Ok(before) = set_action(signal, &chain.next(level)) else {
        return;
    };
    if level_of(&before).is_none() {
        // Another handler was installed since the check, and may forward to ours: put it back.
        let _ = set_action(signal, &before);
        return;
    }
    chain.used.store(level, Ordering::Relaxed);
}

/// Returns the place of our handler for each signal, as the kernel knows it. A library that replaces the C library's
/// sigaction(3), such as Java's libjsig, may tell the program otherwise.
pub(crate) fn places() -> Vec<(&'static str, Place)> {
    let place = |signal| {
        let chain = chain_of(signal);
        let used = chain.used.load(Ordering::Relaxed);
        match (used.checked_sub(1), flavour::handler_in_front(signal)) {
            (None, _) => Place::Absent,
            (_, Some(front)) if level_at(front).is_some() => Place::First,
            (Some(level), front) if front == Some(chain.passer[level].load(Ordering::Relaxed)) => {
                Place::Behind
            }
            _ => Place::Displaced,
        }
    };
    vec![
        ("SIGSEGV", place(libc::SIGSEGV)),
        ("SIGBUS", place(libc::SIGBUS)),
    ]
}

/// Frees, in a forked child, the stacks on which threads that the child lacks run foreign handlers.
pub(crate) fn forget_other_threads() {
    stack::forget_other_threads();
}

/// Handles a signal, as the entry of a level.
extern "C" fn on_signal<const LEVEL: usize>(
    signal: i32,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    let errno = errno::location();
    // SAFETY: the address is that of this thread's errno, which is valid while the thread lives.
    let saved = unsafe { *errno };

    let before = blocked().block();

    // SAFETY: the kernel gave these arguments to an SA_SIGINFO handler: this one, or one in front that has forwarded
    // them. The trap ends before that handler returns.
    let mut trap = unsafe { Trap::new(info, context) };

    // The kernel blocks the signals of our action's mask in addition to those that the thread had blocked.
    let by_kernel = trap.signal_mask().with(blocked().without(MARK));
    let is_passed_on = Mask(before.0 ^ by_kernel.0).has_any(COMPARED);
    if is_passed_on {
        if let Some(front) = flavour::handler_in_front(signal) {
            chain_of(signal).passer[LEVEL].store(front, Ordering::Relaxed);
        }
    }

    let resolved = trap.is_raised_by_processor()
        && DECIDE
            .get()
            .is_some_and(|decide| matches!(decide(&mut trap), Decision::Resume));
    if !resolved {
        // The handler may leave by siglongjmp, so errno is restored before it is called.
        // SAFETY: the address is that of this thread's errno, which is valid while the thread lives.
        unsafe { *errno = saved };
        // SAFETY: this is our signal handler, and these are its own arguments.
        unsafe { pass_on(signal, info, context, &trap, LEVEL, is_passed_on) };
    }

    // If the kernel has called us, it restores the thread's mask itself.
    if !resolved || is_passed_on {
        before.set();
    }
    // SAFETY: the address is that of this thread's errno, which is valid while the thread lives.
    unsafe { *errno = saved };
}

/// The signals that tell a call by the kernel from a call by another handler: the standard ones and MARK. Emulators
/// leave out some of the others.
const COMPARED: Mask = Mask((1 << 31) - 1).with(MARK);

/// Acts as the next handler or disposition after this level would.
///
/// # Safety
/// Called from our signal handler with its own arguments.
unsafe fn pass_on(
    signal: i32,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
    trap: &Trap,
    level: usize,
    is_passed_on: bool,
) {
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
            let own = match next.sa_flags & libc::SA_NODEFER {
                0 => Mask::of(signal),
                _ => Mask(0),
            };
            let asked_for = Mask::from_set(&next.sa_mask).with(own);
            trap.signal_mask().with(asked_for).set();

            let call = || {
                if next.sa_flags & libc::SA_SIGINFO != 0 {
                    // SAFETY: an address installed with SA_SIGINFO is a function of this type (sigaction(2)).
                    let handler: Handler = unsafe { mem::transmute(handler) };
                    handler(signal, info, context);
                } else {
                    // SAFETY: an address installed without SA_SIGINFO is a function of this type (sigaction(2)).
                    let handler: extern "C" fn(i32) = unsafe { mem::transmute(handler) };
                    handler(signal);
                }
            };
            // Without SA_ONSTACK the handler would have run on the thread's own stack, and may need more than the few
            // kilobytes of an alternate stack. A thread that left an earlier such handler by siglongjmp has a large
            // alternate stack.
            let alternate = trap.alternate_stack();
            let wants_stack = next.sa_flags & libc::SA_ONSTACK == 0
                && is_on(&alternate)
                && !stack::is_lent(&alternate);
            if !wants_stack || !stack::run_apart(call) {
                call();
            }
            keep_place(signal, trap, level, is_passed_on);
        }
    }
}

/// Returns whether the caller runs on this alternate stack.
fn is_on(stack: &libc::stack_t) -> bool {
    // The stack pointer, not the address of a local variable: AddressSanitizer may keep locals on the heap.
    let here = stack_pointer();
    stack.ss_flags & libc::SS_DISABLE == 0 && here.wrapping_sub(stack.ss_sp.addr()) < stack.ss_size
}

/// Updates the level after the next handler has returned. If that handler has reset the action to the default, the
/// default becomes the level's next action.
fn keep_place(signal: i32, trap: &Trap, level: usize, is_passed_on: bool) {
    let chain = chain_of(signal);
    if current_action(signal).is_ok_and(|current| current.sa_sigaction == libc::SIG_DFL) {
        chain.store_default(level);
        if trap.is_raised_by_processor() {
            // The instruction runs and faults again, and the default action ends the process there, as the handler
            // intends.
            return;
        }
        // If the kernel has called us, this level is in front, whatever was in front of it before.
        let front = if is_passed_on {
            chain.used.load(Ordering::Relaxed).clamp(1, LEVELS) - 1
        } else {
            level
        };
        // Cannot fail for a valid signal and action (sigaction(2)). If it did, the default would stay, as the handler
        // intends.
        let _ = set_action(signal, &our_action(front));
    }
}

/// Lets the default disposition end the process.
fn die(signal: i32, trap: &Trap) {
    // Cannot fail: SIGSEGV and SIGBUS are valid and may be reset (sigaction(2)).
    let _ = set_action(signal, &default_action());
    if !trap.is_raised_by_processor() {
        // The signal was sent by kill or raise, so it will not happen again by itself.
        // SAFETY: raise(3) has no preconditions. The signal stays pending until the handler returns, which restores a
        // mask without it.
        unsafe { libc::raise(signal) };
    }
    // Otherwise the instruction runs and faults again when we return, and the process dies there: by the same signal,
    // with the same registers in the core file.
}

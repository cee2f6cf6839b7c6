//! A `sigaction` that replaces the C library's, like that of Java's libjsig: the handler of SIGSEGV stays the engine's,
//! which calls the handler that the program has set. Loaded by LD_PRELOAD.

#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "takes the place of a C function")]

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::mem;
use std::ptr;

type Sigaction = unsafe extern "C" fn(i32, *const libc::sigaction, *mut libc::sigaction) -> i32;

struct Asked(UnsafeCell<Option<libc::sigaction>>);

// SAFETY: written by the one thread that installs handlers in a test, before the faults that read it.
unsafe impl Sync for Asked {}

/// The action that the program has set for SIGSEGV.
static ASKED: Asked = Asked(UnsafeCell::new(None));

fn real() -> Sigaction {
    // SAFETY: looks up a name (dlsym(3)).
    let address = unsafe { libc::dlsym(libc::RTLD_NEXT, c"sigaction".as_ptr()) };
    // SAFETY: the C library's function of this name has this type.
    unsafe { mem::transmute(address) }
}

/// The engine's handler. It recognises no fault, so each goes to the handler that the program has set.
extern "C" fn engine(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: written before the engine's handler was installed, by the thread that runs this.
    if let Some(asked) = unsafe { *ASKED.0.get() } {
        // SAFETY: the tests ask for SA_SIGINFO handlers only.
        let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void) =
            unsafe { mem::transmute(asked.sa_sigaction) };
        handler(signal, info, context);
    }
}

/// Takes the place of sigaction(2).
///
/// # Safety
/// As for sigaction(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigaction(
    signal: i32,
    new: *const libc::sigaction,
    old: *mut libc::sigaction,
) -> i32 {
    // SAFETY: the process has one thread that installs handlers.
    let asked = unsafe { &mut *ASKED.0.get() };
    if signal != libc::SIGSEGV || (new.is_null() && asked.is_none()) {
        // SAFETY: the caller meets the contract of sigaction(2).
        return unsafe { real()(signal, new, old) };
    }
    if asked.is_none() {
        // SAFETY: sigaction is plain data, of which all zeroes is a value.
        let mut action: libc::sigaction = unsafe { mem::zeroed() };
        action.sa_sigaction = engine as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: a handler of the right type for a valid signal.
        unsafe { real()(signal, &action, ptr::null_mut()) };
    }
    // SAFETY: `old` is null or writable (contract); all zeroes is the default action.
    if let Some(old) = unsafe { old.as_mut() } {
        // SAFETY: sigaction is plain data, of which all zeroes is a value.
        *old = asked.unwrap_or(unsafe { mem::zeroed() });
    }
    // SAFETY: `new` is null or readable (contract).
    if let Some(new) = unsafe { new.as_ref() } {
        *asked = Some(*new);
    }
    0
}

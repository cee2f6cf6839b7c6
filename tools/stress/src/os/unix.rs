//! Unix: signals and forks.

#![allow(unsafe_code, reason = "signals, forks and mappings are C interfaces")]

use std::cell::Cell;
use std::ffi::c_void;
use std::panic::{self, AssertUnwindSafe};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};

use elbowroom::page_size;

/// A child that takes longer hangs.
const CHILD_SECONDS: u32 = 40;

thread_local! {
    // Signals that were sent, and faults that were repaired, as this thread's handler saw them. Needs neither
    // initialisation nor destruction, so a signal handler may use it.
    static SENT: Cell<u64> = const { Cell::new(0) };
    static REPAIRED: Cell<u64> = const { Cell::new(0) };
    // The page whose fault is to be repaired; 0: none.
    static FOREIGN: Cell<usize> = const { Cell::new(0) };
}

static SEED: AtomicU64 = AtomicU64::new(0);

pub(crate) fn prepare(seed: u64) {
    SEED.store(seed, Ordering::Relaxed);
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: plain data; all zeroes is a value of it, with an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = on_signal as extern "C" fn(_, _, _) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: a valid signal; the handler is an SA_SIGINFO handler and stays in the program.
        unsafe { libc::sigaction(signal, &action, ptr::null_mut()) };
    }
}

extern "C" fn on_signal(signal: i32, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the siginfo of the signal that is being handled.
    let info = unsafe { &*info };
    if info.si_code <= 0 {
        SENT.set(SENT.get() + 1);
        return;
    }
    // SAFETY: SIGSEGV and SIGBUS that the processor raised have an address (sigaction(2)).
    let address = unsafe { info.si_addr() };
    let page = address.map_addr(|address| address & !(page_size() - 1));
    if page.addr() != 0 && page.addr() == FOREIGN.get() {
        REPAIRED.set(REPAIRED.get() + 1);
        // SAFETY: the page that `fault` mapped, which nothing else uses.
        unsafe { libc::mprotect(page, page_size(), libc::PROT_READ | libc::PROT_WRITE) };
        return;
    }
    crashed(address.addr());
    // SAFETY: a valid signal and disposition; the instruction runs again and the process dies of it.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Says what the process dies of. Async-signal-safe.
fn crashed(address: usize) {
    let mut text =
        *b"elbowroom: a fault at 0x0000000000000000 that nobody knows, seed 00000000000000000000\n";
    for (at, shift) in (24..40).zip((0..16).rev()) {
        text[at] = b"0123456789abcdef"[address >> (4 * shift) & 15];
    }
    let mut seed = SEED.load(Ordering::Relaxed);
    for at in (65..85).rev() {
        text[at] = b'0' + (seed % 10) as u8;
        seed /= 10;
    }
    // SAFETY: the bytes of an array.
    unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
}

pub(crate) fn signal() -> Result<(), String> {
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        let before = SENT.get();
        // SAFETY: sends a signal, which has a handler, to this thread.
        unsafe { libc::raise(signal) };
        let calls = SENT.get() - before;
        if calls != 1 {
            return Err(format!(
                "the handler for signal {signal} was called {calls} times"
            ));
        }
    }
    Ok(())
}

pub(crate) fn fault() -> Result<(), String> {
    let (flags, size) = (libc::MAP_PRIVATE | libc::MAP_ANON, page_size());
    // SAFETY: a new mapping where the kernel chooses.
    let page = unsafe { libc::mmap(ptr::null_mut(), size, libc::PROT_NONE, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return Err(format!("mmap: {}", std::io::Error::last_os_error()));
    }
    let before = REPAIRED.get();
    FOREIGN.set(page.addr());
    // For the compiler a store to memory calls nobody, so it might set this later, or not at all.
    compiler_fence(Ordering::SeqCst);
    // SAFETY: the handler above makes the page writable; nothing else uses it.
    unsafe { page.cast::<u8>().write_volatile(1) };
    compiler_fence(Ordering::SeqCst);
    FOREIGN.set(0);
    let calls = REPAIRED.get() - before;
    // SAFETY: the mapping made above, which nothing uses any more.
    unsafe { libc::munmap(page, size) };
    if calls == 1 {
        Ok(())
    } else {
        Err(format!(
            "the handler for a foreign fault was called {calls} times"
        ))
    }
}

pub(crate) fn in_child(work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    // SAFETY: the child uses memory, which the C library keeps usable across a fork, and this library, whose locks a
    // fork leaves free; no lock of this program's own.
    let child = unsafe { libc::fork() };
    match child {
        -1 => Err(format!("fork: {}", std::io::Error::last_os_error())),
        0 => {
            // SAFETY: ends this process by SIGALRM if it hangs.
            unsafe { libc::alarm(CHILD_SECONDS) };
            let result =
                panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err("a panic".to_owned()));
            let status = match result {
                Ok(()) => 0,
                Err(words) => {
                    let text = format!("elbowroom: in a forked child: {words}\n");
                    // SAFETY: the bytes of a string.
                    unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
                    1
                }
            };
            // SAFETY: ends the child without running what the parent registered.
            unsafe { libc::_exit(status) }
        }
        _ => {
            let mut status = 0;
            loop {
                // SAFETY: waits for the child made above.
                let waited = unsafe { libc::waitpid(child, &mut status, 0) };
                let error = std::io::Error::last_os_error();
                if waited == child {
                    break;
                }
                if error.kind() != std::io::ErrorKind::Interrupted {
                    return Err(format!("waitpid: {error}"));
                }
            }
            match status {
                0 => Ok(()),
                _ if libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGALRM => {
                    Err(format!("a forked child hung for {CHILD_SECONDS} seconds"))
                }
                _ => Err(format!("a forked child ended with status {status:#x}")),
            }
        }
    }
}

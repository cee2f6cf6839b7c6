//! Unix: signals and forks.

#![allow(unsafe_code, reason = "signals, forks and mappings are C interfaces")]

use std::cell::Cell;
use std::ffi::c_void;
use std::panic::{self, AssertUnwindSafe};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};

use elbowroom::page_size;

/// The time after which a child counts as hanging.
const CHILD_SECONDS: u32 = 40;

thread_local! {
    // The signals and the repaired faults that this thread's handler has counted. The variables need neither
    // initialisation nor destruction, so a signal handler may use them.
    static SENT: Cell<u64> = const { Cell::new(0) };
    static REPAIRED: Cell<u64> = const { Cell::new(0) };
    // The page whose fault the handler repairs; 0 if there is none.
    static FOREIGN: Cell<usize> = const { Cell::new(0) };
}

static SEED: AtomicU64 = AtomicU64::new(0);

pub(crate) fn prepare(seed: u64) {
    SEED.store(seed, Ordering::Relaxed);
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: sigaction is plain data, and all zero bytes are a valid value of it, with an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = on_signal as extern "C" fn(_, _, _) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: the signal is valid; the handler has the signature for SA_SIGINFO and exists for the life of the
        // program.
        unsafe { libc::sigaction(signal, &action, ptr::null_mut()) };
    }
}

extern "C" fn on_signal(signal: i32, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel passes a valid siginfo to an SA_SIGINFO handler, valid while the handler runs.
    let info = unsafe { &*info };
    if info.si_code <= 0 {
        SENT.set(SENT.get() + 1);
        return;
    }
    // SAFETY: the siginfo of a SIGSEGV or SIGBUS that the processor raised has an address (sigaction(2)).
    let address = unsafe { info.si_addr() };
    let page = address.map_addr(|address| address & !(page_size() - 1));
    if page.addr() != 0 && page.addr() == FOREIGN.get() {
        REPAIRED.set(REPAIRED.get() + 1);
        // SAFETY: `fault` mapped this page, and no other code uses it.
        unsafe { libc::mprotect(page, page_size(), libc::PROT_READ | libc::PROT_WRITE) };
        return;
    }
    crashed(address.addr());
    // SAFETY: the signal and the disposition are valid. The instruction then runs again, and its fault ends the
    // process.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Reports the fault that ends the process. Async-signal-safe.
fn crashed(address: usize) {
    let mut text =
        *b"elbowroom: a fault at 0x0000000000000000 without a handler, seed 00000000000000000000\n";
    for (at, shift) in (24..40).zip((0..16).rev()) {
        text[at] = b"0123456789abcdef"[address >> (4 * shift) & 15];
    }
    let mut seed = SEED.load(Ordering::Relaxed);
    for at in (65..85).rev() {
        text[at] = b'0' + (seed % 10) as u8;
        seed /= 10;
    }
    // SAFETY: the pointer and the length are those of a live array.
    unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
}

pub(crate) fn signal() -> Result<(), String> {
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        let before = SENT.get();
        // SAFETY: raise has no preconditions; the signal has a handler, so the process continues.
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
    // SAFETY: a new mapping at an address that the kernel chooses replaces no existing memory.
    let page = unsafe { libc::mmap(ptr::null_mut(), size, libc::PROT_NONE, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return Err(format!("mmap: {}", std::io::Error::last_os_error()));
    }
    let before = REPAIRED.get();
    FOREIGN.set(page.addr());
    // The compiler does not know that the store below calls the handler, so it could move or remove this assignment.
    compiler_fence(Ordering::SeqCst);
    // SAFETY: the handler makes the page writable when it is touched; the byte is aligned; no other code uses the page.
    unsafe { page.cast::<u8>().write_volatile(1) };
    compiler_fence(Ordering::SeqCst);
    FOREIGN.set(0);
    let calls = REPAIRED.get() - before;
    // SAFETY: the mapping was made above with this size, and no pointer into it is used any more.
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
    // SAFETY: the child uses the allocator, which the C library keeps usable across a fork, and this library, whose
    // locks are free in a forked child. It takes no lock of this program.
    let child = unsafe { libc::fork() };
    match child {
        -1 => Err(format!("fork: {}", std::io::Error::last_os_error())),
        0 => {
            // SAFETY: alarm has no preconditions; SIGALRM ends this process if it hangs.
            unsafe { libc::alarm(CHILD_SECONDS) };
            let result =
                panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err("a panic".to_owned()));
            let status = match result {
                Ok(()) => 0,
                Err(words) => {
                    let text = format!("elbowroom: in a forked child: {words}\n");
                    // SAFETY: the pointer and the length are those of a live string.
                    unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
                    1
                }
            };
            // SAFETY: _exit has no preconditions; it ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(status) }
        }
        _ => {
            let mut status = 0;
            loop {
                // SAFETY: `status` is writable; the child was made above and is waited for only here.
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

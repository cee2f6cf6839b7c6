//! Stacks owned by the library, on which filters run.
//!
//! ```text
//!  low                                                                      high
//!  | guard page | filter's stack, grows down <- | guard page | alternate stack |
//! ```
//!
//! A filter may itself fault in another region. The kernel would deliver that signal at the *top* of the thread's
//! alternate stack, where the outer handler's frames still lie: it tells by the stack pointer whether the alternate
//! stack is in use (sigaltstack(2)), and the stack pointer is elsewhere by then. So while the filter runs, the thread
//! has another alternate stack, the second part of the mapping. A filter that overflows its stack hits the guard page
//! and gets a proper signal, too.

use std::arch::asm;
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use super::errno::last_error;
use super::flavour::{self, thread_number};
use super::process::{process_number, thread_token};
use super::signals::Mask;
use super::size::page_size;
use crate::plain::OsCode;

/// The size of a filter's stack: twice the 64 KiB that a filter may rely on.
const FILTER_STACK_BYTES: usize = 128 << 10;

/// More than the kernel's largest signal frame (AT_MINSIGSTKSZ is near 12 KiB with AMX state), with room for the
/// handler.
const ALTERNATE_STACK_BYTES: usize = 64 << 10;

/// The zeros that an unwinder reads beyond a filter's first frame, which mark the end of the stack.
const PAD_BYTES: usize = 1024;

/// A mapping that is never unmapped. The next thread that faults reuses it.
pub(crate) struct FilterStack {
    // Invariant: `[guard | FILTER_STACK_BYTES rounded up | guard | ALTERNATE_STACK_BYTES rounded up]`, never unmapped,
    // guards without access. Its owner ensures that one thread at a time runs on it.
    base: *mut u8,
}

// SAFETY: the pointer is to a mapping that is never unmapped and is not bound to a thread.
unsafe impl Send for FilterStack {}
// SAFETY: `&FilterStack` gives the pointer only; `run`, which uses the memory, requires exclusive use (its contract).
unsafe impl Sync for FilterStack {}

fn stack_bytes() -> usize {
    FILTER_STACK_BYTES.next_multiple_of(page_size())
}

fn alternate_bytes() -> usize {
    ALTERNATE_STACK_BYTES.next_multiple_of(page_size())
}

impl FilterStack {
    /// Maps a stack. Async-signal-safe, because it only makes two system calls.
    pub(crate) fn new() -> Result<FilterStack, OsCode> {
        let guard = page_size();
        let len = guard + stack_bytes() + guard + alternate_bytes();
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: mmap(2) makes new anonymous memory at an address that the kernel chooses.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len,
                protection,
                libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(last_error());
        }
        let base: *mut u8 = base.cast();
        for offset in [0, guard + stack_bytes()] {
            // SAFETY: a page of the mapping just made, and nothing refers to it yet.
            let result =
                unsafe { libc::mprotect(base.wrapping_add(offset).cast(), guard, libc::PROT_NONE) };
            if result != 0 {
                let error = last_error();
                // SAFETY: the whole mapping just made, and nothing refers to it.
                unsafe { libc::munmap(base.cast(), len) };
                return Err(error);
            }
        }
        Ok(FilterStack { base })
    }

    /// Returns the address of the page below the stack.
    pub(crate) fn guard_page(&self) -> usize {
        self.base.addr()
    }

    /// Returns the low end of the alternate stack.
    fn alternate(&self) -> *mut u8 {
        self.base.wrapping_add(2 * page_size() + stack_bytes())
    }

    /// Calls `function(data)` on this stack for a filter, with the signals of faults unblocked.
    ///
    /// # Safety
    /// - No other call is on this stack.
    /// - `function` may be called with `data`, and does not unwind.
    pub(crate) unsafe fn run(&self, function: extern "C" fn(*mut c_void), data: *mut c_void) {
        // SAFETY: no other call is on the stack, and `function` may be called with `data` and does not unwind
        // (contract).
        unsafe { self.call(function, data, true) };
    }

    /// Calls `function(data)` on this stack.
    ///
    /// # Safety
    /// - No other call is on this stack.
    /// - `function` may be called with `data`, and does not unwind.
    unsafe fn call(
        &self,
        function: extern "C" fn(*mut c_void),
        data: *mut c_void,
        may_fault: bool,
    ) {
        let mut call = Call {
            function,
            data,
            alternate: self.alternate(),
            may_fault,
        };
        // 16-byte aligned, as both ABIs require at a call, because the base and the sizes are multiples of the page
        // size.
        let top = self
            .base
            .wrapping_add(page_size() + stack_bytes() - PAD_BYTES);
        // SAFETY: `top` is 16-byte aligned, and the high end of FILTER_STACK_BYTES of mapped, writable memory
        // (invariant of `base`) that no other call uses (contract). `on_filter_stack` takes a pointer to a
        // live `Call`, and does not unwind because `function` does not (contract).
        unsafe { call_on_stack(top, on_filter_stack, (&raw mut call).cast()) };
    }
}

/// While it exists, SIGSEGV and SIGBUS are not blocked.
struct FaultsUnblocked {
    before: Mask,
}

impl FaultsUnblocked {
    fn new() -> FaultsUnblocked {
        FaultsUnblocked {
            before: Mask::FAULTS.unblock(),
        }
    }
}

impl Drop for FaultsUnblocked {
    fn drop(&mut self) {
        self.before.set();
    }
}

struct Call {
    function: extern "C" fn(*mut c_void),
    data: *mut c_void,
    alternate: *mut u8,
    may_fault: bool,
}

extern "C" fn on_filter_stack(call: *mut c_void) {
    // SAFETY: `call` passes a pointer to its `Call`, which lives until this function returns.
    let call = unsafe { &*call.cast::<Call>() };
    let ours = libc::stack_t {
        ss_sp: call.alternate.cast(),
        ss_flags: 0,
        ss_size: alternate_bytes(),
    };
    let mut before = libc::stack_t {
        ss_sp: ptr::null_mut(),
        ss_flags: libc::SS_DISABLE,
        ss_size: 0,
    };
    // sigaltstack(2) fails with EPERM while the thread is on its alternate stack. On Linux it is not, because the stack
    // pointer is in our stack. On macOS it may be, but a nested signal then stays on the current stack, which is
    // sufficient.
    // SAFETY: `ours` describes mapped memory of that size that nothing else uses while the filter runs; `before` is
    // writable.
    let switched = unsafe { libc::sigaltstack(&ours, &mut before) } == 0;
    // Our handler blocks the signals of faults. A filter may fault. Another program's handler has the mask that it
    // requested.
    let unblocked = call.may_fault.then(FaultsUnblocked::new);
    (call.function)(call.data);
    drop(unblocked);
    if switched {
        // SAFETY: this restores the alternate stack that the kernel reported as the previous one.
        unsafe { libc::sigaltstack(&before, ptr::null_mut()) };
    }
}

/// A stack for the handlers of other code, separate from the stacks of filters.
///
/// If a handler leaves by siglongjmp, its thread keeps the stack, which must not reduce the number of filters' stacks.
/// The thread's alternate stack is then the one beside this stack, so the thread never takes another ([`is_lent`]).
/// When the thread has ended, another thread that finds no free stack takes this one.
struct Apart {
    // The low half is the low half of the number of the thread that has the stack, or 0. The high half counts how many
    // times the stack was taken, so that no value repeats.
    taken: AtomicU64,
    // The process and the token of the thread that took the stack last. Written by that thread.
    process: AtomicI32,
    thread: AtomicUsize,
    // Invariant: null, or the base of a `FilterStack`. Written by the thread that has the stack.
    base: AtomicPtr<u8>,
}

static APART: [Apart; 16] = [const {
    Apart {
        taken: AtomicU64::new(0),
        process: AtomicI32::new(0),
        thread: AtomicUsize::new(0),
        base: AtomicPtr::new(ptr::null_mut()),
    }
}; 16];

/// The mask of the half of `taken` with the thread's number.
const HOLDER: u64 = 0xffff_ffff;

impl Apart {
    /// Takes the stack if no thread has it; with `even_if_lost`, also if the thread that has it has ended. Returns
    /// whether it did.
    fn take(&self, even_if_lost: bool) -> bool {
        let me = thread_number() & HOLDER;
        let taken = self.taken.load(Ordering::Relaxed);
        let is_free = match taken & HOLDER {
            0 => true,
            // In a forked child, the number is that of a thread of another process.
            holder => {
                even_if_lost
                    && self.process.load(Ordering::Relaxed) == process_number()
                    && flavour::has_ended(holder)
            }
        };
        let next = (taken & !HOLDER).wrapping_add(HOLDER + 1) | me;
        // Acquire: the last thread on the stack has left it.
        let exchange = || {
            self.taken
                .compare_exchange(taken, next, Ordering::Acquire, Ordering::Relaxed)
        };
        if !is_free || exchange().is_err() {
            return false;
        }
        self.process.store(process_number(), Ordering::Relaxed);
        self.thread.store(thread_token(), Ordering::Relaxed);
        true
    }

    fn give_back(&self) {
        self.taken.fetch_and(!HOLDER, Ordering::Release);
    }

    /// Returns the stack, which is mapped on first use. Called by the thread that has it.
    fn stack(&self) -> Result<FilterStack, OsCode> {
        let base = self.base.load(Ordering::Relaxed);
        if !base.is_null() {
            return Ok(FilterStack { base });
        }
        let made = FilterStack::new()?;
        self.base.store(made.base, Ordering::Relaxed);
        Ok(made)
    }
}

/// Returns whether an alternate stack lies beside one of the stacks for the handlers of other code. Such a handler fits
/// on it.
pub(super) fn is_lent(alternate: &libc::stack_t) -> bool {
    let mut bases = APART.iter().map(|apart| apart.base.load(Ordering::Relaxed));
    bases.any(|base| !base.is_null() && FilterStack { base }.alternate() == alternate.ss_sp.cast())
}

/// Runs `work` on a separate stack. Returns false, without running it, if no stack is free.
pub(super) fn run_apart<F: FnOnce()>(work: F) -> bool {
    extern "C" fn call<F: FnOnce()>(work: *mut c_void) {
        // SAFETY: `run_apart` passes a pointer to its own `Option<F>`, and does not access it meanwhile.
        let work = unsafe { &mut *work.cast::<Option<F>>() };
        work.take().into_iter().for_each(|work| work());
    }

    let take = |even_if_lost| APART.iter().find(|apart| apart.take(even_if_lost));
    let Some(apart) = take(false).or_else(|| take(true)) else {
        return false;
    };
    let has_run = match apart.stack() {
        Ok(stack) => {
            let mut work = Some(work);
            // SAFETY: this thread has just taken the stack, so no other thread is on it: the last one has given it
            // back, or has ended. `call` takes a pointer to an `Option<F>`, which outlives the call; a panic in an
            // `extern "C"` function aborts.
            unsafe { stack.call(call::<F>, (&raw mut work).cast(), false) };
            true
        }
        Err(_) => false,
    };
    apart.give_back();
    has_run
}

/// Frees, in a forked child, the stacks of threads that the child lacks.
pub(super) fn forget_other_threads() {
    let me = thread_token();
    for apart in &APART {
        if apart.thread.load(Ordering::Relaxed) != me {
            apart.give_back();
        }
    }
}

/// Returns the caller's stack pointer.
pub(super) fn stack_pointer() -> usize {
    let pointer: usize;
    // SAFETY: the block copies a register, and accesses neither memory nor flags.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("mov {}, rsp", out(reg) pointer, options(nomem, nostack, preserves_flags));
        #[cfg(target_arch = "aarch64")]
        asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags));
    }
    pointer
}

/// # Safety
/// `top` is 16-byte aligned and is the high end of enough unused stack. `function` may be called with `data` and does
/// not unwind.
#[cfg(target_arch = "x86_64")]
#[inline(never)] // A small frame: an unwinder that goes past it reads zeros in the pad, the end of the stack.
unsafe fn call_on_stack(top: *mut u8, function: extern "C" fn(*mut c_void), data: *mut c_void) {
    // SAFETY: rsp is restored from r12, which the callee preserves (System V ABI). Every register that the call may
    // change is declared. The direction flag is clear and the stack is aligned at the call.
    unsafe {
        asm!(
            "mov r12, rsp",
            "mov rsp, {top}",
            "call {function}",
            "mov rsp, r12",
            top = in(reg) top,
            function = in(reg) function,
            in("rdi") data,
            out("r12") _,
            clobber_abi("C"),
        );
    }
}

/// # Safety
/// `top` is 16-byte aligned and is the high end of enough unused stack. `function` may be called with `data` and does
/// not unwind.
#[cfg(target_arch = "aarch64")]
#[inline(never)] // A small frame: an unwinder that goes past it reads zeros in the pad, the end of the stack.
unsafe fn call_on_stack(top: *mut u8, function: extern "C" fn(*mut c_void), data: *mut c_void) {
    // SAFETY: sp is restored from x20, which the callee preserves (AAPCS64), and is aligned at the call (contract).
    // Every register that the call may change is declared, including the link register. `function` takes `data`
    // (contract).
    unsafe {
        asm!(
            "mov x20, sp",
            "mov sp, {top}",
            "blr {function}",
            "mov sp, x20",
            top = in(reg) top,
            function = in(reg) function,
            in("x0") data,
            out("x20") _,
            clobber_abi("C"),
        );
    }
}

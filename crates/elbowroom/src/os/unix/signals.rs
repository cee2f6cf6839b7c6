//! Signal masks and alternate stacks.

use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

/// A set of signals as the kernel keeps it: bit n - 1 stands for signal n. The C library's set is sixteen times as
/// large, and a handler has little stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mask(pub(super) u64);

impl Mask {
    /// SIGSEGV and SIGBUS.
    pub(super) const FAULTS: Mask = Mask::of(libc::SIGSEGV).with(Mask::of(libc::SIGBUS));

    /// The signals that a processor raises at an instruction. Blocking them would turn a fault into a kill
    /// (sigprocmask(2): "the result is undefined").
    const SYNCHRONOUS: Mask = Mask::FAULTS
        .with(Mask::of(libc::SIGFPE))
        .with(Mask::of(libc::SIGILL))
        .with(Mask::of(libc::SIGTRAP))
        .with(Mask::of(libc::SIGSYS));

    /// Signals that cannot be blocked: the kernel leaves them out of every mask.
    const UNBLOCKABLE: Mask = Mask::of(libc::SIGKILL).with(Mask::of(libc::SIGSTOP));

    pub(super) const fn of(signal: i32) -> Mask {
        Mask(1 << (signal - 1))
    }

    pub(super) const fn with(self, other: Mask) -> Mask {
        Mask(self.0 | other.0)
    }

    pub(super) const fn without(self, other: Mask) -> Mask {
        Mask(self.0 & !other.0)
    }

    pub(super) const fn has_any(self, other: Mask) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns all signals that may be blocked, except the [`SYNCHRONOUS`](Mask::SYNCHRONOUS) ones and those that the
    /// C library needs for itself.
    pub(super) fn asynchronous() -> Mask {
        // 0 before the first use. Two threads that make the set at once store the same value.
        static ASYNCHRONOUS: AtomicU64 = AtomicU64::new(0);
        let known = ASYNCHRONOUS.load(Ordering::Relaxed);
        if known != 0 {
            return Mask(known);
        }
        let made = Mask::made_by_the_c_library()
            .without(Mask::SYNCHRONOUS)
            .without(Mask::UNBLOCKABLE);
        ASYNCHRONOUS.store(made.0, Ordering::Relaxed);
        made
    }

    // A separate function, because a handler's frame has no room for the set.
    #[cold]
    #[inline(never)]
    fn made_by_the_c_library() -> Mask {
        let mut set = Mask(0).to_set();
        // SAFETY: `set` is a live sigset_t (sigsetops(3)). The call leaves out the C library's own signals.
        unsafe { libc::sigfillset(&mut set) };
        Mask::from_set(&set)
    }

    /// Returns the kernel's part of a set: 64 signals on Linux, 32 on macOS.
    pub(super) fn from_set(set: &libc::sigset_t) -> Mask {
        let mut bits = [0u8; 8];
        let len = size_of::<libc::sigset_t>().min(bits.len());
        // SAFETY: a set is plain data with at least `len` bytes, and `bits` has room for them.
        unsafe {
            ptr::copy_nonoverlapping(ptr::from_ref(set).cast::<u8>(), bits.as_mut_ptr(), len)
        };
        Mask(u64::from_ne_bytes(bits))
    }

    /// Returns the C library's form of the set.
    pub(super) fn to_set(self) -> libc::sigset_t {
        // SAFETY: sigset_t is plain data, and all zeroes is a valid value.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        let bits = self.0.to_ne_bytes();
        let len = size_of::<libc::sigset_t>().min(bits.len());
        // SAFETY: the set has at least `len` bytes, and any bytes are a valid set.
        unsafe {
            ptr::copy_nonoverlapping(bits.as_ptr(), ptr::from_mut(&mut set).cast::<u8>(), len)
        };
        set
    }

    /// Returns the calling thread's mask.
    pub(super) fn current() -> Mask {
        change_mask(libc::SIG_BLOCK, Mask(0))
    }

    /// Blocks these signals in addition, and returns the previous mask.
    pub(super) fn block(self) -> Mask {
        change_mask(libc::SIG_BLOCK, self)
    }

    /// Unblocks these signals, and returns the previous mask.
    pub(super) fn unblock(self) -> Mask {
        change_mask(libc::SIG_UNBLOCK, self)
    }

    /// Blocks exactly these signals.
    pub(super) fn set(self) {
        change_mask(libc::SIG_SETMASK, self);
    }
}

/// Changes the calling thread's mask, and returns the previous one. Async-signal-safe.
///
/// This calls rt_sigprocmask(2) directly: the C library's function takes sets that are too large for a handler's stack.
#[cfg(target_os = "linux")]
fn change_mask(how: i32, mask: Mask) -> Mask {
    let mut before = Mask(0);
    // SAFETY: both sets are live and have the 8 bytes stated. The call fails only for an unknown `how`.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            how,
            &raw const mask.0,
            &raw mut before.0,
            size_of::<u64>(),
        )
    };
    before
}

/// Changes the calling thread's mask, and returns the previous one. Async-signal-safe.
#[cfg(target_os = "macos")]
fn change_mask(how: i32, mask: Mask) -> Mask {
    let mut before = Mask(0).to_set();
    // SAFETY: both sets are live and initialised. The call fails only for an unknown `how` (pthread_sigmask(3)).
    unsafe { libc::pthread_sigmask(how, &mask.to_set(), &mut before) };
    Mask::from_set(&before)
}

/// Returns whether the calling thread blocks a signal that a fault raises.
pub(super) fn blocks_faults() -> bool {
    Mask::current().has_any(Mask::FAULTS)
}

/// Returns the size of this thread's alternate signal stack; 0 without one.
pub(crate) fn alternate_stack_bytes() -> Option<usize> {
    // SAFETY: stack_t is plain data, and all zeroes is a valid value.
    let mut stack: libc::stack_t = unsafe { std::mem::zeroed() };
    // SAFETY: with a null new stack the call only reads (sigaltstack(2)).
    unsafe { libc::sigaltstack(ptr::null(), &mut stack) };
    Some(if stack.ss_flags & libc::SS_DISABLE != 0 {
        0
    } else {
        stack.ss_size
    })
}

/// While this exists, no asynchronous signal interrupts the thread. So a signal handler never waits for a lock that the
/// code below it holds.
pub(crate) struct SignalsBlocked {
    before: Mask,
}

impl SignalsBlocked {
    pub(crate) fn new() -> SignalsBlocked {
        SignalsBlocked {
            before: Mask::asynchronous().block(),
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        self.before.set();
    }
}

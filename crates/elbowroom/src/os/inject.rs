//! Fault injection: make the nth operating-system call of a kind fail.
//!
//! A plan belongs to the thread that made it and counts only that thread's calls, including those of its page faults.
//! So tests can run side by side. The module exists with the cargo feature `inject`.
//!
//! ```
//! use elbowroom::{Reservation, inject::{self, Call}};
//!
//! let block = Reservation::new(1 << 20)?;
//! let plan = inject::refuse(Call::Commit, 1);
//! assert!(block.commit(0..1).unwrap_err().is_out_of_memory());
//! drop(plan);
//! block.commit(0..1)?;
//! # Ok::<(), elbowroom::Error>(())
//! ```

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

#[cfg(all(
    any(target_os = "linux", target_os = "macos"),
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
use super::unix::process::thread_token;
#[cfg(not(all(
    any(target_os = "linux", target_os = "macos", windows),
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
use super::unsupported::thread_token;
#[cfg(all(windows, any(target_arch = "x86_64", target_arch = "aarch64")))]
use super::windows::thread::thread_token;
use crate::plain::OsCode;

/// A kind of operating-system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// Reserving address space.
    Reserve,
    /// Committing pages of a reservation or region.
    Commit,
    /// Committing pages of the library's own tables, which very large regions need.
    CommitBookkeeping,
    /// Decommitting pages.
    Decommit,
    /// Changing access.
    Protect,
    /// Releasing a reservation.
    Release,
    /// Installing the fault handler.
    InstallHandler,
    /// Making committed pages resident ahead of use. This only saves time, so its refusal is not an error.
    Populate,
    /// Opening a userfaultfd.
    OpenUserfault,
    /// One attempt of a commit on Windows, where a commit that reaches the commit limit is attempted again. Refusing it
    /// simulates a temporary refusal.
    CommitAttempt,
}

impl Call {
    /// Every kind, for tests that try them all.
    pub const ALL: [Call; 10] = [
        Call::Reserve,
        Call::Commit,
        Call::CommitBookkeeping,
        Call::Decommit,
        Call::Protect,
        Call::Release,
        Call::InstallHandler,
        Call::Populate,
        Call::OpenUserfault,
        Call::CommitAttempt,
    ];
}

/// The code of a refused call: memory or commit charge is exhausted.
#[cfg(all(
    any(target_os = "linux", target_os = "macos"),
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
const INJECTED: OsCode = OsCode(libc::ENOMEM);
#[cfg(all(windows, any(target_arch = "x86_64", target_arch = "aarch64")))]
const INJECTED: OsCode = OsCode(windows_sys::Win32::Foundation::ERROR_COMMITMENT_LIMIT as i32);
#[cfg(not(all(
    any(target_os = "linux", target_os = "macos", windows),
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
const INJECTED: OsCode = OsCode::UNSUPPORTED;

/// The number of threads that can have a plan at once.
const PLANS: usize = 64;

/// A thread's plan. Its fields are atomics because the fault handler reads them.
struct Slot {
    // Invariant: only the thread with this token accesses the other fields. 0 means that the slot is free.
    thread: AtomicUsize,
    call: AtomicUsize,
    // Counts down to the call to refuse; 0 means that none is left.
    countdown: AtomicU64,
}

static SLOTS: [Slot; PLANS] = [const {
    Slot {
        thread: AtomicUsize::new(0),
        call: AtomicUsize::new(0),
        countdown: AtomicU64::new(0),
    }
}; PLANS];

/// A plan in force on this thread. Dropping it ends the plan.
#[derive(Debug)]
#[must_use = "dropping the plan ends it"]
pub struct Plan {
    slot: usize,
    // Must be dropped on the thread that made it.
    _not_send: PhantomData<*const ()>,
}

impl Plan {
    /// Returns whether the planned refusal has happened.
    pub fn happened(&self) -> bool {
        SLOTS[self.slot].countdown.load(Ordering::Relaxed) == 0
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        SLOTS[self.slot].thread.store(0, Ordering::Release);
    }
}

/// Makes the `nth` next call of this kind on this thread, counted from 1, fail as if memory were exhausted. If `nth` is
/// 0, no call fails.
///
/// # Panics
/// Panics if this thread already has a plan, or if 64 threads have one.
#[expect(
    clippy::expect_used,
    reason = "documented; a test harness with more threads is told"
)]
pub fn refuse(call: Call, nth: u64) -> Plan {
    let me = thread_token();
    assert!(
        SLOTS
            .iter()
            .all(|slot| slot.thread.load(Ordering::Relaxed) != me),
        "this thread has a plan already"
    );
    let slot = SLOTS
        .iter()
        .position(|slot| {
            slot.thread
                .compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        })
        .expect("64 threads have a plan");
    SLOTS[slot].call.store(call as usize, Ordering::Relaxed);
    SLOTS[slot].countdown.store(nth, Ordering::Relaxed);
    Plan {
        slot,
        _not_send: PhantomData,
    }
}

/// Ends, in a forked child, the plans of threads that the child lacks: new threads may get their tokens.
pub(crate) fn forget_other_threads() {
    let me = thread_token();
    for slot in &SLOTS {
        if slot.thread.load(Ordering::Relaxed) != me {
            slot.thread.store(0, Ordering::Release);
        }
    }
}

/// Counts an operating-system call, before it is made, and refuses it if the plan says so. Async-signal-safe.
pub(super) fn check(call: Call) -> Result<(), OsCode> {
    let me = thread_token();
    let Some(slot) = SLOTS
        .iter()
        .find(|slot| slot.thread.load(Ordering::Relaxed) == me)
    else {
        return Ok(());
    };
    let left = slot.countdown.load(Ordering::Relaxed);
    if slot.call.load(Ordering::Relaxed) != call as usize || left == 0 {
        return Ok(());
    }
    slot.countdown.store(left - 1, Ordering::Relaxed);
    if left == 1 { Err(INJECTED) } else { Ok(()) }
}

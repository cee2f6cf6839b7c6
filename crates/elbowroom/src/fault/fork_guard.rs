//! Prevents a fork while a thread changes state outside the registry: a container that grows, or the budgets of a
//! region that has left the registry.
//!
//! A child that was forked during such a change would find its locks held for ever. During the change, a thread holds
//! one of a few locks, chosen by its number; a fork takes all of them. So threads rarely wait for each other, and no
//! list of containers is needed.

use super::fork::{self, AtFork, Rank};
use crate::sync::{Guard, Lock, thread_hash};

const LOCKS: usize = 16;

/// A lock on a cache line of its own, for lines of up to 128 bytes.
#[repr(align(128))]
struct Padded(Lock<()>);

// Initialised at compile time, so a fork never finds it half made.
#[cfg(not(loom))]
static LOCKED: [Padded; LOCKS] = [const { Padded(Lock::new(())) }; LOCKS];

// In a model, locks have no constant constructor, and models do not fork.
#[cfg(loom)]
static LOCKED: std::sync::LazyLock<[Padded; LOCKS]> =
    std::sync::LazyLock::new(|| [(); LOCKS].map(|()| Padded(Lock::new(()))));

/// While it lives, no fork begins, and no asynchronous signal interrupts the thread.
///
/// It is taken before the lock of a container, which is taken before that of its budgets. No code of the program runs
/// while it exists.
pub(crate) struct ForkGuard(#[expect(dead_code, reason = "held")] Guard<'static, ()>);

pub(crate) fn enter() -> ForkGuard {
    fork::register(Rank::Guards, &STATE);
    // PANIC: the remainder of a division by the length is an index.
    ForkGuard(LOCKED[thread_hash() % LOCKS].0.lock())
}

/// All the guards, across a fork.
struct Guards;

static STATE: &dyn AtFork = &Guards;

#[allow(
    unsafe_code,
    reason = "locks that are held across a fork have no guard"
)]
impl AtFork for Guards {
    fn hold(&self) {
        LOCKED.iter().for_each(|padded| padded.0.hold());
    }

    unsafe fn let_go(&self) {
        for padded in LOCKED.iter() {
            // SAFETY: this thread, or the thread that it is a copy of, took the lock in `hold`
            // (contract).
            unsafe { padded.0.let_go() };
        }
    }
}

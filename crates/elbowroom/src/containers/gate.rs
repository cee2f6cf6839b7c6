//! What keeps a fork out while a container grows.
//!
//! A child that was forked while another thread was in the middle of a growth would find the locks of that container
//! and of its budgets held for ever. A thread that grows holds one of a few locks, chosen by the thread; a fork takes
//! them all. So threads that grow different containers hardly ever wait for each other, and no list of containers is
//! kept.

use crate::fault::fork;
use crate::sync::{Guard, Lock};

const LOCKS: usize = 16;

/// Each on a cache line of its own, as long as lines come.
#[repr(align(128))]
struct Padded(Lock<()>);

// Made before the program runs: a fork never finds it half made.
#[cfg(not(loom))]
static LOCKED: [Padded; LOCKS] = [const { Padded(Lock::new(())) }; LOCKS];

// A model's locks cannot be made so, nor are they forked.
#[cfg(loom)]
static LOCKED: std::sync::LazyLock<[Padded; LOCKS]> =
    std::sync::LazyLock::new(|| [(); LOCKS].map(|()| Padded(Lock::new(()))));

/// While it lives, no fork begins, and no asynchronous signal interrupts the thread. Held before the lock of a
/// container, which comes before that of its budgets; under it, no code of the program's runs.
pub(crate) struct Inside(#[expect(dead_code, reason = "held")] Guard<'static, ()>);

pub(crate) fn enter() -> Inside {
    fork::prepare();
    // PANIC: a remainder of the length.
    Inside(LOCKED[super::thread_hash() % LOCKS].0.lock())
}

/// Waits until no container grows, and keeps it so. For a fork; the caller has asynchronous signals blocked.
pub(crate) fn hold() {
    LOCKED.iter().for_each(|padded| padded.0.hold());
}

/// Gives back what [`hold`] took, in parent and child.
///
/// # Safety
/// The calling thread called `hold`, or is the copy in a forked child of one that did.
#[allow(unsafe_code, reason = "locks that are held across a fork have no guard")]
pub(crate) unsafe fn let_go() {
    for padded in LOCKED.iter() {
        // SAFETY: taken in `hold` (contract).
        unsafe { padded.0.let_go() };
    }
}

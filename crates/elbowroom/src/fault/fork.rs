//! What a fork finds: every lock free, every region at rest, and only the thread that forked.
//!
//! Before the fork the thread takes every lock of the library (of containers: the gate that all growth passes), in the
//! order in which they nest, and so waits until no other thread is in the middle of anything. After it, parent and
//! child each give them back. The child then has one thread: the frames of the others are freed, and their pins on
//! regions taken off, or a drop in the child would wait for them.

#![allow(unsafe_code, reason = "locks that are held across a fork have no guard")]

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{process, thread};

use super::{events, frames, registry};
use crate::containers::gate;
use crate::os::{self, SignalsBlocked};
use crate::region::backend;

/// What a thread holds between the two sides of its fork.
struct Held {
    registry: registry::Held,
    userfault: backend::Held,
    _installing: MutexGuard<'static, ()>,
    _armed: MutexGuard<'static, usize>,
    // Dropped last: a signal handler that touches a region would wait for this very thread.
    _signals: SignalsBlocked,
}

struct Place(UnsafeCell<Option<Held>>);

// SAFETY: touched only between `before` and `after`, by the thread that holds the locks in it.
unsafe impl Sync for Place {}

static HELD: Place = Place(UnsafeCell::new(None));

static PREPARED: Prepared = Prepared(AtomicU32::new(NOT_YET));

/// Sees to it that forks are prepared from now on.
#[inline]
pub(crate) fn prepare() {
    PREPARED.once(process::id, || os::at_fork(before, after_in_parent, after_in_child));
}

/// What is done once. Not `std::sync::Once`: a child that was forked while another thread was doing it would wait for
/// that thread, which it does not have.
struct Prepared(AtomicU32);

const NOT_YET: u32 = 0;
const DONE: u32 = u32::MAX;

impl Prepared {
    #[inline]
    fn once(&self, process: impl Fn() -> u32, deed: impl FnOnce()) {
        // Relaxed: no memory is reached through it.
        if self.0.load(Ordering::Relaxed) != DONE {
            self.now(process(), deed);
        }
    }

    #[cold]
    fn now(&self, process: u32, deed: impl FnOnce()) {
        // Neither NOT_YET nor DONE: no process has the number 0, or the largest.
        loop {
            match self.0.load(Ordering::Relaxed) {
                DONE => return,
                // Another thread is at it.
                doing if doing == process => thread::yield_now(),
                // Nobody is, or a thread of the parent was when this process was forked from it. It had not done it:
                // the C library lets no fork happen in the middle, and after it the child would have been told.
                nobody => {
                    if self.0.compare_exchange(nobody, process, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                        deed();
                        return self.set_done();
                    }
                }
            }
        }
    }

    fn set_done(&self) {
        self.0.store(DONE, Ordering::Relaxed);
    }
}

extern "C" fn before() {
    let signals = SignalsBlocked::new();
    gate::hold();
    let armed = lock(&super::ARMED);
    let installing = lock(&os::handler::INSTALLING);
    let userfault = backend::hold();
    let held =
        Held { registry: registry::hold(), userfault, _installing: installing, _armed: armed, _signals: signals };
    // SAFETY: this thread now holds the locks, so no other is between its `before` and `after`.
    unsafe { *HELD.0.get() = Some(held) };
}

/// Takes what `before` left.
fn held() -> Option<Held> {
    // SAFETY: this thread, or the one that it is a copy of, was in `before`, and holds the locks.
    unsafe { (*HELD.0.get()).take() }
}

extern "C" fn after_in_parent() {
    if let Some(held) = held() {
        held.let_go();
    }
}

impl Held {
    /// Gives back the locks that have no guard; the others follow when this is dropped.
    fn let_go(&self) {
        self.registry.let_go();
        // SAFETY: taken in `before`, by this thread or the one that it is a copy of.
        unsafe { gate::let_go() };
    }
}

/// How many forks lie between this process and the one that the library was first used in.
static GENERATION: AtomicUsize = AtomicUsize::new(0);

/// Tells a forked child from its parent, also where both have the same process number (pid namespaces).
pub(crate) fn generation() -> usize {
    GENERATION.load(Ordering::Relaxed)
}

extern "C" fn after_in_child() {
    PREPARED.set_done();
    GENERATION.fetch_add(1, Ordering::Relaxed);
    frames::forget_other_threads();
    #[cfg(feature = "faulty")]
    os::faulty::forget_other_threads();
    events::forget_other_threads();
    if let Some(held) = held() {
        held.registry.forget_other_threads();
        held.let_go();
        held.userfault.reopen();
        held.registry.reattach();
    }
}

fn lock<T>(mutex: &'static Mutex<T>) -> MutexGuard<'static, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_once_is_done_once() {
        let (prepared, deeds) = (Prepared(AtomicU32::new(NOT_YET)), AtomicU32::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    prepared.once(|| 7, || assert_eq!(deeds.fetch_add(1, Ordering::Relaxed), 0));
                    assert_eq!(deeds.load(Ordering::Relaxed), 1);
                });
            }
        });
    }

    #[test]
    fn a_child_does_not_wait_for_a_thread_of_its_parent() {
        let prepared = Prepared(AtomicU32::new(7));
        let mut is_done = false;
        prepared.once(|| 8, || is_done = true);
        assert!(is_done && prepared.0.load(Ordering::Relaxed) == DONE);
    }
}

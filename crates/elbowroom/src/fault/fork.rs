//! What a fork finds: every lock free, every region at rest, and only the thread that forked.
//!
//! Before the fork the thread takes every lock of the library (of containers: the gate that all growth passes), in the
//! order in which they nest, and so waits until no other thread is in the middle of anything. After it, parent and
//! child each give them back. The child then has one thread: the frames of the others are freed, and their pins on
//! regions taken off, or a drop in the child would wait for them.

#![allow(unsafe_code, reason = "locks that are held across a fork have no guard")]

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

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

/// Sees to it that forks are prepared from now on.
pub(crate) fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| os::at_fork(before, after_in_parent, after_in_child));
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

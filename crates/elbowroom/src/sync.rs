//! The one lock that a fault handler may take.
//!
//! A mutex that an asynchronous signal never finds held by the code it interrupted: whoever locks it blocks those
//! signals meanwhile. Under it, nothing is called that takes another lock, allocates or runs a filter, so the holder
//! always gets to its end without waiting for a thread that waits for it.

#![allow(unsafe_code, reason = "a lock hands out exclusive access to what it protects")]

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};

use atomic::{AtomicU32, Ordering};

use crate::os::SignalsBlocked;

/// The atomics of the parts that model tests try in every order (`--cfg loom`).
#[cfg(not(loom))]
pub(crate) use std::sync::atomic;

#[cfg(loom)]
pub(crate) use loom::sync::atomic;

#[cfg(not(loom))]
use crate::os::{wait, wake_one};

#[cfg(not(loom))]
pub(crate) use crate::os::thread_token;

/// A model's threads are all one to the system.
#[cfg(loom)]
pub(crate) fn thread_token() -> usize {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    loom::thread::current().id().hash(&mut hasher);
    hasher.finish() as usize | 1
}

/// Lets another thread run.
#[cfg(not(loom))]
pub(crate) use std::thread::yield_now;

#[cfg(loom)]
pub(crate) use loom::thread::yield_now;

/// In a model: let another thread run, and look again.
#[cfg(loom)]
fn wait(_word: &AtomicU32, _expected: u32) {
    yield_now();
}

/// Nobody sleeps in a model.
#[cfg(loom)]
fn wake_one(_word: *const AtomicU32) {}

/// How often the lock is tried before sleeping: its holder is usually in one system call of a microsecond or two.
const SPINS: u32 = if cfg!(loom) { 1 } else { 100 };

const FREE: u32 = 0;
const HELD: u32 = 1;
/// Held, and somebody may be asleep.
const CONTENDED: u32 = 2;

/// A mutex for ordinary code and fault handlers alike.
pub(crate) struct Lock<T> {
    // FREE, HELD or CONTENDED.
    state: AtomicU32,
    // Invariant: touched only by the thread that took `state` from FREE, until it stores FREE again.
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives one thread at a time exclusive access to the value (invariant of `value`), so sharing the lock
// is no more than sending the value around.
unsafe impl<T: Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    #[cfg(not(loom))]
    pub(crate) const fn new(value: T) -> Lock<T> {
        Lock { state: AtomicU32::new(FREE), value: UnsafeCell::new(value) }
    }

    #[cfg(loom)]
    pub(crate) fn new(value: T) -> Lock<T> {
        Lock { state: AtomicU32::new(FREE), value: UnsafeCell::new(value) }
    }

    /// Waits for the lock, with asynchronous signals blocked until the guard is dropped.
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        let signals = SignalsBlocked::new();
        self.acquire();
        Guard { lock: self, _signals: Some(signals) }
    }

    /// Waits for the lock where asynchronous signals are blocked already, as they are inside the fault handler.
    pub(crate) fn lock_in_handler(&self) -> Guard<'_, T> {
        self.acquire();
        Guard { lock: self, _signals: None }
    }

    /// The value, where nobody else can lock it.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// Takes the lock and keeps it, with no guard. For a fork; the caller has asynchronous signals blocked.
    pub(crate) fn hold(&self) {
        self.acquire();
    }

    /// Gives back what [`hold`](Lock::hold) took.
    ///
    /// # Safety
    /// The calling thread holds the lock by `hold`, or is the copy in a forked child of one that did.
    pub(crate) unsafe fn let_go(&self) {
        self.release();
    }

    fn release(&self) {
        if self.state.swap(FREE, Ordering::Release) == CONTENDED {
            wake_one(&self.state);
        }
    }

    fn acquire(&self) {
        for _ in 0..SPINS {
            if self.state.compare_exchange_weak(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return;
            }
            std::hint::spin_loop();
        }
        // As CONTENDED even if nobody else waits: this thread cannot know, and one wake too many does no harm.
        while self.state.swap(CONTENDED, Ordering::Acquire) != FREE {
            wait(&self.state, CONTENDED);
        }
    }
}

/// Exclusive access to what a [`Lock`] protects.
pub(crate) struct Guard<'a, T> {
    lock: &'a Lock<T>,
    // Fields are dropped after `drop` below has run: signals stay blocked until the lock is free.
    _signals: Option<SignalsBlocked>,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard exists only while its thread holds the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and the guard is borrowed exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.lock.release();
    }
}

#[cfg(all(test, loom))]
mod models {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    use super::Lock;

    #[test]
    fn one_thread_at_a_time_in_every_order() {
        loom::model(|| {
            // The cell inside is watched by the checker: two accesses at once are an error.
            let lock = Arc::new(Lock::new(UnsafeCell::new(0)));
            let add = |lock: &Lock<UnsafeCell<usize>>| {
                let guard = lock.lock_in_handler();
                // SAFETY: the checker objects if another thread is here.
                guard.with_mut(|value| unsafe { *value += 1 });
            };
            let other = {
                let lock = Arc::clone(&lock);
                thread::spawn(move || add(&lock))
            };
            add(&lock);
            other.join().unwrap();
            // SAFETY: the other thread has ended.
            assert_eq!(lock.lock_in_handler().with(|value| unsafe { *value }), 2);
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_thread_at_a_time() {
        let lock = Lock::new(0u64);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let lock = &lock;
                scope.spawn(move || {
                    for round in 0..20_000 {
                        let mut value = if (thread + round) % 2 == 0 { lock.lock() } else { lock.lock_in_handler() };
                        *value += 1;
                    }
                });
            }
        });
        assert_eq!(*lock.lock(), 80_000);
    }
}

//! The one lock that a fault handler may take.
//!
//! A mutex that an asynchronous signal never finds held by the code it interrupted: whoever locks it blocks those
//! signals meanwhile. Under it, nothing is called that takes another lock, allocates or runs a filter, so the holder
//! always gets to its end without waiting for a thread that waits for it.

#![allow(unsafe_code, reason = "a lock hands out exclusive access to what it protects")]

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::os::{self, SignalsBlocked};

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
    pub(crate) const fn new(value: T) -> Lock<T> {
        Lock { state: AtomicU32::new(FREE), value: UnsafeCell::new(value) }
    }

    /// Waits for the lock, with asynchronous signals blocked until the guard is dropped.
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        let signals = SignalsBlocked::new();
        self.acquire();
        Guard { lock: self, _signals: Some(signals) }
    }

    /// Waits for the lock from inside the fault handler, where asynchronous signals are blocked already.
    pub(crate) fn lock_in_handler(&self) -> Guard<'_, T> {
        self.acquire();
        Guard { lock: self, _signals: None }
    }

    fn acquire(&self) {
        // The holder is usually in one system call of a microsecond or two.
        for _ in 0..100 {
            if self.state.compare_exchange_weak(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return;
            }
            std::hint::spin_loop();
        }
        // As CONTENDED even if nobody else waits: this thread cannot know, and one wake too many does no harm.
        while self.state.swap(CONTENDED, Ordering::Acquire) != FREE {
            os::wait(&self.state, CONTENDED);
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
        if self.lock.state.swap(FREE, Ordering::Release) == CONTENDED {
            os::wake_one(&self.lock.state);
        }
    }
}

#[cfg(test)]
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

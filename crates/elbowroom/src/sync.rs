//! The one lock that a fault handler may take, [`Lock`], and a mutex for ordinary code.
//!
//! An asynchronous signal never finds the lock held by the code that it interrupted, because a thread that takes it
//! blocks those signals. No code under the lock takes another lock, allocates or runs a filter. So the holder always
//! gets to its end without waiting for a thread that waits for it.

#![allow(
    unsafe_code,
    reason = "a lock hands out exclusive access to what it protects"
)]

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use atomic::{AtomicU32, AtomicUsize, Ordering};

use crate::os::SignalsBlocked;

/// The atomics of the parts whose models try every order (`--cfg loom`).
#[cfg(not(loom))]
pub(crate) use std::sync::atomic;

#[cfg(loom)]
pub(crate) use loom::sync::atomic;

#[cfg(not(loom))]
use crate::os::{wait, wake_one};

#[cfg(not(loom))]
pub(crate) use crate::os::thread_token;

/// Returns a fixed token: to the system, a model is one thread.
#[cfg(loom)]
pub(crate) fn thread_token() -> usize {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    loom::thread::current().id().hash(&mut hasher);
    hasher.finish() as usize | 1
}

/// Returns a number that spreads threads over a table. It is fast and stores nothing for each thread.
pub(crate) fn thread_hash() -> usize {
    // Tokens are addresses or small numbers. The digits of the golden ratio mix them into the upper bits.
    crate::os::thread_token().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (usize::BITS - 8)
}

/// Lets another thread run.
#[cfg(not(loom))]
pub(crate) use std::thread::yield_now;

#[cfg(loom)]
pub(crate) use loom::thread::yield_now;

/// Lets another thread of a model run, instead of sleeping.
#[cfg(loom)]
fn wait(_word: &AtomicU32, _expected: u32) {
    yield_now();
}

/// Does nothing, because no thread sleeps in a model.
#[cfg(loom)]
fn wake_one(_word: *const AtomicU32) {}

/// The number of tries before sleeping. The holder is usually in one system call of a microsecond or two.
const SPINS: u32 = if cfg!(loom) { 1 } else { 100 };

const FREE: u32 = 0;
const HELD: u32 = 1;
/// Held, and a thread may be asleep.
const CONTENDED: u32 = 2;

/// A mutex for ordinary code and for fault handlers.
pub(crate) struct Lock<T> {
    // FREE, HELD or CONTENDED.
    state: AtomicU32,
    // The token of the thread that keeps the lock for a fork, while it has no guard of it; otherwise 0. Invariant: set
    // only by the thread that took `state` from FREE.
    forking: AtomicUsize,
    // Invariant: accessed only by the thread that took `state` from FREE, until it stores FREE again, and through one
    // guard at a time.
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives one thread at a time exclusive access to the value (invariant of `value`). So sharing the lock
// only sends the value from thread to thread, which requires T to be Send.
unsafe impl<T: Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    #[cfg(not(loom))]
    pub(crate) const fn new(value: T) -> Lock<T> {
        Lock {
            state: AtomicU32::new(FREE),
            forking: AtomicUsize::new(0),
            value: UnsafeCell::new(value),
        }
    }

    #[cfg(loom)]
    pub(crate) fn new(value: T) -> Lock<T> {
        Lock {
            state: AtomicU32::new(FREE),
            forking: AtomicUsize::new(0),
            value: UnsafeCell::new(value),
        }
    }

    /// Waits for the lock, with asynchronous signals blocked until the guard is dropped.
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        let signals = SignalsBlocked::new();
        Guard {
            lock: self,
            end: self.acquire(),
            thread: PhantomData,
            _signals: Some(signals),
        }
    }

    /// Waits for the lock, on a thread that has asynchronous signals blocked already, as in the fault handler.
    pub(crate) fn lock_in_handler(&self) -> Guard<'_, T> {
        Guard {
            lock: self,
            end: self.acquire(),
            thread: PhantomData,
            _signals: None,
        }
    }

    /// Returns the value. The exclusive borrow shows that no other thread can lock it.
    #[inline(always)]
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// Takes the lock and keeps it without a guard, for a fork. The caller has asynchronous signals blocked.
    ///
    /// The calling thread may still lock it: the C library calls the program's fork handlers (pthread_atfork(3)) on
    /// this thread, before and after those of this library.
    pub(crate) fn hold(&self) {
        self.acquire();
        self.forking.store(thread_token(), Ordering::Relaxed);
    }

    /// Returns whether the calling thread keeps the lock by [`hold`](Lock::hold).
    pub(crate) fn is_held_by_this_thread(&self) -> bool {
        self.forking.load(Ordering::Relaxed) == thread_token()
    }

    /// Gives back the lock that [`hold`](Lock::hold) took.
    ///
    /// # Safety
    /// The calling thread holds the lock by `hold`, or is the copy of such a thread in a forked child.
    pub(crate) unsafe fn let_go(&self) {
        self.forking.store(0, Ordering::Relaxed);
        self.release();
    }

    fn release(&self) {
        if self.state.swap(FREE, Ordering::Release) == CONTENDED {
            wake_one(&self.state);
        }
    }

    fn acquire(&self) -> End {
        for _ in 0..SPINS {
            if self
                .state
                .compare_exchange_weak(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
            {
                return End::Release;
            }
            if self.is_held_by_this_thread() {
                // Reset until the guard is dropped, so that there is one guard at a time.
                self.forking.store(0, Ordering::Relaxed);
                return End::KeepForFork;
            }
            std::hint::spin_loop();
        }
        // CONTENDED even if no other thread waits: this thread cannot know, and one wake too many does no harm.
        while self.state.swap(CONTENDED, Ordering::Acquire) != FREE {
            wait(&self.state, CONTENDED);
        }
        End::Release
    }
}

/// The action at the end of a guard.
#[derive(Clone, Copy)]
enum End {
    Release,
    /// The thread keeps the lock for its fork.
    KeepForFork,
}

/// Exclusive access to the value of a [`Lock`].
pub(crate) struct Guard<'a, T> {
    lock: &'a Lock<T>,
    end: End,
    // Not Send: the thread that took the lock gives it back, with its own signal mask.
    thread: PhantomData<*mut ()>,
    // Fields are dropped after `drop` below has run, so signals stay blocked until the lock is free.
    _signals: Option<SignalsBlocked>,
}

// SAFETY: a shared guard only gives out `&T`, which threads may share if `T` is Sync.
unsafe impl<T: Sync> Sync for Guard<'_, T> {}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard exists only while its thread holds the lock, and is its only guard (invariant of
        // `Lock::value`). The guard is borrowed, so no `&mut` obtained from it is alive.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard exists only while its thread holds the lock, and is its only guard (invariant of
        // `Lock::value`). The guard is borrowed exclusively, so no other reference obtained from it is alive.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        match self.end {
            End::Release => self.lock.release(),
            End::KeepForFork => self.lock.forking.store(thread_token(), Ordering::Relaxed),
        }
    }
}

/// A mutex that no fault handler takes, so memory may be allocated under it. No asynchronous signal interrupts its
/// holder: a signal handler may fork, and the fork takes the mutex on the interrupted thread.
pub(crate) struct QuietMutex<T>(Mutex<T>);

impl<T> QuietMutex<T> {
    pub(crate) const fn new(value: T) -> QuietMutex<T> {
        QuietMutex(Mutex::new(value))
    }

    /// Waits for the mutex. A state left by a panic is accepted.
    pub(crate) fn lock(&self) -> QuietGuard<'_, T> {
        let signals = SignalsBlocked::new();
        QuietGuard {
            guard: self.0.lock().unwrap_or_else(PoisonError::into_inner),
            _signals: signals,
        }
    }
}

/// Exclusive access to the value of a [`QuietMutex`].
pub(crate) struct QuietGuard<'a, T> {
    // Dropped first: signals stay blocked until the mutex is free.
    guard: MutexGuard<'a, T>,
    _signals: SignalsBlocked,
}

impl<T> Deref for QuietGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for QuietGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
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
            // The checker watches the cell inside: two accesses at once are an error.
            let lock = Arc::new(Lock::new(UnsafeCell::new(0)));
            let add = |lock: &Lock<UnsafeCell<usize>>| {
                let guard = lock.lock_in_handler();
                // SAFETY: the checker reports an error if another thread is here.
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
    fn the_thread_that_forks_gets_through_and_no_other() {
        let lock = Lock::new(0u64);
        lock.hold();
        *lock.lock() += 1;
        *lock.lock_in_handler() += 1;
        std::thread::scope(|scope| {
            let other = scope.spawn(|| *lock.lock());
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert!(!other.is_finished());
            *lock.lock() += 1;
            // SAFETY: this thread holds the lock by `hold`.
            unsafe { lock.let_go() };
            assert!(matches!(other.join(), Ok(3)));
        });
        assert!(!lock.is_held_by_this_thread());
    }

    #[test]
    fn one_thread_at_a_time() {
        let lock = Lock::new(0u64);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let lock = &lock;
                scope.spawn(move || {
                    for round in 0..20_000 {
                        let mut value = if (thread + round) % 2 == 0 {
                            lock.lock()
                        } else {
                            lock.lock_in_handler()
                        };
                        *value += 1;
                    }
                });
            }
        });
        assert_eq!(*lock.lock(), 80_000);
    }
}

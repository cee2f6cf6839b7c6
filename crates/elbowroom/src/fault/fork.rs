//! Prepares the library for fork(2): in the child every lock is free, every region is at rest, and
//! the state of threads that the child lacks is forgotten.
//!
//! Each piece of state with locks implements [`AtFork`] and registers itself on first use. Before the fork, the forking
//! thread takes all locks in the order of their [`Rank`], which is the order in which they nest, and so waits until no
//! other thread is in the middle of a change. After the fork, parent and child each give the locks back. The child has
//! one thread: it frees the frames of the others and takes their pins off, because a release in the child would wait
//! for them.

#![allow(
    unsafe_code,
    reason = "locks that are held across a fork have no guard"
)]

use std::cell::UnsafeCell;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::{process, thread};

use super::{events, frames};
use crate::os::{self, SignalsBlocked};
use crate::sync::Lock;

/// State that a fork must find at rest. All methods run on the thread that forks, with asynchronous
/// signals blocked.
pub(crate) trait AtFork: Sync {
    /// Takes the locks of this state, before the fork.
    fn hold(&self);

    /// Removes the state of threads that the child lacks. Runs in the child, while the locks are held.
    fn forget_other_threads(&self) {}

    /// Gives back the locks that [`hold`](AtFork::hold) took. Runs in parent and child.
    ///
    /// # Safety
    /// The calling thread, or the thread that it is a copy of, called `hold`, and nothing was given
    /// back since.
    unsafe fn let_go(&self);

    /// Restores state that a fork does not copy. Runs in the child, while no lock is held.
    fn in_child(&self) {}
}

/// The order in which locks are taken before a fork: the order in which they nest.
#[derive(Clone, Copy)]
#[repr(usize)]
pub(crate) enum Rank {
    /// Guards that keep a fork out.
    Guards,
    /// Installing the fault handler.
    Dispatcher,
    /// The state that a backend shares between regions.
    Backend,
    /// The registry, the owners in it, and their budgets.
    Registry,
}

const RANKS: usize = Rank::Registry as usize + 1;

/// The registered states, by rank: null, or a pointer to a reference that lives for good.
static STATES: [AtomicPtr<&'static dyn AtFork>; RANKS] =
    [const { AtomicPtr::new(ptr::null_mut()) }; RANKS];

/// Held while STATES changes, and by a fork from before it takes the first lock until it has given back the last. So a
/// fork gives back exactly the locks that it took.
#[cfg(not(loom))]
static REGISTERING: Lock<()> = Lock::new(());

// A model's locks are not made by constant functions, and models do not fork.
#[cfg(loom)]
static REGISTERING: std::sync::LazyLock<Lock<()>> = std::sync::LazyLock::new(|| Lock::new(()));

/// Registers the state of a rank, and prepares all forks from now on. Doing it again changes nothing.
#[inline]
pub(crate) fn register(rank: Rank, state: &'static &'static dyn AtFork) {
    let place = &STATES[rank as usize];
    if place.load(Ordering::Relaxed).is_null() {
        if REGISTERING.is_held_by_this_thread() {
            // This runs in a program's own fork handler, inside a fork, which gives back only locks of states
            // registered before. The next use registers.
            return;
        }
        let _registering = REGISTERING.lock();
        place.store(ptr::from_ref(state).cast_mut(), Ordering::Release);
    }
    PREPARED.once(process::id, || {
        // A signal handler that forks during the registration would wait for the C library's list of handlers.
        let _signals = SignalsBlocked::new();
        os::at_fork(before, after_in_parent, after_in_child);
    });
}

/// Returns the registered states, in the order of their ranks.
fn states() -> impl DoubleEndedIterator<Item = &'static dyn AtFork> {
    STATES.iter().filter_map(|place| {
        // SAFETY: null, or made from a reference that lives for good (invariant of STATES).
        unsafe { place.load(Ordering::Acquire).as_ref() }.copied()
    })
}

/// Keeps a value that stands for held locks from the `hold` of a state to its `let_go`.
pub(crate) struct Kept<T>(UnsafeCell<Option<T>>);

// SAFETY: the cell is touched only by the thread that forks, which holds the lock that the value
// stands for (contracts of `keep`, `get` and `take`).
unsafe impl<T> Sync for Kept<T> {}

impl<T> Kept<T> {
    pub(crate) const fn new() -> Kept<T> {
        Kept(UnsafeCell::new(None))
    }

    /// Keeps a value.
    ///
    /// # Safety
    /// The calling thread holds a lock that every other caller of these methods takes first.
    pub(crate) unsafe fn keep(&self, value: T) {
        // SAFETY: the lock keeps other threads from the cell.
        unsafe { *self.0.get() = Some(value) };
    }

    /// Returns the kept value.
    ///
    /// # Safety
    /// The calling thread, or the thread that it is a copy of, called `keep`.
    pub(crate) unsafe fn get(&self) -> Option<&T> {
        // SAFETY: the lock is held since `keep`, which keeps other threads from the cell.
        unsafe { &*self.0.get() }.as_ref()
    }

    /// Takes the kept value out.
    ///
    /// # Safety
    /// The calling thread, or the thread that it is a copy of, called `keep`, and no reference from
    /// `get` lives.
    pub(crate) unsafe fn take(&self) -> Option<T> {
        // SAFETY: the lock is held since `keep`, which keeps other threads from the cell.
        unsafe { &mut *self.0.get() }.take()
    }
}

static PREPARED: Prepared = Prepared(AtomicU32::new(NOT_YET));

/// An action that happens once in a process and its children.
///
/// This is not `std::sync::Once`: a child that was forked while another thread was inside it would
/// wait for that thread, which the child lacks.
struct Prepared(AtomicU32);

const NOT_YET: u32 = 0;
const DONE: u32 = u32::MAX;

impl Prepared {
    #[inline]
    fn once(&self, process: impl Fn() -> u32, deed: impl FnOnce()) {
        // Relaxed: no memory is reached through this number.
        if self.0.load(Ordering::Relaxed) != DONE {
            self.now(process(), deed);
        }
    }

    #[cold]
    fn now(&self, process: u32, deed: impl FnOnce()) {
        // Neither NOT_YET nor DONE is a process number: no process has the number 0 or the largest one.
        loop {
            match self.0.load(Ordering::Relaxed) {
                DONE => return,
                // Another thread of this process is inside.
                doing if doing == process => thread::yield_now(),
                // No thread of this process is inside. A thread of the parent may have been inside when this process
                // was forked, and it had not finished: the C library allows no fork during pthread_atfork, and after it
                // the child would have been told.
                not_here => {
                    let result = self.0.compare_exchange(
                        not_here,
                        process,
                        Ordering::Relaxed,
                        Ordering::Relaxed,
                    );
                    if result.is_ok() {
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

/// The blocked asynchronous signals. A signal handler that touched a region during the fork would wait for the thread
/// that it interrupted.
static SIGNALS: Kept<SignalsBlocked> = Kept::new();

extern "C" fn before() {
    let signals = SignalsBlocked::new();
    REGISTERING.hold();
    states().for_each(AtFork::hold);
    // SAFETY: this thread holds REGISTERING, which every fork takes before it touches SIGNALS.
    unsafe { SIGNALS.keep(signals) };
}

/// Gives all locks back. Signals stay blocked while the result lives.
///
/// # Safety
/// The calling thread, or the thread that it is a copy of, was in `before`, and has not given the
/// locks back since.
unsafe fn let_go() -> Option<SignalsBlocked> {
    // SAFETY: kept in `before` by this thread or the one that it is a copy of (contract).
    let signals = unsafe { SIGNALS.take() };
    for state in states().rev() {
        // SAFETY: held in `before` by this thread or the one that it is a copy of (contract): no state
        // was registered since, because REGISTERING is held.
        unsafe { state.let_go() };
    }
    // SAFETY: held in `before` by this thread or the one that it is a copy of (contract).
    unsafe { REGISTERING.let_go() };
    signals
}

extern "C" fn after_in_parent() {
    // SAFETY: the C library calls this on the thread on which it called `before` (pthread_atfork(3)).
    let _signals = unsafe { let_go() };
}

/// The number of forks between this process and the one in which the library was first used.
static GENERATION: AtomicUsize = AtomicUsize::new(0);

/// Returns a number that tells a forked child from its parent, also where both have the same process
/// number (pid namespaces).
pub(crate) fn generation() -> usize {
    GENERATION.load(Ordering::Relaxed)
}

extern "C" fn after_in_child() {
    PREPARED.set_done();
    GENERATION.fetch_add(1, Ordering::Relaxed);
    os::handler::forget_other_threads();
    frames::forget_other_threads();
    #[cfg(feature = "inject")]
    os::inject::forget_other_threads();
    events::forget_other_threads();
    states().for_each(AtFork::forget_other_threads);
    // SAFETY: the C library calls this on the copy of the thread on which it called `before`
    // (pthread_atfork(3)).
    let _signals = unsafe { let_go() };
    states().for_each(AtFork::in_child);
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
                    prepared.once(
                        || 7,
                        || assert_eq!(deeds.fetch_add(1, Ordering::Relaxed), 0),
                    );
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

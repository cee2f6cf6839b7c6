//! The state that the threads share, and the work between rounds.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::time::Instant;

use elbowroom::Budget;

use crate::finding::Checked;
use crate::kinds::KINDS;
use crate::owned::Slot;
use crate::rng::Rng;
use crate::shared::Shared;

/// The number of steps of each thread in a round. Between rounds no operation is in progress.
pub(crate) const ROUND_STEPS: u64 = 2000;
/// The limit of the budget of each thread, in pages.
pub(crate) const TENANT_PAGES: usize = 300;
/// The limit of all shared regions together, in pages.
pub(crate) const CROWD_PAGES: usize = 400;

/// The progress of a thread, for other threads to read.
#[derive(Default)]
pub(crate) struct Progress {
    pub(crate) steps: AtomicU64,
    // An index into KINDS, and the operation's arguments.
    pub(crate) now: AtomicUsize,
    pub(crate) about: [AtomicUsize; 3],
    pub(crate) done: [AtomicU64; KINDS.len()],
    pub(crate) refused: [AtomicU64; KINDS.len()],
    pub(crate) faults: AtomicU64,
    // Whether it waits for the other threads at the end of the round.
    pub(crate) is_waiting: AtomicBool,
}

/// The state that the threads share.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) threads: usize,
    pub(crate) root: Budget,
    pub(crate) progress: Vec<Progress>,
    pub(crate) barrier: Barrier,
    // The regions of this round; none in a sparse one.
    pub(crate) shared: Mutex<Option<Arc<Shared>>>,
    // The regions that each thread hands over to the next.
    pub(crate) handed_over: Vec<Mutex<Vec<Slot>>>,
    pub(crate) steps_max: u64,
    pub(crate) until: Option<Instant>,
    pub(crate) is_over: AtomicBool,
}

impl World {
    /// Does the work between two rounds, on one thread, when no thread uses a region of the last round.
    pub(crate) fn turn(&self, round: u64) -> Checked {
        let shared = lock(&self.shared).take().map(Arc::into_inner);
        if let Some(shared) = shared {
            let shared = shared.ok_or("a thread still has the shared regions")?;
            self.progress[0]
                .faults
                .fetch_add(shared.end()?, Ordering::Relaxed);
        }
        let steps = self.progress[0].steps.load(Ordering::Relaxed);
        let is_over =
            steps >= self.steps_max || self.until.is_some_and(|until| Instant::now() >= until);
        self.is_over.store(is_over, Ordering::Relaxed);
        if !is_over && !is_sparse(self.seed, round) {
            let mut rng = Rng::new(self.seed ^ round, u64::MAX);
            *lock(&self.shared) = Some(Arc::new(Shared::make(&self.root, self.threads, &mut rng)?));
        }
        Ok(())
    }
}

/// Returns whether a round is sparse, with hardly any regions.
pub(crate) fn is_sparse(seed: u64, round: u64) -> bool {
    Rng::new(seed ^ round, u64::MAX - 1).one_in(4)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

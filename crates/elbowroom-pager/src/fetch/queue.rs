//! Work for the threads of an array.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The most jobs that wait, which take half a megabyte. More are not worth remembering: they are advice.
const JOBS_MAX: usize = 16 << 10;

/// The job of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// Loads the absent ones of these pages, as far as there is room.
    Load(Range<usize>),
    /// Writes dirty pages back, until few are left.
    WriteBehind,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    // Threads that have taken a job and are not done.
    working: usize,
    // Threads of the array that wait for a job.
    idle: usize,
    // Threads that wait until no thread works.
    settling: usize,
    is_closed: bool,
}

/// Jobs in the order they came in.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    // A job came in, or the queue was closed.
    came: Condvar,
    // No job waits, and no thread works.
    rests: Condvar,
}

impl Queue {
    /// Adds jobs, unless too many wait already. A second write-behind is not added while one waits. Returns how many
    /// were added.
    pub(crate) fn push(&self, jobs: impl IntoIterator<Item = Job>) -> usize {
        let mut state = self.lock();
        let before = state.jobs.len();
        for job in jobs {
            let is_known = job == Job::WriteBehind && state.jobs.contains(&job);
            if !is_known && !state.is_closed && state.jobs.len() < JOBS_MAX {
                state.jobs.push_back(job);
            }
        }
        let added = state.jobs.len() - before;
        let woken = added.min(state.idle);
        drop(state);
        (0..woken).for_each(|_| self.came.notify_one());
        added
    }

    /// Takes jobs and does them, until the queue is closed.
    pub(crate) fn work(&self, mut job: impl FnMut(Job)) {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return;
            }
            let Some(next) = state.jobs.pop_front() else {
                state.idle += 1;
                let came = self.came.wait(state);
                state = came.unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
                continue;
            };
            state.working += 1;
            drop(state);
            let done = Done(self);
            job(next);
            drop(done);
            state = self.lock();
        }
    }

    /// Does jobs that load, on the calling thread, at most `count`.
    pub(crate) fn help(&self, count: usize, mut job: impl FnMut(Job)) {
        for _ in 0..count {
            let mut state = self.lock();
            if !matches!(state.jobs.front(), Some(Job::Load(_))) {
                return;
            }
            let Some(next) = state.jobs.pop_front() else {
                return;
            };
            state.working += 1;
            drop(state);
            let done = Done(self);
            job(next);
            drop(done);
        }
    }

    /// Drops the jobs that wait, and waits until no thread works.
    pub(crate) fn settle(&self) {
        let mut state = self.lock();
        state.jobs.clear();
        state.settling += 1;
        while state.working > 0 {
            let rests = self.rests.wait(state);
            state = rests.unwrap_or_else(PoisonError::into_inner);
        }
        state.settling -= 1;
    }

    /// Lets the threads end.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.jobs.clear();
        self.came.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job that is being done. Also a panic ends it.
struct Done<'a>(&'a Queue);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.working -= 1;
        if state.working == 0 && state.settling > 0 {
            self.0.rests.notify_all();
        }
    }
}

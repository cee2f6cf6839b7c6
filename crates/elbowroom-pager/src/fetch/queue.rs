//! Work for the threads of an array.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The most jobs that wait. More are not worth remembering: they are advice.
const JOBS_MAX: usize = 1024;

/// What a thread is to do.
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
    /// Adds a job, unless too many wait already. A second write-behind is not added while one waits.
    pub(crate) fn push(&self, job: Job) {
        let mut state = self.lock();
        let is_known = job == Job::WriteBehind && state.jobs.contains(&job);
        if !is_known && !state.is_closed && state.jobs.len() < JOBS_MAX {
            state.jobs.push_back(job);
            self.came.notify_one();
        }
    }

    /// Takes jobs and does them, until the queue is closed.
    pub(crate) fn work(&self, mut job: impl FnMut(Job)) {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return;
            }
            let Some(next) = state.jobs.pop_front() else {
                state = self
                    .came
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
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

    /// Drops the jobs that wait, and waits until no thread works.
    pub(crate) fn settle(&self) {
        let mut state = self.lock();
        state.jobs.clear();
        while state.working > 0 {
            state = self
                .rests
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
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
        if state.working == 0 {
            self.0.rests.notify_all();
        }
    }
}

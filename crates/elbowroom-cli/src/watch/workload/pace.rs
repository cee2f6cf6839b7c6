//! The pace of workers: slowed down, paused, or one fault at a time.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Controls the workers of a workload; shared with them.
pub(super) struct Pace {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    is_paused: bool,
    is_stopped: bool,
    /// Naps take two to the power of minus this of their time.
    speed: i32,
    /// The faults that each worker may cause while all are paused; `None` for a worker that has ended.
    permits: Vec<Option<usize>>,
    /// The worker that the next permit is offered to first.
    next: usize,
}

/// The next permitted action of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// One touch.
    Touch,
    /// One touch, whose fault uses up a permit.
    Step,
    Stop,
}

/// The fastest and the slowest that keys choose, as powers of two.
pub(super) const SPEEDS: std::ops::RangeInclusive<i32> = -4..=8;
/// A speed at which naps take no time.
pub(super) const HURRY: i32 = 1000;

impl Pace {
    pub(super) fn new(is_paused: bool, speed: i32) -> Pace {
        let state = State {
            is_paused,
            is_stopped: false,
            speed,
            permits: Vec::new(),
            next: 0,
        };
        Pace {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Ignores poisoning: every change under the lock is complete.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    pub(super) fn pause(&self, is_paused: bool) {
        self.change(|state| {
            state.is_paused = is_paused;
            state
                .permits
                .iter_mut()
                .flatten()
                .for_each(|permits| *permits = 0);
        });
    }

    /// Pauses all workers, and permits the next one a fault.
    pub(super) fn step(&self) {
        self.change(State::step);
    }

    pub(super) fn set_speed(&self, speed: i32) {
        self.change(|state| state.speed = speed);
    }

    pub(super) fn stop(&self) {
        self.change(|state| state.is_stopped = true);
    }

    /// Adds a worker, and returns its number.
    pub(super) fn enter(&self) -> usize {
        let permits = &mut self.lock().permits;
        permits.push(Some(0));
        permits.len() - 1
    }

    /// Removes a worker. Its permits go to others.
    pub(super) fn leave(&self, worker: usize) {
        self.change(|state| {
            let permits = state.permits[worker].take();
            (0..permits.unwrap_or(0)).for_each(|_| state.step());
        });
    }

    /// Waits until this worker may go on.
    pub(super) fn turn(&self, worker: usize) -> Turn {
        let mut state = self.lock();
        loop {
            match state.permits[worker] {
                _ if state.is_stopped => return Turn::Stop,
                _ if !state.is_paused => return Turn::Touch,
                Some(1..) => return Turn::Step,
                _ => {}
            }
            let changed = self.changed.wait(state);
            state = changed.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Uses up a permit of this worker.
    pub(super) fn has_faulted(&self, worker: usize) {
        self.change(|state| {
            if let Some(permits) = &mut state.permits[worker] {
                *permits = permits.saturating_sub(1);
            }
        });
    }

    /// Sleeps for `time`, or until a change makes the nap unnecessary.
    pub(super) fn nap(&self, time: Duration) {
        let began = Instant::now();
        let mut state = self.lock();
        while !state.is_stopped && !state.is_paused {
            let whole = time.mul_f64(2f64.powi(-state.speed));
            let left = whole.saturating_sub(began.elapsed());
            if left.is_zero() {
                return;
            }
            let changed = self.changed.wait_timeout(state, left);
            state = changed.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    fn step(&mut self) {
        self.is_paused = true;
        let count = self.permits.len();
        for worker in (self.next..self.next + count).map(|worker| worker % count) {
            if let Some(permits) = &mut self.permits[worker] {
                *permits += 1;
                self.next = worker + 1;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_rotate_and_go_to_others_when_a_worker_leaves() {
        let pace = Pace::new(true, 0);
        assert_eq!([0; 3].map(|_| pace.enter()), [0, 1, 2]);
        let permits = || pace.lock().permits.clone();
        (0..4).for_each(|_| pace.step());
        assert_eq!(permits(), [Some(2), Some(1), Some(1)]);
        pace.has_faulted(0);
        pace.leave(2);
        assert_eq!(permits(), [Some(1), Some(2), None]);
        pace.leave(0);
        pace.leave(1);
        pace.step();
        assert_eq!(permits(), [None; 3]);
    }

    #[test]
    fn a_paused_worker_goes_on_when_it_may_and_ends_when_it_must() {
        let pace = Pace::new(true, 0);
        let worker = pace.enter();
        std::thread::scope(|scope| {
            let step = scope.spawn(|| pace.turn(worker));
            pace.step();
            assert_eq!(step.join().unwrap(), Turn::Step);
            pace.has_faulted(worker);
            let touch = scope.spawn(|| pace.turn(worker));
            pace.pause(false);
            assert_eq!(touch.join().unwrap(), Turn::Touch);
            // A nap that did not end would be longer than any test may take.
            scope.spawn(|| pace.nap(Duration::from_secs(3600)));
            pace.pause(true);
        });
        pace.stop();
        assert_eq!(pace.turn(worker), Turn::Stop);
        pace.nap(Duration::from_secs(3600));
    }
}

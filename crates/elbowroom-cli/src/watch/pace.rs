//! The pace of workers: slowed down, paused, or one fault at a time.

use std::collections::VecDeque;
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
    /// Workers that may cause one fault each while all are paused.
    permits: VecDeque<usize>,
    /// Whether each worker is still running.
    is_active: Vec<bool>,
    /// The worker that had the last permit. The next worker gets the next one.
    latest: usize,
}

/// The next permitted action of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// One touch.
    Touch,
    /// Touches, until one of them faults.
    Fault,
    Stop,
}

/// The fastest and the slowest, as powers of two.
pub(super) const SPEEDS: std::ops::RangeInclusive<i32> = -4..=8;

impl Pace {
    pub(super) fn new(workers: usize, is_paused: bool, speed: i32) -> Pace {
        let state = State {
            is_paused,
            is_stopped: false,
            speed,
            permits: VecDeque::new(),
            is_active: vec![true; workers],
            latest: workers.saturating_sub(1),
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

    pub(super) fn pause(&self, is_paused: bool) {
        let mut state = self.lock();
        state.is_paused = is_paused;
        state.permits.clear();
        self.changed.notify_all();
    }

    /// Pauses all workers, and permits the next one a fault.
    pub(super) fn step(&self) {
        let mut state = self.lock();
        state.is_paused = true;
        let count = state.is_active.len();
        let next = (1..=count)
            .map(|ahead| (state.latest + ahead) % count)
            .find(|&worker| state.is_active[worker]);
        if let Some(worker) = next {
            state.latest = worker;
            state.permits.push_back(worker);
        }
        self.changed.notify_all();
    }

    pub(super) fn set_speed(&self, speed: i32) {
        self.lock().speed = speed;
        self.changed.notify_all();
    }

    pub(super) fn stop(&self) {
        self.lock().is_stopped = true;
        self.changed.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.lock().is_stopped
    }

    /// Waits until this worker may go on.
    pub(super) fn turn(&self, worker: usize) -> Turn {
        let mut state = self.lock();
        loop {
            if state.is_stopped {
                return Turn::Stop;
            }
            if !state.is_paused {
                return Turn::Touch;
            }
            if let Some(at) = state
                .permits
                .iter()
                .position(|&permitted| permitted == worker)
            {
                state.permits.remove(at);
                return Turn::Fault;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Sleeps for `time`, or until a change makes the nap unnecessary.
    pub(super) fn nap(&self, time: Duration) {
        let began = Instant::now();
        let mut state = self.lock();
        while !state.is_stopped && !state.is_paused {
            let whole = time.mul_f64(2f64.powi(-state.speed));
            let Some(left) = whole
                .checked_sub(began.elapsed())
                .filter(|left| !left.is_zero())
            else {
                return;
            };
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Removes a worker. Its permits go to others.
    pub(super) fn leave(&self, worker: usize) {
        let mut state = self.lock();
        state.is_active[worker] = false;
        let before = state.permits.len();
        state.permits.retain(|&permitted| permitted != worker);
        let left = before - state.permits.len();
        drop(state);
        for _ in 0..left {
            self.step();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_rotate_and_pass_on_when_a_worker_leaves() {
        let pace = Pace::new(3, true, 0);
        pace.step();
        pace.step();
        assert_eq!((pace.turn(0), pace.turn(1)), (Turn::Fault, Turn::Fault));
        pace.step();
        pace.leave(2);
        assert_eq!(pace.turn(0), Turn::Fault);
        pace.step();
        pace.step();
        assert_eq!((pace.turn(1), pace.turn(0)), (Turn::Fault, Turn::Fault));
        pace.leave(0);
        pace.leave(1);
        pace.step();
        assert!(pace.lock().permits.is_empty());
    }

    #[test]
    fn a_held_worker_goes_on_when_it_may_and_ends_when_it_must() {
        let pace = Pace::new(1, true, 0);
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| [pace.turn(0), pace.turn(0), pace.turn(0)]);
            pace.step();
            while !pace.lock().permits.is_empty() {
                std::thread::yield_now();
            }
            pace.pause(false);
            let first = worker.join().unwrap();
            assert_eq!(first, [Turn::Fault, Turn::Touch, Turn::Touch]);
        });
        pace.stop();
        assert_eq!(pace.turn(0), Turn::Stop);
        // Ends at once, as the test would not.
        pace.nap(Duration::from_secs(3600));
    }

    #[test]
    fn a_nap_ends_when_all_are_held() {
        let pace = Pace::new(1, false, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| pace.nap(Duration::from_secs(3600)));
            pace.pause(true);
        });
    }
}

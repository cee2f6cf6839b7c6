//! One measurement.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::os::{self, Memory, MemoryGauge};

/// What one run of a workload took, in all.
pub(crate) type Sample = elbowroom_measure::Sample<Extra>;

/// What else was noted of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Extra {
    /// Set if it was asked for and the system tells.
    pub(crate) memory: Option<Growth>,
    /// For a workload that times each of its steps: the time in nanoseconds that each share of the steps stays below.
    pub(crate) steps: Vec<Step>,
}

/// How much memory a process came to have in a workload, in bytes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Growth {
    pub(crate) peak_resident: u64,
    pub(crate) peak_committed: u64,
}

/// A share of the steps of a workload, and the time that none of them exceeded.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) share: f64,
    pub(crate) ns: u64,
}

/// Set in a child that looks at memory rather than time.
static LOOKS_AT_MEMORY: AtomicBool = AtomicBool::new(false);

/// From now on, samples tell of memory. Their times are then not worth much.
pub(crate) fn look_at_memory() {
    LOOKS_AT_MEMORY.store(true, Ordering::Relaxed);
}

/// Runs a workload. What it returns is dropped after the clocks have stopped.
pub(crate) fn timed<R>(work: impl FnOnce() -> R) -> Sample {
    let watcher = LOOKS_AT_MEMORY
        .load(Ordering::Relaxed)
        .then(Watcher::start)
        .flatten();
    let (kept, times) = elbowroom_measure::timed(work);
    let memory = watcher.and_then(Watcher::stop);
    drop(kept);
    let extra = Extra {
        memory,
        steps: Vec::new(),
    };
    Sample { times, extra }
}

/// Does something, and says how much memory the process came to have meanwhile. What it returns is there to the end.
pub(crate) fn watched<R>(work: impl FnOnce() -> R) -> (R, Option<Growth>) {
    let watcher = Watcher::start();
    let kept = work();
    let memory = watcher.and_then(Watcher::stop);
    (kept, memory)
}

/// A thread that looks at this process's memory all the time, so that what was there in between is seen too: while a
/// block is copied to a larger one, both are.
struct Watcher {
    before: Memory,
    before_by_gauge: Memory,
    is_done: Arc<AtomicBool>,
    peak: Arc<Mutex<Memory>>,
    thread: JoinHandle<()>,
}

/// The gauge is off by less than that.
const GAUGE_ERROR_BYTES: u64 = 1 << 20;

impl Watcher {
    fn start() -> Option<Watcher> {
        let gauge = MemoryGauge::new()?;
        let is_done = Arc::new(AtomicBool::new(false));
        let peak = Arc::new(Mutex::new(Memory::default()));
        let (stop, seen) = (Arc::clone(&is_done), Arc::clone(&peak));
        let (started, has_started) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let mut peak = gauge.read();
            let _ = started.send(peak);
            while !stop.load(Ordering::Relaxed) {
                let now = gauge.read();
                peak.resident = peak.resident.max(now.resident);
                peak.committed = peak.committed.max(now.committed);
                thread::sleep(Duration::from_micros(50));
            }
            *seen.lock().unwrap() = peak;
        });
        let before_by_gauge = has_started.recv().ok()?;
        // The first look takes memory of its own.
        os::memory();
        Some(Watcher {
            before: os::memory()?,
            before_by_gauge,
            is_done,
            peak,
            thread,
        })
    }

    fn stop(self) -> Option<Growth> {
        let after = os::memory()?;
        self.is_done.store(true, Ordering::Relaxed);
        self.thread.join().ok()?;
        let peak = *self.peak.lock().unwrap();
        // At the end the exact figures count; a peak before that only if it is a clear one.
        let growth = |before: u64, after: u64, gauge_before: u64, gauge_peak: u64| {
            let (at_end, seen) = (
                after.saturating_sub(before),
                gauge_peak.saturating_sub(gauge_before),
            );
            if seen > at_end + GAUGE_ERROR_BYTES {
                seen
            } else {
                at_end
            }
        };
        let gauge = self.before_by_gauge;
        Some(Growth {
            peak_resident: growth(
                self.before.resident,
                after.resident,
                gauge.resident,
                peak.resident,
            ),
            peak_committed: growth(
                self.before.committed,
                after.committed,
                gauge.committed,
                peak.committed,
            ),
        })
    }
}

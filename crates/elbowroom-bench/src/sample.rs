//! One measurement.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::os::{self, Memory, MemoryGauge};

/// The time of one run of a workload, with the figures of [`Extra`].
pub(crate) type Sample = elbowroom_measure::Sample<Extra>;

/// Further figures of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Extra {
    /// The growth of memory, if it was asked for and the system reports it.
    pub(crate) memory: Option<Growth>,
    /// The distribution of the times of single steps, if the workload times each of them.
    pub(crate) steps: Vec<Step>,
    /// The reads from a file or a server, if the workload counts them.
    pub(crate) traffic: Option<Traffic>,
    /// Notes on the measurement for a reader of the results, such as a limit that could not be set.
    pub(crate) notes: Vec<String>,
}

/// The reads of a workload, and their bytes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Traffic {
    pub(crate) requests: u64,
    /// The bytes that the workload needs.
    pub(crate) bytes_asked: u64,
    pub(crate) bytes_moved: u64,
}

/// The growth of a process's memory during a workload, in bytes.
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

/// Whether this process measures memory instead of time.
static LOOKS_AT_MEMORY: AtomicBool = AtomicBool::new(false);

/// Lets later samples measure memory. Their times are then not meaningful.
pub(crate) fn look_at_memory() {
    LOOKS_AT_MEMORY.store(true, Ordering::Relaxed);
}

/// Runs a workload and times it. Its result is dropped after the clocks have stopped.
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
        ..Extra::default()
    };
    Sample { times, extra }
}

/// Runs a workload, and returns its result and the growth of the process's memory, both before the result is dropped.
pub(crate) fn watched<R>(work: impl FnOnce() -> R) -> (R, Option<Growth>) {
    let watcher = Watcher::start();
    let kept = work();
    let memory = watcher.and_then(Watcher::stop);
    (kept, memory)
}

/// A thread that reads this process's memory figures all the time. It also sees short peaks: while a block is copied to
/// a larger one, both exist.
struct Watcher {
    before: Memory,
    before_by_gauge: Memory,
    is_done: Arc<AtomicBool>,
    peak: Arc<Mutex<Memory>>,
    thread: JoinHandle<()>,
}

/// An upper bound of the gauge's error.
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
        // The first reading allocates memory itself.
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
        // The exact figures at the end count. An earlier peak counts only if it exceeds the gauge's error.
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

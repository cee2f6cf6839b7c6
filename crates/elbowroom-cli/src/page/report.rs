//! The common part of the JSON objects, and the progress of long work.

use elbowroom_pager::PagedArray;
use serde::Serialize;

use crate::progress::Progress;

/// The cost of the work.
#[derive(Serialize)]
pub(super) struct Cost {
    page_bytes: usize,
    reads: u64,
    bytes_read: u64,
    hits: u64,
    misses: u64,
    evictions: u64,
    bytes_resident_max: usize,
}

impl Cost {
    pub(super) fn of<T>(array: &PagedArray<T>) -> Cost {
        let stats = array.stats();
        Cost {
            page_bytes: array.page_bytes(),
            reads: stats.reads,
            bytes_read: stats.bytes_read,
            hits: stats.hits,
            misses: stats.misses,
            evictions: stats.evictions,
            bytes_resident_max: stats.bytes_resident_max,
        }
    }
}

/// The progress of work on many elements, by percent.
pub(super) struct Percent {
    progress: Progress,
    what: &'static str,
    total: usize,
    done: usize,
    steps: usize,
}

impl Percent {
    pub(super) fn new(what: &'static str, total: usize) -> Percent {
        Percent {
            progress: Progress::new(100),
            what,
            total,
            done: 0,
            steps: 0,
        }
    }

    /// Adds `count` finished elements.
    pub(super) fn add(&mut self, count: usize) {
        self.done += count;
        let percent = self.done as u128 * 100 / self.total.max(1) as u128;
        while self.steps < percent as usize {
            self.steps += 1;
            self.progress.step(self.what);
        }
    }
}

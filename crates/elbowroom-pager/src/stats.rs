//! Counters of an array's work.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// What an array has done since it was opened, and what it holds now. Returned by
/// [`PagedArray::stats`](crate::PagedArray::stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Pages that were asked for and found resident.
    pub hits: u64,
    /// Pages that were asked for and had to be loaded by the caller.
    pub misses: u64,
    /// Reads from the store. Each covers one or more adjacent pages.
    pub reads: u64,
    /// Bytes read from the store.
    pub bytes_read: u64,
    /// Writes to the store. Each covers one or more adjacent pages.
    pub writes: u64,
    /// Bytes written to the store.
    pub bytes_written: u64,
    /// Reads and writes that the store refused.
    pub failures: u64,
    /// Pages that were given back to make room.
    pub evictions: u64,
    /// Bytes of memory that hold pages now, including pages that are being loaded.
    pub bytes_resident: usize,
    /// The largest value that `bytes_resident` ever had.
    pub bytes_resident_max: usize,
    /// Bytes of pages that differ from the store now.
    pub bytes_dirty: usize,
}

/// Threads add to different cache lines.
const STRIPES: usize = 8;

#[derive(Default)]
#[repr(align(128))]
struct Stripe(AtomicU64);

#[derive(Default)]
pub(crate) struct Counters {
    hits: [Stripe; STRIPES],
    pub(crate) misses: AtomicU64,
    pub(crate) reads: AtomicU64,
    pub(crate) bytes_read: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) bytes_written: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) evictions: AtomicU64,
}

impl Counters {
    pub(crate) fn hit(&self) {
        self.hits[stripe()].0.fetch_add(1, Relaxed);
    }

    /// Returns the counts. What is held now is the caller's to fill in.
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            hits: self.hits.iter().map(|stripe| stripe.0.load(Relaxed)).sum(),
            misses: self.misses.load(Relaxed),
            reads: self.reads.load(Relaxed),
            bytes_read: self.bytes_read.load(Relaxed),
            writes: self.writes.load(Relaxed),
            bytes_written: self.bytes_written.load(Relaxed),
            failures: self.failures.load(Relaxed),
            evictions: self.evictions.load(Relaxed),
            ..Stats::default()
        }
    }
}

/// Returns the stripe of the calling thread.
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    STRIPE.with(|stripe| {
        if stripe.get() == usize::MAX {
            stripe.set(NEXT.fetch_add(1, Relaxed) % STRIPES);
        }
        stripe.get()
    })
}

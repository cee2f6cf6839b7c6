//! Counters of an array's work.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use elbowroom::fault::Histogram;

/// The work of an array since it was opened, and its present state. Returned by
/// [`PagedArray::stats`](crate::PagedArray::stats).
///
/// ```
/// use elbowroom_pager::{MemoryStore, PagedArray};
///
/// let array = PagedArray::<u8>::options().open_store(MemoryStore::new(vec![0; 1 << 20]))?;
/// array.get(700_000)?; // waits for its page
/// array.get(700_001)?; // does not
/// let stats = array.stats();
/// assert_eq!((stats.misses, stats.hits), (1, 1));
/// assert_eq!(stats.stalls.count(), 1);
/// println!("99 of 100 accesses that waited took less than {:?}", stats.stalls.percentile(0.99));
/// assert_eq!(stats.amplification(), Some(stats.bytes_read as f64 / 2.0));
/// # Ok::<(), elbowroom_pager::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// Bytes of the elements that accesses asked for, each time that they did.
    pub bytes_asked: u64,
    /// The times that accesses waited for pages, one value for each access that waited: while it made room and loaded,
    /// or while another thread loaded, evicted or wrote back a page that it needs.
    pub stalls: Histogram,
    /// Bytes of memory that hold pages now, including pages that are being loaded.
    pub bytes_resident: usize,
    /// The largest value that `bytes_resident` ever had.
    pub bytes_resident_max: usize,
    /// Bytes of pages that are being loaded now.
    pub bytes_loading: usize,
    /// Bytes of pages that differ from the store now.
    pub bytes_dirty: usize,
}

impl Stats {
    /// Returns how many bytes were read and written for each byte that was asked for, or `None` if nothing was. Below
    /// 1, elements were asked for again while they were resident.
    pub fn amplification(&self) -> Option<f64> {
        let moved = (self.bytes_read + self.bytes_written) as f64;
        (self.bytes_asked > 0).then(|| moved / self.bytes_asked as f64)
    }
}

/// Threads add to different cache lines.
const STRIPES: usize = 8;

#[derive(Default)]
#[repr(align(128))]
struct Stripe {
    // Without visits.
    hits: AtomicU64,
    // Copies of one element on a resident page.
    visits: AtomicU64,
    // Without visits.
    bytes_asked: AtomicU64,
}

#[derive(Default)]
pub(crate) struct Counters {
    stripes: [Stripe; STRIPES],
    pub(crate) misses: AtomicU64,
    // Those of `misses` that were copies of one element.
    missed_visits: AtomicU64,
    pub(crate) reads: AtomicU64,
    pub(crate) bytes_read: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) bytes_written: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) evictions: AtomicU64,
    loading: AtomicUsize,
    stalls: Mutex<Histogram>,
}

impl Counters {
    pub(crate) fn hit(&self, count: usize) {
        self.stripe().hits.fetch_add(count as u64, Relaxed);
    }

    /// Counts hits of one element, and its bytes.
    pub(crate) fn visit(&self, count: usize) {
        self.stripe().visits.fetch_add(count as u64, Relaxed);
    }

    /// Counts a miss of one element, and its bytes.
    pub(crate) fn missed_visit(&self) {
        self.missed_visits.fetch_add(1, Relaxed);
    }

    /// Counts the bytes of an access that is not counted as a [`visit`](Counters::visit).
    pub(crate) fn ask(&self, bytes: usize) {
        self.stripe().bytes_asked.fetch_add(bytes as u64, Relaxed);
    }

    /// Returns a timer for the wait of an access. The timer has not started.
    pub(crate) fn stall(&self) -> Stall<'_> {
        Stall {
            counters: self,
            start: None,
        }
    }

    /// Counts bytes as being loaded until the result is dropped.
    pub(crate) fn load(&self, bytes: usize) -> Load<'_> {
        self.loading.fetch_add(bytes, Relaxed);
        Load(self, bytes)
    }

    /// Returns the counts, with elements of this size. Of what is held now, only the bytes that are being loaded are
    /// filled in.
    pub(crate) fn stats(&self, element_bytes: usize) -> Stats {
        let sum = |count: fn(&Stripe) -> &AtomicU64| -> u64 {
            let counts = self.stripes.iter().map(count);
            counts.map(|count| count.load(Relaxed)).sum()
        };
        let visits = sum(|stripe| &stripe.visits);
        let elements = visits + self.missed_visits.load(Relaxed);
        let bytes_asked = sum(|stripe| &stripe.bytes_asked);
        Stats {
            hits: sum(|stripe| &stripe.hits) + visits,
            misses: self.misses.load(Relaxed),
            reads: self.reads.load(Relaxed),
            bytes_read: self.bytes_read.load(Relaxed),
            writes: self.writes.load(Relaxed),
            bytes_written: self.bytes_written.load(Relaxed),
            failures: self.failures.load(Relaxed),
            evictions: self.evictions.load(Relaxed),
            bytes_asked: bytes_asked + elements * element_bytes as u64,
            stalls: self.stalls().clone(),
            bytes_loading: self.loading.load(Relaxed),
            ..Stats::default()
        }
    }

    fn stripe(&self) -> &Stripe {
        &self.stripes[stripe()]
    }

    fn stalls(&self) -> std::sync::MutexGuard<'_, Histogram> {
        self.stalls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time that an access waits for pages. It is counted when this is dropped, if it has begun.
pub(crate) struct Stall<'a> {
    counters: &'a Counters,
    start: Option<Instant>,
}

impl Stall<'_> {
    /// Starts the time, unless it has started.
    pub(crate) fn begin(&mut self) {
        self.start.get_or_insert_with(Instant::now);
    }
}

impl Drop for Stall<'_> {
    fn drop(&mut self) {
        if let Some(start) = self.start {
            let time = start.elapsed();
            self.counters.stalls().add(time);
        }
    }
}

/// Bytes that are being loaded. Also a panic of the store ends it.
pub(crate) struct Load<'a>(&'a Counters, usize);

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.0.loading.fetch_sub(self.1, Relaxed);
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

//! Brings pages in: one load for each page, however many threads ask for it, and adjacent pages in one read.

#![allow(unsafe_code, reason = "reads into the memory of pages in transit")]

use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Cause, Error, Operation};
use crate::evict::{Patience, Pool};
use crate::table::{Entered, Pin, Table};

mod queue;
mod streams;

pub(crate) use queue::{Job, Queue};
use streams::Streams;

/// The number of pieces that are loaded at once ahead of a sequential reader. Fewer do not keep a fast disk busy.
const CHUNKS_AHEAD: usize = 8;

/// Pins pages, and loads those that are absent.
pub(crate) struct Fetch {
    pub(crate) pool: Arc<Pool>,
    pub(crate) queue: Queue,
    streams: Mutex<Streams>,
    // The most pages that one read takes beyond those that are wanted.
    read_ahead_pages: usize,
    has_threads: bool,
    // More dirty pages than this are written behind, if there are threads for it.
    dirty_pages_max: usize,
}

impl Fetch {
    /// Returns the means to load pages. Read-ahead takes at most a quarter of the limit.
    pub(crate) fn new(pool: Arc<Pool>, read_ahead_bytes: usize, has_threads: bool) -> Fetch {
        let pages_max = pool.frames.pages_max();
        let read_ahead_pages = read_ahead_bytes / pool.frames.page_bytes();
        Fetch {
            read_ahead_pages: read_ahead_pages.min(pages_max / 4),
            dirty_pages_max: if has_threads {
                pages_max / 2
            } else {
                usize::MAX
            },
            has_threads,
            pool,
            queue: Queue::default(),
            streams: Mutex::default(),
        }
    }

    /// Returns how many pages a sequential reader is given at once.
    pub(crate) fn chunk_pages(&self) -> usize {
        self.read_ahead_pages.max(1)
    }

    /// Returns how many pages threads of the array load ahead of a sequential reader, beyond what it is given.
    pub(crate) fn ahead_pages(&self) -> usize {
        if !self.has_threads {
            return 0;
        }
        let half = self.pool.frames.pages_max() / 2;
        half.min(CHUNKS_AHEAD * self.chunk_pages())
    }

    /// Lets threads of the array load pages, in pieces of what a sequential reader is given. Returns the number of
    /// pieces that are not resident.
    pub(crate) fn load_ahead(&self, runs: impl IntoIterator<Item = Range<usize>>) -> usize {
        let pieces = runs.into_iter().flat_map(|run| {
            let starts = run.clone().step_by(self.chunk_pages());
            starts.map(move |start| start..run.end.min(start + self.chunk_pages()))
        });
        let is_absent = |page: usize| !self.pool.table.look(page).is_resident();
        let absent = pieces.filter(|piece| piece.clone().any(is_absent));
        self.queue.push(absent.map(Job::Load))
    }

    /// Does jobs that load, at most `count`, on the calling thread.
    pub(crate) fn help(&self, count: usize) {
        self.queue.help(count, |job| self.work(job));
    }

    /// Pins pages, all or none.
    ///
    /// # Errors
    /// `is_limit()` if there is no room, otherwise what the store says. Nothing is pinned then.
    #[inline]
    pub(crate) fn pin(&self, pages: Range<usize>, pin: Pin) -> Result<(), Error> {
        let table = &self.pool.table;
        let mut next = pages.start;
        while next < pages.end && table.try_pin(next, pin) {
            next += 1;
        }
        self.count_hits(next - pages.start, pin);
        if next < pages.end {
            self.pin_rest(pages.start..next, pages.end, pin)?;
        }
        if pin.is_mut() && table.dirty_pages() > self.dirty_pages_max && self.pool.pace.is_due() {
            self.queue.push([Job::WriteBehind]);
        }
        Ok(())
    }

    #[inline]
    fn count_hits(&self, pages: usize, pin: Pin) {
        let counters = &self.pool.source.counters;
        if pin.is_visit() {
            counters.visit(pages);
        } else {
            counters.hit(pages);
        }
    }

    /// Pins the pages up to `end`. Those before them are pinned, and lose their pins if that fails.
    #[cold]
    fn pin_rest(&self, pinned: Range<usize>, end: usize, pin: Pin) -> Result<(), Error> {
        let Pool { table, frames, .. } = &*self.pool;
        let counters = &self.pool.source.counters;
        let mut stall = counters.stall();
        let mut pinned = Pinned {
            table,
            pin,
            pages: pinned,
        };
        while pinned.pages.end < end {
            let page = pinned.pages.end;
            match table.enter(page, pin, || stall.begin()) {
                Entered::Pinned => {
                    self.count_hits(1, pin);
                    pinned.pages.end += 1;
                }
                Entered::Claimed => {
                    stall.begin();
                    let wanted = end - page;
                    let window = self.streams().note(page, wanted, self.read_ahead_pages);
                    let window = page..frames.pages().min(page + window);
                    let loaded = self.load(window, wanted, Some(pin), Patience::Wait)?;
                    pinned.pages.end += loaded.min(wanted);
                    if pin.is_visit() {
                        counters.missed_visit();
                    }
                }
                Entered::Full => {
                    let bytes = frames.bytes_of(page..page + 1);
                    let (source, cause) = (&self.pool.source, Cause::TooManyGuards);
                    return Err(source.error(Operation::Read, bytes, cause));
                }
            }
        }
        std::mem::forget(pinned);
        Ok(())
    }

    /// Takes pins off.
    #[inline]
    pub(crate) fn unpin(&self, pages: Range<usize>, pin: Pin) {
        for page in pages {
            self.pool.table.unpin(page, pin);
        }
    }

    /// Does a job, on a thread of the array.
    pub(crate) fn work(&self, job: Job) {
        match job {
            Job::WriteBehind => self.pool.write_behind(self.dirty_pages_max / 2),
            Job::Load(pages) => {
                let mut next = pages.start;
                while next < pages.end {
                    if !self.pool.table.try_claim(next) {
                        next += 1;
                        continue;
                    }
                    match self.load(next..pages.end, 0, None, Patience::None) {
                        Ok(loaded) if loaded > 0 => next += loaded,
                        // No room. A failure is that of the access that needs the page, which tries again.
                        _ => return,
                    }
                }
            }
        }
    }

    /// Loads a claimed page, and those behind it as far as they are absent and have room, in one read. The first
    /// `wanted` ones are pinned. Returns how many were loaded; with patience, at least one.
    fn load(
        &self,
        pages: Range<usize>,
        wanted: usize,
        pin: Option<Pin>,
        patience: Patience,
    ) -> Result<usize, Error> {
        let Pool { table, source, .. } = &*self.pool;
        let first = pages.start;
        // Dropped after `loading`.
        let _callbacks = Callbacks(&self.pool);
        let mut loading = Loading {
            pool: &self.pool,
            claimed: first..first + 1,
            pages: first..first,
        };
        while loading.claimed.end < pages.end && table.try_claim(loading.claimed.end) {
            loading.claimed.end += 1;
        }
        let mut admitted = self.pool.admit_run(loading.claimed.clone());
        if admitted == 0 {
            // Others may wait for a claimed page while this thread waits for room, so it waits for the wanted one only.
            loading.unclaim(first + 1);
            if !self.pool.admit(first, patience)? {
                return Ok(0);
            }
            admitted = 1;
        }
        // A thread with pages in transit waits for nothing: others wait for it.
        loading.admitted(admitted);
        loading.unclaim(first + admitted);
        if let Err(error) = self.read(loading.pages.clone()) {
            if loading.pages.len() == 1 {
                return Err(error);
            }
            // The failure may be that of a page that no caller asked for.
            loading.give_up(first + 1);
            self.read(first..first + 1)?;
        }
        let loaded = loading.pages.len();
        let misses = loaded.min(wanted) as u64;
        source.counters.misses.fetch_add(misses, Relaxed);
        // The last first: a thread that waits for the first then finds the others as well.
        while !loading.pages.is_empty() {
            loading.pages.end -= 1;
            let page = loading.pages.end;
            table.publish(page, pin.filter(|_| page - first < wanted));
        }
        Ok(loaded)
    }

    /// Reads pages in transit, which this thread put there.
    fn read(&self, pages: Range<usize>) -> Result<(), Error> {
        let bytes = self.pool.frames.bytes_of(pages);
        let start = bytes.start;
        // SAFETY: the pages are committed, and until they leave their transit, which only this thread can end, nothing
        // else touches or decommits them (`Table`). The slice is gone before that.
        let buffer = unsafe { self.pool.frames.bytes_mut(bytes) };
        let _load = self.pool.source.counters.load(buffer.len());
        self.pool.source.read(start, buffer)
    }

    fn streams(&self) -> std::sync::MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.pool.leave();
    }
}

/// Pages that were pinned for a caller that did not get all it asked for.
struct Pinned<'a> {
    table: &'a Table,
    pin: Pin,
    pages: Range<usize>,
}

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        for page in self.pages.clone() {
            self.table.unpin(page, self.pin);
        }
    }
}

/// Calls the callbacks of budgets when it is dropped: not before the pages that have reached a threshold are loaded,
/// because a callback may use arrays.
struct Callbacks<'a>(&'a Pool);

impl Drop for Callbacks<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.0.frames.run_callbacks();
        }
    }
}

/// Pages that this thread has claimed to load. Dropping it releases the pages that are not loaded, also after a panic
/// of the store.
struct Loading<'a> {
    pool: &'a Pool,
    // Invariant: claimed by this thread.
    claimed: Range<usize>,
    // Invariant: put in transit by this thread.
    pages: Range<usize>,
}

impl Loading<'_> {
    /// Says that the first claimed pages are in transit now.
    fn admitted(&mut self, count: usize) {
        self.claimed.start += count;
        self.pages.end += count;
    }

    /// Gives up the claims from this page on.
    fn unclaim(&mut self, from: usize) {
        let rest = from..self.claimed.end;
        self.claimed.end = from;
        rest.for_each(|page| self.pool.table.unclaim(page));
    }

    /// Gives up the pages from this one on.
    fn give_up(&mut self, from: usize) {
        let rest = from..self.pages.end;
        self.pages.end = from;
        self.pool.expel(rest);
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.unclaim(self.claimed.start);
        if !self.pages.is_empty() {
            self.give_up(self.pages.start);
        }
    }
}

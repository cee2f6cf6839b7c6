//! Makes room: a clock over the resident pages of all arrays that share a budget, clean ones before dirty ones. Nothing
//! dirty is ever dropped.
//!
//! One lock is for the clock, whatever the number of arrays, so there is no order of locks to keep.

#![allow(
    unsafe_code,
    reason = "writes the memory of resident pages to the store"
)]

use std::ops::{Deref, Range};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use elbowroom::Budget;

use crate::error::{Cause, Error, Operation};
use crate::frames::Frames;
use crate::store::Source;
use crate::table::{Look, Table};

mod clock;
mod closed;
mod pace;
mod run;

use clock::{Clock, Ring, root};
use pace::Pace;

/// The most that one write to the store takes.
const WRITE_BYTES_MAX: usize = 1 << 20;

/// The pages of an array that have memory, and what they are pages of.
pub(crate) struct Pool {
    pub(crate) frames: Frames,
    pub(crate) table: Table,
    pub(crate) source: Source,
    pub(crate) pace: Pace,
    sharers: Arc<Sharers>,
    // The name of its ring.
    name: u64,
    visitors: Arc<Visitors>,
}

/// The clock of all arrays whose budgets have the same root.
struct Sharers {
    root: Budget,
    // Held while a page of any of them gets or loses its memory, so that a page that has taken the last room is seen in
    // transit. Under it, no thread waits for a page, and no store is called.
    clock: Mutex<Clock<Pool>>,
}

/// All clocks that an array uses.
static SHARERS: Mutex<Vec<Weak<Sharers>>> = Mutex::new(Vec::new());

impl Sharers {
    /// Returns the clock for arrays with this budget.
    fn of(budget: &Budget) -> Arc<Sharers> {
        let root = root(budget);
        let mut all = SHARERS.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|sharers| sharers.strong_count() > 0);
        let known = all.iter().filter_map(Weak::upgrade);
        if let Some(sharers) = { known }.find(|sharers| sharers.root == *root) {
            return sharers;
        }
        let sharers = Arc::new(Sharers {
            root: root.clone(),
            clock: Mutex::default(),
        });
        all.push(Arc::downgrade(&sharers));
        sharers
    }

    fn clock(&self) -> MutexGuard<'_, Clock<Pool>> {
        // A panic under it is a broken invariant of the table, which the others find as well.
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The threads that use a pool without the lock of its clock, and without a borrow of the array.
#[derive(Default)]
struct Visitors {
    count: Mutex<usize>,
    left: Condvar,
}

impl Visitors {
    fn count(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pool that a thread writes a page of, or waits for a page of. The array is not gone before this is dropped.
struct Visit {
    // Dropped before the visit ends, so that the pool is dropped by its array.
    pool: Arc<Pool>,
    _presence: Presence,
}

struct Presence(Arc<Visitors>);

impl Visit {
    /// Starts a visit, under the lock of the clock.
    fn new(pool: Arc<Pool>) -> Visit {
        *pool.visitors.count() += 1;
        Visit {
            _presence: Presence(Arc::clone(&pool.visitors)),
            pool,
        }
    }
}

impl Deref for Visit {
    type Target = Pool;

    fn deref(&self) -> &Pool {
        &self.pool
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        *self.0.count() -= 1;
        self.0.left.notify_all();
    }
}

/// Whether a thread waits for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Writes dirty pages back, and waits for pages whose use by other threads is about to end.
    Wait,
    /// Takes the place of clean pages only.
    None,
}

/// The result of a turn of the clock that has evicted nothing.
enum Found {
    /// A dirty page that nothing pins.
    Dirty(Visit, usize),
    /// A page that another thread loads, evicts or writes back.
    Busy(Visit, usize),
    /// A page in which another thread copies an element, or that changed meanwhile, or of an array that goes.
    Visited,
    /// Guards pin everything.
    Nothing,
}

impl Pool {
    /// Returns a pool whose frames are charged to the budget. Its pages are evicted for all arrays that share the
    /// budget, until it [leaves](Pool::leave).
    pub(crate) fn new(frames: Frames, table: Table, source: Source, budget: &Budget) -> Arc<Pool> {
        let sharers = Sharers::of(budget);
        let name = sharers.clock().name();
        let pool = Arc::new(Pool {
            frames,
            table,
            source,
            pace: Pace::default(),
            sharers,
            name,
            visitors: Arc::default(),
        });
        let (ring, budget) = (Arc::downgrade(&pool), budget.clone());
        pool.sharers.clock().add(name, ring, budget);
        pool
    }

    /// Commits a page that the calling thread has claimed, and puts it in transit. Returns `false`, with the page still
    /// claimed, if there is no room for it without waiting.
    ///
    /// # Errors
    /// If nothing can be evicted, or a write-back to this array's store failed. The page is still claimed.
    pub(crate) fn admit(&self, page: usize, patience: Patience) -> Result<bool, Error> {
        // A failure of another array's store is that array's to tell of. Its dirty pages stay then.
        let mut writes_others = true;
        loop {
            let (found, refusal) = match self.try_admit(page, writes_others) {
                Ok(()) => return Ok(true),
                Err(_) if patience == Patience::None => return Ok(false),
                Err(refused) => refused,
            };
            match found {
                Found::Visited => thread::yield_now(),
                Found::Dirty(pool, page) if pool.table.try_write_back(page) => {
                    match pool.write_back(page) {
                        Err(error) if pool.name == self.name => return Err(error),
                        written => writes_others &= written.is_ok(),
                    }
                }
                // It changed meanwhile.
                Found::Dirty(..) => thread::yield_now(),
                Found::Busy(pool, page) => pool.table.wait_until_idle(page),
                Found::Nothing => {
                    let bytes = self.frames.bytes_of(page..page + 1);
                    let cause = Cause::NoRoom(refusal);
                    return Err(self.source.error(Operation::Read, bytes, cause));
                }
            }
        }
    }

    /// Commits the page, and evicts others for it. Returns what else there is if that is not enough.
    fn try_admit(&self, page: usize, writes_others: bool) -> Result<(), (Found, elbowroom::Error)> {
        let mut clock = self.sharers.clock();
        let stranded = clock.ring(self.name).and_then(|ring| {
            let index = ring.stranded.iter().position(|&other| other == page)?;
            Some(ring.stranded.swap_remove(index))
        });
        if stranded.is_some() {
            let page_bytes = self.frames.page_bytes();
            let place = page * page_bytes..(page + 1) * page_bytes;
            // SAFETY: the page still has its memory, and keeps it: only this thread, which has claimed the page and
            // holds the lock, could decommit it. Nothing else touches a claimed page.
            let memory = unsafe { self.frames.bytes_mut(place) };
            // As a fresh page is, also behind the end of the array.
            memory.fill(0);
        } else {
            while let Err(mut refusal) = self.frames.commit(page..page + 1) {
                // Evictions help against these. Mappings count as memory.
                let evicted = if refusal.is_limit() || refusal.is_out_of_memory() {
                    self.evict(&mut clock, &mut refusal, 1, writes_others)
                } else {
                    Err(Found::Nothing)
                };
                if let Err(found) = evicted {
                    return Err((found, refusal));
                }
            }
        }
        if let Some(ring) = clock.ring(self.name) {
            ring.insert(page);
        }
        self.table.start_loading(page);
        Ok(())
    }

    /// Evicts the next clean page that was not touched since the hand was there, of an array that is charged to the
    /// budget that refused; with it as many pages next to it as are wanted. In the second round, no page counts as
    /// touched that was not touched meanwhile. If the system does not take a page back, `refusal` says why.
    fn evict(
        &self,
        clock: &mut Clock<Pool>,
        refusal: &mut elbowroom::Error,
        wanted: usize,
        writes_others: bool,
    ) -> Result<(), Found> {
        let budget = refusal.budget().cloned();
        let budget = budget.as_ref();
        let mut steps = 0;
        for ring in clock.rings(budget) {
            steps += 2 * ring.slots();
            if reclaim(ring) {
                return Ok(());
            }
        }
        let (mut dirty, mut busy, mut was_visited) = (None, None, false);
        while steps > 0 {
            let Some(ring) = clock.at_hand(budget) else {
                break;
            };
            let pool = ring.pool.upgrade().filter(|_| !ring.is_closed);
            let mut is_at_end = false;
            while steps > 0 && !is_at_end {
                let Some(slot) = ring.step() else {
                    is_at_end = true;
                    continue;
                };
                steps -= 1;
                let Some(page) = ring.page(slot) else {
                    continue;
                };
                let Some(pool) = &pool else {
                    was_visited = true;
                    continue;
                };
                let table = &pool.table;
                let look = table.look(page);
                if look.is_busy() {
                    busy = Some((Arc::clone(pool), page));
                } else if look.is_pinned() {
                    was_visited |= !look.is_lent();
                } else if look.is_referenced() {
                    table.unreference(page);
                    // In the second round, it was touched meanwhile.
                    was_visited = true;
                } else if look.is_dirty() {
                    if dirty.is_none() && (writes_others || pool.name == self.name) {
                        dirty = Some((Arc::clone(pool), page));
                    }
                } else if !table.try_leave(page) {
                    was_visited = true;
                } else if let Err(kept) = pool.evict_run(ring, slot, page, wanted) {
                    // The kernel has no mapping left to split this run of pages with. Another page may need none.
                    *refusal = kept;
                } else {
                    return Ok(());
                }
            }
            if is_at_end {
                clock.go_on();
            }
        }
        Err(match (dirty, busy) {
            (Some((pool, page)), _) => Found::Dirty(Visit::new(pool), page),
            (None, Some((pool, page))) => Found::Busy(Visit::new(pool), page),
            (None, None) if was_visited => Found::Visited,
            (None, None) => Found::Nothing,
        })
    }

    /// Gives the memory of pages in transit back: they could not be loaded, or are not wanted any more.
    pub(crate) fn expel(&self, pages: Range<usize>) {
        let mut clock = self.sharers.clock();
        for page in pages {
            let is_kept = self.frames.decommit(page..page + 1).is_err();
            if let Some(ring) = clock.ring(self.name) {
                if let Some(slot) = ring.slot_of(page) {
                    ring.vacate(slot);
                }
                if is_kept {
                    ring.stranded.push(page);
                }
            }
            self.table.abandon(page);
        }
    }

    /// Writes a dirty page back whose write-back has begun, together with dirty pages next to it.
    ///
    /// # Errors
    /// If the store refuses. The pages stay dirty and resident.
    pub(crate) fn write_back(&self, page: usize) -> Result<(), Error> {
        let mut writing = Writing {
            table: &self.table,
            pages: page..page + 1,
            is_stored: false,
        };
        let pages = &mut writing.pages;
        let pages_max = (WRITE_BYTES_MAX / self.frames.page_bytes()).max(1);
        while pages.len() < pages_max
            && pages.end < self.frames.pages()
            && self.table.try_write_back(pages.end)
        {
            pages.end += 1;
        }
        while pages.len() < pages_max
            && pages.start > 0
            && self.table.try_write_back(pages.start - 1)
        {
            pages.start -= 1;
        }
        let bytes = self.frames.bytes_of(pages.clone());
        let start = bytes.start;
        // SAFETY: the pages are resident and stay so until `written` (`Table::try_write_back`), which runs when
        // `writing` is dropped, after the last use of the slice. No writer has them pinned, and none comes in before.
        let bytes = unsafe { self.frames.bytes(bytes) };
        self.source.write(Operation::WriteBack, start, bytes)?;
        writing.is_stored = true;
        self.pace.reset();
        Ok(())
    }

    /// Writes every dirty page back that can be written.
    ///
    /// # Errors
    /// The first refusal by the store; `is_pinned()` if a page has a guard for writing. The refused pages stay dirty.
    pub(crate) fn write_all_back(&self) -> Result<(), Error> {
        let mut result = Ok(());
        for page in self.dirty_pages() {
            loop {
                let look = self.table.look(page);
                if look.is_busy() {
                    self.table.wait_until_idle(page);
                } else if !look.is_resident() || !look.is_dirty() {
                    break;
                } else if self.table.try_write_back(page) {
                    result = result.and(self.write_back(page));
                    break;
                } else if look.is_lent() {
                    let bytes = self.frames.bytes_of(page..page + 1);
                    let lent = self.source.error(Operation::WriteBack, bytes, Cause::Lent);
                    result = result.and(Err(lent));
                    break;
                } else {
                    thread::yield_now();
                }
            }
        }
        result
    }

    /// Writes dirty pages back until no more than `dirty_pages_max` are left. Ends at the first refusal, which the next
    /// flush repeats.
    pub(crate) fn write_behind(&self, dirty_pages_max: usize) {
        for page in self.dirty_pages() {
            if self.table.dirty_pages() <= dirty_pages_max {
                return;
            }
            if self.table.try_write_back(page) && self.write_back(page).is_err() {
                self.pace.slow_down();
                return;
            }
        }
    }

    /// Returns the pages that are dirty now, in order.
    fn dirty_pages(&self) -> Vec<usize> {
        self.pages(Look::is_dirty)
    }

    /// Returns the pages that are resident now, in order.
    pub(crate) fn resident_pages(&self) -> Vec<usize> {
        self.pages(Look::is_resident)
    }

    fn pages(&self, is_wanted: fn(Look) -> bool) -> Vec<usize> {
        let mut clock = self.sharers.clock();
        let ring = clock.ring(self.name).into_iter();
        let pages = ring.flat_map(|ring| ring.pages());
        let mut pages: Vec<usize> = pages
            .filter(|&page| is_wanted(self.table.look(page)))
            .collect();
        drop(clock);
        pages.sort_unstable();
        pages
    }
}

/// Gives the memory of a stranded page back. Returns whether the system took it.
fn reclaim(ring: &mut Ring<Pool>) -> bool {
    let Some(pool) = ring.pool.upgrade().filter(|_| !ring.stranded.is_empty()) else {
        return false;
    };
    let mut stranded = ring.stranded.iter();
    let taken = stranded.position(|&page| pool.frames.decommit(page..page + 1).is_ok());
    taken
        .map(|index| ring.stranded.swap_remove(index))
        .is_some()
}

/// Pages that are being written back.
struct Writing<'a> {
    table: &'a Table,
    // Invariant: their write-back has begun, and only dropping this ends it.
    pages: Range<usize>,
    is_stored: bool,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        for page in self.pages.clone() {
            self.table.written(page, self.is_stored);
        }
    }
}

//! Makes room: a clock over the resident pages, clean ones before dirty ones. Nothing dirty is ever dropped.

#![allow(
    unsafe_code,
    reason = "writes the memory of resident pages to the store"
)]

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::error::{Cause, Error, Operation};
use crate::frames::Frames;
use crate::store::Source;
use crate::table::Table;

/// The most that one write to the store takes.
const WRITE_BYTES_MAX: usize = 1 << 20;

/// The pages of an array that have memory, and what they are pages of.
pub(crate) struct Pool {
    pub(crate) frames: Frames,
    pub(crate) table: Table,
    pub(crate) source: Source,
    pub(crate) pace: Pace,
    // Held while a page gets or loses its memory, so that a page that has taken the last room is seen in transit.
    // Under it, no thread waits for a page, and the store is not called.
    clock: Mutex<Clock>,
}

/// How often dirty pages are written behind. After a failure, as on a full disk, each next try waits for twice as many
/// changes of pages as the one before.
#[derive(Default)]
pub(crate) struct Pace {
    pause: AtomicUsize,
    left: AtomicUsize,
}

impl Pace {
    /// The longest pause, in changes of pages.
    const PAUSE_MAX: usize = 1 << 20;

    /// Says that a page was changed. Returns whether dirty pages may be written behind now.
    pub(crate) fn is_due(&self) -> bool {
        let waits = self
            .left
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        waits.is_err()
    }

    fn slow_down(&self) {
        let pause = (self.pause.load(Relaxed) * 2).clamp(1, Self::PAUSE_MAX);
        self.pause.store(pause, Relaxed);
        self.left.store(pause, Relaxed);
    }

    /// Says that a write has succeeded.
    fn reset(&self) {
        self.pause.store(0, Relaxed);
        self.left.store(0, Relaxed);
    }
}

/// An empty slot.
const VACANT: usize = usize::MAX;

#[derive(Default)]
struct Clock {
    // The committed pages, in the order of the hand. A new page takes the slot of the one that went last, which the
    // hand has just passed.
    slots: Vec<usize>,
    vacant: Vec<usize>,
    hand: usize,
    // Absent pages whose memory the system did not take back. It is charged until it does.
    stranded: Vec<usize>,
}

impl Clock {
    fn insert(&mut self, page: usize) {
        match self.vacant.pop() {
            Some(slot) => self.slots[slot] = page,
            None => self.slots.push(page),
        }
    }

    fn remove(&mut self, slot: usize) {
        self.slots[slot] = VACANT;
        self.vacant.push(slot);
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

/// What a turn of the clock has found.
enum Found {
    /// A page was given back.
    Room,
    /// A dirty page that nothing pins.
    Dirty(usize),
    /// A page that another thread loads, evicts or writes back.
    Busy(usize),
    /// A page in which another thread copies an element, or that changed meanwhile.
    Visited,
    /// Guards pin everything.
    Nothing,
}

impl Pool {
    pub(crate) fn new(frames: Frames, table: Table, source: Source) -> Pool {
        Pool {
            frames,
            table,
            source,
            pace: Pace::default(),
            clock: Mutex::default(),
        }
    }

    /// Commits a page that the calling thread has claimed, and puts it in transit. Returns `false`, with the page still
    /// claimed, if there is no room for it without waiting.
    ///
    /// # Errors
    /// If nothing can be evicted, or a write-back failed. The page is still claimed.
    pub(crate) fn admit(&self, page: usize, patience: Patience) -> Result<bool, Error> {
        loop {
            let (found, refusal) = match self.try_admit(page) {
                Ok(()) => return Ok(true),
                Err((Found::Room, _)) => continue,
                Err(_) if patience == Patience::None => return Ok(false),
                Err(refused) => refused,
            };
            match found {
                Found::Room | Found::Visited => thread::yield_now(),
                Found::Dirty(page) if self.table.try_write_back(page) => self.write_back(page)?,
                // It changed meanwhile.
                Found::Dirty(_) => thread::yield_now(),
                Found::Busy(page) => self.table.wait_until_idle(page),
                Found::Nothing => {
                    let bytes = self.frames.bytes_of(page..page + 1);
                    let cause = Cause::NoRoom(refusal);
                    return Err(self.source.error(Operation::Read, bytes, cause));
                }
            }
        }
    }

    /// Commits the page, or looks for a page to evict.
    fn try_admit(&self, page: usize) -> Result<(), (Found, elbowroom::Error)> {
        let mut clock = self.clock();
        if let Some(index) = clock.stranded.iter().position(|&other| other == page) {
            clock.stranded.swap_remove(index);
            let page_bytes = self.frames.page_bytes();
            let place = page * page_bytes..(page + 1) * page_bytes;
            // SAFETY: the page still has its memory, and keeps it: only this thread, which has claimed the page and
            // holds the lock, could decommit it. Nothing else touches a claimed page.
            let memory = unsafe { self.frames.bytes_mut(place) };
            // As a fresh page is, also behind the end of the array.
            memory.fill(0);
            clock.insert(page);
            self.table.start_loading(page);
            return Ok(());
        }
        match self.frames.commit(page) {
            Ok(()) => {
                clock.insert(page);
                self.table.start_loading(page);
                Ok(())
            }
            // Evictions help against these. Mappings count as memory.
            Err(mut refusal) if refusal.is_limit() || refusal.is_out_of_memory() => {
                Err((self.turn(&mut clock, &mut refusal), refusal))
            }
            Err(refusal) => Err((Found::Nothing, refusal)),
        }
    }

    /// Evicts the next clean page that was not touched since the hand was there. In the second round, no page counts as
    /// touched that was not touched meanwhile. If the system does not take a page back, `refusal` says why.
    fn turn(&self, clock: &mut Clock, refusal: &mut elbowroom::Error) -> Found {
        let frames = &self.frames;
        let stranded = clock.stranded.iter();
        if let Some(index) = { stranded }.position(|&page| frames.decommit(page).is_ok()) {
            clock.stranded.swap_remove(index);
            return Found::Room;
        }
        let (mut dirty, mut busy, mut was_visited) = (None, None, false);
        for _ in 0..2 * clock.slots.len() {
            let slot = clock.hand;
            clock.hand = (slot + 1) % clock.slots.len();
            let page = clock.slots[slot];
            if page == VACANT {
                continue;
            }
            let look = self.table.look(page);
            if look.is_busy() {
                busy = Some(page);
            } else if look.is_pinned() {
                was_visited |= !look.is_lent();
            } else if look.is_referenced() {
                self.table.unreference(page);
            } else if look.is_dirty() {
                dirty.get_or_insert(page);
            } else if !self.table.try_leave(page) {
                was_visited = true;
            } else if let Err(kept) = self.frames.decommit(page) {
                // The kernel has no mapping left to split this run of pages with. Another page may need none.
                self.table.stay(page);
                *refusal = kept;
            } else {
                clock.remove(slot);
                self.table.abandon(page);
                self.source.counters.evictions.fetch_add(1, Relaxed);
                return Found::Room;
            }
        }
        match (dirty, busy) {
            (Some(page), _) => Found::Dirty(page),
            (None, Some(page)) => Found::Busy(page),
            (None, None) if was_visited => Found::Visited,
            (None, None) => Found::Nothing,
        }
    }

    /// Gives the memory of pages in transit back: they could not be loaded, or are not wanted any more.
    pub(crate) fn expel(&self, pages: Range<usize>) {
        let mut clock = self.clock();
        for page in pages {
            if let Some(slot) = clock.slots.iter().rposition(|&other| other == page) {
                clock.remove(slot);
            }
            if self.frames.decommit(page).is_err() {
                clock.stranded.push(page);
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

    /// Writes every dirty page back.
    ///
    /// # Errors
    /// The first refusal by the store; `is_pinned()` if a page has a guard for writing. The pages stay dirty.
    pub(crate) fn write_all_back(&self) -> Result<(), Error> {
        for page in self.dirty_pages() {
            loop {
                let look = self.table.look(page);
                if look.is_busy() {
                    self.table.wait_until_idle(page);
                } else if !look.is_resident() || !look.is_dirty() {
                    break;
                } else if self.table.try_write_back(page) {
                    self.write_back(page)?;
                    break;
                } else if look.is_lent() {
                    let bytes = self.frames.bytes_of(page..page + 1);
                    return Err(self.source.error(Operation::WriteBack, bytes, Cause::Lent));
                } else {
                    thread::yield_now();
                }
            }
        }
        Ok(())
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
        let clock = self.clock();
        let pages = clock.slots.iter().copied();
        let is_dirty = |page: &usize| *page != VACANT && self.table.look(*page).is_dirty();
        let mut pages: Vec<usize> = pages.filter(is_dirty).collect();
        drop(clock);
        pages.sort_unstable();
        pages
    }

    /// Forgets pages and what was written to them. The caller has no guard, and no other thread uses the array.
    pub(crate) fn discard(&self, pages: Range<usize>) {
        for page in pages {
            if self.table.try_discard(page) {
                self.expel(page..page + 1);
            }
        }
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        // A panic under it is a broken invariant of the table, which the others find as well.
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

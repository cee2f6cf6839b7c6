//! The state of every page, each in one atomic word.
//!
//! ```text
//!            enter            start_loading          publish
//!   ABSENT ─────────▶ CLAIMED ─────────────▶ TRANSIT ────────▶ RESIDENT ◀─┐ pins, DIRTY, REFERENCED
//!     ▲                  │ unclaim             ▲ │                │  │     │ WRITING: written back
//!     │◀─────────────────┘                     │ │ abandon        │  └─────┘
//!     │◀───────────────────────────────────────┼─┘                │
//!     │                                        └──────────────────┘ try_leave: clean, no pins
//! ```
//!
//! One thread at a time moves a page out of CLAIMED and TRANSIT, namely the thread that moved it there: this is the
//! single flight. A claimed page waits for room. A page in transit has its memory, and its transit ends without
//! waiting for any other page.

use std::sync::PoisonError;

use crate::sync::{AtomicU64, AtomicUsize, Condvar, Mutex, Ordering, zeroed_words};

#[cfg(all(test, loom))]
mod models;

const STATE: u64 = 0b11;
/// No memory. The whole word is zero.
const ABSENT: u64 = 0;
/// A thread is about to load the page, and needs room for it.
const CLAIMED: u64 = 1;
/// The page has memory, whose contents only one thread may touch.
const TRANSIT: u64 = 2;
/// The page has memory and its contents.
const RESIDENT: u64 = 3;

/// The memory differs from the store.
const DIRTY: u64 = 1 << 2;
/// Touched since the clock's hand was here.
const REFERENCED: u64 = 1 << 3;
/// A thread writes the contents to the store, so no new writer may pin the page.
const WRITING: u64 = 1 << 4;

/// The number of groups of pages. The threads that wait for pages of one group are woken together.
const GROUPS: usize = if cfg!(loom) { 1 } else { 64 };

/// The reason that keeps a page resident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pin {
    /// A thread copies an element out, and unpins without waiting for anything.
    Visit,
    /// A thread copies an element in, and unpins without waiting for anything.
    VisitMut,
    /// A guard lends the contents.
    Read,
    /// A guard lends the contents for writing.
    Write,
}

impl Pin {
    #[inline]
    const fn shift(self) -> u32 {
        match self {
            Pin::Visit => 8,
            Pin::VisitMut => 20,
            Pin::Read => 32,
            Pin::Write => 48,
        }
    }

    #[inline]
    const fn one(self) -> u64 {
        1 << self.shift()
    }

    /// The bits of the count. At most all of them are set, so a count never overflows into the next.
    #[inline]
    const fn mask(self) -> u64 {
        let width = match self {
            Pin::Visit | Pin::VisitMut => 12,
            Pin::Read | Pin::Write => 16,
        };
        ((1 << width) - 1) << self.shift()
    }

    pub(crate) const fn is_visit(self) -> bool {
        matches!(self, Pin::Visit | Pin::VisitMut)
    }

    #[inline]
    pub(crate) const fn is_mut(self) -> bool {
        matches!(self, Pin::VisitMut | Pin::Write)
    }
}

const VISITS: u64 = Pin::Visit.mask() | Pin::VisitMut.mask();
const GUARDS: u64 = Pin::Read.mask() | Pin::Write.mask();
const WRITERS: u64 = Pin::VisitMut.mask() | Pin::Write.mask();

/// The result of [`Table::enter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entered {
    /// The page is resident and pinned.
    Pinned,
    /// The page is absent, and the calling thread is the one to load it.
    Claimed,
    /// The page has as many pins of this kind as can be counted.
    Full,
}

/// The state of a page at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Look(u64);

impl Look {
    /// Returns whether a thread loads, evicts or writes back the page, which it does without waiting for another page.
    pub(crate) fn is_busy(self) -> bool {
        self.0 & STATE == TRANSIT || self.0 & WRITING != 0
    }

    pub(crate) fn is_resident(self) -> bool {
        self.0 & STATE == RESIDENT
    }

    pub(crate) fn is_pinned(self) -> bool {
        self.0 & (VISITS | GUARDS) != 0
    }

    /// Returns whether a guard pins the page.
    pub(crate) fn is_lent(self) -> bool {
        self.0 & GUARDS != 0
    }

    pub(crate) fn is_dirty(self) -> bool {
        self.0 & DIRTY != 0
    }

    pub(crate) fn is_referenced(self) -> bool {
        self.0 & REFERENCED != 0
    }
}

/// The threads that wait for a page of one group.
struct Waiters {
    // Zero means that no system call is needed to wake them.
    count: Mutex<usize>,
    changed: Condvar,
}

/// The states of all pages, and the threads that wait for them.
pub(crate) struct Table {
    // Invariant of a word: pins and flags are zero unless the state is RESIDENT. The first lines of this
    // file says which thread may change it.
    words: Box<[AtomicU64]>,
    waiters: [Waiters; GROUPS],
    // The number of words with DIRTY, possibly a moment late.
    dirty: AtomicUsize,
}

impl Table {
    /// Returns a table of absent pages, or `None` if there is no memory for it.
    pub(crate) fn new(pages: usize) -> Option<Table> {
        Some(Table {
            words: zeroed_words(pages)?,
            waiters: std::array::from_fn(|_| Waiters {
                count: Mutex::new(0),
                changed: Condvar::new(),
            }),
            dirty: AtomicUsize::new(0),
        })
    }

    /// Returns how many pages are dirty.
    pub(crate) fn dirty_pages(&self) -> usize {
        self.dirty.load(Ordering::Relaxed)
    }

    pub(crate) fn look(&self, page: usize) -> Look {
        Look(self.words[page].load(Ordering::Acquire))
    }

    /// Pins a resident page that nothing is done with at the moment. Also `false` if another thread touches its word.
    #[inline]
    pub(crate) fn try_pin(&self, page: usize, pin: Pin) -> bool {
        let word = &self.words[page];
        let seen = word.load(Ordering::Relaxed);
        let is_full = seen & pin.mask() == pin.mask();
        if seen & (STATE | WRITING) != RESIDENT || is_full || pin.is_mut() && seen & DIRTY == 0 {
            return false;
        }
        // Acquire: the contents were put there before the page was published or unpinned, and its memory is committed;
        // what a writer stores comes after the end of the last write-back.
        let next = (seen + pin.one()) | REFERENCED;
        let order = Ordering::Acquire;
        word.compare_exchange(seen, next, order, Ordering::Relaxed)
            .is_ok()
    }

    /// Pins a resident page, or claims an absent one. Waits while another thread loads or evicts the page, and before a
    /// pin for writing also while another thread writes it back. Calls `waits` before each wait.
    pub(crate) fn enter(&self, page: usize, pin: Pin, mut waits: impl FnMut()) -> Entered {
        let word = &self.words[page];
        let blocks = |seen: u64| match seen & STATE {
            ABSENT => false,
            RESIDENT => pin.is_mut() && seen & WRITING != 0,
            _ => true,
        };
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            if blocks(seen) {
                waits();
                self.wait_while(page, blocks);
                seen = word.load(Ordering::Relaxed);
                continue;
            }
            let (next, entered) = if seen & STATE == ABSENT {
                (CLAIMED, Entered::Claimed)
            } else if seen & pin.mask() == pin.mask() {
                return Entered::Full;
            } else {
                let dirty = if pin.is_mut() { DIRTY } else { 0 };
                ((seen + pin.one()) | REFERENCED | dirty, Entered::Pinned)
            };
            // Acquire: the contents were put there before the page was published or unpinned, and its memory is
            // committed; what a writer stores comes after the end of the last write-back.
            match word.compare_exchange_weak(seen, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => {
                    if entered == Entered::Pinned {
                        self.note_dirty(seen, next);
                    }
                    return entered;
                }
                Err(now) => seen = now,
            }
        }
    }

    /// Takes a pin off.
    #[inline]
    pub(crate) fn unpin(&self, page: usize, pin: Pin) {
        // Release: the accesses under the pin come before the eviction or the write-back that finds no pin.
        let before = self.words[page].fetch_sub(pin.one(), Ordering::Release);
        debug_assert!(before & STATE == RESIDENT && before & pin.mask() != 0);
    }

    /// Claims an absent page. Returns `false` if it is not absent.
    pub(crate) fn try_claim(&self, page: usize) -> bool {
        self.change(page, |seen| (seen & STATE == ABSENT).then_some(CLAIMED))
    }

    /// Gives a claim up.
    pub(crate) fn unclaim(&self, page: usize) {
        self.leave_for(page, CLAIMED, ABSENT);
    }

    /// Says that the claimed page has memory now.
    pub(crate) fn start_loading(&self, page: usize) {
        let before = self.words[page].swap(TRANSIT, Ordering::Relaxed);
        debug_assert_eq!(before, CLAIMED);
    }

    /// Says that the page in transit has its contents, and pins it.
    pub(crate) fn publish(&self, page: usize, pin: Option<Pin>) {
        let next = match pin {
            Some(pin) if pin.is_mut() => RESIDENT | DIRTY | pin.one(),
            Some(pin) => RESIDENT | pin.one(),
            // Read ahead: one round of the clock to be used in.
            None => RESIDENT | REFERENCED,
        };
        self.note_dirty(0, next);
        self.leave_for(page, TRANSIT, next);
    }

    /// Says that the page in transit has no memory any more.
    pub(crate) fn abandon(&self, page: usize) {
        self.leave_for(page, TRANSIT, ABSENT);
    }

    /// Says that the page in transit keeps its memory and contents after all.
    pub(crate) fn stay(&self, page: usize) {
        self.leave_for(page, TRANSIT, RESIDENT);
    }

    /// Puts a resident page in transit if it is clean and has no pins.
    pub(crate) fn try_leave(&self, page: usize) -> bool {
        let may_leave = |seen: u64| seen & !REFERENCED == RESIDENT;
        self.change(page, |seen| may_leave(seen).then_some(TRANSIT))
    }

    /// Puts a resident page without pins in transit, also if it is dirty: its contents are not wanted any more.
    pub(crate) fn try_discard(&self, page: usize) -> bool {
        let mut was_dirty = false;
        let left = self.change(page, |seen| {
            was_dirty = seen & DIRTY != 0;
            (seen & !(REFERENCED | DIRTY) == RESIDENT).then_some(TRANSIT)
        });
        if left && was_dirty {
            self.dirty.fetch_sub(1, Ordering::Relaxed);
        }
        left
    }

    /// Begins the write-back of a dirty page, if nothing writes to it: its contents do not change until
    /// [`written`](Table::written).
    pub(crate) fn try_write_back(&self, page: usize) -> bool {
        self.change(page, |seen| {
            let is_due = seen & (STATE | DIRTY | WRITING) == RESIDENT | DIRTY;
            (is_due && seen & WRITERS == 0).then_some(seen | WRITING)
        })
    }

    /// Ends a write-back. The page is clean if the store has its contents, else it stays dirty.
    pub(crate) fn written(&self, page: usize, is_stored: bool) {
        let cleared = if is_stored { WRITING | DIRTY } else { WRITING };
        // Release: the contents were read before a writer comes in.
        let before = self.words[page].fetch_and(!cleared, Ordering::Release);
        debug_assert_eq!(
            before & (STATE | DIRTY | WRITING),
            RESIDENT | DIRTY | WRITING
        );
        if is_stored {
            self.dirty.fetch_sub(1, Ordering::Relaxed);
        }
        self.wake_waiters(page);
    }

    /// Takes the mark of a touch off.
    pub(crate) fn unreference(&self, page: usize) {
        self.words[page].fetch_and(!REFERENCED, Ordering::Relaxed);
    }

    /// Waits until no thread loads, evicts or writes back the page.
    pub(crate) fn wait_until_idle(&self, page: usize) {
        self.wait_while(page, |seen| Look(seen).is_busy());
    }

    fn change(&self, page: usize, mut next: impl FnMut(u64) -> Option<u64>) -> bool {
        let order = Ordering::Acquire;
        let changed = self.words[page].fetch_update(order, Ordering::Relaxed, &mut next);
        changed.is_ok()
    }

    fn leave_for(&self, page: usize, from: u64, next: u64) {
        // Release: what was done with the memory comes before the next touch of the page.
        let before = self.words[page].swap(next, Ordering::Release);
        debug_assert_eq!(before, from);
        self.wake_waiters(page);
    }

    fn note_dirty(&self, before: u64, after: u64) {
        if before & DIRTY == 0 && after & DIRTY != 0 {
            self.dirty.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn waiters(&self, page: usize) -> &Waiters {
        &self.waiters[page % GROUPS]
    }

    fn wait_while(&self, page: usize, blocks: impl Fn(u64) -> bool) {
        let waiters = self.waiters(page);
        let mut count = waiters.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count += 1;
        while blocks(self.words[page].load(Ordering::Acquire)) {
            let woken = waiters.changed.wait(count);
            count = woken.unwrap_or_else(PoisonError::into_inner);
        }
        *count -= 1;
    }

    /// Wakes the threads that wait for a page of this page's group. The caller has changed the word before.
    fn wake_waiters(&self, page: usize) {
        let waiters = self.waiters(page);
        // A thread that has looked at the old word and does not wait yet holds the mutex.
        let count = waiters.count.lock().unwrap_or_else(PoisonError::into_inner);
        let is_waited_for = *count > 0;
        // The threads lock the mutex when they wake up, so it is unlocked before.
        drop(count);
        if is_waited_for {
            waiters.changed.notify_all();
        }
    }
}

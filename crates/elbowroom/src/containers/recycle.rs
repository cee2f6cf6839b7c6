//! Prefixes whose owners are gone, kept for the next.
//!
//! A small container that comes and goes would cost five system calls and a page fault for each page. So a prefix that
//! ends is kept for a while, its pages committed and in memory, and the next that fits takes it: neither makes a system
//! call. What is kept is little, charged to no budget, and given back when memory runs out or somebody asks.
//!
//! There are eight *shelves*, so that threads hardly ever meet: a thread begins with one chosen by its number. A shelf
//! is only ever tried, never waited for. Whoever finds it busy goes on to the next, and at last to the system; so a
//! signal handler or a forked child that finds one held by code that will not run on is none the worse for it.
//!
//! Each shelf bounds the pages that are committed for nobody: those of the prefixes on it, and the *warm* ones of
//! prefixes that were taken from it and have not grown into them yet. Without the latter, a program that makes a small
//! vector whenever a large one has gone would keep the memory of all the large ones.

#![allow(unsafe_code, reason = "a shelf is shared by threads")]

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::prefix::Inner;
use super::thread_hash;
use crate::page::PageCount;

const SHELF_COUNT: usize = 8;
/// How many prefixes a shelf holds.
const PLACES: usize = 8;
/// How much may be committed for nobody, by each shelf.
const SHELF_BYTES: usize = 2 << 20;
/// A prefix whose mapping is longer is not kept: address space is not endless either.
const MAPPING_BYTES_MAX: usize = 64 << 30;
/// A prefix goes back to the system when so many others have been put on its shelf since.
const AGE_MAX: u64 = 1000;

/// Gives the memory back that is kept warm for containers to come, and returns how many bytes of it were committed.
///
/// A container that is dropped may leave its pages to the next one of its kind, which then grows into them without a
/// system call. At most 16 MiB are kept so in a process, in at most 64 reservations, and charged to no [`Budget`]
/// (what a container has left is refunded to its own). They are given back when nothing has taken them over while some
/// thousand containers came and went, and when the system refuses memory to a container. What containers have named, or
/// asked huge pages for, is not kept. A container that has taken pages over and not grown into them yet holds them,
/// within those 16 MiB, until it ends or shrinks.
///
/// [`Budget`]: crate::Budget
pub fn trim() -> usize {
    SHELVES.give_back_all().committed_bytes
}

/// What was given back to the system.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GivenBack {
    pub(super) prefixes: usize,
    pub(super) committed_bytes: usize,
}

/// Prefixes, the one that was put there last at the end.
struct Places {
    prefixes: [Option<Kept>; PLACES],
    // How many prefixes were put here so far.
    clock: u64,
}

struct Kept {
    // Its committed pages are counted by the shelf.
    inner: Box<Inner>,
    since: u64,
}

impl Kept {
    fn release(old: Option<Kept>) {
        if let Some(kept) = old {
            kept.inner.release();
        }
    }
}

/// Each on cache lines of its own.
#[repr(align(128))]
struct Shared {
    is_busy: AtomicBool,
    // Invariant: touched only by who set `is_busy`.
    places: UnsafeCell<Places>,
    // How many prefixes there are, for who looks from outside.
    count: AtomicUsize,
    // The pages that are committed for nobody. Invariant: at most `SHELF_BYTES`; grows only under `is_busy`.
    pages: AtomicUsize,
}

// SAFETY: `places` is touched by one thread at a time (invariant), and what is in it may be used by any thread.
unsafe impl Sync for Shared {}

/// All that the process keeps.
pub(super) static SHELVES: Shelves = Shelves::new();

pub(super) struct Shelves([Shared; SHELF_COUNT]);

/// One of them.
#[derive(Clone, Copy)]
pub(super) struct Shelf(&'static Shared);

impl PartialEq for Shelf {
    fn eq(&self, other: &Shelf) -> bool {
        ptr::eq(self.0, other.0)
    }
}

impl Shelf {
    fn try_lock(self) -> Option<Locked> {
        let Shelf(shared) = self;
        // A look first: it does not take the cache line away from who has it.
        let is_free = !shared.is_busy.load(Ordering::Relaxed) && !shared.is_busy.swap(true, Ordering::Acquire);
        // Only made where it was taken: its drop gives it back.
        is_free.then(|| Locked { shared })
    }

    /// Pages that were committed for nobody have found an owner, or are gone.
    pub(super) fn uncount(self, pages: PageCount) {
        self.0.pages.fetch_sub(pages.get(), Ordering::Relaxed);
    }
}

/// Exclusive access to what is on a shelf.
struct Locked {
    shared: &'static Shared,
}

impl Deref for Locked {
    type Target = Places;

    fn deref(&self) -> &Places {
        // SAFETY: this exists only while its thread is the one that set `is_busy`.
        unsafe { &*self.shared.places.get() }
    }
}

impl DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut Places {
        // SAFETY: as above, and borrowed exclusively.
        unsafe { &mut *self.shared.places.get() }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.shared.count.store(self.len(), Ordering::Relaxed);
        self.shared.is_busy.store(false, Ordering::Release);
    }
}

impl Places {
    /// They are the first of the places.
    fn len(&self) -> usize {
        self.prefixes.iter().take_while(|place| place.is_some()).count()
    }

    /// To be called for each prefix that might be put here: takes out the oldest one when it has been here for too
    /// long. It is to be released when the shelf is free again.
    fn grow_older(&mut self) -> Option<Kept> {
        self.clock += 1;
        let oldest = self.prefixes.first()?.as_ref()?;
        if oldest.since + AGE_MAX < self.clock { self.remove(0) } else { None }
    }

    /// Takes one out and closes the gap.
    fn remove(&mut self, index: usize) -> Option<Kept> {
        let rest = self.prefixes.get_mut(index..)?;
        let kept = rest.first_mut()?.take();
        rest.rotate_left(1);
        kept
    }

    /// Puts one at the end. The place there is free.
    fn push(&mut self, inner: Box<Inner>) {
        let (end, since) = (self.len(), self.clock);
        if let Some(place) = self.prefixes.get_mut(end) {
            *place = Some(Kept { inner, since });
        }
    }
}

impl Shelves {
    const fn new() -> Shelves {
        Shelves(
            [const {
                Shared {
                    is_busy: AtomicBool::new(false),
                    places: UnsafeCell::new(Places { prefixes: [const { None }; PLACES], clock: 0 }),
                    count: AtomicUsize::new(0),
                    pages: AtomicUsize::new(0),
                }
            }; SHELF_COUNT],
        )
    }

    /// Each once, this thread's first.
    fn all(&'static self) -> impl Iterator<Item = Shelf> {
        let Shelves(shelves) = self;
        let (before, from) = shelves.split_at(thread_hash() % SHELF_COUNT);
        from.iter().chain(before).map(Shelf)
    }

    /// A prefix of at least `len` bytes, its base a multiple of `align`: the one that was put away last. It is not so
    /// long that somebody else would miss its addresses.
    pub(super) fn take(&'static self, len: usize, align: usize) -> Option<Box<Inner>> {
        let longest = len.max(1 << 20).saturating_mul(4);
        let fits = |kept: &Kept| {
            let (base, has) = kept.inner.place();
            base % align == 0 && len <= has && has <= longest
        };
        self.all().filter(|shelf| shelf.0.count.load(Ordering::Relaxed) > 0).find_map(|shelf| {
            let mut places = shelf.try_lock()?;
            let index = places.prefixes.iter().rposition(|place| place.as_ref().is_some_and(fits))?;
            // Its pages stay counted here until they are its new owner's.
            Some(places.remove(index)?.inner)
        })
    }

    /// Keeps a prefix whose owner is done with it, or gives it back.
    pub(super) fn put(&'static self, mut inner: Box<Inner>) -> Result<(), Box<Inner>> {
        let (_, len) = inner.place();
        let (backed, pages_max) = (inner.backed(), PageCount::inside(SHELF_BYTES));
        if !inner.is_plain() || len > MAPPING_BYTES_MAX || backed > pages_max {
            return Err(inner);
        }
        for shelf in self.all() {
            let Some(mut places) = shelf.try_lock() else { continue };
            let old = places.grow_older();
            let warm = inner.warm();
            // What is warm may be counted here already.
            let more = match warm {
                Some((pages, counted_on)) if counted_on == shelf => backed.saturating_sub(pages),
                _ => backed,
            };
            let has_room = shelf.0.pages.load(Ordering::Relaxed) + more.get() <= pages_max.get();
            let is_kept = has_room && places.len() < PLACES;
            if is_kept {
                shelf.0.pages.fetch_add(more.get(), Ordering::Relaxed);
                if let Some((pages, counted_on)) = warm.filter(|&(_, counted_on)| counted_on != shelf) {
                    counted_on.uncount(pages);
                }
                inner.end(shelf);
                places.push(inner);
                drop(places);
                Kept::release(old);
                return Ok(());
            }
            drop(places);
            Kept::release(old);
        }
        Err(inner)
    }

    /// Gives all prefixes back to the system that are not just being taken or put away.
    pub(super) fn give_back_all(&'static self) -> GivenBack {
        let mut given_back = GivenBack::default();
        for shelf in self.all() {
            while let Some(mut kept) = shelf.try_lock().and_then(|mut places| places.remove(0)) {
                given_back.prefixes += 1;
                given_back.committed_bytes += kept.inner.backed().bytes();
                kept.inner.release();
            }
        }
        given_back
    }
}

#[cfg(all(test, not(loom)))]
mod tests;

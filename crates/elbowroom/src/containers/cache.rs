//! Keeps the memory of containers that are gone for the next ones.
//!
//! A small container that comes and goes would cost five system calls, and a page fault for each page. So
//! the memory of a container is kept for a while after its end, its pages committed and resident, and the
//! next container that fits takes it over: neither makes a system call. The cache is small, charged to no
//! budget, and given back when memory runs out or the program asks for it.
//!
//! There are eight *bins*, so that threads rarely meet: a thread begins with one chosen by its number. A bin
//! is only tried, never waited for. A thread that finds a bin busy goes on to the next, and at last to the
//! system; so a bin that is held by code that will not run on (below a signal handler, or in the parent of a
//! forked child) is no harm.
//!
//! Each bin bounds the pages that are committed without an owner: those of the memory in it, and the *warm*
//! pages of containers that have taken memory from it and have not grown into it yet. Without the latter, a
//! program that makes a small vector whenever a large one has gone would keep the memory of all the large
//! ones.

#![allow(unsafe_code, reason = "a bin is shared by threads")]

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::page::PageCount;
use crate::sync::thread_hash;

const BIN_COUNT: usize = 8;
/// How many entries a bin holds.
const PLACES: usize = 8;
/// How much may be committed without an owner, by each bin.
const BIN_BYTES: usize = 2 << 20;
/// A longer mapping is not kept, because address space is limited.
const MAPPING_BYTES_MAX: usize = 64 << 30;
/// An entry goes back to the system when this many others have been put into its bin since.
const AGE_MAX: u64 = 1000;

/// Memory that the cache keeps.
pub(super) trait Cached: Send + Sized + 'static {
    /// Returns the base address and the length in bytes.
    fn place(&self) -> (usize, usize);

    /// Returns how many pages are committed.
    fn backed(&mut self) -> PageCount;

    /// Returns whether it has no properties that the next owner would notice, such as a name.
    fn is_plain(&mut self) -> bool;

    /// Returns how many pages are committed without an owner, and the bin that counts them.
    fn warm(&mut self) -> Option<(PageCount, Bin<Self>)>;

    /// Ends the time of the owner: committed pages become warm, and are counted on `bin`.
    fn end(&mut self, bin: Bin<Self>);

    /// Gives the memory back to the system. Returns whether at least nothing of it is committed any more.
    fn release(self: Box<Self>) -> bool;
}

/// What was given back to the system.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GivenBack {
    pub(super) prefixes: usize,
    pub(super) committed_bytes: usize,
}

/// Prefixes, the one that was put there last at the end.
struct Places<T> {
    prefixes: [Option<Kept<T>>; PLACES],
    // How many prefixes were put here so far.
    clock: u64,
}

struct Kept<T> {
    // Its committed pages are counted by the bin.
    inner: Box<T>,
    since: u64,
}

impl<T: Cached> Kept<T> {
    fn release(old: Option<Kept<T>>) {
        if let Some(kept) = old {
            kept.inner.release();
        }
    }
}

/// Each on cache lines of its own.
#[repr(align(128))]
struct Shared<T> {
    is_busy: AtomicBool,
    // Invariant: touched only by the thread that set `is_busy`.
    places: UnsafeCell<Places<T>>,
    // How many entries there are, for a look without `is_busy`.
    count: AtomicUsize,
    // The pages that are committed without an owner. Invariant: at most `BIN_BYTES`; grows only under `is_busy`.
    pages: AtomicUsize,
}

// SAFETY: `places` is touched by one thread at a time (invariant), and what is in it may be used by any thread.
unsafe impl<T: Send> Sync for Shared<T> {}

/// The bins of a cache.
pub(super) struct Cache<T: 'static>([Shared<T>; BIN_COUNT]);

/// One of the bins.
pub(super) struct Bin<T: 'static>(&'static Shared<T>);

impl<T> Clone for Bin<T> {
    fn clone(&self) -> Bin<T> {
        *self
    }
}

impl<T> Copy for Bin<T> {}

impl<T> PartialEq for Bin<T> {
    fn eq(&self, other: &Bin<T>) -> bool {
        ptr::eq(self.0, other.0)
    }
}

impl<T> Bin<T> {
    fn try_lock(self) -> Option<Locked<T>> {
        let Bin(shared) = self;
        // A look first: it does not take the cache line away from who has it.
        let is_free = !shared.is_busy.load(Ordering::Relaxed)
            && !shared.is_busy.swap(true, Ordering::Acquire);
        // Only made where it was taken: its drop gives it back.
        is_free.then(|| Locked { shared })
    }

    /// Notes that pages that were committed without an owner have an owner now, or are gone.
    pub(super) fn uncount(self, pages: PageCount) {
        self.0.pages.fetch_sub(pages.get(), Ordering::Relaxed);
    }
}

/// Exclusive access to what is on a bin.
struct Locked<T: 'static> {
    shared: &'static Shared<T>,
}

impl<T> Deref for Locked<T> {
    type Target = Places<T>;

    fn deref(&self) -> &Places<T> {
        // SAFETY: this exists only while its thread is the one that set `is_busy` (invariant of `places`), and is
        // borrowed, so no `&mut` from it lives.
        unsafe { &*self.shared.places.get() }
    }
}

impl<T> DerefMut for Locked<T> {
    fn deref_mut(&mut self) -> &mut Places<T> {
        // SAFETY: this exists only while its thread is the one that set `is_busy`, and is borrowed exclusively, so no
        // other reference from it lives.
        unsafe { &mut *self.shared.places.get() }
    }
}

impl<T> Drop for Locked<T> {
    fn drop(&mut self) {
        self.shared.count.store(self.len(), Ordering::Relaxed);
        self.shared.is_busy.store(false, Ordering::Release);
    }
}

impl<T> Places<T> {
    /// They are the first of the places.
    fn len(&self) -> usize {
        self.prefixes
            .iter()
            .take_while(|place| place.is_some())
            .count()
    }

    /// To be called for each prefix that might be put here: takes out the oldest one when it has been here for too
    /// long. It is to be released when the bin is free again.
    fn grow_older(&mut self) -> Option<Kept<T>> {
        self.clock += 1;
        let oldest = self.prefixes.first()?.as_ref()?;
        if oldest.since + AGE_MAX < self.clock {
            self.remove(0)
        } else {
            None
        }
    }

    /// Takes one out and closes the gap.
    fn remove(&mut self, index: usize) -> Option<Kept<T>> {
        let rest = self.prefixes.get_mut(index..)?;
        let kept = rest.first_mut()?.take();
        rest.rotate_left(1);
        kept
    }

    /// Puts one at the end. The place there is free.
    fn push(&mut self, inner: Box<T>) {
        let (end, since) = (self.len(), self.clock);
        if let Some(place) = self.prefixes.get_mut(end) {
            *place = Some(Kept { inner, since });
        }
    }
}

impl<T: Cached> Cache<T> {
    pub(super) const fn new() -> Cache<T> {
        Cache(
            [const {
                Shared {
                    is_busy: AtomicBool::new(false),
                    places: UnsafeCell::new(Places {
                        prefixes: [const { None }; PLACES],
                        clock: 0,
                    }),
                    count: AtomicUsize::new(0),
                    pages: AtomicUsize::new(0),
                }
            }; BIN_COUNT],
        )
    }

    /// Each once, this thread's first.
    fn all(&'static self) -> impl Iterator<Item = Bin<T>> {
        let Cache(bins) = self;
        let (before, from) = bins.split_at(thread_hash() % BIN_COUNT);
        from.iter().chain(before).map(Bin)
    }

    /// A prefix of at least `len` bytes, its base a multiple of `align`: the one that was put away last. It is not so
    /// long that others would miss its addresses.
    pub(super) fn take(&'static self, len: usize, align: usize) -> Option<Box<T>> {
        let longest = len.max(1 << 20).saturating_mul(4);
        let fits = |kept: &Kept<T>| {
            let (base, has) = kept.inner.place();
            base % align == 0 && len <= has && has <= longest
        };
        self.all()
            .filter(|bin| bin.0.count.load(Ordering::Relaxed) > 0)
            .find_map(|bin| {
                let mut places = bin.try_lock()?;
                let index = places
                    .prefixes
                    .iter()
                    .rposition(|place| place.as_ref().is_some_and(fits))?;
                // Its pages stay counted here until they are its new owner's.
                Some(places.remove(index)?.inner)
            })
    }

    /// Keeps a prefix whose owner is done with it, or gives it back.
    pub(super) fn put(&'static self, mut inner: Box<T>) -> Result<(), Box<T>> {
        let (_, len) = inner.place();
        let (backed, pages_max) = (inner.backed(), PageCount::inside(BIN_BYTES));
        if !inner.is_plain() || len > MAPPING_BYTES_MAX || backed > pages_max {
            return Err(inner);
        }
        for bin in self.all() {
            let Some(mut places) = bin.try_lock() else {
                continue;
            };
            let old = places.grow_older();
            let warm = inner.warm();
            // What is warm may be counted here already.
            let more = match warm {
                Some((pages, counted_on)) if counted_on == bin => backed.saturating_sub(pages),
                _ => backed,
            };
            let has_room = bin.0.pages.load(Ordering::Relaxed) + more.get() <= pages_max.get();
            let is_kept = has_room && places.len() < PLACES;
            if is_kept {
                bin.0.pages.fetch_add(more.get(), Ordering::Relaxed);
                if let Some((pages, counted_on)) = warm.filter(|&(_, counted_on)| counted_on != bin)
                {
                    counted_on.uncount(pages);
                }
                inner.end(bin);
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
        for bin in self.all() {
            while let Some(mut kept) = bin.try_lock().and_then(|mut places| places.remove(0)) {
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

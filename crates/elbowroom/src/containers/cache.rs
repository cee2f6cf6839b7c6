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
//! Each bin bounds the pages that are committed without an owner: those of the memory it *keeps*, and the *warm*
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
    /// Returns the length in bytes.
    fn len(&self) -> usize;

    /// Returns how many pages are committed.
    fn backed(&mut self) -> PageCount;

    /// Returns whether it has no properties that the next owner would notice, such as a name.
    fn is_plain(&mut self) -> bool;

    /// Returns how many pages are committed without an owner, and the bin that counts them.
    fn warm(&mut self) -> Option<(PageCount, Bin<Self>)>;

    /// Ends the time of the owner: no page has one, and `warm` is nothing.
    fn end(&mut self);

    /// Notes the bin that counts what is warm.
    fn set_bin(&mut self, bin: Bin<Self>);

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
    // Invariant: the first `len` are taken, and no others.
    prefixes: [Option<Kept<T>>; PLACES],
    len: usize,
    // The committed pages of the prefixes.
    pages: PageCount,
    // How many prefixes were put here so far.
    clock: u64,
}

struct Kept<T> {
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
    // How many prefixes there are, for a look without `is_busy`.
    len: AtomicUsize,
    // The warm pages of containers whose memory was here. Invariant: with the pages of `places`, at most `BIN_BYTES`;
    // grows only under `is_busy`.
    warm_pages: AtomicUsize,
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
        self.0.warm_pages.fetch_sub(pages.get(), Ordering::Relaxed);
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
        self.shared.len.store(self.len, Ordering::Relaxed);
        self.shared.is_busy.store(false, Ordering::Release);
    }
}

impl<T: Cached> Places<T> {
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
        let rest = self.prefixes.get_mut(index..self.len)?;
        let mut kept = rest.first_mut()?.take()?;
        if rest.len() > 1 {
            rest.rotate_left(1);
        }
        self.len -= 1;
        self.pages = self.pages.saturating_sub(kept.inner.backed());
        Some(kept)
    }

    /// Puts one at the end. There is a place.
    fn push(&mut self, mut inner: Box<T>) {
        if let Some(place) = self.prefixes.get_mut(self.len) {
            self.len += 1;
            self.pages = PageCount::new(self.pages.get() + inner.backed().get());
            let since = self.clock;
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
                        len: 0,
                        pages: PageCount::ZERO,
                        clock: 0,
                    }),
                    len: AtomicUsize::new(0),
                    warm_pages: AtomicUsize::new(0),
                }
            }; BIN_COUNT],
        )
    }

    /// Each once, this thread's first.
    fn all(&'static self) -> impl Iterator<Item = Bin<T>> {
        let (Cache(bins), first) = (self, thread_hash());
        (first..first + BIN_COUNT).filter_map(|number| bins.get(number % BIN_COUNT).map(Bin))
    }

    /// Takes the prefix that was put away last, of those that fit. Has `begin` give it an owner, under a lock; that
    /// returns how many of its pages are still warm.
    pub(super) fn take(
        &'static self,
        fits: impl Fn(&T) -> bool,
        begin: impl FnOnce(&mut T) -> PageCount,
    ) -> Option<Box<T>> {
        for bin in self.all() {
            if bin.0.len.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let Some(mut places) = bin.try_lock() else {
                continue;
            };
            let (kept, _) = places.prefixes.split_at(places.len);
            let index = kept
                .iter()
                .rposition(|place| place.as_ref().is_some_and(|kept| fits(&kept.inner)));
            let Some(Kept { mut inner, .. }) = index.and_then(|index| places.remove(index)) else {
                continue;
            };
            inner.set_bin(bin);
            let warm = begin(&mut inner);
            if warm != PageCount::ZERO {
                bin.0.warm_pages.fetch_add(warm.get(), Ordering::Relaxed);
            }
            return Some(inner);
        }
        None
    }

    /// Keeps a prefix whose owner is done with it, or gives it back.
    pub(super) fn put(&'static self, mut inner: Box<T>) -> Result<(), Box<T>> {
        let (backed, pages_max) = (inner.backed(), PageCount::inside(BIN_BYTES));
        if !inner.is_plain() || inner.len() > MAPPING_BYTES_MAX || backed > pages_max {
            return Err(inner);
        }
        let (warm, counted_on) = match inner.warm() {
            Some((pages, bin)) => (pages, Some(bin)),
            None => (PageCount::ZERO, None),
        };
        for bin in self.all() {
            let Some(mut places) = bin.try_lock() else {
                continue;
            };
            let old = places.grow_older();
            // What is warm may be counted here already.
            let more = if counted_on == Some(bin) {
                backed.saturating_sub(warm)
            } else {
                backed
            };
            let counted = places.pages.get() + bin.0.warm_pages.load(Ordering::Relaxed);
            let is_kept = counted + more.get() <= pages_max.get() && places.len < PLACES;
            if is_kept {
                if let Some(counted_on) = counted_on.filter(|_| warm != PageCount::ZERO) {
                    counted_on.uncount(warm);
                }
                inner.end();
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

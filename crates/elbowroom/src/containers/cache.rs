//! Keeps the memory of dropped containers for new ones.
//!
//! A small container that is made and dropped would cost five system calls and a page fault for each page. So its
//! memory is kept for a while after its end, with its pages committed and resident. The next container that fits takes
//! the memory over, and neither makes a system call. The cache is small and charged to no budget. It is given back when
//! memory runs out or when the program asks for it.
//!
//! There are eight *bins*, so that threads rarely contend: a thread begins with a bin chosen by its number. A thread
//! only tries a bin and never waits for it. If the bin is busy, the thread goes on to the next, and finally to the
//! system. So a bin that stays locked does no harm, whether its holder was interrupted by a signal handler or was lost
//! in a fork.
//!
//! Each bin bounds the committed pages that have no owner: those of the memory it *keeps*, and the *warm* pages, which
//! a container has taken from the bin and not grown into yet. Without the warm pages in the count, a program that makes
//! a small vector after each large one would keep the memory of all the large ones.

#![allow(unsafe_code, reason = "a bin is shared by threads")]

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::page::PageCount;
use crate::sync::thread_hash;

const BIN_COUNT: usize = 8;
/// The number of entries in a bin.
const PLACES: usize = 8;
/// The largest number of bytes without an owner, for each bin.
const BIN_BYTES: usize = 2 << 20;
/// Longer mappings are not kept, because address space is limited.
const MAPPING_BYTES_MAX: usize = 64 << 30;
/// An entry goes back to the system once this many later entries have been put into its bin.
const AGE_MAX: u64 = 1000;

/// Memory that the cache keeps.
pub(super) trait Cached: Send + Sized + 'static {
    /// Returns the length in bytes.
    fn len(&self) -> usize;

    /// Returns how many pages are committed.
    fn backed(&mut self) -> PageCount;

    /// Returns whether it has no property that the next owner would notice, such as a name.
    fn is_plain(&mut self) -> bool;

    /// Returns how many pages are committed without an owner, and the bin that counts them.
    fn warm(&mut self) -> Option<(PageCount, Bin<Self>)>;

    /// Ends the owner's use: no page has an owner, and `warm` returns `None`.
    fn end(&mut self);

    /// Stores the bin that counts the warm pages.
    fn set_bin(&mut self, bin: Bin<Self>);

    /// Gives the memory back to the system. Returns whether no page of it is committed any more.
    fn release(self: Box<Self>) -> bool;
}

/// The memory that was given back to the system.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GivenBack {
    pub(super) prefixes: usize,
    pub(super) committed_bytes: usize,
}

/// The prefixes of a bin; the latest one is at the end.
struct Places<T> {
    // Invariant: exactly the first `len` are occupied.
    prefixes: [Option<Kept<T>>; PLACES],
    len: usize,
    // The committed pages of the prefixes.
    pages: PageCount,
    // The number of prefixes that were put here so far.
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

/// A bin, on cache lines of its own.
#[repr(align(128))]
struct Shared<T> {
    is_busy: AtomicBool,
    // Invariant: accessed only by the thread that set `is_busy`.
    places: UnsafeCell<Places<T>>,
    // The number of prefixes, to be read without `is_busy`.
    len: AtomicUsize,
    // The warm pages of containers whose memory was here. Invariant: together with the pages of `places`, at most
    // `BIN_BYTES`; increased only under `is_busy`.
    warm_pages: AtomicUsize,
}

// SAFETY: one thread at a time accesses `places` (invariant), and its contents are Send.
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
        // A plain load first: it does not take the cache line away from the thread that holds the bin.
        let is_free = !shared.is_busy.load(Ordering::Relaxed)
            && !shared.is_busy.swap(true, Ordering::Acquire);
        // `Locked` is constructed only if the bin was taken, because its drop releases the bin.
        is_free.then(|| Locked { shared })
    }

    /// Removes pages from the count, because they have an owner now or are no longer committed.
    pub(super) fn uncount(self, pages: PageCount) {
        self.0.warm_pages.fetch_sub(pages.get(), Ordering::Relaxed);
    }
}

/// Exclusive access to the contents of a bin.
struct Locked<T: 'static> {
    shared: &'static Shared<T>,
}

impl<T> Deref for Locked<T> {
    type Target = Places<T>;

    fn deref(&self) -> &Places<T> {
        // SAFETY: this value exists only while its thread is the one that set `is_busy` (invariant of `places`). It is
        // borrowed, so no `&mut` obtained from it is alive.
        unsafe { &*self.shared.places.get() }
    }
}

impl<T> DerefMut for Locked<T> {
    fn deref_mut(&mut self) -> &mut Places<T> {
        // SAFETY: this value exists only while its thread is the one that set `is_busy` (invariant of `places`). It is
        // borrowed exclusively, so no other reference obtained from it is alive.
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
    /// Takes out the oldest prefix if it has been here for too long. Called for each prefix that could be put here. The
    /// result must be released after the bin is unlocked.
    fn grow_older(&mut self) -> Option<Kept<T>> {
        self.clock += 1;
        let oldest = self.prefixes.first()?.as_ref()?;
        if oldest.since + AGE_MAX < self.clock {
            self.remove(0)
        } else {
            None
        }
    }

    /// Takes out one prefix and closes the gap.
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

    /// Puts a prefix at the end. There must be a free place.
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

    /// Returns every bin once, beginning with this thread's.
    fn all(&'static self) -> impl Iterator<Item = Bin<T>> {
        let (Cache(bins), first) = (self, thread_hash());
        (first..first + BIN_COUNT).filter_map(|number| bins.get(number % BIN_COUNT).map(Bin))
    }

    /// Takes the most recent prefix that fits. `begin` gives it an owner, under the bin's lock, and returns how many of
    /// its pages are still warm.
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

    /// Keeps a prefix that its owner no longer uses, or returns it.
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
            // The bin may already count its warm pages.
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

    /// Gives all prefixes back to the system, except those that a thread is taking or putting at the moment.
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

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
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

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
    /// Returns what the owner leaves behind.
    fn left(&mut self) -> Left<Self>;

    /// Ends the owner's use: no page has an owner, and none is warm.
    fn end(&mut self);

    /// Gives the memory back to the system. Returns whether no page of it is committed any more.
    fn release(self: Box<Self>) -> bool;
}

/// The state of memory whose owner has ended.
pub(super) struct Left<T: 'static> {
    /// The length in bytes.
    pub(super) len: usize,
    /// The number of committed pages.
    pub(super) backed: PageCount,
    /// The number of them that have no owner, at most `backed`.
    pub(super) warm: PageCount,
    /// The bin that counts the warm pages.
    pub(super) bin: Option<Bin<T>>,
    /// Whether it has no property that the next owner would notice, such as a name.
    pub(super) is_plain: bool,
}

/// The memory that was given back to the system.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GivenBack {
    pub(super) prefixes: usize,
    pub(super) committed_bytes: usize,
}

/// The prefixes of a bin; the latest one is at the end.
struct Places<T> {
    // Invariant: exactly the first ones are occupied, as many as `Shared::state` says while the bin is free, and
    // `Locked::len` while it is locked.
    prefixes: [Option<Kept<T>>; PLACES],
    // The committed pages of the prefixes.
    pages: usize,
    // The number of prefixes that were put here so far.
    clock: u64,
}

struct Kept<T> {
    inner: Box<T>,
    // The number of committed pages.
    pages: usize,
    since: u64,
}

/// A bin, on cache lines of its own.
#[repr(align(128))]
struct Shared<T> {
    // The number of prefixes, or BUSY while a thread has the bin.
    state: AtomicUsize,
    // Invariant: accessed only by the thread that changed `state` to BUSY.
    places: UnsafeCell<Places<T>>,
    // The warm pages of containers whose memory was here. Invariant: together with the pages of `places`, at most
    // `BIN_BYTES`; increased only by the thread that has the bin.
    warm_pages: AtomicUsize,
}

/// The state of a bin that a thread has.
const BUSY: usize = usize::MAX;

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

impl<T> Bin<T> {
    /// Takes the bin, unless it is busy. This takes the cache line away from other threads, so a caller that runs often
    /// looks at the state first.
    #[inline(always)]
    fn try_lock(self) -> Option<Locked<T>> {
        let Bin(shared) = self;
        match shared.state.swap(BUSY, Ordering::Acquire) {
            BUSY => None,
            // `Locked` is constructed only if the bin was taken, because its drop releases the bin.
            len => Some(Locked { shared, len }),
        }
    }

    /// Removes pages from the count, because they have an owner now or are no longer committed.
    pub(super) fn uncount(self, pages: PageCount) {
        self.0.warm_pages.fetch_sub(pages.get(), Ordering::Relaxed);
    }
}

/// Exclusive access to the contents of a bin.
struct Locked<T: 'static> {
    shared: &'static Shared<T>,
    // The number of prefixes.
    len: usize,
}

impl<T> Drop for Locked<T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.shared.state.store(self.len, Ordering::Release);
    }
}

impl<T> Locked<T> {
    #[inline(always)]
    fn places(&mut self) -> &mut Places<T> {
        // SAFETY: this value exists only while its thread is the one that changed `state` to BUSY (invariant of
        // `Shared::places`). It is borrowed exclusively, so no other reference obtained from it is alive.
        unsafe { &mut *self.shared.places.get() }
    }

    /// Takes out the oldest prefix if it has been here for too long. Called for each prefix that could be put here. The
    /// result must be released after the bin is unlocked.
    #[inline(always)]
    fn grow_older(&mut self) -> Option<Kept<T>> {
        let places = self.places();
        places.clock += 1;
        if let Some(oldest) = &places.prefixes[0] {
            if oldest.since + AGE_MAX < places.clock {
                return self.remove(0);
            }
        }
        None
    }

    /// Takes out one prefix, if there is one at this index, and closes the gap.
    fn remove(&mut self, mut index: usize) -> Option<Kept<T>> {
        if index >= self.len {
            return None;
        }
        self.len -= 1;
        let last = self.len;
        let places = self.places();
        let kept = places.prefixes[index].take();
        while index < last {
            places.prefixes.swap(index, index + 1);
            index += 1;
        }
        if let Some(kept) = &kept {
            places.pages -= kept.pages;
        }
        kept
    }

    /// Puts a prefix at the end. There must be a free place.
    #[inline(always)]
    fn push(&mut self, inner: Box<T>, pages: PageCount) {
        let (index, pages) = (self.len, pages.get());
        let places = self.places();
        places.pages += pages;
        let since = places.clock;
        places.prefixes[index] = Some(Kept {
            inner,
            pages,
            since,
        });
        self.len += 1;
    }
}

// Making and dropping a small container spends most of its time in `take` and `put`. They are written for unoptimised
// builds too, where each call of an iterator's method or of a closure costs more than the work itself.
impl<T: Cached> Cache<T> {
    pub(super) const fn new() -> Cache<T> {
        Cache(
            [const {
                Shared {
                    state: AtomicUsize::new(0),
                    places: UnsafeCell::new(Places {
                        prefixes: [const { None }; PLACES],
                        pages: 0,
                        clock: 0,
                    }),
                    warm_pages: AtomicUsize::new(0),
                }
            }; BIN_COUNT],
        )
    }

    /// Returns a bin; numbers that follow each other have different ones.
    #[inline(always)]
    fn bin(&'static self, number: usize) -> Bin<T> {
        // PANIC: the remainder of a division by the length is an index.
        Bin(&self.0[number % BIN_COUNT])
    }

    /// Takes the most recent prefix that fits. `begin` gives it an owner and the bin that counts its warm pages, under
    /// the bin's lock, and returns how many there are.
    #[inline(always)]
    pub(super) fn take(
        &'static self,
        fits: impl Fn(&T) -> bool,
        begin: impl FnOnce(&mut T, Bin<T>) -> PageCount,
    ) -> Option<Box<T>> {
        let first = thread_hash();
        let mut passed = 0;
        while passed < BIN_COUNT {
            let bin = self.bin(first + passed);
            passed += 1;
            let state = bin.0.state.load(Ordering::Relaxed);
            if state == 0 || state == BUSY {
                continue;
            }
            let Some(mut locked) = bin.try_lock() else {
                continue;
            };
            let mut index = locked.len;
            while index > 0 {
                index -= 1;
                let is_fit = match &locked.places().prefixes[index] {
                    Some(kept) => fits(&kept.inner),
                    None => false,
                };
                if !is_fit {
                    continue;
                }
                if let Some(Kept { mut inner, .. }) = locked.remove(index) {
                    let warm = begin(&mut inner, bin).get();
                    if warm != 0 {
                        bin.0.warm_pages.fetch_add(warm, Ordering::Relaxed);
                    }
                    return Some(inner);
                }
            }
        }
        None
    }

    /// Keeps a prefix that its owner no longer uses, or returns it.
    pub(super) fn put(&'static self, mut inner: Box<T>) -> Result<(), Box<T>> {
        let left = inner.left();
        let pages_max = PageCount::inside(BIN_BYTES).get();
        let backed = left.backed.get();
        if !left.is_plain || left.len > MAPPING_BYTES_MAX || backed > pages_max {
            return Err(inner);
        }
        let first = thread_hash();
        let mut passed = 0;
        while passed < BIN_COUNT {
            let bin = self.bin(first + passed);
            passed += 1;
            if bin.0.state.load(Ordering::Relaxed) == BUSY {
                continue;
            }
            let Some(mut locked) = bin.try_lock() else {
                continue;
            };
            let old = locked.grow_older();
            // The bin may already count its warm pages.
            let more = match left.bin {
                Some(counted_on) if ptr::eq(counted_on.0, bin.0) => backed - left.warm.get(),
                _ => backed,
            };
            let counted = locked.places().pages + bin.0.warm_pages.load(Ordering::Relaxed);
            let is_kept = counted + more <= pages_max && locked.len < PLACES;
            if is_kept {
                if left.warm.get() != 0 {
                    if let Some(counted_on) = left.bin {
                        counted_on.uncount(left.warm);
                    }
                }
                inner.end();
                locked.push(inner, left.backed);
                drop(locked);
                if let Some(old) = old {
                    old.inner.release();
                }
                return Ok(());
            }
            drop(locked);
            if let Some(old) = old {
                old.inner.release();
            }
        }
        Err(inner)
    }

    /// Gives all prefixes back to the system, except those that a thread is taking or putting at the moment.
    pub(super) fn give_back_all(&'static self) -> GivenBack {
        let mut given_back = GivenBack::default();
        let first = thread_hash();
        for number in first..first + BIN_COUNT {
            while let Some(kept) = self
                .bin(number)
                .try_lock()
                .and_then(|mut bin| bin.remove(0))
            {
                given_back.prefixes += 1;
                given_back.committed_bytes += PageCount::new(kept.pages).bytes();
                kept.inner.release();
            }
        }
        given_back
    }
}

#[cfg(all(test, not(loom)))]
mod tests;

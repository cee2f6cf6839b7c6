//! Distributes the indices of an `AppendVec` among threads, and records which elements are finished.
//!
//! ```text
//!          published            next      open = capacity
//!   | finished  | finished or not | unclaimed | no storage
//! ```
//!
//! *Claim.* A push takes a ticket by one fetch-and-add. A ticket below `open` is the index to write, and no other
//! thread has the same ticket. That is the usual case. A push of a slice takes several tickets at once.
//!
//! *Publish.* The thread that finishes the element at `published` advances `published` by a plain store. A thread that
//! finishes another element sets its flag, and a later thread (a reader, or one push in 256) advances `published` over
//! the flag. So there are two ways to pass an element: its own thread passes it, and is then the only thread that can,
//! because the flag is never set; or any thread passes it after the flag was set. `published` never decreases.
//!
//! *Holes.* A ticket is a hole if there is and will be no storage for it, or if the closure that should make its
//! element panicked. Holes are kept on a list under a lock. While there are holes, `open` is 0: every push goes to the
//! list, adds its ticket, and takes the lowest one, so holes are filled first. If the tickets given out last are all
//! holes, `next` is set back to the first of them, as if they had never been given out. This usually empties the list.
//! No thread owns a ticket on the list, so no ticket is given out twice.

mod holes;
#[cfg(all(test, loom))]
mod models;

use std::ops::Range;

use holes::{Holes, LockedHoles};

use crate::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// The number of elements finished out of order after which a push advances `published`, as a reader does.
const HELP_EVERY: usize = if cfg!(loom) { 2 } else { 256 };

/// The storage of the elements.
pub(super) trait Slots {
    type Error;

    /// Returns the number of elements that have storage. It never decreases while the vector is shared. The creation of
    /// the storage happens before this method returns.
    fn capacity(&self) -> usize;

    /// Makes storage for at least `needed` elements.
    fn grow(&self, needed: usize) -> Result<(), Self::Error>;

    /// Returns the flag of an element that has storage. The flag is 0 at first.
    fn flag(&self, index: usize) -> &AtomicU8;
}

/// A value on a cache line of its own, together with the adjacent line that the processor prefetches.
#[repr(align(128))]
struct Padded<T>(T);

/// The state of a vector's indices.
pub(super) struct Claims {
    // The next ticket. Invariant: every ticket below it is in use, finished, or on the list of holes. Decreased only
    // under the lock, over holes that are removed from the list in the same step.
    next: Padded<AtomicUsize>,
    // Invariant: every element below it is finished. Advances as described in the module documentation.
    published: Padded<AtomicUsize>,
    // Tickets below it are indices. Invariant: at most the capacity; 0 while there are holes. Written only under the
    // lock.
    open: Padded<AtomicUsize>,
    // Short: at most one entry for each thread, and one for each panic until the next push.
    holes: Holes,
}

impl Claims {
    #[cfg(not(loom))]
    pub(super) const fn new() -> Claims {
        Claims {
            next: Padded(AtomicUsize::new(0)),
            published: Padded(AtomicUsize::new(0)),
            open: Padded(AtomicUsize::new(0)),
            holes: Holes::new(),
        }
    }

    /// Claims an index, as [`claim_run`](Claims::claim_run) does. The caller writes the element and then calls
    /// [`publish`](Claims::publish), or [`give_back`](Claims::give_back).
    #[inline]
    pub(super) fn claim<S: Slots>(&self, slots: &S) -> Result<usize, S::Error> {
        self.claim_run(1, slots)
    }

    /// Claims `count` consecutive indices and returns the first. They are below the capacity, and no other thread has
    /// them. The caller writes the elements and then calls [`publish_run`](Claims::publish_run), or calls
    /// [`give_back`](Claims::give_back). `count` is at least 1, and at most the maximum of the vector.
    #[inline]
    pub(super) fn claim_run<S: Slots>(&self, count: usize, slots: &S) -> Result<usize, S::Error> {
        debug_assert!(count > 0);
        // No overflow: `count` is at most 2^47, because it is bounded by the address space, and it would take more than
        // 2^16 threads here at the same time to overflow.
        // Relaxed: the modifications of one atomic are totally ordered, which makes tickets distinct. Nothing that
        // other threads wrote is reached through a ticket alone; `open` synchronises the storage.
        let first = self.next.0.fetch_add(count, Ordering::Relaxed);
        // Acquire: pairs with `settle`, so the storage below `open` exists.
        if first + count <= self.open.0.load(Ordering::Acquire) {
            Ok(first)
        } else {
            self.claim_slowly(first, count, slots)
        }
    }

    #[cold]
    #[inline(never)]
    fn claim_slowly<S: Slots>(
        &self,
        first: usize,
        count: usize,
        slots: &S,
    ) -> Result<usize, S::Error> {
        let mut holes = self.holes.lock();
        holes.insert(first..first + count);
        loop {
            match holes.lowest_run(count) {
                Some(first) if first + count <= slots.capacity() => {
                    holes.take(first, count);
                    self.settle(holes, slots);
                    return Ok(first);
                }
                Some(first) => {
                    // Unlocked first: the call may run the program's code, which may push.
                    drop(holes);
                    let grown = slots.grow(first + count);
                    holes = self.holes.lock();
                    if let Err(error) = grown {
                        // This thread's tickets stay on the list, unless `next` was set back over them.
                        self.settle(holes, slots);
                        return Err(error);
                    }
                }
                None => {
                    // While the lock was free, `next` was set back over the tickets, or other threads have taken some
                    // of them.
                    // Relaxed: the modifications of one atomic are totally ordered, which makes tickets distinct.
                    let first = self.next.0.fetch_add(count, Ordering::Relaxed);
                    holes.insert(first..first + count);
                }
            }
        }
    }

    /// Gives up claimed indices whose elements were not written.
    #[cold]
    pub(super) fn give_back<S: Slots>(&self, indices: Range<usize>, slots: &S) {
        let mut holes = self.holes.lock();
        holes.insert(indices);
        self.settle(holes, slots);
    }

    /// Sets `next` back over the tickets given out last if they are holes, and sets `open` as the remaining holes
    /// allow.
    fn settle<S: Slots>(&self, mut holes: LockedHoles<'_>, slots: &S) {
        if let Some(Range { start, end }) = holes.highest() {
            // Relaxed: the modifications of one atomic are totally ordered. If another ticket was given out meanwhile,
            // its owner comes to the list, or the holes stay for the next thread that does.
            if self
                .next
                .0
                .compare_exchange(end, start, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
            {
                holes.remove_highest();
            }
        }
        let open = if holes.is_empty() {
            slots.capacity()
        } else {
            0
        };
        // Release: pairs with `claim`.
        self.open.0.store(open, Ordering::Release);
    }

    /// Opens tickets for storage that has been added.
    pub(super) fn reopen<S: Slots>(&self, slots: &S) {
        self.settle(self.holes.lock(), slots);
    }

    /// Marks as finished the element at an index that the caller has claimed and written.
    #[inline]
    pub(super) fn publish<S: Slots>(&self, index: usize, slots: &S) {
        self.publish_run(index..index + 1, slots);
    }

    /// Marks as finished the elements at indices that the caller has claimed and written.
    #[inline]
    pub(super) fn publish_run<S: Slots>(&self, indices: Range<usize>, slots: &S) {
        // Acquire: the elements finished before these happen before everything that this thread does next, so its own
        // store publishes them as well.
        if self.published.0.load(Ordering::Acquire) == indices.start {
            // No other thread advances `published` from here: that would need the flag of the first element, which is
            // not set. So a plain store suffices.
            // Release: pairs with the loads in `published`, `is_finished` and above.
            self.published.0.store(indices.end, Ordering::Release);
        } else {
            self.flag(indices, slots);
        }
    }

    /// Sets the flags of elements that are finished out of order.
    #[inline]
    fn flag<S: Slots>(&self, indices: Range<usize>, slots: &S) {
        let helps = indices.start / HELP_EVERY != indices.end / HELP_EVERY;
        // In descending order: a thread that sees the flag of the first element then sees all of them, so slices show
        // the whole run or no part of it.
        for index in indices.rev() {
            // Release: pairs with `is_flagged`.
            slots.flag(index).store(1, Ordering::Release);
        }
        if helps {
            self.published(slots);
        }
    }

    /// Returns the number of elements from the first on that are finished. All of them happen before this returns.
    /// Wait-free.
    #[inline]
    pub(super) fn published<S: Slots>(&self, slots: &S) -> usize {
        // Acquire: pairs with `publish` and `move_on`.
        let published = self.published.0.load(Ordering::Acquire);
        let capacity = slots.capacity();
        if published < capacity && is_flagged(slots, published) {
            return self.move_on(published, capacity, slots);
        }
        published
    }

    /// Advances `published` over flags that are set.
    #[cold]
    fn move_on<S: Slots>(&self, published: usize, capacity: usize, slots: &S) -> usize {
        // Ends at a capacity that was read once, however fast other threads push.
        let end = (published + 1..capacity)
            .find(|&index| !is_flagged(slots, index))
            .unwrap_or(capacity);
        // Tried once: if another thread has advanced `published`, the flags seen here will be seen again. Release:
        // passes on the writes that this thread has seen through the flags and `published`. If it fails, none of the
        // values read is used.
        let _ =
            self.published
                .0
                .compare_exchange(published, end, Ordering::Release, Ordering::Relaxed);
        end
    }

    /// Returns whether the element at an index is finished. If it is, it happens before this returns.
    #[inline]
    pub(super) fn is_finished<S: Slots>(&self, index: usize, slots: &S) -> bool {
        // Acquire: pairs with `publish` and `move_on`.
        index < self.published.0.load(Ordering::Acquire)
            || (index < slots.capacity() && is_flagged(slots, index))
    }

    /// Returns the number of tickets given out: the elements, and a few more while pushes are refused.
    pub(super) fn claimed(&self) -> usize {
        self.next.0.load(Ordering::Relaxed)
    }
}

#[cfg(not(loom))]
impl Claims {
    /// Makes the indices from `len` on available again. Returns where they ended, and in ascending order those whose
    /// elements were not finished. In a forked child these are more than the holes: a push of a thread that the child
    /// lacks has a ticket and no element. The caller clears the flags from `len` on.
    pub(super) fn truncate<S: Slots>(&mut self, len: usize, slots: &S) -> (usize, Vec<usize>) {
        let (next, published) = (self.next.0.get_mut(), self.published.0.get_mut());
        let end = (*next).min(slots.capacity());
        let unfinished = (len.max(*published)..end).filter(|&index| !is_flagged(slots, index));
        let unfinished = unfinished.collect();
        *next = len.min(*next);
        *published = len.min(*published);
        let has_holes = self.holes.truncate(len);
        *self.open.0.get_mut() = if has_holes { 0 } else { slots.capacity() };
        (end.max(len), unfinished)
    }

    /// Returns the highest index whose element is finished.
    pub(super) fn last_finished<S: Slots>(&self, slots: &S) -> Option<usize> {
        let end = self.claimed().min(slots.capacity());
        (0..end).rfind(|&index| self.is_finished(index, slots))
    }
}

#[inline]
fn is_flagged<S: Slots>(slots: &S, index: usize) -> bool {
    // Acquire: pairs with `publish`.
    slots.flag(index).load(Ordering::Acquire) != 0
}

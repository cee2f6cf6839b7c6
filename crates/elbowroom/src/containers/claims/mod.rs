//! Who writes which element, and which are finished: the part of an `AppendVec` that threads meet at.
//!
//! ```text
//!          published            next      open = capacity
//!  | finished  | finished or not | nobody's | no storage
//! ```
//!
//! *Claim.* A push takes a ticket, by one fetch-and-add. A ticket below `open` is the index to write, and no other
//! thread has the same: that is the whole of it as a rule. A push of a slice takes as many tickets at once.
//!
//! *Publish.* Whoever finishes the element at `published` moves `published` on, by a plain store. Whoever finishes
//! another sets its flag, and some thread that comes by later (a reader, or one push in 256) moves `published` over
//! it. So each element is passed in one of two ways: by its own thread, which is then the only one that can, as its
//! flag is never set; or by any thread after its flag was set. `published` never goes back.
//!
//! *Holes.* A ticket that cannot be used (there is no storage for it and there will be none, or the closure that was to
//! make the element panicked) is a hole, on a list under a lock. While there are holes, `open` is 0: every push comes
//! to the list with its ticket, puts that on it and takes the lowest, so that holes are filled first. And if the
//! tickets given out last are all holes, they are as good as never given out: `next` is set back to the first of them,
//! which is when the list becomes empty as a rule. No ticket on the list is anybody's, so none is given out twice.

mod holes;
#[cfg(all(test, loom))]
mod models;

use std::ops::Range;

use holes::{Holes, LockedHoles};

use crate::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// How many elements are finished out of order before a push takes a reader's work on it.
const HELP_EVERY: usize = if cfg!(loom) { 2 } else { 256 };

/// Where the elements are.
pub(super) trait Slots {
    type Error;

    /// How many elements there is storage for. Never less than before, while shared. What made the storage happens
    /// before this returns.
    fn capacity(&self) -> usize;

    /// Makes storage for at least `needed` elements.
    fn grow(&self, needed: usize) -> Result<(), Self::Error>;

    /// The flag of an element that there is storage for. 0 at first.
    fn flag(&self, index: usize) -> &AtomicU8;
}

/// On a cache line of its own, and the one that is fetched along with it.
#[repr(align(128))]
struct Padded<T>(T);

/// The indices of a vector.
pub(super) struct Claims {
    // The next ticket. Invariant: a ticket below it is in use, finished, or on the list of holes. Set back only under
    // the lock, over holes that are taken off the list by that.
    next: Padded<AtomicUsize>,
    // Invariant: every element below it is finished. Moves from an element to the next as the module says.
    published: Padded<AtomicUsize>,
    // Tickets below it are indices. Invariant: at most the capacity; 0 while there are holes. Written under the lock.
    open: Padded<AtomicUsize>,
    // Few: at most one a thread, and one a panic until the next push.
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

    /// Claims `count` indices that follow each other, at least one. They are below the capacity, and no other thread
    /// has them. Returns the first. The caller writes the elements and then calls [`publish_run`](Claims::publish_run),
    /// or [`give_back`](Claims::give_back). The vector can have `count` elements.
    #[inline]
    pub(super) fn claim_run<S: Slots>(&self, count: usize, slots: &S) -> Result<usize, S::Error> {
        debug_assert!(count > 0);
        // No overflow: a count is one for which addresses suffice, 2^47 at most, and 2^16 threads that are here at the
        // same time would not reach the end of the numbers.
        // Relaxed: changes of one word have an order, which is what tells tickets apart. Nothing that other threads
        // wrote is reached through a ticket; the storage is, and that `open` is there for.
        let first = self.next.0.fetch_add(count, Ordering::Relaxed);
        // Acquire: pairs with `settle`. The storage below `open` is there.
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
                    // Not under the lock: it may call the program's code, and that may push.
                    drop(holes);
                    let grown = slots.grow(first + count);
                    holes = self.holes.lock();
                    if let Err(error) = grown {
                        // This thread's tickets stay on the list, if they were not set back over.
                        self.settle(holes, slots);
                        return Err(error);
                    }
                }
                None => {
                    // `next` was set back over them while the lock was free, or others have taken some of them.
                    // Relaxed: changes of one word have an order, which is what tells tickets apart.
                    let first = self.next.0.fetch_add(count, Ordering::Relaxed);
                    holes.insert(first..first + count);
                }
            }
        }
    }

    /// Gives up indices that were claimed, and not written.
    #[cold]
    pub(super) fn give_back<S: Slots>(&self, indices: Range<usize>, slots: &S) {
        let mut holes = self.holes.lock();
        holes.insert(indices);
        self.settle(holes, slots);
    }

    /// Sets `next` back over the tickets given out last, if they are holes, and `open` to what the holes left allow.
    fn settle<S: Slots>(&self, mut holes: LockedHoles<'_>, slots: &S) {
        if let Some(Range { start, end }) = holes.highest() {
            // Relaxed: changes of one word have an order. If a ticket was given out meanwhile, its owner comes to the
            // list itself, or the holes stay for the next who does.
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

    /// Lets tickets be used for storage that there is now.
    pub(super) fn reopen<S: Slots>(&self, slots: &S) {
        self.settle(self.holes.lock(), slots);
    }

    /// Makes the element at an index that the caller claimed, and has written, one of those finished.
    #[inline]
    pub(super) fn publish<S: Slots>(&self, index: usize, slots: &S) {
        self.publish_run(index..index + 1, slots);
    }

    /// Makes the elements at indices that the caller claimed, and has written, some of those finished.
    #[inline]
    pub(super) fn publish_run<S: Slots>(&self, indices: Range<usize>, slots: &S) {
        // Acquire: what was finished before these elements happens before what this thread does from here on, so that
        // its own store passes all of it on.
        if self.published.0.load(Ordering::Acquire) == indices.start {
            // No other thread moves `published` from here: it takes the first element's flag, which is not set. So it
            // is a store and no read-modify-write.
            // Release: pairs with the loads in `published`, `is_finished` and above.
            self.published.0.store(indices.end, Ordering::Release);
        } else {
            self.flag(indices, slots);
        }
    }

    /// Marks elements that finish out of order.
    #[inline]
    fn flag<S: Slots>(&self, indices: Range<usize>, slots: &S) {
        let helps = indices.start / HELP_EVERY != indices.end / HELP_EVERY;
        // The last one first: a thread that sees the flag of the first one sees all of them, so that slices show the
        // whole run or nothing of it.
        for index in indices.rev() {
            // Release: pairs with `is_flagged`.
            slots.flag(index).store(1, Ordering::Release);
        }
        if helps {
            self.published(slots);
        }
    }

    /// How many elements from the first on are finished. All of them happen before this returns. Wait-free.
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

    /// Moves `published` over flags that are set.
    #[cold]
    fn move_on<S: Slots>(&self, published: usize, capacity: usize, slots: &S) -> usize {
        // Ends at a capacity that was looked up once, however fast others push.
        let end = (published + 1..capacity)
            .find(|&index| !is_flagged(slots, index))
            .unwrap_or(capacity);
        // Once: if another thread has moved it, the flags that were seen here will be seen again.
        // Release: passes on what the flags and `published` gave to this thread. On failure nothing is used of what
        // was read.
        let _ =
            self.published
                .0
                .compare_exchange(published, end, Ordering::Release, Ordering::Relaxed);
        end
    }

    /// Whether the element at any index is finished; if so, it happens before this returns.
    #[inline]
    pub(super) fn is_finished<S: Slots>(&self, index: usize, slots: &S) -> bool {
        // Acquire: pairs with `publish` and `move_on`.
        index < self.published.0.load(Ordering::Acquire)
            || (index < slots.capacity() && is_flagged(slots, index))
    }

    /// How many tickets are given out: the elements, and a few more while pushes are refused.
    pub(super) fn claimed(&self) -> usize {
        self.next.0.load(Ordering::Relaxed)
    }
}

#[cfg(not(loom))]
impl Claims {
    /// Gives out the indices from `len` on again. Returns where they ended, and in order those from `len` on whose
    /// elements were not finished; all others were. Those are more than the holes in a forked child: a push of a thread
    /// that the child lacks has a ticket for good, and no element. The flags from `len` on are the caller's to clear.
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

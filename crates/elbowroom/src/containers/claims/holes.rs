//! The list of holes: tickets that cannot be used yet, or whose elements were not made.

use std::ops::Range;
use std::sync::PoisonError;

#[cfg(not(loom))]
use std::sync::{Mutex, MutexGuard};

#[cfg(loom)]
use loom::sync::{Mutex, MutexGuard};

#[cfg(not(loom))]
use crate::fault::fork_guard;

/// Runs of tickets in ascending order, under a lock. Invariant: no run is empty, and no two runs touch.
pub(super) struct Holes(Mutex<Vec<Range<usize>>>);

impl Holes {
    #[cfg(not(loom))]
    pub(super) const fn new() -> Holes {
        Holes(Mutex::new(Vec::new()))
    }

    // In a model, locks have no constant constructor.
    #[cfg(loom)]
    pub(super) fn new() -> Holes {
        Holes(Mutex::new(Vec::new()))
    }

    pub(super) fn lock(&self) -> LockedHoles<'_> {
        LockedHoles {
            #[cfg(not(loom))]
            _inside: fork_guard::enter(),
            // Only the allocator can panic while the lock is held, and it does so before anything is changed.
            list: self.0.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Removes all holes from `len` on. Returns whether any holes are left.
    #[cfg(not(loom))]
    pub(super) fn truncate(&mut self, len: usize) -> bool {
        let list = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        list.truncate(list.partition_point(|hole| hole.start < len));
        if let Some(last) = list.last_mut() {
            last.end = last.end.min(len);
        }
        !list.is_empty()
    }
}

/// The locked list of holes. No fork happens while it exists.
pub(super) struct LockedHoles<'a> {
    // Fields are dropped in declaration order: the list is unlocked before a fork may begin.
    list: MutexGuard<'a, Vec<Range<usize>>>,
    #[cfg(not(loom))]
    _inside: fork_guard::ForkGuard,
}

impl LockedHoles<'_> {
    /// Adds at least one ticket. None of them is on the list.
    pub(super) fn insert(&mut self, tickets: Range<usize>) {
        // PANIC: a partition point is at most the length, and so is its sum with the number of holes counted behind it.
        let at = self.list.partition_point(|hole| hole.end < tickets.start);
        // From `at` on, one hole may end where the tickets begin, and the next one may begin where they end.
        let touching = self.list[at..]
            .iter()
            .take_while(|hole| hole.start <= tickets.end)
            .count();
        let joined = self.list[at..at + touching]
            .iter()
            .fold(tickets, |joined, hole| {
                joined.start.min(hole.start)..joined.end.max(hole.end)
            });
        self.list.splice(at..at + touching, [joined]);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the first ticket of the lowest run of `count` holes.
    pub(super) fn lowest_run(&self, count: usize) -> Option<usize> {
        let run = self.list.iter().find(|hole| hole.len() >= count)?;
        Some(run.start)
    }

    /// Removes `count` tickets from the list, from `first` on, as found by [`lowest_run`](LockedHoles::lowest_run).
    pub(super) fn take(&mut self, first: usize, count: usize) {
        let at = self.list.partition_point(|hole| hole.start < first);
        if let Some(hole) = self.list.get_mut(at) {
            hole.start += count;
            if hole.start == hole.end {
                self.list.remove(at);
            }
        }
    }

    /// Returns the highest run of holes.
    pub(super) fn highest(&self) -> Option<Range<usize>> {
        self.list.last().cloned()
    }

    pub(super) fn remove_highest(&mut self) {
        self.list.pop();
    }
}

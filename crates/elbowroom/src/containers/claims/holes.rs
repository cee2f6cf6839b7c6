//! The list of holes: tickets that cannot be used yet, or whose elements were not made.

use std::ops::Range;
use std::sync::PoisonError;

#[cfg(not(loom))]
use std::sync::{Mutex, MutexGuard};

#[cfg(loom)]
use loom::sync::{Mutex, MutexGuard};

#[cfg(not(loom))]
use crate::fault::fork_guard;

/// Runs of tickets in order, the lowest first, under a lock. Invariant: none is empty, and no two touch.
pub(super) struct Holes(Mutex<Vec<Range<usize>>>);

impl Holes {
    #[cfg(not(loom))]
    pub(super) const fn new() -> Holes {
        Holes(Mutex::new(Vec::new()))
    }

    // A model's locks are not made by constant functions.
    #[cfg(loom)]
    pub(super) fn new() -> Holes {
        Holes(Mutex::new(Vec::new()))
    }

    pub(super) fn lock(&self) -> LockedHoles<'_> {
        LockedHoles {
            #[cfg(not(loom))]
            _inside: fork_guard::enter(),
            // Nothing panics while it is held but the allocator, which does so before anything is changed.
            list: self.0.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Removes all holes from `len` on. Returns whether there are others.
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

/// The list of holes, locked; and no fork meanwhile.
pub(super) struct LockedHoles<'a> {
    // Fields are dropped in this order: the list is free when a fork may begin.
    list: MutexGuard<'a, Vec<Range<usize>>>,
    #[cfg(not(loom))]
    _inside: fork_guard::ForkGuard,
}

impl LockedHoles<'_> {
    /// Adds tickets that are not on the list; at least one.
    pub(super) fn insert(&mut self, tickets: Range<usize>) {
        // PANIC: a partition point is at most the length, and so is one with what was counted behind it.
        let at = self.list.partition_point(|hole| hole.end < tickets.start);
        // From there on, a hole may end where the tickets begin, and the next begin where they end.
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

    /// The first of the lowest `count` tickets that follow each other.
    pub(super) fn lowest_run(&self, count: usize) -> Option<usize> {
        let run = self.list.iter().find(|hole| hole.len() >= count)?;
        Some(run.start)
    }

    /// Takes `count` tickets off the list, of which the first is that of a [`lowest_run`](LockedHoles::lowest_run).
    pub(super) fn take(&mut self, first: usize, count: usize) {
        let at = self.list.partition_point(|hole| hole.start < first);
        if let Some(hole) = self.list.get_mut(at) {
            hole.start += count;
            if hole.start == hole.end {
                self.list.remove(at);
            }
        }
    }

    /// The highest hole.
    pub(super) fn highest(&self) -> Option<Range<usize>> {
        self.list.last().cloned()
    }

    pub(super) fn remove_highest(&mut self) {
        self.list.pop();
    }
}

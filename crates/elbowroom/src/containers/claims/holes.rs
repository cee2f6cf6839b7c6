//! The list of holes: tickets that cannot be used yet, or whose elements were not made.

use std::sync::PoisonError;

#[cfg(not(loom))]
use std::sync::{Mutex, MutexGuard};

#[cfg(loom)]
use loom::sync::{Mutex, MutexGuard};

#[cfg(not(loom))]
use crate::fault::fork_guard;

/// Tickets in order, the lowest first, under a lock.
pub(super) struct Holes(Mutex<Vec<usize>>);

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

    /// Removes all holes from `len` on. Returns how many are left.
    #[cfg(not(loom))]
    pub(super) fn truncate(&mut self, len: usize) -> usize {
        let list = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        list.truncate(list.partition_point(|&hole| hole < len));
        list.len()
    }
}

/// The list of holes, locked; and no fork meanwhile.
pub(super) struct LockedHoles<'a> {
    // Fields are dropped in this order: the list is free when a fork may begin.
    list: MutexGuard<'a, Vec<usize>>,
    #[cfg(not(loom))]
    _inside: fork_guard::ForkGuard,
}

impl LockedHoles<'_> {
    pub(super) fn insert(&mut self, ticket: usize) {
        let at = self.list.partition_point(|&hole| hole < ticket);
        self.list.insert(at, ticket);
    }

    pub(super) fn lowest(&self) -> Option<usize> {
        self.list.first().copied()
    }

    pub(super) fn remove_lowest(&mut self) {
        self.list.remove(0);
    }

    /// The highest hole and those that it follows without a gap, as a first and an end.
    pub(super) fn highest_run(&self) -> Option<(usize, usize)> {
        let end = self.list.last()? + 1;
        let run = self
            .list
            .iter()
            .rev()
            .zip((0..end).rev())
            .take_while(|&(&hole, ticket)| hole == ticket)
            .count();
        Some((end - run, end))
    }

    /// Removes all holes from `first` on.
    pub(super) fn remove_from(&mut self, first: usize) {
        self.list.retain(|&hole| hole < first);
    }
}

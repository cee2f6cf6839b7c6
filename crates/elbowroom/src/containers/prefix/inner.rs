//! The memory of a prefix, with or without an owner: commits it, and accounts for it.

#![allow(unsafe_code, reason = "commits pages of a mapping that it owns")]

use std::mem;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::super::Options;
use super::super::cache::Bin;
use super::super::share::Share;
use crate::budget::Budget;
use crate::error::{Cause, Error, Operation};
use crate::fault::fork_guard::{self, ForkGuard};
use crate::mapping::Mapping;
use crate::os;
use crate::page::{PageCount, PageRange};
use crate::region::{Growth, Layout};
use crate::sync::Lock;

/// How many warm bytes are taken over at once.
pub(in super::super) const WARM_BYTES: usize = 64 << 10;

/// What to commit, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What is about to be written, and ahead of it what the growth policy says.
    Ahead,
    /// The same pages, but nothing is known of when they will be written: they are not prefaulted.
    Later,
    /// Just what was asked for, in whole pages; not prefaulted.
    Exact,
}

/// A prefix: one that has an owner, or one that is kept for the next.
pub(in super::super) struct Inner {
    pub(super) mapping: Mapping,
    // At most as long as the mapping.
    pub(super) usable: PageCount,
    // Of the options' limit, and what is usable. Lowered below `committed`, it refuses what is to come.
    pub(super) commit_limit: PageCount,
    // Without the name, which the mapping has. Invariant: the default ones, unless `has_options`.
    pub(super) options: Options,
    has_options: bool,
    // Invariant: pages `0..committed` are committed, readable and writable, and charged to the budget. None was
    // committed beyond the `commit_limit` of that moment. Grows under the lock of `growing` or an exclusive borrow,
    // shrinks under an exclusive borrow.
    committed: AtomicUsize,
    pub(super) growing: Lock<Growing>,
    pub(super) commits: AtomicU64,
    // Of the address space, for a container that was told no maximum.
    pub(super) share: Option<Share>,
}

/// What changes when a prefix grows, but for what readers need.
#[derive(Clone, Copy)]
pub(super) struct Growing {
    // Invariant: pages `0..backed` are committed, readable and writable; at least `committed`. What is between the two
    // is counted on `bin`.
    pub(super) backed: PageCount,
    // Pages `0..ready` are in memory, or there is no gain in bringing them in at once.
    pub(super) ready: PageCount,
    // Set if there are any, or were; not while the cache keeps the prefix.
    pub(super) bin: Option<Bin<Inner>>,
    // Huge pages were asked for somewhere.
    pub(super) is_advised: bool,
}

impl Growing {
    /// So many warm pages have found an owner, or are gone.
    fn uncount(&self, pages: PageCount) {
        if let Some(bin) = self.bin.filter(|_| pages != PageCount::ZERO) {
            bin.uncount(pages);
        }
    }
}

/// Pages that have become ready to be written, and can be prefaulted: outside of all locks, since it takes a while.
#[must_use]
pub(super) struct Prefault {
    ready: PageRange,
    huge: PageRange,
}

impl Prefault {
    const NOTHING: Prefault = Prefault {
        ready: PageRange::EMPTY,
        huge: PageRange::EMPTY,
    };
}

impl Inner {
    /// The first `usable` pages of a mapping.
    pub(super) fn new(mapping: Mapping, usable: PageCount, options: Options) -> Inner {
        let nothing = Growing {
            backed: PageCount::ZERO,
            ready: PageCount::ZERO,
            bin: None,
            is_advised: false,
        };
        let mut inner = Inner {
            mapping,
            usable,
            commit_limit: usable,
            options: Options::default(),
            has_options: false,
            committed: AtomicUsize::new(0),
            growing: Lock::new(nothing),
            commits: AtomicU64::new(0),
            share: None,
        };
        inner.begin(usable, Some(options), PageCount::ZERO);
        inner
    }

    /// Makes it a new owner's, with options or the default ones. The first `written` pages are about to be written.
    /// Returns how many are warm.
    pub(super) fn begin(
        &mut self,
        usable: PageCount,
        options: Option<Options>,
        written: PageCount,
    ) -> PageCount {
        self.usable = usable;
        self.commit_limit = usable;
        if let Some(options) = options {
            self.set_commit_limit(options.commit_limit_bytes);
            self.options = options;
        }
        let backed = self.growing.get_mut().backed;
        let taken = self.take_over(backed, written);
        backed.saturating_sub(taken)
    }

    pub(super) fn set_commit_limit(&mut self, bytes: usize) {
        self.commit_limit = PageCount::inside(bytes).min(self.usable);
        self.options.commit_limit_bytes = bytes;
        self.has_options = true;
    }

    /// Takes the options from the owner. Returns the budget, if there is one.
    pub(super) fn end_options(&mut self) -> Option<Budget> {
        if !mem::take(&mut self.has_options) {
            return None;
        }
        mem::take(&mut self.options).budget
    }

    /// Takes all pages from the owner.
    pub(super) fn end(&mut self) {
        *self.committed.get_mut() = 0;
        *self.commits.get_mut() = 0;
        self.growing.get_mut().bin = None;
    }

    pub(super) fn committed(&self) -> PageCount {
        PageCount::new(self.committed.load(Ordering::Acquire))
    }

    /// Commits, accounts, and says what to prefault. Under the lock of `growing`, or an exclusive borrow; `inside` is
    /// the fork guard, which is entered here if needed.
    pub(super) fn commit_to(
        &self,
        growing: &mut Growing,
        needed: usize,
        extent: Extent,
        inside: &mut Option<ForkGuard>,
    ) -> Result<Prefault, Error> {
        let needed_pages = PageCount::holding(needed);
        if extent == Extent::Ahead {
            let taken = self.take_over(growing.backed, needed_pages);
            growing.uncount(taken);
        }
        let committed = self.committed();
        let before = growing.backed;
        if needed_pages > committed {
            let refuse = |error: Error| error.about(committed.bytes()..needed);
            let target = self
                .target(committed, needed_pages, extent)
                .map_err(refuse)?;
            let grown = if target <= growing.backed && self.options.budget.is_none() {
                target
            } else {
                inside.get_or_insert_with(fork_guard::enter);
                self.commit(committed, growing.backed, target, needed_pages)
                    .map_err(refuse)?
            };
            growing.uncount(grown.min(growing.backed).saturating_sub(committed));
            growing.backed = growing.backed.max(grown);
            self.committed.store(grown.get(), Ordering::Release);
            // One thread at a time comes here.
            self.commits
                .store(self.commits.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        Ok(self.get_ready(growing, before, needed_pages, extent))
    }

    /// Takes over the first few warm pages at once, if a new owner needs some of them and no more. That commits
    /// nothing, and coming back for each costs more than a push. Returns how many.
    fn take_over(&self, backed: PageCount, needed: PageCount) -> PageCount {
        let few = backed.min(PageCount::inside(WARM_BYTES));
        let few = few.min(self.commit_limit);
        let is_wanted = PageCount::ZERO < needed
            && needed <= few
            && self.committed() == PageCount::ZERO
            && self.options.budget.is_none()
            && matches!(self.options.growth, Growth::Adaptive { .. });
        if !is_wanted {
            return PageCount::ZERO;
        }
        self.committed.store(few.get(), Ordering::Release);
        self.commits.store(1, Ordering::Relaxed);
        few
    }

    /// How many pages to commit, for as many as are needed.
    fn target(
        &self,
        committed: PageCount,
        needed: PageCount,
        extent: Extent,
    ) -> Result<PageCount, Error> {
        if needed > self.usable {
            let max = self.usable.bytes();
            return Err(Error::full(Operation::Commit, 0..max, max, "bytes"));
        }
        if needed > self.commit_limit {
            let (limit, committed) = (self.commit_limit.bytes(), committed.bytes());
            return Err(Error::limit(Operation::Commit, 0..limit, limit, committed));
        }
        Ok(match extent {
            Extent::Exact => needed,
            Extent::Ahead | Extent::Later => {
                let ahead = self.options.growth.ahead(committed, needed, self.usable);
                ahead.min(self.commit_limit)
            }
        })
    }

    /// Charges and commits pages from `committed` to `target`, or if there is no room for that, at least to `needed`.
    /// The first `backed` are committed already. Inside a fork guard.
    fn commit(
        &self,
        committed: PageCount,
        backed: PageCount,
        mut target: PageCount,
        needed: PageCount,
    ) -> Result<PageCount, Error> {
        let least = needed.saturating_sub(committed);
        loop {
            let granted = self.charge(target.saturating_sub(committed), least)?;
            let grown = PageCount::new(committed.get() + granted.get());
            if grown <= backed {
                return Ok(grown);
            }
            // SAFETY: pages of this mapping (`usable` bounds them) behind the committed ones, so they are reserved;
            // nobody else grows or shrinks the prefix meanwhile.
            let Err(code) = (unsafe {
                self.mapping
                    .commit(PageRange::new(backed.get(), grown.get()))
            }) else {
                return Ok(grown);
            };
            self.refund(granted);
            if os::is_out_of_memory(code) && grown > needed {
                // The system may have room for what is needed.
                target = needed;
            } else {
                let bytes = committed.bytes()..target.bytes();
                return Err(Error::new(Operation::Commit, bytes, Cause::os(code)));
            }
        }
    }

    /// Gives the pages behind the first `keep` bytes back to the system, and returns how many bytes are still
    /// committed. On an error nothing has changed.
    ///
    /// # Safety
    /// Nothing refers to the bytes from `keep` on.
    pub(super) unsafe fn shrink(&mut self, keep: usize) -> Result<usize, Error> {
        let committed = self.committed();
        let growing = self.growing.get_mut();
        let kept = PageCount::holding(keep).min(committed);
        if kept == growing.backed {
            return Ok(committed.bytes());
        }
        let unwanted = PageRange::new(kept.get(), growing.backed.get());
        let _inside = fork_guard::enter();
        // SAFETY: pages of this mapping, to which nothing refers (contract; warm ones are nobody's).
        unsafe { self.mapping.decommit(unwanted) }
            .map_err(|code| Error::new(Operation::Decommit, unwanted.bytes(), Cause::os(code)))?;
        growing.uncount(growing.backed.saturating_sub(committed));
        growing.backed = kept;
        growing.ready = growing.ready.min(kept);
        *self.committed.get_mut() = kept.get();
        self.refund(committed.saturating_sub(kept));
        Ok(kept.bytes())
    }

    /// Moves on what is ready, after a growth: what is needed, and ahead of it what the growth policy says of what is
    /// committed. `before` were backed before it.
    fn get_ready(
        &self,
        growing: &mut Growing,
        before: PageCount,
        needed: PageCount,
        extent: Extent,
    ) -> Prefault {
        let committed = self.committed();
        let Growth::Adaptive { .. } = self.options.growth else {
            // A fixed window is a commit and no guess: the program brings its pages in as it comes to them.
            growing.ready = committed;
            return Prefault::NOTHING;
        };
        if growing.backed == before && needed <= growing.ready {
            return Prefault::NOTHING;
        }
        let layout = Layout::new(self.mapping.base(), self.usable);
        let huge = match self.options.huge_pages {
            true => layout.huge_pages_in(PageRange::new(before.get(), growing.backed.get())),
            false => PageRange::EMPTY,
        };
        growing.is_advised |= !huge.is_empty();
        let mut ready = PageRange::EMPTY;
        if extent == Extent::Ahead {
            let was_ready = growing.ready;
            growing.ready = was_ready.max(self.options.growth.ahead(
                was_ready.min(committed),
                needed,
                committed,
            ));
            ready = PageRange::new(was_ready.get(), growing.ready.get());
        }
        Prefault { ready, huge }
    }

    /// The program brings in a single page itself, by its next write.
    pub(super) fn prefault(&self, pages: Prefault) {
        if !pages.huge.is_empty() {
            self.mapping.advise_huge(pages.huge);
        }
        if pages.ready.count() > PageCount::new(1) {
            // SAFETY: committed, and only an exclusive borrow of the prefix changes that.
            unsafe { self.mapping.prefault(pages.ready) };
        }
    }

    /// Charges the budgets with as much of `wanted` as they allow, at least `least`. Inside a fork guard.
    fn charge(&self, wanted: PageCount, least: PageCount) -> Result<PageCount, Error> {
        match &self.options.budget {
            Some(budget) => budget.charge_pages(wanted, least).map_err(|steps| {
                let bytes = 0..least.bytes();
                Error::budget_refused(Operation::Commit, bytes, budget.above(steps))
            }),
            None => Ok(wanted),
        }
    }

    /// Inside a fork guard.
    fn refund(&self, pages: PageCount) {
        if let Some(budget) = &self.options.budget {
            budget.refund_pages(pages);
        }
    }

    /// Calls the callbacks of budgets whose threshold was reached. Under no lock.
    pub(super) fn tell_budgets(&self) {
        if let Some(budget) = &self.options.budget {
            budget.run_pending_callbacks();
        }
    }
}

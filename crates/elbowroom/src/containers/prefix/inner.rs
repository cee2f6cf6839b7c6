//! The memory of a prefix, with or without an owner: committing and accounting.

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

/// The number of warm bytes that a new owner takes over at once.
pub(in super::super) const WARM_BYTES: usize = 64 << 10;

/// The extent of a commit beyond the needed pages, and whether to prefault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The needed pages, which are about to be written, and more ahead as the growth policy says.
    Ahead,
    /// The same pages, but the time of the write is unknown, so they are not prefaulted.
    Later,
    /// Only the needed pages; they are not prefaulted.
    Exact,
}

/// A prefix that has an owner, or that is kept for the next one.
pub(in super::super) struct Inner {
    pub(super) mapping: Mapping,
    // At most as long as the mapping.
    pub(super) usable: PageCount,
    // The smaller of the options' limit and `usable`. If it is lowered below `committed`, it refuses every growth.
    pub(super) commit_limit: PageCount,
    // Without the name, which is in the mapping. Invariant: the defaults, unless `has_options`.
    pub(super) options: Options,
    has_options: bool,
    // Invariant: pages `0..committed` are committed, readable and writable, and charged to the budget. None was
    // committed beyond the `commit_limit` of that moment. Grows under the lock of `growing` or an exclusive borrow;
    // shrinks under an exclusive borrow.
    pub(super) committed: AtomicUsize,
    pub(super) growing: Lock<Growing>,
    pub(super) commits: AtomicU64,
    // The share of the address space of a container without a maximum.
    pub(super) share: Option<Share>,
}

/// The fields that change when a prefix grows, except those that readers load.
#[derive(Clone, Copy)]
pub(super) struct Growing {
    // Invariant: pages `0..backed` are committed, readable and writable; at least `committed`. `bin` counts the pages
    // from `committed` to `backed`.
    pub(super) backed: PageCount,
    // Pages `0..ready` are resident, or prefaulting them would gain nothing.
    pub(super) ready: PageCount,
    // The bin that counts the warm pages. Set while there are any or after there were; `None` while the cache keeps the
    // prefix.
    pub(super) bin: Option<Bin<Inner>>,
    // Whether huge pages were requested for any page.
    pub(super) is_advised: bool,
}

impl Growing {
    /// Removes warm pages from the bin's count, because they have an owner now or are no longer committed.
    fn uncount(&self, pages: PageCount) {
        if let Some(bin) = self.bin.filter(|_| pages != PageCount::ZERO) {
            bin.uncount(pages);
        }
    }
}

/// Pages that have just become ready and can be prefaulted. This takes a while, so it is done outside all locks.
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
    /// Returns a prefix of the first `usable` pages of a mapping.
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
        inner.begin(usable, &mut Some(options), PageCount::ZERO);
        inner
    }

    /// Gives the prefix to a new owner, with the options that it takes out of `options`, or the defaults. The first
    /// `written` pages are about to be written. Returns the number of warm pages.
    #[inline(always)]
    pub(super) fn begin(
        &mut self,
        usable: PageCount,
        options: &mut Option<Options>,
        written: PageCount,
    ) -> PageCount {
        self.usable = usable;
        self.commit_limit = usable;
        if options.is_some() {
            self.set_options(options.take().unwrap_or_default());
        }
        let backed = self.growing.get_mut().backed;
        let few = self.wanted_of(backed, written);
        if few.get() != 0 {
            *self.committed.get_mut() = few.get();
            *self.commits.get_mut() = 1;
        }
        backed.saturating_sub(few)
    }

    fn set_options(&mut self, options: Options) {
        self.set_commit_limit(options.commit_limit_bytes);
        self.options = options;
    }

    pub(super) fn set_commit_limit(&mut self, bytes: usize) {
        self.commit_limit = PageCount::inside(bytes).min(self.usable);
        self.options.commit_limit_bytes = bytes;
        self.has_options = true;
    }

    /// Returns whether the owner may have options other than the defaults.
    #[inline(always)]
    pub(super) fn has_options(&self) -> bool {
        self.has_options
    }

    /// Takes the options away from the owner. Returns the budget, if there is one.
    pub(super) fn end_options(&mut self) -> Option<Budget> {
        self.has_options = false;
        mem::take(&mut self.options).budget
    }

    /// Takes all pages away from the owner.
    #[inline(always)]
    pub(super) fn end(&mut self) {
        *self.committed.get_mut() = 0;
        *self.commits.get_mut() = 0;
        self.growing.get_mut().bin = None;
    }

    #[inline(always)]
    pub(super) fn committed(&self) -> PageCount {
        PageCount::new(self.committed.load(Ordering::Acquire))
    }

    /// Commits and accounts, and returns the pages to prefault. The caller holds the lock of `growing` or an exclusive
    /// borrow. `inside` is the fork guard, which is entered here if needed.
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
            // Only one thread at a time comes here.
            self.commits
                .store(self.commits.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        Ok(self.get_ready(growing, before, needed_pages, extent))
    }

    /// Takes over some of the warm pages if no page has an owner yet, and returns their number.
    fn take_over(&self, backed: PageCount, needed: PageCount) -> PageCount {
        let few = self.wanted_of(backed, needed);
        if few == PageCount::ZERO || self.committed() != PageCount::ZERO {
            return PageCount::ZERO;
        }
        self.committed.store(few.get(), Ordering::Release);
        self.commits.store(1, Ordering::Relaxed);
        few
    }

    /// Returns how many of `backed` pages a new owner takes over at once: the first few, if it needs some of them and
    /// no others. Taking them over commits nothing, and a return for each page would cost more than a push.
    #[inline(always)]
    fn wanted_of(&self, backed: PageCount, needed: PageCount) -> PageCount {
        let few = backed.min(PageCount::inside(WARM_BYTES));
        let few = few.min(self.commit_limit);
        if needed.get() == 0 || needed.get() > few.get() {
            return PageCount::ZERO;
        }
        match (&self.options.budget, &self.options.growth) {
            (None, Growth::Adaptive { .. }) => few,
            _ => PageCount::ZERO,
        }
    }

    /// Returns how many pages to commit if `needed` are needed.
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

    /// Charges and commits pages from `committed` to `target`, or at least to `needed` if there is no room for more.
    /// The first `backed` pages are committed already. The caller is inside a fork guard.
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
            // SAFETY: the pages are in this mapping (`usable` bounds them) and behind the committed ones, so they are
            // reserved. No other thread grows or shrinks the prefix meanwhile.
            let Err(code) = (unsafe {
                self.mapping
                    .commit(PageRange::new(backed.get(), grown.get()))
            }) else {
                return Ok(grown);
            };
            self.refund(granted);
            if os::is_out_of_memory(code) && grown > needed {
                // The system may have room for the needed pages alone.
                target = needed;
            } else {
                let bytes = committed.bytes()..target.bytes();
                return Err(Error::new(Operation::Commit, bytes, Cause::os(code)));
            }
        }
    }

    /// Gives the pages behind the first `keep` bytes back to the system. Returns the number of bytes still committed.
    /// On an error, nothing has changed.
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
        // SAFETY: the pages are in this mapping, and nothing refers to them: to the owner's by the contract, to the
        // warm ones because no owner has them.
        unsafe { self.mapping.decommit(unwanted) }
            .map_err(|code| Error::new(Operation::Decommit, unwanted.bytes(), Cause::os(code)))?;
        growing.uncount(growing.backed.saturating_sub(committed));
        growing.backed = kept;
        growing.ready = growing.ready.min(kept);
        *self.committed.get_mut() = kept.get();
        self.refund(committed.saturating_sub(kept));
        Ok(kept.bytes())
    }

    /// Advances `ready` after a growth: over the needed pages, and over those that the growth policy says of the
    /// committed ones. The first `before` pages were backed before the growth.
    fn get_ready(
        &self,
        growing: &mut Growing,
        before: PageCount,
        needed: PageCount,
        extent: Extent,
    ) -> Prefault {
        let committed = self.committed();
        let Growth::Adaptive { .. } = self.options.growth else {
            // A fixed window says which pages to commit, and not which will be used. The program's own touches make
            // them resident.
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

    /// Prefaults pages. A single page is left to the program's next write, which makes it resident as well.
    pub(super) fn prefault(&self, pages: Prefault) {
        if !pages.huge.is_empty() {
            self.mapping.advise_huge(pages.huge);
        }
        if pages.ready.count() > PageCount::new(1) {
            // SAFETY: the pages are committed, readable and writable, and only an exclusive borrow of the prefix
            // changes that.
            unsafe { self.mapping.prefault(pages.ready) };
        }
    }

    /// Charges the budgets as much of `wanted` as they allow, but at least `least`. The caller is inside a fork guard.
    fn charge(&self, wanted: PageCount, least: PageCount) -> Result<PageCount, Error> {
        match &self.options.budget {
            Some(budget) => budget.charge_pages(wanted, least).map_err(|steps| {
                let bytes = 0..least.bytes();
                Error::budget_refused(Operation::Commit, bytes, budget.above(steps))
            }),
            None => Ok(wanted),
        }
    }

    /// Refunds pages to the budgets. The caller is inside a fork guard.
    fn refund(&self, pages: PageCount) {
        if let Some(budget) = &self.options.budget {
            budget.refund_pages(pages);
        }
    }

    /// Calls the callbacks of budgets whose threshold was reached. The caller holds no lock.
    pub(super) fn tell_budgets(&self) {
        if let Some(budget) = &self.options.budget {
            budget.run_pending_callbacks();
        }
    }
}

//! A committed prefix of a reservation, which grows and never moves.
//!
//! ```text
//!  base            committed        usable           the mapping's end
//!  | committed     | reserved       | (never used)   |
//! ```
//!
//! Nothing here faults: whoever uses a prefix commits first and touches then. It grows through `&self`, under a lock;
//! readers load a watermark. It shrinks through `&mut self` only, when no reference into it can be alive.

#![allow(unsafe_code, reason = "commits and decommits pages of a mapping that it owns")]

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::gate::{self, Inside};
use super::{ContainerStats, Options};
use crate::error::{Cause, Error, Operation};
use crate::os::{self, Placement};
use crate::page::{PageCount, PageRange};
use crate::region::Budget;
use crate::reservation::{self, Access, Mapping, PageState, Span};
use crate::sync::Lock;

/// How much to commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What is needed, and ahead of it what the growth policy says.
    Ahead,
    /// What is needed, in whole pages.
    Exact,
}

/// Pages from the base of a reservation on, committed as far as needed.
pub(crate) struct Prefix {
    mapping: ManuallyDrop<Mapping>,
    // At most as long as the mapping.
    usable: PageCount,
    options: Options,
    // Of the options' limit, and what is usable.
    commit_limit: PageCount,
    // Invariant: pages `0..committed` of the mapping are committed, readable and writable, and charged to the budget;
    // at most `commit_limit`; grows under `growing`, shrinks under an exclusive borrow.
    committed: AtomicUsize,
    growing: Lock<()>,
    commits: AtomicU64,
}

impl Prefix {
    /// Reserves room for `max_bytes`, at a multiple of `align` (a power of two). Nothing is committed. What committed
    /// pages hold at first is unknown: perhaps what an earlier prefix left there.
    pub(crate) fn reserve(max_bytes: usize, align: usize, options: Options) -> Result<Prefix, Error> {
        Prefix::reserve_zeroed(max_bytes, align, options)
    }

    /// As [`reserve`](Prefix::reserve), and committed pages are zero at first; also those that are committed again
    /// after [`shrink`](Prefix::shrink).
    pub(crate) fn reserve_zeroed(max_bytes: usize, align: usize, options: Options) -> Result<Prefix, Error> {
        let len = reservation::whole_pages(max_bytes)?;
        let name = options.name.clone();
        let mapping = Mapping::reserve(len, align.max(os::granularity()), Placement::Anywhere, name)
            .map_err(|code| Error::new(Operation::Reserve, 0..max_bytes, Cause::Os(code)))?;
        let usable = PageCount::inside(len);
        Ok(Prefix {
            mapping: ManuallyDrop::new(mapping),
            usable,
            commit_limit: PageCount::inside(options.commit_limit_bytes).min(usable),
            options,
            committed: AtomicUsize::new(0),
            growing: Lock::new(()),
            commits: AtomicU64::new(0),
        })
    }

    /// The first byte, with the provenance of the whole reservation. The same for the life of the prefix.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.mapping.base()
    }

    /// How many bytes from the base on are committed. What is written there by a thread that has seen the number needs
    /// no further synchronisation with the growth.
    pub(crate) fn committed_bytes(&self) -> usize {
        self.committed().bytes()
    }

    fn committed(&self) -> PageCount {
        PageCount::new(self.committed.load(Ordering::Acquire))
    }

    /// The bytes that can ever be committed, whatever the limits.
    pub(crate) fn usable_bytes(&self) -> usize {
        self.usable.bytes()
    }

    /// The name it was given, or the empty string.
    pub(crate) fn name(&self) -> &str {
        &self.options.name
    }

    /// What it was made with.
    #[allow(dead_code, reason = "for containers that make others like themselves")]
    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Sees to it that at least `needed` bytes are committed, and returns how many are. On an error nothing has
    /// changed.
    #[allow(dead_code, reason = "for containers that threads share")]
    pub(crate) fn grow(&self, needed: usize, extent: Extent) -> Result<usize, Error> {
        if needed <= self.committed_bytes() {
            return Ok(self.committed_bytes());
        }
        let inside = gate::enter();
        let growing = self.growing.lock_in_handler();
        let result = self.commit_to(needed, extent, &inside);
        drop(growing);
        drop(inside);
        self.tell_budgets();
        result
    }

    /// [`grow`](Prefix::grow), where nobody else can at the same time.
    pub(crate) fn grow_mut(&mut self, needed: usize, extent: Extent) -> Result<usize, Error> {
        let inside = gate::enter();
        let result = self.commit_to(needed, extent, &inside);
        drop(inside);
        self.tell_budgets();
        result
    }

    /// Under `growing`, or an exclusive borrow.
    fn commit_to(&self, needed: usize, extent: Extent, _inside: &Inside) -> Result<usize, Error> {
        let committed = self.committed();
        let needed_pages = PageCount::holding(needed);
        let least = needed_pages.saturating_sub(committed);
        if least == PageCount::ZERO {
            return Ok(committed.bytes());
        }
        let refuse = |cause| Error::new(Operation::Commit, committed.bytes()..needed, cause);
        if needed_pages > self.usable {
            return Err(refuse(Cause::Full { max: self.usable.bytes(), unit: "bytes" }));
        }
        if needed_pages > self.commit_limit {
            return Err(refuse(Cause::Limit {
                limit_bytes: self.commit_limit.bytes(),
                committed_bytes: committed.bytes(),
            }));
        }
        let mut target = match extent {
            Extent::Ahead => self.options.growth.ahead(committed, needed_pages, self.commit_limit),
            Extent::Exact => needed_pages,
        };
        let grown = loop {
            let wanted = target.saturating_sub(committed);
            let granted = self.charge(wanted, least).map_err(refuse)?;
            let grown = committed.get() + granted.get();
            // SAFETY: pages of this mapping (`usable` bounds them) that follow the committed ones, so that they are
            // reserved; nobody else grows or shrinks the prefix meanwhile.
            let Err(code) = (unsafe { self.mapping.commit(PageRange::new(committed.get(), grown)) }) else {
                break grown;
            };
            self.refund(granted);
            if granted == least || !os::is_out_of_memory(code) {
                return Err(refuse(Cause::Os(code)));
            }
            // The system may have room for what is needed.
            target = needed_pages;
        };
        self.committed.store(grown, Ordering::Release);
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(PageCount::new(grown).bytes())
    }

    /// Gives the pages behind the first `keep` bytes back to the system, and returns how many bytes are still
    /// committed. What is committed there again is zero. On an error nothing has changed.
    ///
    /// # Safety
    /// Nothing refers to the bytes from `keep` on.
    pub(crate) unsafe fn shrink(&mut self, keep: usize) -> Result<usize, Error> {
        let committed = self.committed();
        let kept = PageCount::holding(keep);
        let unwanted = committed.saturating_sub(kept);
        if unwanted == PageCount::ZERO {
            return Ok(committed.bytes());
        }
        let _inside = gate::enter();
        // SAFETY: pages of this mapping, to which nothing refers (contract).
        unsafe { self.mapping.decommit(PageRange::new(kept.get(), committed.get())) }
            .map_err(|code| Error::new(Operation::Decommit, kept.bytes()..committed.bytes(), Cause::Os(code)))?;
        *self.committed.get_mut() = kept.get();
        self.refund(unwanted);
        Ok(kept.bytes())
    }

    /// Charges the budgets with as much of `wanted` as they allow, at least `least`. Inside the gate.
    fn charge(&self, wanted: PageCount, least: PageCount) -> Result<PageCount, Cause> {
        match &self.options.budget {
            Some(budget) => {
                budget.charge(wanted, least).map_err(|by| Cause::Budget(Budget::clone(budget.refused_by(by))))
            }
            None => Ok(wanted),
        }
    }

    /// Inside the gate.
    fn refund(&self, pages: PageCount) {
        if let Some(budget) = &self.options.budget {
            budget.refund(pages);
        }
    }

    /// Calls the callbacks of budgets whose threshold was reached. Under no lock.
    fn tell_budgets(&self) {
        if let Some(budget) = &self.options.budget {
            if budget.is_any_due() {
                budget.due().for_each(|callback| callback());
            }
        }
    }

    pub(crate) fn stats(&self) -> ContainerStats {
        ContainerStats {
            reserved_bytes: self.usable.bytes(),
            committed_bytes: self.committed_bytes(),
            commit_limit_bytes: self.commit_limit.bytes(),
            commits: self.commits.load(Ordering::Relaxed),
        }
    }

    /// What is committed, and what is only reserved.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let (committed, usable) = (self.committed_bytes(), self.usable_bytes());
        let committed_span = Span { range: 0..committed, state: PageState::Committed, access: Access::ReadWrite };
        let reserved_span = Span { range: committed..usable, state: PageState::Reserved, access: Access::None };
        [committed_span, reserved_span].into_iter().filter(|span| !span.range.is_empty()).collect()
    }
}

impl Drop for Prefix {
    fn drop(&mut self) {
        // SAFETY: taken once, here, where the prefix ends.
        let mapping = unsafe { ManuallyDrop::take(&mut self.mapping) };
        // SAFETY: what used the prefix is gone with it.
        let released = unsafe { mapping.release() };
        // A failure has nobody to be told to. What the system keeps stays charged.
        if !matches!(released, Err((_, false))) && self.options.budget.is_some() {
            let _inside = gate::enter();
            self.refund(self.committed());
        }
    }
}

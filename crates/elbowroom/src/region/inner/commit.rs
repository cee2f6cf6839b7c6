//! Commits and decommits pages within the limits, and accounts for them.

#![allow(
    unsafe_code,
    reason = "changes pages of a mapping that the region owns"
)]

use std::ops::Range;

use super::super::growth::{self, Growth};
use super::*;
use crate::os;
use crate::plain::FaultAccess;
use crate::sync::Guard;

impl RegionInner {
    /// Commits the window of a fault, within the limits. Returns `None` if the page was already committed when the lock
    /// was taken.
    pub(super) fn commit_around(&self, fault: &Fault<'_>) -> Result<Option<PageRange>, Cause> {
        if !fault.is_page_fault() {
            return Err(Reason::NotAPageFault.into());
        }
        let page = PageIndex::holding(fault.offset());
        if !self.contains(page) {
            return Err(Reason::OutOfRange.into());
        }
        let mut pages = self.pages.lock_in_handler();
        if pages.map.is_committed(page) {
            return self.check_access(&pages, fault).map(|()| None);
        }
        let run = self.commit_window(&mut pages, page, fault.access())?;
        drop(pages);
        self.prefault(run, page, fault.access());
        Ok(Some(run))
    }

    /// Commits the window of a reserved page for an access, within the limits.
    fn commit_window(
        &self,
        pages: &mut Guard<'_, Account>,
        page: PageIndex,
        access: FaultAccess,
    ) -> Result<PageRange, Cause> {
        // Clipped to the room first, so that only pages that can be committed are inspected.
        let window = self
            .policy
            .growth
            .window(&pages.streams, page, self.layout());
        let window = growth::clip(window, page, self.room());
        let reserved = pages.map.reserved_run(page, window);
        let mut run = growth::clamp(reserved, page, self.room()).ok_or(Reason::Limit)?;
        loop {
            let granted = self.charge(run.count(), PageCount::new(1))?;
            run = growth::clamp(run, page, granted).ok_or(Reason::Limit)?;
            let written = (access == FaultAccess::Write).then_some(page);
            let Err(code) = self.commit_run(pages, run, written) else {
                break;
            };
            self.refund(granted);
            if !os::is_out_of_memory(code) || run == page.alone() {
                return Err(Cause::of_commit(code));
            }
            // The system may have room for the one page that is needed.
            run = page.alone();
        }
        self.commits.fetch_add(1, Ordering::Relaxed);
        pages.streams.note(self.policy.growth, page, run);
        Ok(run)
    }

    /// Commits the window of a fault on the first byte of `range`, without asking the filter. `range` is inside the
    /// data. Returns the committed pages, or the one page if it was committed already.
    pub(in super::super) fn commit_ahead(&self, range: Range<usize>) -> Result<PageRange, Error> {
        let page = PageIndex::holding(range.start);
        let mut pages = self.pages.lock();
        if pages.map.is_committed(page) {
            return Ok(page.alone());
        }
        let run = self.commit_window(&mut pages, page, FaultAccess::Write);
        drop(pages);
        let run = run.map_err(|cause| self.error(Operation::Commit, range, cause))?;
        self.prefault(run, page, FaultAccess::Write);
        self.run_pending_callbacks();
        Ok(run)
    }

    /// Commits pages of `wanted` with these contents, within the limits. The page of the fault is the first of them.
    /// Returns `None` if that page was already committed when the lock was taken.
    pub(super) fn fill(
        &self,
        fault: &Fault<'_>,
        wanted: PageRange,
        contents: &[u8],
    ) -> Result<Option<PageRange>, Cause> {
        if !fault.is_page_fault() {
            return Err(Reason::NotAPageFault.into());
        }
        let page = PageIndex::new(wanted.start());
        let mut pages = self.pages.lock_in_handler();
        if pages.map.is_committed(page) {
            return self.check_access(&pages, fault).map(|()| None);
        }
        let reserved = pages.map.reserved_run(page, wanted);
        let mut run = growth::clamp(reserved, page, self.room()).ok_or(Reason::Limit)?;
        let granted = self.charge(run.count(), PageCount::new(1))?;
        run = growth::clamp(run, page, granted).ok_or(Reason::Limit)?;
        let filled = match pages.map.prepare(&self.mapping, run) {
            Ok(()) => {
                self.cure_in(&mut pages, run);
                let contents = &contents[..run.byte_len()];
                self.pager.fill(&self.mapping, run, contents)
            }
            Err(code) => Err(code),
        };
        if !matches!(filled, Ok(true)) {
            pages.map.trim(&self.mapping, run);
            self.refund(granted);
        }
        if !filled.map_err(Cause::of_commit)? {
            return Err(Reason::CannotFill.into());
        }
        self.note_committed(&mut pages, run, run.count());
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(Some(run))
    }

    /// Makes resident the part of the pages just committed for a touch of `page` that the program is likely to write
    /// next.
    fn prefault(&self, run: PageRange, page: PageIndex, access: FaultAccess) {
        // A read sees zeros and needs no memory.
        if access != FaultAccess::Write {
            return;
        }
        // A fixed window says which pages to commit, and not which are written next.
        let run = match self.policy.growth {
            Growth::Adaptive { .. } => run,
            _ => page.alone(),
        };
        let huge = if self.policy.huge_pages {
            self.layout().huge_pages_in(run)
        } else {
            PageRange::new(0, 0)
        };
        // SAFETY: the region lives, so the fault handler is installed (`Armed`).
        unsafe { self.pager.prefault(&self.mapping, run, page, huge) };
    }

    /// Charges the budgets as much of `wanted` as they allow, but at least `least`. Called under the lock of `pages`.
    fn charge(&self, wanted: PageCount, least: PageCount) -> Result<PageCount, Cause> {
        match &self.policy.budget {
            Some(budget) => budget.charge_pages(wanted, least).map_err(Cause::budget),
            None => Ok(wanted),
        }
    }

    /// Refunds a charge. Called under the lock of `pages`.
    fn refund(&self, pages: PageCount) {
        if let Some(budget) = &self.policy.budget {
            budget.refund_pages(pages);
        }
    }

    /// Calls the callbacks of budgets whose threshold was reached. The caller holds no lock.
    pub(super) fn run_pending_callbacks(&self) {
        self.policy
            .budget
            .iter()
            .for_each(Budget::run_pending_callbacks);
    }

    /// Commits reserved pages, for which there is room, and accounts for them. The page `written` is about to be
    /// written.
    fn commit_run(
        &self,
        pages: &mut Guard<'_, Account>,
        run: PageRange,
        written: Option<PageIndex>,
    ) -> Result<(), OsCode> {
        pages.map.prepare(&self.mapping, run)?;
        self.cure_in(pages, run);
        // SAFETY: the pages are reserved according to the map, which stays locked.
        unsafe { self.pager.commit(&self.mapping, run, written) }?;
        self.note_committed(pages, run, run.count());
        Ok(())
    }

    /// Accounts for pages that have just been committed. `new` of them were reserved before.
    fn note_committed(&self, pages: &mut Guard<'_, Account>, run: PageRange, new: PageCount) {
        pages.map.set(run, true);
        self.committed.fetch_add(new.get(), Ordering::Relaxed);
        self.pager.wake(&self.mapping, run);
    }

    /// Decommits pages and accounts for them.
    fn decommit_run(&self, pages: &mut Guard<'_, Account>, run: PageRange) -> Result<(), OsCode> {
        let count = pages.map.count_committed(run);
        // A whole region is always decommitted: an earlier decommit that was refused may have left page tables.
        if count == PageCount::ZERO && run != pages.map.all() {
            return Ok(());
        }
        // The kernel frees a page table with the last mapping in it.
        let run = pages.map.whole_tables(run, self.layout());
        // SAFETY: no reference points into the pages. `Region` lends references only under `&mut self`
        // (`commit_slice`), and such a loan ends before a decommit by `&self` can begin. `DemandArray` owns its region,
        // and decommits under `&mut self` only. No `Cells` point into them: the caller has checked that none is held,
        // and `whole_tables` adds only reserved pages.
        unsafe { self.pager.decommit(&self.mapping, run) }?;
        pages.map.set(run, false);
        pages.streams.forget(run);
        pages.map.trim(&self.mapping, run);
        self.committed.fetch_sub(count.get(), Ordering::Relaxed);
        self.refund(count);
        Ok(())
    }

    /// Commits every page of `range`, or none.
    pub(in super::super) fn commit(&self, range: Range<usize>) -> Result<(), Error> {
        let wanted = self.pages_of(Operation::Commit, &range)?;
        let mut pages = self.pages.lock();
        let committed = self.commit_all_of(&mut pages, wanted);
        drop(pages);
        committed.map_err(|cause| self.error(Operation::Commit, range, cause))?;
        self.run_pending_callbacks();
        Ok(())
    }

    /// Commits every page of `range`, or none, and keeps them from being decommitted until
    /// [`let_go_of`](RegionInner::let_go_of) is called for the returned pages.
    pub(in super::super) fn hold(&self, range: Range<usize>) -> Result<PageRange, Error> {
        let wanted = self.pages_of(Operation::Commit, &range)?;
        // Nothing may be allocated or freed under the lock.
        let mut spare = Vec::new();
        loop {
            let mut pages = self.pages.lock();
            if pages.holds.has_room(&mut spare) {
                let committed = self.commit_all_of(&mut pages, wanted);
                if committed.is_ok() {
                    pages.holds.add(wanted);
                }
                drop(pages);
                committed.map_err(|cause| self.error(Operation::Commit, range, cause))?;
                self.run_pending_callbacks();
                return Ok(wanted);
            }
            let capacity = pages.holds.wanted_capacity();
            drop(pages);
            spare = Vec::with_capacity(capacity);
        }
    }

    /// Ends one hold of these pages.
    pub(in super::super) fn let_go_of(&self, held: PageRange) {
        self.pages.lock().holds.remove(held);
    }

    /// Commits every page of `wanted`, or none, and accounts for them.
    fn commit_all_of(
        &self,
        pages: &mut Guard<'_, Account>,
        wanted: PageRange,
    ) -> Result<(), Cause> {
        let missing = wanted
            .count()
            .saturating_sub(pages.map.count_committed(wanted));
        if missing == PageCount::ZERO {
            return Ok(());
        }
        if missing > self.room() {
            return Err(Reason::Limit.into());
        }
        self.charge(missing, missing)?;
        if let Err(cause) = self.commit_gaps(pages, wanted) {
            pages.map.trim(&self.mapping, wanted);
            self.refund(missing);
            return Err(cause);
        }
        self.note_committed(pages, wanted, missing);
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Commits the reserved parts of `wanted`, or none of them. Does not account for them.
    fn commit_gaps(&self, pages: &mut Guard<'_, Account>, wanted: PageRange) -> Result<(), Cause> {
        pages
            .map
            .prepare(&self.mapping, wanted)
            .map_err(Cause::os)?;
        self.cure_in(pages, wanted);
        // The map changes only after all commits: until then, it shows what to undo.
        let mut gaps = pages.map.runs(wanted).filter(|&(_, committed)| !committed);
        let refused = gaps.find_map(|(gap, _)| {
            // SAFETY: the pages are reserved according to the map, which stays locked.
            let result = unsafe { self.pager.commit(&self.mapping, gap, None) };
            result.err().map(|code| (gap, Cause::of_commit(code)))
        });
        let Some((gap, cause)) = refused else {
            return Ok(());
        };
        let before = PageRange::new(wanted.start(), gap.start());
        for (done, _) in pages.map.runs(before).filter(|&(_, committed)| !committed) {
            // SAFETY: the pages were committed a moment ago, under the lock, and not announced, so no reference points
            // into them.
            unsafe { self.pager.uncommit(&self.mapping, done) };
        }
        Err(cause)
    }

    /// Decommits every page of `range`, unless one is held.
    pub(in super::super) fn decommit(&self, range: Range<usize>) -> Result<(), Error> {
        let unwanted = self.pages_of(Operation::Decommit, &range)?;
        let mut pages = self.pages.lock();
        if pages.holds.overlap(unwanted) {
            return Err(Error::new(Operation::Decommit, range, Reason::Held));
        }
        self.decommit_run(&mut pages, unwanted)
            .map_err(|code| Error::new(Operation::Decommit, range, Cause::os(code)))
    }

    fn pages_of(&self, operation: Operation, range: &Range<usize>) -> Result<PageRange, Error> {
        PageRange::outward(range, self.len())
            .ok_or_else(|| Error::out_of_range(operation, range.clone(), self.len()))
    }
}

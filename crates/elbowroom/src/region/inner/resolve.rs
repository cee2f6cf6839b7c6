//! Resolves faults: asks the filter, commits, counts, and records events.

use std::time::Instant;

use super::*;
use crate::fault::events::{self, Event};
use crate::fault::frames;
use crate::os::{self, SignalsBlocked};
use crate::plain::FaultAccess;
use crate::sync::Guard;

impl RegionInner {
    /// Returns the fault of a touch in this region's addresses.
    pub(super) fn fault(&self, touch: &Touch) -> Fault<'_> {
        let is_page_fault = self
            .pager
            .is_page_fault(touch.is_inaccessible, touch.is_missing);
        Fault::new(self, *touch, self.offset_of(touch.address), is_page_fault)
    }

    /// Resolves a fault in this region's addresses, or returns the cause of its refusal. Called by the fault handler.
    pub(super) fn resolve_touch(&self, touch: &Touch) -> Result<Progress, Cause> {
        let fault = self.fault(touch);
        if self.pager.events().is_some() {
            return self.resolve_poisoned(&fault);
        }
        let committed = self.measure(os::thread_number, &fault, || {
            self.try_resolve(&fault, |fault| self.ask(fault))
        })?;
        self.run_pending_callbacks_apart();
        Ok(committed.map_or_else(|| self.no_progress(), |_| Progress::Made))
    }

    /// Resolves a write to `offset`, which is in the data, before it happens: as a fault would, but by a call.
    pub(in super::super) fn resolve_ahead(&self, offset: usize) -> Result<(), Cause> {
        // No signal may interrupt a thread that holds the region's lock.
        let _signals = SignalsBlocked::new();
        let is_missing = self.backend() != Backend::Protection;
        let fault = self.fault(&Touch {
            address: self.base().addr() + offset,
            access: FaultAccess::Write,
            code: os::fault_code(is_missing),
            is_inaccessible: !is_missing,
            is_missing,
        });
        let page = PageIndex::holding(offset);
        if self.pages.lock_in_handler().map.is_committed(page) {
            return Ok(());
        }
        self.measure(os::thread_number, &fault, || {
            self.try_resolve(&fault, |fault| self.ask(fault))
        })?;
        self.run_pending_callbacks_apart();
        Ok(())
    }

    /// Returns the result of a fault that changed nothing: the access will work because of an earlier commit.
    pub(super) fn no_progress(&self) -> Progress {
        Progress::None {
            epoch: self
                .first_epoch
                .wrapping_add(self.commits.load(Ordering::Relaxed)),
        }
    }

    /// Resolves a fault and counts it. Measures its duration if the region is timed or a recorder exists.
    pub(super) fn measure(
        &self,
        thread: impl FnOnce() -> u64,
        fault: &Fault<'_>,
        resolve: impl FnOnce() -> Result<Option<PageCount>, Cause>,
    ) -> Result<Option<PageCount>, Cause> {
        self.faults.fetch_add(1, Ordering::Relaxed);
        let at = (self.policy.latencies.is_some() || events::is_on()).then(Instant::now);
        let result = resolve();
        let outcome = match result {
            Ok(Some(_)) => Outcome::Committed,
            Ok(None) => Outcome::Raced,
            Err(cause) => Outcome::of_refusal(cause),
        };
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
        if let Some(at) = at {
            self.note(at, thread, fault, outcome, result.ok().flatten());
        }
        result
    }

    /// Stores the duration of a fault, and records it as an event.
    #[cold]
    fn note(
        &self,
        at: Instant,
        thread: impl FnOnce() -> u64,
        fault: &Fault<'_>,
        outcome: Outcome,
        committed: Option<PageCount>,
    ) {
        let duration = at.elapsed();
        if let Some(latencies) = &self.policy.latencies {
            latencies[outcome as usize].add(duration);
        }
        if let Some(tape) = events::tape() {
            let committed = committed.unwrap_or(PageCount::ZERO);
            tape.put(&Event::new(
                at,
                duration,
                events::What {
                    thread: thread(),
                    region: self.base().addr(),
                    offset: fault.offset(),
                    access: fault.access(),
                    outcome,
                    committed_bytes: committed.bytes(),
                    region_committed_bytes: self.committed_bytes(),
                    name: self.mapping.name(),
                },
            ));
        }
    }

    /// Asks the filter, on the thread that runs it.
    fn ask(&self, fault: &Fault<'_>) -> Result<Verdict, Cause> {
        let id = OwnerId::of(self);
        if frames::is_inside_filter_of(id) {
            return Err(Reason::InOwnFilter.into());
        }
        // A forked child lacks the threads that serve the region.
        if self.backend() == Backend::UserfaultMonitor {
            return Err(Reason::FilterThreadGone.into());
        }
        match &self.policy.filter_threads {
            Some(threads) => threads.ask(fault),
            None => frames::run_filter(id, || self.ask_filter(fault)),
        }
    }

    /// Returns the number of pages committed for the fault, or `None` if the page was committed already.
    pub(super) fn try_resolve(
        &self,
        fault: &Fault<'_>,
        ask: impl FnOnce(&Fault<'_>) -> Result<Verdict, Cause>,
    ) -> Result<Option<PageCount>, Cause> {
        if self.has_filter() {
            // Another thread may have committed the page meanwhile. The filter is not asked then.
            if let Some(result) = self.check_if_committed(fault) {
                return result.map(|()| None);
            }
            match ask(fault)? {
                Verdict::Commit => {
                    if let Some(pages) = fault.committed() {
                        return Ok(Some(pages).filter(|&pages| pages > PageCount::ZERO));
                    }
                }
                Verdict::Decline => return Err(Reason::Filter.into()),
            }
        }
        Ok(self.commit_around(fault)?.map(PageRange::count))
    }

    /// Commits for a filter that needs to know whether the commit works. Returns the committed bytes; the range is
    /// empty if the page was committed already.
    pub(super) fn commit_for_filter(&self, fault: &Fault<'_>) -> Result<Range<usize>, Error> {
        match self.commit_around(fault) {
            Ok(Some(pages)) => {
                self.run_pending_callbacks();
                Ok(pages.bytes())
            }
            Ok(None) => Ok(fault.offset()..fault.offset()),
            Err(cause) => {
                let range = fault.offset()..fault.offset() + 1;
                Err(self.error(Operation::Commit, range, cause))
            }
        }
    }

    /// Commits pages with these contents for a filter, from the page of its fault on. Returns the committed bytes; the
    /// range is empty if that page was committed already.
    pub(super) fn fill_for_filter(
        &self,
        fault: &Fault<'_>,
        contents: &[u8],
    ) -> Result<Range<usize>, Error> {
        let page = PageIndex::holding(fault.offset());
        let start = page.alone().bytes().start;
        let range = start..start.saturating_add(contents.len());
        let wanted = PageRange::outward(&range, self.len())
            .filter(|wanted| !wanted.is_empty() && wanted.byte_len() == contents.len())
            .ok_or_else(|| Error::out_of_range(Operation::Commit, range.clone(), self.len()))?;
        let filled = self.fill(fault, wanted, contents);
        match filled.map_err(|cause| self.error(Operation::Commit, range, cause))? {
            Some(pages) => {
                self.run_pending_callbacks();
                Ok(pages.bytes())
            }
            None => Ok(fault.offset()..fault.offset()),
        }
    }

    pub(super) fn has_pending_callbacks(&self) -> bool {
        let budget = self.policy.budget.as_ref();
        budget.is_some_and(Budget::has_pending_callbacks)
    }

    /// Calls the pending callbacks of budgets on a stack owned by the library, because a panic in them cannot unwind
    /// from here.
    pub(super) fn run_pending_callbacks_apart(&self) {
        if self.has_pending_callbacks() {
            // The page is committed, so the fault succeeds even if the callbacks could not run.
            let _ = frames::run_callback(OwnerId::of(self), || self.run_pending_callbacks());
        }
    }

    /// Checks the access of a fault if its page is committed.
    pub(super) fn check_if_committed(&self, fault: &Fault<'_>) -> Option<Result<(), Cause>> {
        let page = PageIndex::holding(fault.offset());
        if !fault.is_page_fault() || !self.contains(page) {
            return None;
        }
        let pages = self.pages.lock_in_handler();
        pages
            .map
            .is_committed(page)
            .then(|| self.check_access(&pages, fault))
    }

    /// Checks whether the access of a fault on a committed page will work now.
    ///
    /// It will if another thread has just committed the page. It will not if the program has removed the access, or if
    /// the access fetches an instruction from data. The lock keeps other threads from decommitting the page between
    /// this check and the system's answer.
    pub(super) fn check_access(
        &self,
        _pages: &Guard<'_, Account>,
        fault: &Fault<'_>,
    ) -> Result<(), Cause> {
        let allows = self.pager.allows(&self.mapping, fault).map_err(Cause::os)?;
        let allowed = match allows {
            Some(allowed) => allowed,
            // The system does not tell (Linux without /proc, or an emulator). Committed pages are never executable.
            // Other accesses are assumed to have lost a race; if the fault repeats, they have not (`Progress::None`).
            None => fault.access() != FaultAccess::Execute,
        };
        if allowed {
            Ok(())
        } else {
            Err(Reason::Protected.into())
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::{Region, page_size};

    #[test]
    fn no_two_regions_have_an_epoch_in_common() {
        let epochs = || {
            let region = Region::new(2 * page_size()).unwrap();
            let before = region.inner().no_progress();
            region.try_write(0, 1u8).unwrap();
            [before, region.inner().no_progress()]
        };
        // The second region most likely has the same address.
        let [first, second] = [epochs(), epochs()];
        assert_ne!(first[0], first[1]);
        assert!(first.iter().all(|epoch| !second.contains(epoch)));
    }
}

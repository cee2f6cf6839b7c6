//! Touches of a served region ([`Backend::UserfaultMonitor`]). They are resolved while their threads wait, or refused
//! by poisoning the page for a moment.

#![allow(
    unsafe_code,
    reason = "poisons pages of a mapping that the region owns"
)]

use std::ptr::NonNull;

use super::super::*;
use super::poisoned::{Cured, Entry};
use crate::fault::frames;
use crate::os;
use crate::os::userfault::{self, Missing, Userfault};
use crate::sync::Guard;

/// A region as seen by the threads that serve it. Nothing here touches a page of the region, except its filter: a
/// serving thread would wait for itself.
pub(in crate::region) struct ServedRegion {
    // Invariant: valid until the `Service` that owns this is dropped; nothing uses this afterwards.
    region: NonNull<RegionInner>,
}

// SAFETY: `RegionInner` is Send and Sync, and is valid while this is used (invariant).
unsafe impl Send for ServedRegion {}
// SAFETY: `RegionInner` is Sync, and is valid while this is used (invariant).
unsafe impl Sync for ServedRegion {}

impl ServedRegion {
    /// Returns the served view of a region, or `None` if the region is not served.
    ///
    /// # Safety
    /// The region is valid until the `Service` that gets this is dropped.
    pub(in crate::region) unsafe fn new(region: NonNull<RegionInner>) -> Option<ServedRegion> {
        let served = ServedRegion { region };
        served.region().pager.events().is_some().then_some(served)
    }

    fn region(&self) -> &RegionInner {
        // SAFETY: the region is valid while this is used (invariant).
        unsafe { self.region.as_ref() }
    }

    pub(in crate::region) fn name(&self) -> &str {
        self.region().mapping.name()
    }

    pub(in crate::region) fn has_filter(&self) -> bool {
        self.region().has_filter()
    }

    /// Returns the userfaultfd whose events are to be served, or `None` in a forked child.
    pub(in crate::region) fn events(&self) -> Option<&Userfault> {
        self.region().pager.events()
    }

    /// Resolves a touch of a waiting thread.
    pub(in crate::region) fn resolve(
        &self,
        missing: &Missing,
        ask: impl FnOnce(&Fault<'_>) -> Result<Verdict, Cause>,
    ) -> Result<(), Cause> {
        let region = self.region();
        let fault = region.fault(&Touch::from(*missing));
        let resolve = || region.try_resolve(&fault, ask);
        region.measure(|| missing.thread, &fault, resolve)?;
        Ok(())
    }

    /// Asks the filter, on a worker thread.
    pub(in crate::region) fn ask_filter(&self, fault: &Fault<'_>) -> Result<Verdict, Cause> {
        let region = self.region();
        frames::note(OwnerId::of(region), || region.ask_filter(fault))
    }

    /// Refuses the touch of a waiting thread by poisoning the page. Returns false if that is not possible at the
    /// moment.
    pub(in crate::region) fn poison(&self, missing: &Missing, cause: Cause) -> bool {
        self.region().poison(missing, cause)
    }

    /// Lets a waiting thread touch again.
    pub(in crate::region) fn wake(&self, missing: &Missing) {
        let region = self.region();
        let page = PageIndex::holding(region.offset_of(missing.address));
        region.pager.wake(&region.mapping, page.alone());
    }

    /// Returns whether there are poisoned pages.
    pub(in crate::region) fn has_poisoned(&self) -> bool {
        let pages = self.region().pages.lock_in_handler();
        let poisoned = pages.poisoned.as_ref();
        poisoned.is_some_and(|poisoned| !poisoned.is_empty())
    }

    /// Cures the pages whose time has passed.
    pub(in crate::region) fn cure_expired(&self) {
        let region = self.region();
        let mut pages = region.pages.lock_in_handler();
        while let Some(cured) = pages.poisoned.as_mut().and_then(|all| all.take_expired()) {
            region.cure(Some(cured));
        }
    }

    pub(in crate::region) fn has_pending_callbacks(&self) -> bool {
        self.region().has_pending_callbacks()
    }

    /// Calls the pending callbacks of budgets.
    pub(in crate::region) fn run_pending_callbacks(&self) {
        self.region().run_pending_callbacks_apart();
    }
}

impl RegionInner {
    fn poison(&self, missing: &Missing, cause: Cause) -> bool {
        let page = PageIndex::holding(self.offset_of(missing.address));
        let thread = if userfault::is_in_system_call(missing.thread) {
            0
        } else {
            missing.thread
        };
        let mut pages = self.pages.lock_in_handler();
        if !(self.contains(page) && pages.map.is_committed(page)) {
            let Some(poisoned) = &mut pages.poisoned else {
                return true;
            };
            if poisoned.is_full() {
                self.cure(poisoned.take_oldest());
            }
            let poison = match poisoned.of(page) {
                Some(poison) => poison,
                // SAFETY: the page is missing. It is the guard page or, according to the locked map, not committed, and
                // pages of a served region are either committed or missing.
                None => match unsafe { self.mapping.poison(page) } {
                    Ok(poison) => poison,
                    Err(_) => return false,
                },
            };
            poisoned.push(Entry {
                page,
                thread,
                cause,
                poison,
            });
        }
        drop(pages);
        self.pager.wake(&self.mapping, page.alone());
        true
    }

    /// Cures a page that is no longer in the list of poisoned pages. Called under the lock of `pages`.
    fn cure(&self, cured: Option<Cured>) {
        if let Some((page, poison)) = cured {
            self.mapping.cure(page, poison);
        }
    }

    /// Cures the poisoned pages among those that are about to be committed.
    pub(in crate::region::inner) fn cure_in(&self, pages: &mut Guard<'_, Account>, run: PageRange) {
        while let Some(cured) = pages.poisoned.as_mut().and_then(|all| all.take_in(run)) {
            self.cure(Some(cured));
        }
    }

    /// Resolves a touch that arrived as a signal although the region is served: its page is poisoned, was poisoned a
    /// moment ago, or was protected by the program.
    pub(in crate::region::inner) fn resolve_poisoned(
        &self,
        fault: &Fault<'_>,
    ) -> Result<Progress, Cause> {
        if !fault.is_page_fault() {
            return Err(Reason::NotAPageFault.into());
        }
        let page = PageIndex::holding(fault.offset());
        let mut pages = self.pages.lock_in_handler();
        if self.contains(page) && pages.map.is_committed(page) {
            self.check_access(&pages, fault)?;
            return Ok(self.no_progress());
        }
        let Some(poisoned) = &mut pages.poisoned else {
            return Err(Reason::NotAPageFault.into());
        };
        if let Some((cause, cured)) = poisoned.take(os::thread_number(), page) {
            self.cure(cured);
            return Err(cause);
        }
        // The refusal was for another thread or for a system call. The filter is asked about this touch when the
        // instruction runs again.
        match poisoned.take_in(page.alone()) {
            Some(cured) => {
                self.cure(Some(cured));
                Ok(Progress::Made)
            }
            None => Ok(self.no_progress()),
        }
    }

    /// Makes missing pages fault again in a forked child, which has just received the locks. If that fails, makes them
    /// inaccessible.
    pub(in crate::region::inner) fn reattach(&self) {
        let pages = self.pages.lock_in_handler();
        let all = PageCount::new(self.data.get() + 1);
        if self.pager.reattach(&self.mapping, all).is_ok() {
            return;
        }
        for (reserved, _) in pages
            .map
            .runs(pages.map.all())
            .filter(|&(_, committed)| !committed)
        {
            // SAFETY: the pages are reserved, so no reference points into them.
            let _ = unsafe { self.mapping.decommit(reserved) };
        }
    }
}

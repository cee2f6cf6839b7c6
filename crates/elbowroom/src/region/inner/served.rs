//! Touches of a served region ([`Backend::UserfaultMonitor`]): resolved while their threads wait, or
//! refused by poisoning the page for a moment.

#![allow(
    unsafe_code,
    reason = "poisons pages of a mapping that the region owns"
)]

use std::sync::Arc;

use super::super::poison::{Cured, Entry};
use super::*;
use crate::fault::frames;
use crate::os::{self, Missing, Userfault};
use crate::sync::Guard;

impl RegionInner {
    /// Returns the userfaultfd whose events are to be served, if there is one in this process.
    pub(in super::super) fn served(&self) -> Option<&Arc<Userfault>> {
        self.pager.served()
    }

    /// Resolves a touch whose thread waits. Called by the threads that serve the region.
    pub(in super::super) fn serve(
        &self,
        missing: &Missing,
        ask: impl FnOnce(&Fault<'_>) -> Result<Verdict, Cause>,
    ) -> Result<(), Cause> {
        let fault = self.fault(&Touch::from(*missing));
        self.measure(|| missing.thread, &fault, || self.try_resolve(&fault, ask))?;
        Ok(())
    }

    /// Asks the filter on a thread that exists for it.
    pub(in super::super) fn ask_filter_noted(&self, fault: &Fault<'_>) -> Result<Verdict, Cause> {
        frames::note(OwnerId::of(self), || self.ask_filter(fault))
    }

    /// Refuses the touch of a thread that waits, by poisoning the page. Returns false if that cannot be
    /// done just now.
    pub(in super::super) fn poison(&self, missing: &Missing, cause: Cause) -> bool {
        let page = PageIndex::holding(self.offset_of(missing.address));
        let thread = if os::is_in_system_call(missing.thread) {
            0
        } else {
            missing.thread
        };
        let mut pages = self.pages.lock_in_handler();
        if !(self.contains(page) && pages.is_committed(page)) {
            let Some(poisoned) = &mut pages.poisoned else {
                return true;
            };
            if poisoned.is_full() {
                self.cure(poisoned.take_oldest());
            }
            let poison = match poisoned.of(page) {
                Some(poison) => poison,
                // SAFETY: the page is attached to the userfaultfd, because the region is served. It is
                // missing, because it is the guard page or, under the lock, not committed.
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

    /// Lets a thread that waits touch again.
    pub(in super::super) fn wake(&self, missing: &Missing) {
        let page = PageIndex::holding(self.offset_of(missing.address));
        self.pager.wake(&self.mapping, page.alone());
    }

    /// Cures a page that [`Poisoned`] has just let go. Called under the lock of `pages`.
    fn cure(&self, cured: Option<Cured>) {
        if let Some((page, poison)) = cured {
            // SAFETY: the page was poisoned in this way, and was in `Poisoned` until now, so it was not
            // cured since.
            unsafe { self.mapping.cure(page, poison) };
        }
    }

    /// Returns whether there are poisoned pages.
    pub(in super::super) fn has_poisoned(&self) -> bool {
        let pages = self.pages.lock_in_handler();
        let poisoned = pages.poisoned.as_ref();
        poisoned.is_some_and(|poisoned| !poisoned.is_empty())
    }

    /// Cures the pages whose time is up.
    pub(in super::super) fn cure_expired(&self) {
        let mut pages = self.pages.lock_in_handler();
        while let Some(cured) = pages.poisoned.as_mut().and_then(|all| all.take_expired()) {
            self.cure(Some(cured));
        }
    }

    /// Cures the poisoned pages among those that are about to be committed.
    pub(super) fn cure_in(&self, pages: &mut Guard<'_, PageMap>, run: PageRange) {
        while let Some(cured) = pages.poisoned.as_mut().and_then(|all| all.take_in(run)) {
            self.cure(Some(cured));
        }
    }

    /// Resolves a touch that arrived as a signal although the region is served: of a page that is
    /// poisoned, or was a moment ago, or that the program has protected.
    pub(super) fn resolve_poisoned(&self, fault: &Fault<'_>) -> Result<Progress, Cause> {
        if !fault.is_page_fault() {
            return Err(Reason::NotAPageFault.into());
        }
        let page = PageIndex::holding(fault.offset());
        let mut pages = self.pages.lock_in_handler();
        if self.contains(page) && pages.is_committed(page) {
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
        // The refusal was another thread's, or that of a system call. This touch is asked about when the
        // instruction runs again.
        match poisoned.take_in(page.alone()) {
            Some(cured) => {
                self.cure(Some(cured));
                Ok(Progress::Made)
            }
            None => Ok(self.no_progress()),
        }
    }

    /// Makes missing pages fault again in a forked child, which has just been given the locks. If that
    /// fails, makes them inaccessible.
    pub(super) fn reattach(&self) {
        let pages = self.pages.lock_in_handler();
        let all = PageCount::new(self.data.get() + 1);
        if self.pager.reattach(&self.mapping, all).is_ok() {
            return;
        }
        for (reserved, _) in pages.runs(pages.all()).filter(|&(_, committed)| !committed) {
            // SAFETY: the pages are inside this mapping. They are reserved, so nothing refers to them.
            let _ = unsafe { self.mapping.decommit(reserved) };
        }
    }
}

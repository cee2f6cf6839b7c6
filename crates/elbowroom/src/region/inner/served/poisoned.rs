//! Pages of a served region (see [`threads`](super::threads)) whose touch was refused.
//!
//! The thread that touched sleeps in the kernel and tries again when it is woken; there is no other way to let it
//! continue. So the page is *poisoned* first, which makes the touch fail: with a signal, or with EFAULT in a system
//! call. The signal's handler finds the cause here. The kernel does not report when a system call has failed, so a page
//! is poisoned only for a moment. The filter is asked again about a later touch.

use std::time::{Duration, Instant};

use crate::error::Cause;
use crate::os::userfault::Poison;
use crate::page::{PageIndex, PageRange};

/// The time for which a page stays poisoned. It is much longer than a thread takes to wake up.
pub(in crate::region::inner) const TIME: Duration = Duration::from_millis(10);

/// The number of refused touches remembered at once. Beyond it, the oldest is released.
const ENTRIES_MAX: usize = 64;

/// A refused touch.
pub(in crate::region::inner) struct Entry {
    pub(in crate::region::inner) page: PageIndex,
    /// The thread that touched; 0 for a system call, which gets no cause.
    pub(in crate::region::inner) thread: u64,
    pub(in crate::region::inner) cause: Cause,
    pub(in crate::region::inner) poison: Poison,
}

/// The recently refused touches of one region, in order. A page is poisoned while it has an entry.
pub(in crate::region::inner) struct Poisoned {
    // Never grows beyond its initial capacity, because the fault handler changes it.
    entries: Vec<(Instant, Entry)>,
}

/// A page that is no longer poisoned here and must be cured.
pub(in crate::region::inner) type Cured = (PageIndex, Poison);

impl Poisoned {
    pub(in crate::region::inner) fn new() -> Poisoned {
        Poisoned {
            entries: Vec::with_capacity(ENTRIES_MAX),
        }
    }

    pub(in crate::region::inner) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(in crate::region::inner) fn is_full(&self) -> bool {
        self.entries.len() == ENTRIES_MAX
    }

    /// Returns how the page is poisoned, if it is.
    pub(in crate::region::inner) fn of(&self, page: PageIndex) -> Option<Poison> {
        self.entries
            .iter()
            .find(|(_, entry)| entry.page == page)
            .map(|(_, entry)| entry.poison)
    }

    /// Records a touch of a poisoned page.
    ///
    /// # Panics
    /// Panics if the list is full.
    pub(in crate::region::inner) fn push(&mut self, entry: Entry) {
        assert!(!self.is_full(), "room is made first");
        self.entries.push((Instant::now(), entry));
    }

    /// Removes this thread's refused touch of the page. Returns its cause, and the page if it has no other entry.
    pub(in crate::region::inner) fn take(
        &mut self,
        thread: u64,
        page: PageIndex,
    ) -> Option<(Cause, Option<Cured>)> {
        let index = self
            .entries
            .iter()
            .position(|(_, entry)| (entry.thread, entry.page) == (thread, page))?;
        let (_, entry) = self.entries.remove(index);
        let cured = self.of(page).is_none().then_some((page, entry.poison));
        Some((entry.cause, cured))
    }

    /// Removes one of these pages, if one is poisoned.
    pub(in crate::region::inner) fn take_in(&mut self, pages: PageRange) -> Option<Cured> {
        self.take_first(|_, entry| pages.contains(entry.page))
    }

    /// Removes the page that was poisoned first.
    pub(in crate::region::inner) fn take_oldest(&mut self) -> Option<Cured> {
        self.take_first(|_, _| true)
    }

    /// Removes a page whose time has passed.
    pub(in crate::region::inner) fn take_expired(&mut self) -> Option<Cured> {
        self.take_first(|since, _| since.elapsed() >= TIME)
    }

    fn take_first(&mut self, is_it: impl Fn(Instant, &Entry) -> bool) -> Option<Cured> {
        let (_, entry) = self
            .entries
            .iter()
            .find(|(since, entry)| is_it(*since, entry))?;
        let cured = (entry.page, entry.poison);
        self.entries.retain(|(_, entry)| entry.page != cured.0);
        Some(cured)
    }
}

//! Pages of a served region (see [`serve`](super::serve)) whose touch was refused.
//!
//! The thread that touched sleeps in the kernel and tries again when it is woken; there is no other way to
//! let it continue. So the page is *poisoned* first, which makes the touch fail: with a signal, or in a system
//! call with EFAULT. The signal's handler finds the cause here. Nothing tells when a system call has failed,
//! so a page is poisoned for a moment only. A thread that touches it later asks again.

use std::time::{Duration, Instant};

use crate::error::Cause;
use crate::os::Poison;
use crate::page::{PageIndex, PageRange};

/// How long a page stays poisoned: much longer than a thread takes to wake up.
pub(super) const TIME: Duration = Duration::from_millis(10);

/// How many refused touches are remembered at once. Beyond, the oldest is let go.
const ENTRIES_MAX: usize = 64;

/// A touch that was refused.
pub(super) struct Entry {
    pub(super) page: PageIndex,
    /// The thread that touched; 0 for a system call, which learns no cause.
    pub(super) thread: u64,
    pub(super) cause: Cause,
    pub(super) poison: Poison,
}

/// The touches of one region that were refused a moment ago, in order. A page is poisoned while it has an
/// entry.
pub(super) struct Poisoned {
    // Never grows beyond its first capacity, because the fault handler changes it.
    entries: Vec<(Instant, Entry)>,
}

/// A page that is no longer poisoned here, and is to be cured.
pub(super) type Cured = (PageIndex, Poison);

impl Poisoned {
    pub(super) fn new() -> Poisoned {
        Poisoned {
            entries: Vec::with_capacity(ENTRIES_MAX),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() == ENTRIES_MAX
    }

    /// Returns how the page is poisoned, if it is.
    pub(super) fn of(&self, page: PageIndex) -> Option<Poison> {
        self.entries
            .iter()
            .find(|(_, entry)| entry.page == page)
            .map(|(_, entry)| entry.poison)
    }

    /// Notes a touch of a page that is poisoned.
    ///
    /// # Panics
    /// If it is full.
    pub(super) fn push(&mut self, entry: Entry) {
        assert!(!self.is_full(), "room is made first");
        self.entries.push((Instant::now(), entry));
    }

    /// Takes out why this thread's touch of the page was refused, and the page if it has no other entry.
    pub(super) fn take(&mut self, thread: u64, page: PageIndex) -> Option<(Cause, Option<Cured>)> {
        let index = self
            .entries
            .iter()
            .position(|(_, entry)| (entry.thread, entry.page) == (thread, page))?;
        let (_, entry) = self.entries.remove(index);
        let cured = self.of(page).is_none().then_some((page, entry.poison));
        Some((entry.cause, cured))
    }

    /// Takes out a poisoned page among these.
    pub(super) fn take_in(&mut self, pages: PageRange) -> Option<Cured> {
        self.take_first(|_, entry| pages.contains(entry.page))
    }

    /// Takes out the page that was poisoned first.
    pub(super) fn take_oldest(&mut self) -> Option<Cured> {
        self.take_first(|_, _| true)
    }

    /// Takes out a page whose time is up.
    pub(super) fn take_expired(&mut self) -> Option<Cured> {
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

//! Pages of a served region (see [`service`](super::service)) whose touch was refused.
//!
//! The thread that touched sleeps in the kernel and tries again when it is woken: there is no other way to let it go
//! on. So the page is *barred* first, which makes the touch fail: with a signal, or, in a system call, with EFAULT. The
//! signal's handler finds the reason here. Nobody says when a system call has failed, so a page is barred for a moment
//! only; who comes later, or too late, just asks again.

use std::time::{Duration, Instant};

use crate::fault::Refusal;
use crate::os::Bar;
use crate::page::{PageIndex, PageRange};

/// For how long a page stays barred: much longer than it takes a thread to wake up.
pub(super) const TIME: Duration = Duration::from_millis(10);

/// More than this many are not remembered at once: the oldest is let go.
const ENTRIES_MAX: usize = 64;

/// A touch that was refused.
pub(super) struct Entry {
    pub(super) page: PageIndex,
    /// Whose touch; 0 for a system call's, whom nobody tells the reason.
    pub(super) thread: u64,
    pub(super) refusal: Refusal,
    pub(super) bar: Bar,
}

/// The touches of one region that were refused a moment ago, in order. A page is barred while it has one.
pub(super) struct Barred {
    // Never grows: it is changed in the fault handler.
    entries: Vec<(Instant, Entry)>,
}

/// A page that is to be unbarred.
pub(super) type Unbarred = (PageIndex, Bar);

impl Barred {
    pub(super) fn new() -> Barred {
        Barred { entries: Vec::with_capacity(ENTRIES_MAX) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() == ENTRIES_MAX
    }

    /// How the page is barred, if it is.
    pub(super) fn of(&self, page: PageIndex) -> Option<Bar> {
        self.entries.iter().find(|(_, entry)| entry.page == page).map(|(_, entry)| entry.bar)
    }

    /// Notes a touch of a page that has just been barred, or is.
    ///
    /// # Panics
    /// If it is full.
    pub(super) fn push(&mut self, entry: Entry) {
        assert!(!self.is_full(), "room is made first");
        self.entries.push((Instant::now(), entry));
    }

    /// Why this thread's touch of the page was refused, and the page if nobody else's was. Once.
    pub(super) fn take(&mut self, thread: u64, page: PageIndex) -> Option<(Refusal, Option<Unbarred>)> {
        let index = self.entries.iter().position(|(_, entry)| (entry.thread, entry.page) == (thread, page))?;
        let (_, entry) = self.entries.remove(index);
        let unbarred = self.of(page).is_none().then_some((page, entry.bar));
        Some((entry.refusal, unbarred))
    }

    /// A page of these that is barred, no longer.
    pub(super) fn take_in(&mut self, pages: PageRange) -> Option<Unbarred> {
        self.take_first(|_, entry| pages.contains(entry.page))
    }

    /// The page that was barred first, no longer.
    pub(super) fn take_oldest(&mut self) -> Option<Unbarred> {
        self.take_first(|_, _| true)
    }

    /// A page whose time is up.
    pub(super) fn take_expired(&mut self) -> Option<Unbarred> {
        self.take_first(|since, _| since.elapsed() >= TIME)
    }

    fn take_first(&mut self, is_it: impl Fn(Instant, &Entry) -> bool) -> Option<Unbarred> {
        let (_, entry) = self.entries.iter().find(|(since, entry)| is_it(*since, entry))?;
        let unbarred = (entry.page, entry.bar);
        self.entries.retain(|(_, entry)| entry.page != unbarred.0);
        Some(unbarred)
    }
}

//! A committed prefix of a reservation, which grows and never moves.
//!
//! ```text
//!  base        committed         backed           usable       the mapping's end
//!  | committed | warm            | reserved       | (never used) |
//! ```
//!
//! No access to a prefix faults: its user commits first and touches afterwards. It grows through `&self` under a lock,
//! while readers load a watermark, or through `&mut self` without a lock. It shrinks only through `&mut self`, when no
//! reference into it can be alive.
//!
//! *Warm* pages were left committed by an earlier owner of the mapping (see [`cache`](super::cache)). They do not
//! belong to the present owner until it grows into them: they are not charged to its budget, and its figures do not
//! count them.

#![allow(unsafe_code, reason = "gives back memory that nothing refers to")]

mod inner;
mod reserve;
mod warm;

#[cfg(all(test, not(loom)))]
mod tests;

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::Ordering;

use super::cache::{Cache, Cached};
use super::{ContainerStats, Options};
use crate::budget::Budget;
use crate::error::Error;
use crate::fault::fork_guard;
use crate::page::PageCount;
use crate::plain::{Access, PageState, Span};
use warm::{CACHE, try_twice};

pub(crate) use inner::Extent;
pub(super) use inner::Inner;
#[cfg(all(test, not(loom)))]
pub(super) use inner::WARM_BYTES;
pub use warm::trim;

/// A budget with callbacks that are due. A callback is the program's own code, and may use the container again.
#[must_use]
pub(crate) struct PendingCallbacks(Option<Budget>);

impl PendingCallbacks {
    /// Calls the callbacks. The caller holds no lock.
    pub(crate) fn run(self) {
        if let PendingCallbacks(Some(budget)) = self {
            budget.run_pending_callbacks();
        }
    }
}

/// Pages from the base of a reservation on, committed up to a watermark.
pub(crate) struct Prefix {
    inner: ManuallyDrop<Box<Inner>>,
}

impl Prefix {
    /// Returns the address of the first byte, with the provenance of the whole reservation. It never changes.
    #[inline(always)]
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.inner.mapping.base()
    }

    /// Returns the number of bytes from the base on that are committed. A thread that has read it may write there
    /// without further synchronisation with the growth.
    #[inline]
    pub(crate) fn committed_bytes(&self) -> usize {
        self.inner.committed().bytes()
    }

    /// Returns the largest number of bytes that can be committed, without regard to limits.
    #[inline(always)]
    pub(crate) fn usable_bytes(&self) -> usize {
        self.inner.usable.bytes()
    }

    /// Returns the name, or the empty string.
    pub(crate) fn name(&self) -> &str {
        self.inner.mapping.name()
    }

    /// Returns the options that the prefix was made with.
    pub(crate) fn options(&self) -> Options {
        Options {
            name: self.name().into(),
            ..self.inner.options.clone()
        }
    }

    /// Commits at least `needed` bytes in total, and returns how many are committed. On an error, nothing has changed.
    pub(crate) fn grow(&self, needed: usize, extent: Extent) -> Result<usize, Error> {
        let inner = &**self.inner;
        if needed <= self.committed_bytes() {
            return Ok(self.committed_bytes());
        }
        let prefault = try_twice(|| {
            let mut inside = Some(fork_guard::enter());
            let mut growing = inner.growing.lock_in_handler();
            inner.commit_to(&mut growing, needed, extent, &mut inside)
        })?;
        inner.prefault(prefault);
        inner.tell_budgets();
        Ok(self.committed_bytes())
    }

    /// Returns the number of bytes that are ready to be written.
    #[inline(always)]
    fn ready_bytes(&mut self) -> usize {
        let inner = &mut **self.inner;
        let ready = inner.growing.get_mut().ready;
        let committed = PageCount::new(*inner.committed.get_mut());
        ready.min(committed).bytes()
    }

    /// Grows as [`grow`](Prefix::grow) does, without a lock. Returns the number of bytes that are ready to be written:
    /// at most as many as are committed, and at least `needed` if the extent asks for ready bytes.
    #[inline]
    pub(crate) fn grow_mut(&mut self, needed: usize, extent: Extent) -> Result<usize, Error> {
        match self.grow_from(0, needed, extent) {
            Ok((ready, pending)) => {
                pending.run();
                Ok(ready)
            }
            Err(error) => Err(error),
        }
    }

    /// Grows as [`grow_mut`](Prefix::grow_mut) does, but runs no code of the program and prefaults no page before the
    /// byte `written_from`, because nothing is about to be written there.
    #[inline(always)]
    pub(crate) fn grow_from(
        &mut self,
        written_from: usize,
        needed: usize,
        extent: Extent,
    ) -> Result<(usize, PendingCallbacks), Error> {
        let ready = self.ready_bytes();
        if needed <= ready {
            return Ok((ready, PendingCallbacks(None)));
        }
        self.commit_from(written_from, needed, extent)
    }

    fn commit_from(
        &mut self,
        written_from: usize,
        needed: usize,
        extent: Extent,
    ) -> Result<(usize, PendingCallbacks), Error> {
        let inner = &mut **self.inner;
        let mut growing = *inner.growing.get_mut();
        growing.ready = growing.ready.max(PageCount::inside(written_from));
        let prefault = try_twice(|| inner.commit_to(&mut growing, needed, extent, &mut None))?;
        *inner.growing.get_mut() = growing;
        inner.prefault(prefault);
        let budget = inner
            .options
            .budget
            .as_ref()
            .filter(|budget| budget.has_pending_callbacks());
        Ok((
            growing.ready.min(inner.committed()).bytes(),
            PendingCallbacks(budget.cloned()),
        ))
    }

    /// Changes the commit limit for later growths. Pages committed beyond it stay committed.
    pub(crate) fn set_commit_limit(&mut self, bytes: usize) {
        self.inner.set_commit_limit(bytes);
    }

    /// Gives the pages behind the first `keep` bytes back to the system. Returns the number of bytes still committed.
    /// On an error, nothing has changed.
    ///
    /// # Safety
    /// Nothing refers to the bytes from `keep` on.
    pub(crate) unsafe fn shrink(&mut self, keep: usize) -> Result<usize, Error> {
        // SAFETY: nothing refers to the bytes from `keep` on (contract).
        unsafe { self.inner.shrink(keep) }
    }

    pub(crate) fn stats(&self) -> ContainerStats {
        ContainerStats {
            reserved_bytes: self.inner.usable.bytes(),
            committed_bytes: self.committed_bytes(),
            commit_limit_bytes: self.inner.commit_limit.bytes(),
            commits: self.inner.commits.load(Ordering::Relaxed),
        }
    }

    /// Returns which pages are committed and which are reserved.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let (committed, usable) = (self.committed_bytes(), self.usable_bytes());
        let committed_span = Span {
            range: 0..committed,
            state: PageState::Committed,
            access: Access::ReadWrite,
        };
        let reserved_span = Span {
            range: committed..usable,
            state: PageState::Reserved,
            access: Access::None,
        };
        [committed_span, reserved_span]
            .into_iter()
            .filter(|span| !span.range.is_empty())
            .collect()
    }
}

impl Drop for Prefix {
    fn drop(&mut self) {
        // SAFETY: a drop runs once, and nothing uses the prefix afterwards.
        unsafe { self.end_on(&CACHE) };
    }
}

impl Prefix {
    /// Ends the prefix: keeps its memory in the cache or gives it back, and then refunds its charge to the budget.
    ///
    /// # Safety
    /// The prefix is neither used nor dropped afterwards.
    pub(super) unsafe fn end_on(&mut self, cache: &'static Cache<Inner>) {
        // SAFETY: `inner` is taken once, because the prefix is neither used nor dropped afterwards (contract).
        let mut inner = unsafe { ManuallyDrop::take(&mut self.inner) };
        if !inner.has_options() {
            if let Err(inner) = cache.put(inner) {
                inner.release();
            }
            return;
        }
        let charged = inner.committed();
        let budget = inner.end_options();
        let is_gone = match cache.put(inner) {
            Ok(()) => true,
            Err(inner) => inner.release(),
        };
        if let Some(budget) = budget.filter(|_| is_gone) {
            let inside = fork_guard::enter();
            budget.refund_pages(charged);
            drop(inside);
            // The budget may own a callback of the program, whose drop runs outside the fork guard.
        }
    }
}

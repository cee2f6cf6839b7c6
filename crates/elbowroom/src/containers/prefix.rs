//! A committed prefix of a reservation, which grows and never moves.
//!
//! ```text
//!  base        committed         backed           usable       the mapping's end
//!  | committed | warm            | reserved       | (never used) |
//! ```
//!
//! Nothing here faults: the user of a prefix commits first and touches then. It grows through `&self`, under a lock,
//! and readers load a watermark; or through `&mut self` without one. It shrinks through `&mut self` only, when no
//! reference into it can be alive.
//!
//! *Warm* pages are what an earlier owner of the mapping left committed (see [`cache`](super::cache)). They are not
//! this owner's until it grows into them: not charged to its budget, and none of its figures count them.

#![allow(
    unsafe_code,
    reason = "commits and decommits pages of a mapping that it owns"
)]

use std::mem::{self, ManuallyDrop};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::cache::{Bin, Cache, Cached};
use super::share::{self, Share};
use super::{ContainerStats, Options};
use crate::budget::Budget;
use crate::error::{Cause, Error, Operation};
use crate::fault::fork_guard::{self, ForkGuard};
use crate::mapping::{self, Mapping};
use crate::os;
use crate::page::{self, PageCount, PageRange};
use crate::plain::{Access, PageState, Placement, Span};
use crate::region::{Growth, Layout};
use crate::sync::Lock;

/// The memory of containers that are gone.
static CACHE: Cache<Inner> = Cache::new();

/// Gives the memory back that is kept warm for containers to come, and returns how many bytes of it were committed.
///
/// A container that is dropped may leave its pages to the next one of its kind, which then grows into them without a
/// system call. At most 16 MiB are kept so in a process, in at most 64 reservations, and charged to no [`Budget`]
/// (what a container has left is refunded to its own). They are given back when nothing has taken them over while some
/// thousand containers came and went, and when the system refuses memory to a container. What containers have named, or
/// asked huge pages for, is not kept. A container that has taken pages over and not grown into them yet holds them,
/// within those 16 MiB, until it ends or shrinks.
///
/// [`Budget`]: crate::Budget
pub fn trim() -> usize {
    CACHE.give_back_all().committed_bytes
}

/// The least that a share gives way to, and what a refused share is divided by.
const SHARE_BYTES_MIN: usize = 1 << 20;
const GIVE_WAY: usize = 16;

/// How many warm bytes are taken over at once.
pub(super) const WARM_BYTES: usize = 64 << 10;

/// A budget with callbacks that are due: the program's own code, which may come back to the container.
#[must_use]
pub(crate) struct PendingCallbacks(Option<Budget>);

impl PendingCallbacks {
    /// Calls them. Under no lock.
    pub(crate) fn run(self) {
        if let PendingCallbacks(Some(budget)) = self {
            budget.run_pending_callbacks();
        }
    }
}

/// What to commit, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What is about to be written, and ahead of it what the growth policy says.
    Ahead,
    /// The same pages, but nothing is known of when they will be written: they are not prefaulted.
    Later,
    /// Just what was asked for, in whole pages; not prefaulted.
    Exact,
}

/// Pages from the base of a reservation on, committed as far as needed.
pub(crate) struct Prefix {
    inner: ManuallyDrop<Box<Inner>>,
}

/// A prefix: one that has an owner, or one that is kept for the next.
pub(super) struct Inner {
    mapping: Mapping,
    // At most as long as the mapping.
    usable: PageCount,
    // Of the options' limit, and what is usable.
    commit_limit: PageCount,
    // Without the name, which the mapping has.
    options: Options,
    // Invariant: pages `0..committed` are committed, readable and writable, and charged to the budget; at most
    // `commit_limit`. Grows under the lock of `growing` or an exclusive borrow, shrinks under an exclusive borrow.
    committed: AtomicUsize,
    growing: Lock<Growing>,
    commits: AtomicU64,
    // Of the address space, for a container that was told no maximum.
    share: Option<Share>,
}

/// What changes when a prefix grows, but for what readers need.
#[derive(Clone, Copy)]
struct Growing {
    // Invariant: pages `0..backed` are committed, readable and writable; at least `committed`. What is between the two
    // is counted on `bin`.
    backed: PageCount,
    // Pages `0..ready` are in memory, or there is no gain in bringing them in at once.
    ready: PageCount,
    // Set if there are any, or were.
    bin: Option<Bin<Inner>>,
    // Huge pages were asked for somewhere.
    is_advised: bool,
}

impl Growing {
    /// So many warm pages have found an owner, or are gone.
    fn uncount(&self, pages: PageCount) {
        if let Some(bin) = self.bin.filter(|_| pages != PageCount::ZERO) {
            bin.uncount(pages);
        }
    }
}

/// Pages that have become ready to be written, and can be prefaulted: outside of all locks, since it takes a while.
#[must_use]
struct Prefault {
    ready: PageRange,
    huge: PageRange,
}

impl Prefault {
    const NOTHING: Prefault = Prefault {
        ready: PageRange::EMPTY,
        huge: PageRange::EMPTY,
    };
}

impl Prefix {
    /// Reserves room for `max_bytes`, at a multiple of `align` (a power of two). Nothing is committed. What committed
    /// pages hold at first is unknown: perhaps what an earlier prefix left there.
    pub(crate) fn reserve(
        max_bytes: usize,
        align: usize,
        options: Options,
    ) -> Result<Prefix, Error> {
        Prefix::reserve_from(&CACHE, max_bytes, align, options)
    }

    pub(super) fn reserve_from(
        cache: &'static Cache<Inner>,
        max_bytes: usize,
        align: usize,
        options: Options,
    ) -> Result<Prefix, Error> {
        let len = mapping::whole_pages(max_bytes)?;
        // A name would have to be taken off again.
        if options.name.is_empty() {
            if let Some(mut inner) = cache.take(len, align) {
                inner.begin(PageCount::inside(len), options);
                return Ok(Prefix {
                    inner: ManuallyDrop::new(inner),
                });
            }
        }
        Prefix::reserve_zeroed(max_bytes, align, options)
    }

    /// Reserves a [`share`] of the address space, for a container that was told no maximum and needs
    /// `needed` bytes now: at least twice that, if the system has it. `unit` bytes at a time are of use.
    pub(crate) fn reserve_share(
        needed: usize,
        unit: usize,
        align: usize,
        options: Options,
    ) -> Result<Prefix, Error> {
        let least = needed.max(SHARE_BYTES_MIN);
        let mut bytes = share::next_bytes().max(least.saturating_mul(2));
        loop {
            let usable = bytes - bytes % unit.max(1);
            let refused = match Prefix::reserve(usable.max(needed), align, options.clone()) {
                Ok(mut prefix) => {
                    prefix.count_as_share();
                    return Ok(prefix);
                }
                Err(error) => error,
            };
            if !refused.is_out_of_memory() || bytes <= least {
                return Err(refused);
            }
            // In large steps, because something else may need what is left.
            bytes = (bytes / GIVE_WAY).max(least);
        }
    }

    /// Counts the prefix among the shares, until it ends.
    pub(crate) fn count_as_share(&mut self) {
        self.inner.share = Some(Share::take(self.usable_bytes()));
    }

    /// Returns whether the prefix is a share, and not as large as its container was told.
    pub(crate) fn is_share(&self) -> bool {
        self.inner.share.is_some()
    }

    /// As [`reserve`](Prefix::reserve), and committed pages are zero at first; also those that are committed again
    /// after [`shrink`](Prefix::shrink).
    pub(crate) fn reserve_zeroed(
        max_bytes: usize,
        align: usize,
        mut options: Options,
    ) -> Result<Prefix, Error> {
        let len = mapping::whole_pages(max_bytes)?;
        let usable = PageCount::inside(len);
        // Huge pages lie at multiples of their size. Address space is cheap.
        let huge = page::huge_size();
        let (len, align) = match options.growth {
            Growth::Adaptive { .. } if options.huge_pages && len >= huge => {
                (len.next_multiple_of(huge), align.max(huge))
            }
            _ => (len, align),
        };
        share::look_again();
        let name = mem::take(&mut options.name);
        let mapping = try_twice(|| {
            Mapping::reserve(
                len,
                align.max(os::granularity()),
                Placement::Anywhere,
                name.clone(),
            )
            .map_err(|code| Error::new(Operation::Reserve, 0..max_bytes, Cause::os(code)))
        })?;
        let nothing = Growing {
            backed: PageCount::ZERO,
            ready: PageCount::ZERO,
            bin: None,
            is_advised: false,
        };
        let mut inner = Box::new(Inner {
            mapping,
            usable,
            commit_limit: usable,
            options: Options::default(),
            committed: AtomicUsize::new(0),
            growing: Lock::new(nothing),
            commits: AtomicU64::new(0),
            share: None,
        });
        inner.begin(usable, options);
        Ok(Prefix {
            inner: ManuallyDrop::new(inner),
        })
    }

    /// The first byte, with the provenance of the whole reservation. The same for the life of the prefix.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.inner.mapping.base()
    }

    /// How many bytes from the base on are committed. What is written there by a thread that has seen the number needs
    /// no further synchronisation with the growth.
    pub(crate) fn committed_bytes(&self) -> usize {
        self.inner.committed().bytes()
    }

    /// The bytes that can ever be committed, whatever the limits.
    pub(crate) fn usable_bytes(&self) -> usize {
        self.inner.usable.bytes()
    }

    /// The name it was given, or the empty string.
    pub(crate) fn name(&self) -> &str {
        self.inner.mapping.name()
    }

    /// What it was made with.
    pub(crate) fn options(&self) -> Options {
        Options {
            name: self.name().into(),
            ..self.inner.options.clone()
        }
    }

    /// Sees to it that at least `needed` bytes are committed, and returns how many are. On an error nothing has
    /// changed.
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

    /// [`grow`](Prefix::grow), where nobody else can at the same time. Returns how many bytes are ready to be written:
    /// at least `needed` if that is what the extent says, and no more than are committed.
    pub(crate) fn grow_mut(&mut self, needed: usize, extent: Extent) -> Result<usize, Error> {
        let (ready, pending) = self.grow_from(0, needed, extent)?;
        pending.run();
        Ok(ready)
    }

    /// Grows as [`grow_mut`](Prefix::grow_mut) does, but runs no code of the program, and prefaults no page before the
    /// byte `written_from`: nothing is about to be written there.
    pub(crate) fn grow_from(
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

    /// Gives the pages behind the first `keep` bytes back to the system, and returns how many bytes are still
    /// committed. On an error nothing has changed.
    ///
    /// # Safety
    /// Nothing refers to the bytes from `keep` on.
    pub(crate) unsafe fn shrink(&mut self, keep: usize) -> Result<usize, Error> {
        let inner = &mut **self.inner;
        let committed = inner.committed();
        let growing = inner.growing.get_mut();
        let kept = PageCount::holding(keep).min(committed);
        if kept == growing.backed {
            return Ok(committed.bytes());
        }
        let unwanted = PageRange::new(kept.get(), growing.backed.get());
        let _inside = fork_guard::enter();
        // SAFETY: pages of this mapping, to which nothing refers (contract; warm ones are nobody's).
        unsafe { inner.mapping.decommit(unwanted) }
            .map_err(|code| Error::new(Operation::Decommit, unwanted.bytes(), Cause::os(code)))?;
        growing.uncount(growing.backed.saturating_sub(committed));
        growing.backed = kept;
        growing.ready = growing.ready.min(kept);
        *inner.committed.get_mut() = kept.get();
        inner.refund(committed.saturating_sub(kept));
        Ok(kept.bytes())
    }

    pub(crate) fn stats(&self) -> ContainerStats {
        ContainerStats {
            reserved_bytes: self.inner.usable.bytes(),
            committed_bytes: self.committed_bytes(),
            commit_limit_bytes: self.inner.commit_limit.bytes(),
            commits: self.inner.commits.load(Ordering::Relaxed),
        }
    }

    /// What is committed, and what is only reserved.
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

impl Inner {
    /// Makes it a new owner's. Nothing of it is committed for anybody.
    fn begin(&mut self, usable: PageCount, options: Options) {
        self.usable = usable;
        self.commit_limit = PageCount::inside(options.commit_limit_bytes).min(usable);
        self.options = options;
        *self.committed.get_mut() = 0;
        *self.commits.get_mut() = 0;
    }

    fn committed(&self) -> PageCount {
        PageCount::new(self.committed.load(Ordering::Acquire))
    }

    /// Commits, accounts, and says what to prefault. Under the lock of `growing`, or an exclusive borrow; `inside` is
    /// the fork guard, which is entered here if needed.
    fn commit_to(
        &self,
        growing: &mut Growing,
        needed: usize,
        extent: Extent,
        inside: &mut Option<ForkGuard>,
    ) -> Result<Prefault, Error> {
        let committed = self.committed();
        let needed_pages = PageCount::holding(needed);
        let before = growing.backed;
        if needed_pages > committed {
            let refuse = |error: Error| error.about(committed.bytes()..needed);
            let target = self
                .target(committed, growing.backed, needed_pages, extent)
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
            // One thread at a time comes here.
            self.commits
                .store(self.commits.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        Ok(self.get_ready(growing, before, needed_pages, extent))
    }

    /// How many pages to commit, for as many as are needed. The first `backed` are committed already.
    fn target(
        &self,
        committed: PageCount,
        backed: PageCount,
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
                // A few warm pages at once: that commits nothing, and to come back for each costs more than a push.
                let is_adaptive = matches!(self.options.growth, Growth::Adaptive { .. });
                let takes_over =
                    is_adaptive && self.options.budget.is_none() && extent == Extent::Ahead;
                let warm = if takes_over {
                    backed.min(PageCount::inside(WARM_BYTES))
                } else {
                    PageCount::ZERO
                };
                ahead.max(warm).min(self.commit_limit)
            }
        })
    }

    /// Charges and commits pages from `committed` to `target`, or if there is no room for that, at least to `needed`.
    /// The first `backed` are committed already. Inside a fork guard.
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
            // SAFETY: pages of this mapping (`usable` bounds them) behind the committed ones, so they are reserved;
            // nobody else grows or shrinks the prefix meanwhile.
            let Err(code) = (unsafe {
                self.mapping
                    .commit(PageRange::new(backed.get(), grown.get()))
            }) else {
                return Ok(grown);
            };
            self.refund(granted);
            if os::is_out_of_memory(code) && grown > needed {
                // The system may have room for what is needed.
                target = needed;
            } else {
                let bytes = committed.bytes()..target.bytes();
                return Err(Error::new(Operation::Commit, bytes, Cause::os(code)));
            }
        }
    }

    /// Moves on what is ready, after a growth: what is needed, and ahead of it what the growth policy says of what is
    /// committed. `before` were backed before it.
    fn get_ready(
        &self,
        growing: &mut Growing,
        before: PageCount,
        needed: PageCount,
        extent: Extent,
    ) -> Prefault {
        let committed = self.committed();
        let Growth::Adaptive { .. } = self.options.growth else {
            // A fixed window is a commit and no guess: the program brings its pages in as it comes to them.
            growing.ready = committed;
            return Prefault::NOTHING;
        };
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

    /// The program brings in a single page itself, by its next write.
    fn prefault(&self, pages: Prefault) {
        if !pages.huge.is_empty() {
            self.mapping.advise_huge(pages.huge);
        }
        if pages.ready.count() > PageCount::new(1) {
            // SAFETY: committed, and only an exclusive borrow of the prefix changes that.
            unsafe { self.mapping.prefault(pages.ready) };
        }
    }

    /// Charges the budgets with as much of `wanted` as they allow, at least `least`. Inside a fork guard.
    fn charge(&self, wanted: PageCount, least: PageCount) -> Result<PageCount, Error> {
        match &self.options.budget {
            Some(budget) => budget.charge_pages(wanted, least).map_err(|steps| {
                let bytes = 0..least.bytes();
                Error::budget_refused(Operation::Commit, bytes, budget.above(steps))
            }),
            None => Ok(wanted),
        }
    }

    /// Inside a fork guard.
    fn refund(&self, pages: PageCount) {
        if let Some(budget) = &self.options.budget {
            budget.refund_pages(pages);
        }
    }

    /// Calls the callbacks of budgets whose threshold was reached. Under no lock.
    fn tell_budgets(&self) {
        if let Some(budget) = &self.options.budget {
            budget.run_pending_callbacks();
        }
    }
}

/// Tries again what the system had no memory for, if there were prefixes kept, which it has then. Under no lock.
fn try_twice<T>(mut deed: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    match deed() {
        Err(error) if error.is_out_of_memory() && CACHE.give_back_all().prefixes > 0 => deed(),
        result => result,
    }
}

impl Drop for Prefix {
    fn drop(&mut self) {
        // SAFETY: nobody uses it after its drop.
        unsafe { self.end_on(&CACHE) };
    }
}

impl Prefix {
    /// Ends it: keeps it for the next or gives it back, and then takes its charge off the budget.
    ///
    /// # Safety
    /// It is not used any more, nor dropped.
    pub(super) unsafe fn end_on(&mut self, cache: &'static Cache<Inner>) {
        // SAFETY: taken once (contract).
        let mut inner = unsafe { ManuallyDrop::take(&mut self.inner) };
        let charged = inner.committed();
        let budget = inner.options.budget.take();
        inner.share = None;
        let is_gone = match cache.put(inner) {
            Ok(()) => true,
            Err(inner) => inner.release(),
        };
        if let Some(budget) = budget.filter(|_| is_gone) {
            let inside = fork_guard::enter();
            budget.refund_pages(charged);
            drop(inside);
            // The budget itself may own a function of the program's, and goes outside of the fork guard.
        }
    }
}

impl Cached for Inner {
    fn place(&self) -> (usize, usize) {
        (self.mapping.base().addr().get(), self.mapping.len())
    }

    fn is_plain(&mut self) -> bool {
        self.mapping.name().is_empty() && !self.growing.get_mut().is_advised
    }

    fn warm(&mut self) -> Option<(PageCount, Bin<Inner>)> {
        let committed = self.committed();
        let growing = self.growing.get_mut();
        Some((growing.backed.saturating_sub(committed), growing.bin?))
    }

    fn backed(&mut self) -> PageCount {
        self.growing.get_mut().backed
    }

    fn end(&mut self, bin: Bin<Inner>) {
        *self.committed.get_mut() = 0;
        self.growing.get_mut().bin = Some(bin);
    }

    fn release(mut self: Box<Self>) -> bool {
        let warm = self.warm();
        let Inner { mapping, .. } = *self;
        // SAFETY: the owner of the prefix is gone, and with it everything that referred to the memory.
        let released = unsafe { mapping.release() };
        if let Some((pages, bin)) = warm {
            bin.uncount(pages);
        }
        !matches!(released, Err((_, false)))
    }
}

#[cfg(all(test, not(loom)))]
mod tests;

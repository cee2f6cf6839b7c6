//! The part of a region that the fault handler shares: it decides and commits.

#![allow(
    unsafe_code,
    reason = "commits and decommits pages of a mapping that it owns"
)]

use std::any::Any;
use std::ops::Range;

use super::backend::{Backend, Pager};
use super::filter::{Fault, Faulted, Filter, Verdict, drop_in_turn};
use super::filter_threads::FilterThreads;
use super::growth::{Growth, Layout};
use super::page_map::PageMap;
use super::stats::Stats;
use crate::budget::{Budget, Tree};
use crate::error::{Cause, Error, Operation, Reason};
use crate::fault::{Histogram, Outcome, Owner, OwnerId, Progress, Tally, Touch, fork_guard};
use crate::mapping::Mapping;
use crate::page::{self, PageCount, PageIndex, PageRange};
use crate::plain::OsCode;
use crate::sync::Lock;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

mod account;
mod commit;
mod holds;
#[cfg(all(test, loom))]
mod models;
mod resolve;
mod served;

use account::Account;
pub(super) use served::{ServedRegion, Service};

/// The settings from the builder.
pub(super) struct Policy {
    pub(super) growth: Growth,
    // Whether large windows ask for huge pages.
    pub(super) huge_pages: bool,
    pub(super) commit_limit: PageCount,
    // Whether a refused touch through a plain pointer writes a line to standard error.
    pub(super) reports_refusals: bool,
    // The budget that the region's commits are charged to, under the region's lock.
    pub(super) budget: Option<Budget>,
    pub(super) filter: Option<Box<Filter>>,
    // The threads that run the filter, if it does not run on the faulting thread.
    pub(super) filter_threads: Option<FilterThreads>,
    // The durations of faults, in the order of `Outcome::ALL`, if the region is timed.
    pub(super) latencies: Option<[Box<Tally>; Outcome::ALL.len()]>,
}

/// A region without its owner. Its address is fixed from before it is entered in the registry until after it is
/// removed.
///
/// ```text
///  base                    base + len
///  | data pages            | guard page | table, if it is not on the heap |
/// ```
///
/// The guard page is never committed. A touch of it is a fault of this region: its filter is asked, and
/// the touch is refused.
pub(crate) struct RegionInner {
    // Dropped before `mapping`, which may contain its table: fields are dropped in declaration order.
    pages: Lock<Account>,
    mapping: Mapping,
    // Made for `mapping`.
    pager: Pager,
    data: PageCount,
    policy: Policy,
    // Invariant: the number of committed pages in `pages`, at most the commit limit; written only under the lock of
    // `pages`.
    committed: AtomicUsize,
    faults: AtomicU64,
    commits: AtomicU64,
    // The handled faults, in the order of `Outcome::ALL`.
    outcomes: [AtomicU64; Outcome::ALL.len()],
    // Added to `commits`, it gives an epoch that no other region has had. Another region may later lie at the same
    // address, and the same thread may race for the same page of it.
    first_epoch: u64,
}

/// The first epoch of the next region. 2^32 commits fit before the next region's epochs begin.
static NEXT_EPOCH: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

impl RegionInner {
    pub(super) fn new(
        mapping: Mapping,
        data: PageCount,
        pager: Pager,
        policy: Policy,
    ) -> RegionInner {
        let map = PageMap::new(data, &mapping, data.get() + 1);
        let pages = Account::new(map, pager.events().is_some());
        RegionInner {
            pages: Lock::new(pages),
            mapping,
            pager,
            data,
            policy,
            committed: AtomicUsize::new(0),
            faults: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            outcomes: Outcome::ALL.map(|_| AtomicU64::new(0)),
            first_epoch: NEXT_EPOCH.fetch_add(1 << 32, std::sync::atomic::Ordering::Relaxed),
        }
    }

    pub(super) fn base(&self) -> *mut u8 {
        self.mapping.base().as_ptr()
    }

    pub(super) fn len(&self) -> usize {
        self.data.bytes()
    }

    /// Returns the number of bytes from the base whose faults belong to this region: the data and the guard page.
    pub(super) fn reach(&self) -> usize {
        self.len() + page::size()
    }

    fn offset_of(&self, address: usize) -> usize {
        address - self.base().addr()
    }

    pub(super) fn backend(&self) -> Backend {
        self.pager.backend()
    }

    pub(super) fn stats(&self) -> Stats {
        let [faults, commits] =
            [&self.faults, &self.commits].map(|count| count.load(Ordering::Relaxed));
        let outcomes = self.outcomes();
        let refused = Outcome::ALL
            .into_iter()
            .filter(|outcome| !outcome.is_resolved());
        Stats {
            reserved_bytes: self.len(),
            committed_bytes: self.committed_bytes(),
            commit_limit_bytes: self.commit_limit_bytes(),
            faults,
            commits,
            refused: refused.map(|outcome| outcomes[outcome as usize]).sum(),
            outcomes,
            latencies: self.latencies(),
        }
    }

    /// Returns the number of handled faults, in the order of `Outcome::ALL`.
    pub(super) fn outcomes(&self) -> [u64; Outcome::ALL.len()] {
        std::array::from_fn(|outcome| self.outcomes[outcome].load(Ordering::Relaxed))
    }

    fn latencies(&self) -> Option<[Histogram; Outcome::ALL.len()]> {
        let latencies = self.policy.latencies.as_ref()?;
        Some(std::array::from_fn(|outcome| latencies[outcome].read()))
    }

    pub(super) fn has_filter(&self) -> bool {
        self.policy.filter.is_some()
    }

    /// Returns the number of pages that the commit limit leaves.
    fn room(&self) -> PageCount {
        let committed = PageCount::new(self.committed.load(Ordering::Relaxed));
        self.policy.commit_limit.saturating_sub(committed)
    }

    fn contains(&self, page: PageIndex) -> bool {
        PageRange::new(0, self.data.get()).contains(page)
    }

    fn layout(&self) -> Layout {
        Layout::new(self.mapping.base(), self.data)
    }

    /// Returns the error of an operation that was refused for this cause, with the figures of the
    /// region.
    pub(super) fn error(&self, operation: Operation, range: Range<usize>, cause: Cause) -> Error {
        match (cause.reason(), cause.steps(), &self.policy.budget) {
            (Reason::OutOfRange, ..) => Error::out_of_range(operation, range, self.len()),
            (Reason::Limit, ..) => {
                let (limit, committed) = (self.commit_limit_bytes(), self.committed_bytes());
                Error::limit(operation, range, limit, committed)
            }
            (_, Some(steps), Some(budget)) => {
                Error::budget_refused(operation, range, budget.above(steps))
            }
            _ => Error::new(operation, range, cause),
        }
    }

    /// Returns the state of every page at one moment.
    pub(super) fn runs(&self) -> Vec<(PageRange, bool)> {
        // Nothing may be allocated under the lock. So the number of runs is guessed, and the guess raised if there are
        // more.
        let mut found = Vec::with_capacity(16);
        loop {
            let pages = self.pages.lock();
            let room = found.capacity();
            found.extend(pages.map.runs(pages.map.all()).take(room));
            let end = pages.map.all().end();
            drop(pages);
            if found
                .last()
                .is_some_and(|(run, _): &(PageRange, bool)| run.end() == end)
            {
                return found;
            }
            found.clear();
            found.reserve(2 * room);
        }
    }

    /// Returns an upper bound of the bytes of page tables for the committed pages.
    pub(super) fn page_table_bytes(&self) -> usize {
        let tables = self.pages.lock().map.tables(self.layout());
        PageCount::new(tables).bytes()
    }

    /// Gives the mapping back to the system, and then refunds the budgets. Pages that the system keeps stay charged.
    pub(super) fn release(self) -> Result<(), OsCode> {
        let RegionInner {
            mapping,
            pages,
            pager,
            policy,
            committed,
            ..
        } = self;
        // The pager's system objects must outlive the memory.
        let _pager = pager;
        let Policy {
            budget,
            filter,
            filter_threads,
            ..
        } = policy;
        // Dropped before the filter, because these threads run it.
        drop(filter_threads);
        // Dropped before the mapping, which may contain its table.
        drop(pages);
        // SAFETY: this owns the mapping, and its owner has removed the region from the registry, so no handler and no
        // thread of the library uses the memory. Raw pointers are their users' responsibility (`Region::as_ptr`).
        let released = unsafe { mapping.release() };
        if let (Some(budget), Ok(()) | Err((_, true))) = (budget, &released) {
            // A fork holds the budgets of the regions in the registry, which this region has left.
            let _guard = fork_guard::enter();
            budget.refund_pages(PageCount::new(committed.into_inner()));
        }
        // Dropped last, because its destructor is the program's code and may panic.
        if let Some(filter) = filter {
            drop_in_turn(filter);
        }
        released.map_err(|(code, _)| code)
    }
}

impl Faulted for RegionInner {
    fn id(&self) -> OwnerId {
        OwnerId::of(self)
    }

    fn name(&self) -> &str {
        self.mapping.name()
    }

    fn committed_bytes(&self) -> usize {
        PageCount::new(self.committed.load(Ordering::Relaxed)).bytes()
    }

    fn commit_limit_bytes(&self) -> usize {
        self.policy.commit_limit.bytes()
    }

    fn commit_window_of(&self, fault: &Fault<'_>) -> Result<Range<usize>, Error> {
        self.commit_for_filter(fault)
    }

    fn decommit(&self, range: Range<usize>) -> Result<(), Error> {
        self.decommit(range)
    }

    fn fill_from_page_of(&self, fault: &Fault<'_>, contents: &[u8]) -> Result<Range<usize>, Error> {
        self.fill_for_filter(fault, contents)
    }

    fn ask_filter(&self, fault: &Fault<'_>) -> Verdict {
        // Without a filter, every fault within the limits commits.
        let filter = self.policy.filter.as_ref();
        filter.map_or(Verdict::Commit, |filter| filter(fault))
    }
}

impl Owner for RegionInner {
    fn addresses(&self) -> Range<usize> {
        let base = self.base().addr();
        base..base + self.reach()
    }

    fn name(&self) -> &str {
        self.mapping.name()
    }

    fn reports_refusals(&self) -> bool {
        self.policy.reports_refusals
    }

    fn resolve(&self, touch: &Touch) -> Result<Progress, Cause> {
        self.resolve_touch(touch)
    }

    fn is_accessible(&self, touch: &Touch) -> bool {
        let fault = self.fault(touch);
        matches!(self.check_if_committed(&fault), Some(Ok(())))
    }

    fn error(&self, operation: Operation, range: Range<usize>, cause: Cause) -> Error {
        self.error(operation, range, cause)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn budget_tree(&self) -> Option<Tree> {
        self.policy.budget.as_ref().map(Budget::tree)
    }

    fn hold(&self) {
        self.pages.hold();
    }

    unsafe fn let_go(&self) {
        // SAFETY: this thread, or the thread that it is a copy of, called `hold` (contract).
        unsafe { self.pages.let_go() };
    }

    fn in_child(&self) {
        self.reattach();
    }
}

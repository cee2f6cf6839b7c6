//! What a region shares with the fault handler: the part of it that decides and commits.

#![allow(unsafe_code, reason = "commits and decommits pages of a mapping that it owns")]

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::backend::{Backend, Pager};
use super::barred::{self, Barred};
use super::budget::Budget;
use super::growth::{self, Growth, Layout};
use super::monitor::Monitors;
use super::state::PageMap;
use super::{Fault, Latencies, Stats, Verdict};
use crate::containers::gate;
use crate::error::{Cause, Error, Operation, OsCode};
use crate::fault::events::{self, Event};
use crate::fault::{FaultAccess, Figures, Histogram, Outcome, Refusal, Tally, Touch, frames};
use crate::os::{self, Missing, Userfault};
use crate::page::{self, PageCount, PageIndex, PageRange};
use crate::reservation::Mapping;
use crate::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Guard, Lock};

mod models;

/// A filter, as a region keeps it.
pub(crate) type Filter = dyn Fn(&Fault<'_>) -> Verdict + Send + Sync;

/// What the builder was told.
pub(super) struct Policy {
    pub(super) growth: Growth,
    // Whether large windows ask for huge pages.
    pub(super) huge_pages: bool,
    pub(super) commit_limit: PageCount,
    // Charged with what the region commits, under the region's lock.
    pub(super) budget: Option<Budget>,
    pub(super) filter: Option<Box<Filter>>,
    // Who runs the filter, if not the thread that faults.
    pub(super) monitors: Option<Monitors>,
    // How long faults took, in the order of `Outcome::ALL`, where that is wanted.
    pub(super) latencies: Option<[Box<Tally>; Outcome::ALL.len()]>,
}

/// A region without its owner. Lives at one address from before it is entered in the registry until after it is
/// removed.
///
/// ```text
///  base                    base + len
///  | data pages            | guard page | table, if it is not on the heap |
/// ```
///
/// The guard page is never committed. A touch of it is a fault of this region: its filter hears of it, and it is
/// refused.
pub(crate) struct Core {
    // Dropped after `pages`, which points into it: fields are dropped in this order.
    pages: Lock<PageMap>,
    mapping: Mapping,
    // Made for `mapping`.
    pager: Pager,
    data: PageCount,
    policy: Policy,
    // Invariant: the number of pages that `pages` says are committed, at most the commit limit; written only under its
    // lock.
    committed: AtomicUsize,
    faults: AtomicU64,
    commits: AtomicU64,
    // Those that are done, in the order of `Outcome::ALL`.
    outcomes: [AtomicU64; Outcome::ALL.len()],
    // Faults on committed pages since the last commit that the system had no explanation for.
    supposed_races: AtomicU32,
}

/// More threads than race for a page.
const SUPPOSED_RACES_MAX: u32 = 10_000;

impl Core {
    pub(super) fn new(mapping: Mapping, data: PageCount, pager: Pager, policy: Policy) -> Core {
        let mut pages = PageMap::new(data, &mapping, data.get() + 1);
        pages.barred = pager.served().map(|_| Box::new(Barred::new()));
        Core {
            pages: Lock::new(pages),
            pager,
            mapping,
            data,
            policy,
            committed: AtomicUsize::new(0),
            faults: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            outcomes: Outcome::ALL.map(|_| AtomicU64::new(0)),
            supposed_races: AtomicU32::new(0),
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.mapping.name()
    }

    pub(super) fn base(&self) -> *mut u8 {
        self.mapping.base().as_ptr()
    }

    pub(super) fn len(&self) -> usize {
        self.data.bytes()
    }

    /// The bytes whose faults are this region's: the data and the guard page.
    pub(super) fn reach(&self) -> usize {
        self.len() + page::size()
    }

    /// The addresses whose faults are this region's.
    pub(crate) fn addresses(&self) -> Range<usize> {
        let base = self.base().addr();
        base..base + self.reach()
    }

    pub(crate) fn offset_of(&self, address: usize) -> usize {
        address - self.base().addr()
    }

    pub(super) fn committed_bytes(&self) -> usize {
        PageCount::new(self.committed.load(Ordering::Relaxed)).bytes()
    }

    pub(super) fn commit_limit_bytes(&self) -> usize {
        self.policy.commit_limit.bytes()
    }

    pub(super) fn backend(&self) -> Backend {
        self.pager.backend()
    }

    /// Whether a fault is a touch of a page that is not there.
    pub(super) fn is_page_fault(&self, is_inaccessible: bool, is_missing: bool) -> bool {
        self.pager.is_page_fault(is_inaccessible, is_missing)
    }

    pub(super) fn stats(&self) -> Stats {
        let [faults, commits] = [&self.faults, &self.commits].map(|count| count.load(Ordering::Relaxed));
        let outcomes = self.outcomes();
        let declined = Outcome::ALL.into_iter().filter(|outcome| !outcome.is_resolved());
        Stats {
            reserved_bytes: self.len(),
            committed_bytes: self.committed_bytes(),
            commit_limit_bytes: self.commit_limit_bytes(),
            faults,
            commits,
            declined: declined.map(|outcome| outcomes[outcome as usize]).sum(),
            outcomes,
            latencies: self.latencies().map(|by_outcome| Latencies { by_outcome }),
        }
    }

    /// Faults that are done, in the order of `Outcome::ALL`.
    pub(super) fn outcomes(&self) -> [u64; Outcome::ALL.len()] {
        std::array::from_fn(|outcome| self.outcomes[outcome].load(Ordering::Relaxed))
    }

    pub(crate) fn figures(&self) -> Figures<'_> {
        Figures {
            len: self.len(),
            commit_limit_bytes: self.commit_limit_bytes(),
            committed_bytes: self.committed_bytes(),
            budget: self.policy.budget.as_ref(),
        }
    }

    /// Cures a fault in this region's addresses, or says why not. Called by the fault handler.
    pub(crate) fn resolve(&self, touch: &Touch) -> Result<(), Refusal> {
        let fault = Fault::new(self, touch);
        if self.pager.served().is_some() {
            return self.resolve_barred(&fault);
        }
        self.measure(os::thread_number, &fault, || self.try_resolve(&fault, |fault| self.ask(fault)))?;
        self.tell_budgets_apart();
        Ok(())
    }

    /// The same for a touch whose thread waits. Called by the [`service`](super::service).
    pub(super) fn serve(
        &self,
        missing: &Missing,
        ask: impl FnOnce(&Fault<'_>) -> Result<Verdict, Refusal>,
    ) -> Result<(), Refusal> {
        let fault = Fault::new(self, &Touch::from(*missing));
        self.measure(|| missing.thread, &fault, || self.try_resolve(&fault, ask))
    }

    /// Resolves a fault, counts it, and takes its time where somebody wants to know.
    fn measure(
        &self,
        thread: impl FnOnce() -> u64,
        fault: &Fault<'_>,
        resolve: impl FnOnce() -> Result<Option<PageCount>, Refusal>,
    ) -> Result<(), Refusal> {
        self.faults.fetch_add(1, Ordering::Relaxed);
        let at = (self.policy.latencies.is_some() || events::is_on()).then(Instant::now);
        let result = resolve();
        let outcome = match result {
            Ok(Some(_)) => Outcome::Committed,
            Ok(None) => Outcome::Raced,
            Err(refusal) => Outcome::of_refusal(refusal),
        };
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
        if let Some(at) = at {
            self.note(at, thread, fault, outcome, result.ok().flatten());
        }
        result.map(drop)
    }

    /// Notes how long a fault took.
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
                    name: self.name(),
                },
            ));
        }
    }

    pub(super) fn latencies(&self) -> Option<[Histogram; Outcome::ALL.len()]> {
        let latencies = self.policy.latencies.as_ref()?;
        Some(std::array::from_fn(|outcome| latencies[outcome].read()))
    }

    /// Refuses the touch of a thread that waits. False if that cannot be done just now.
    pub(super) fn bar(&self, missing: &Missing, refusal: Refusal) -> bool {
        let page = PageIndex::holding(self.offset_of(missing.address));
        let thread = if os::is_in_system_call(missing.thread) { 0 } else { missing.thread };
        let mut pages = self.pages.lock_in_handler();
        if !(self.contains(page) && pages.is_committed(page)) {
            let Some(barred) = &mut pages.barred else { return true };
            if barred.is_full() {
                self.unbar(barred.take_oldest());
            }
            let bar = match barred.of(page) {
                Some(bar) => bar,
                // SAFETY: attached, as the region is served, and missing: it is not committed, or the guard page.
                None => match unsafe { self.mapping.bar(page) } {
                    Ok(bar) => bar,
                    Err(_) => return false,
                },
            };
            barred.push(barred::Entry { page, thread, refusal, bar });
        }
        drop(pages);
        self.pager.wake(&self.mapping, page.alone());
        true
    }

    /// Undoes the bar of a page that [`Barred`] has just let go. Under the lock of `pages`.
    fn unbar(&self, unbarred: Option<barred::Unbarred>) {
        if let Some((page, bar)) = unbarred {
            // SAFETY: barred so, until now.
            unsafe { self.mapping.unbar(page, bar) };
        }
    }

    /// Whether pages are barred that somebody has to unbar.
    pub(super) fn has_barred(&self) -> bool {
        self.pages.lock_in_handler().barred.as_ref().is_some_and(|barred| !barred.is_empty())
    }

    pub(super) fn unbar_expired(&self) {
        let mut pages = self.pages.lock_in_handler();
        while let Some(unbarred) = pages.barred.as_mut().and_then(|barred| barred.take_expired()) {
            self.unbar(Some(unbarred));
        }
    }

    /// Lets go of the bars in pages that are about to be committed.
    fn unbar_in(&self, pages: &mut Guard<'_, PageMap>, run: PageRange) {
        while let Some(unbarred) = pages.barred.as_mut().and_then(|barred| barred.take_in(run)) {
            self.unbar(Some(unbarred));
        }
    }

    /// A touch that arrived as a signal though the region is served: of a page that is barred, or was a moment ago; or
    /// that somebody has protected.
    fn resolve_barred(&self, fault: &Fault<'_>) -> Result<(), Refusal> {
        if !fault.is_page_fault() {
            return Err(Refusal::NotAPageFault);
        }
        let page = PageIndex::holding(fault.offset());
        let mut pages = self.pages.lock_in_handler();
        if self.contains(page) && pages.is_committed(page) {
            return self.may(&pages, fault);
        }
        let Some(barred) = &mut pages.barred else { return Err(Refusal::NotAPageFault) };
        if let Some((refusal, unbarred)) = barred.take(os::thread_number(), page) {
            self.unbar(unbarred);
            return Err(refusal);
        }
        // Another thread's refusal, or a system call's: this touch is asked about when it is tried again.
        match barred.take_in(page.alone()) {
            Some(unbarred) => self.unbar(Some(unbarred)),
            None if self.supposed_races.fetch_add(1, Ordering::Relaxed) < SUPPOSED_RACES_MAX => {}
            None => return Err(Refusal::Protected),
        }
        Ok(())
    }

    /// Whether the access of a fault that was refused will work all the same.
    pub(crate) fn has_cured(&self, touch: &Touch) -> bool {
        matches!(self.is_committed(&Fault::new(self, touch)), Some(Ok(())))
    }

    /// If the page of a fault is committed: whether the access will work.
    fn is_committed(&self, fault: &Fault<'_>) -> Option<Result<(), Refusal>> {
        let page = PageIndex::holding(fault.offset());
        if !fault.is_page_fault() || !self.contains(page) {
            return None;
        }
        let pages = self.pages.lock_in_handler();
        pages.is_committed(page).then(|| self.may(&pages, fault))
    }

    /// Asks the filter, wherever it runs.
    fn ask(&self, fault: &Fault<'_>) -> Result<Verdict, Refusal> {
        if frames::is_inside_filter_of(self) {
            return Err(Refusal::InOwnFilter);
        }
        // A forked child of a region that was served.
        if self.backend() == Backend::UserfaultMonitor {
            return Err(Refusal::MonitorGone);
        }
        match &self.policy.monitors {
            Some(monitors) => monitors.ask(fault),
            None => frames::run_filter(self, || self.ask_filter(fault)),
        }
    }

    /// How many pages were committed for it; `None` if the page was there already.
    fn try_resolve(
        &self,
        fault: &Fault<'_>,
        ask: impl FnOnce(&Fault<'_>) -> Result<Verdict, Refusal>,
    ) -> Result<Option<PageCount>, Refusal> {
        if self.has_filter() {
            // A thread that raced for the same page may have won; then there is nothing to ask anybody.
            if let Some(may) = self.is_committed(fault) {
                return may.map(|()| None);
            }
            match ask(fault)? {
                Verdict::Commit => {
                    if let Some(pages) = fault.cured() {
                        return Ok(Some(pages).filter(|&pages| pages > PageCount::ZERO));
                    }
                }
                Verdict::Decline => return Err(Refusal::Filter),
            }
        }
        Ok(self.commit_around(fault)?.map(PageRange::count))
    }

    pub(super) fn is_any_budget_due(&self) -> bool {
        self.policy.budget.as_ref().is_some_and(Budget::is_any_due)
    }

    /// Calls the callbacks of budgets that are due, if any are, where a panic has nowhere to go.
    pub(super) fn tell_budgets_apart(&self) {
        if self.is_any_budget_due() {
            // The page is committed, whatever becomes of the news.
            let _ = frames::run_callback(self, || self.tell_budgets());
        }
    }

    /// Commits for a filter that wants to see whether that works. The bytes committed: none if the page was already.
    pub(super) fn commit_for_filter(&self, fault: &Fault<'_>) -> Result<Range<usize>, Error> {
        match self.commit_around(fault) {
            Ok(Some(pages)) => {
                self.tell_budgets();
                Ok(pages.bytes())
            }
            Ok(None) => Ok(fault.offset()..fault.offset()),
            Err(refusal) => {
                let range = fault.offset()..fault.offset() + 1;
                Err(Error::new(Operation::Commit, range, refusal.cause(&self.figures())))
            }
        }
    }

    /// Takes the region's locks and keeps them across a fork, with asynchronous signals blocked.
    pub(crate) fn hold(&self) {
        self.pages.hold();
    }

    /// Gives back what [`hold`](Core::hold) took.
    ///
    /// # Safety
    /// As for [`Lock::let_go`].
    pub(crate) unsafe fn let_go(&self) {
        // SAFETY: the contract, passed on.
        unsafe { self.pages.let_go() };
    }

    /// In a forked child, which has just been given the locks: missing pages are to fault again. If they cannot be made
    /// to, they may not be accessed.
    pub(crate) fn reattach(&self) {
        let pages = self.pages.lock_in_handler();
        let Err(_) = self.pager.reattach(&self.mapping, PageCount::new(self.data.get() + 1)) else { return };
        for (reserved, _) in pages.runs(pages.all()).filter(|&(_, committed)| !committed) {
            // SAFETY: reserved pages of this mapping, in which there is nothing.
            let _ = unsafe { self.mapping.decommit(reserved) };
        }
    }

    /// The lock of its budgets, if it has any.
    pub(crate) fn budget_tree(&self) -> Option<Arc<Lock<()>>> {
        self.policy.budget.as_ref().map(Budget::tree)
    }

    pub(super) fn has_filter(&self) -> bool {
        self.policy.filter.is_some()
    }

    /// What the filter says, on a thread that is there for it.
    pub(super) fn ask_filter_noted(&self, fault: &Fault<'_>) -> Result<Verdict, Refusal> {
        frames::note(self, || self.ask_filter(fault))
    }

    /// What the userfaultfd is whose events somebody has to serve.
    pub(super) fn served(&self) -> Option<&Arc<Userfault>> {
        self.pager.served()
    }

    /// What the filter says; without one, every fault within the limits commits.
    pub(super) fn ask_filter(&self, fault: &Fault<'_>) -> Verdict {
        self.policy.filter.as_ref().map_or(Verdict::Commit, |filter| filter(fault))
    }

    fn contains(&self, page: PageIndex) -> bool {
        PageRange::new(0, self.data.get()).contains(page)
    }

    fn layout(&self) -> Layout {
        Layout::new(self.mapping.base(), self.data)
    }

    /// Commits the window of a fault, within the limit. `None` if the page was committed when the lock was taken.
    fn commit_around(&self, fault: &Fault<'_>) -> Result<Option<PageRange>, Refusal> {
        if !fault.is_page_fault() {
            return Err(Refusal::NotAPageFault);
        }
        let page = PageIndex::holding(fault.offset());
        if !self.contains(page) {
            return Err(Refusal::PastEnd);
        }
        let mut pages = self.pages.lock_in_handler();
        if pages.is_committed(page) {
            return self.may(&pages, fault).map(|()| None);
        }
        let run = self.commit_window(&mut pages, page, fault.access())?;
        drop(pages);
        self.bring_in(run, page, fault.access());
        Ok(Some(run))
    }

    /// Commits the window of a reserved page that is touched like this, within the limit.
    fn commit_window(
        &self,
        pages: &mut Guard<'_, PageMap>,
        page: PageIndex,
        access: FaultAccess,
    ) -> Result<PageRange, Refusal> {
        // No more than there is room for, so that no more is looked at.
        let window = self.policy.growth.window(&pages.streams, page, self.layout());
        let window = growth::clip(window, page, self.room());
        let mut run = growth::clamp(pages.reserved_run(page, window), page, self.room()).ok_or(Refusal::Limit)?;
        loop {
            let granted = self.charge(run.count(), PageCount::new(1))?;
            run = growth::clamp(run, page, granted).ok_or(Refusal::Limit)?;
            let written = (access == FaultAccess::Write).then_some(page);
            let Err(code) = self.commit_run(pages, run, written) else { break };
            self.refund(granted);
            if !os::is_out_of_memory(code) || run == page.alone() {
                return Err(self.refusal_of(run, code));
            }
            // The system may have room for the one page that is needed.
            run = page.alone();
        }
        self.commits.fetch_add(1, Ordering::Relaxed);
        pages.streams.note(self.policy.growth, page, run);
        Ok(run)
    }

    /// Commits what a fault on the first byte of `range`, which is of data, would, without asking the filter. The pages
    /// that are committed then, or the one page if it was.
    pub(super) fn commit_ahead(&self, range: Range<usize>) -> Result<PageRange, Error> {
        let page = PageIndex::holding(range.start);
        let mut pages = self.pages.lock();
        if pages.is_committed(page) {
            return Ok(page.alone());
        }
        let run = self.commit_window(&mut pages, page, FaultAccess::Write);
        drop(pages);
        let run = run.map_err(|refusal| Error::new(Operation::Commit, range, refusal.cause(&self.figures())))?;
        self.bring_in(run, page, FaultAccess::Write);
        self.tell_budgets();
        Ok(run)
    }

    /// Makes what a touch of `page` has just committed resident, as far as the program seems to be about to write it.
    /// Not under the lock, since it may take a while: another thread may decommit the pages meanwhile, and then they
    /// stay reserved.
    fn bring_in(&self, run: PageRange, page: PageIndex, access: FaultAccess) {
        // Reads see zeros without any memory.
        if access != FaultAccess::Write {
            return;
        }
        // Memory with a userfaultfd has no huge pages, is to stay one mapping, and has the page that is written.
        let is_plain = self.backend() == Backend::Protection;
        // A fixed window is a commit and no guess.
        let run = if let Growth::Adaptive { .. } = self.policy.growth { run } else { page.alone() };
        if self.policy.huge_pages && is_plain {
            let huge = self.layout().huge_pages_in(run);
            if !huge.is_empty() {
                self.mapping.advise_huge(huge);
            }
        }
        // One page, too: the instruction runs again for certain, and this costs less than the kernel's fault would.
        if is_plain || run != page.alone() {
            // SAFETY: the region lives, so the fault handler is installed.
            unsafe { self.mapping.populate(run) };
        }
    }

    /// Charges the budgets with as much of `wanted` as they allow, at least `least`. Under the lock of `pages`.
    fn charge(&self, wanted: PageCount, least: PageCount) -> Result<PageCount, Refusal> {
        match &self.policy.budget {
            Some(budget) => budget.charge(wanted, least).map_err(Refusal::Budget),
            None => Ok(wanted),
        }
    }

    /// Under the lock of `pages`, or where asynchronous signals are blocked otherwise.
    fn refund(&self, pages: PageCount) {
        if let Some(budget) = &self.policy.budget {
            budget.refund(pages);
        }
    }

    /// Calls the callbacks of budgets whose threshold was reached. Under no lock.
    fn tell_budgets(&self) {
        self.policy.budget.iter().for_each(Budget::tell);
    }

    /// For a page that is committed: whether the access that faulted will work now. It will if another thread has just
    /// committed the page; it will not if the program has taken the access away, or fetches instructions from data.
    ///
    /// Under the lock, so that nobody decommits the page between our account and the system's.
    fn may(&self, _pages: &Guard<'_, PageMap>, fault: &Fault<'_>) -> Result<(), Refusal> {
        // SAFETY: a page of this mapping that is committed, and stays so under the lock.
        let allows = unsafe { self.pager.allows(&self.mapping, fault) }.map_err(Refusal::Os)?;
        let allowed = match allows {
            Some(allowed) => allowed,
            // The system does not tell (Linux without /proc). Commits are never executable; for the rest, suppose that
            // it was a race. Each race that is lost was won by a commit, so a row of faults without one is no race.
            None if fault.access() == FaultAccess::Execute => false,
            None => self.supposed_races.fetch_add(1, Ordering::Relaxed) < SUPPOSED_RACES_MAX,
        };
        if allowed { Ok(()) } else { Err(Refusal::Protected) }
    }

    /// What the limit leaves.
    fn room(&self) -> PageCount {
        self.policy.commit_limit.saturating_sub(PageCount::new(self.committed.load(Ordering::Relaxed)))
    }

    /// Why the system did not commit these reserved pages.
    fn refusal_of(&self, run: PageRange, code: OsCode) -> Refusal {
        if self.mapping.is_out_of_mappings(run, code) { Refusal::Mappings(code) } else { Refusal::Os(code) }
    }

    /// Commits reserved pages, for which there is room, and accounts for them. One of them may be about to be written.
    fn commit_run(
        &self,
        pages: &mut Guard<'_, PageMap>,
        run: PageRange,
        written: Option<PageIndex>,
    ) -> Result<(), OsCode> {
        pages.prepare(&self.mapping, run)?;
        self.unbar_in(pages, run);
        // SAFETY: data pages of this mapping, which the map says are reserved; the map stays locked.
        unsafe { self.pager.commit(&self.mapping, run, written) }?;
        self.note_committed(pages, run, run.count());
        Ok(())
    }

    /// Accounts for pages that have just been committed, `new` of which were not before.
    fn note_committed(&self, pages: &mut Guard<'_, PageMap>, run: PageRange, new: PageCount) {
        pages.set(run, true);
        self.committed.fetch_add(new.get(), Ordering::Relaxed);
        self.supposed_races.store(0, Ordering::Relaxed);
        self.pager.wake(&self.mapping, run);
    }

    /// Decommits pages and accounts for them.
    fn decommit_run(&self, pages: &mut Guard<'_, PageMap>, run: PageRange) -> Result<(), OsCode> {
        let count = pages.count_committed(run);
        if count == PageCount::ZERO {
            return Ok(());
        }
        // SAFETY: data pages of this mapping; raw pointers and accessors reach them, and references only where a
        // `DemandArray` has the region, which decommits while none of them lives.
        unsafe { self.pager.decommit(&self.mapping, run) }?;
        pages.set(run, false);
        pages.streams.forget(run);
        pages.trim(&self.mapping, run);
        self.committed.fetch_sub(count.get(), Ordering::Relaxed);
        self.refund(count);
        Ok(())
    }

    /// Commits every page of `range`, or none.
    pub(super) fn commit(&self, range: Range<usize>) -> Result<(), Error> {
        let wanted = self.pages_of(Operation::Commit, &range)?;
        let refuse = |refusal: Refusal| Error::new(Operation::Commit, range.clone(), refusal.cause(&self.figures()));
        let mut pages = self.pages.lock();
        let missing = wanted.count().saturating_sub(pages.count_committed(wanted));
        if missing == PageCount::ZERO {
            return Ok(());
        }
        if missing > self.room() {
            return Err(refuse(Refusal::Limit));
        }
        self.charge(missing, missing).map_err(refuse)?;
        if let Err(refusal) = self.commit_gaps(&mut pages, wanted) {
            pages.trim(&self.mapping, wanted);
            self.refund(missing);
            return Err(refuse(refusal));
        }
        self.note_committed(&mut pages, wanted, missing);
        self.commits.fetch_add(1, Ordering::Relaxed);
        drop(pages);
        self.tell_budgets();
        Ok(())
    }

    /// Commits what is reserved of `wanted`, or nothing. Not yet accounted for.
    fn commit_gaps(&self, pages: &mut Guard<'_, PageMap>, wanted: PageRange) -> Result<(), Refusal> {
        pages.prepare(&self.mapping, wanted).map_err(Refusal::Os)?;
        self.unbar_in(pages, wanted);
        // The map changes only when all is done: until then it says what to undo.
        let mut gaps = pages.runs(wanted).filter(|&(_, committed)| !committed);
        let refused = gaps.find_map(|(gap, _)| {
            // SAFETY: data pages of this mapping, which the map says are reserved; the map stays locked.
            unsafe { self.pager.commit(&self.mapping, gap, None) }.err().map(|code| (gap, code))
        });
        let Some((gap, code)) = refused else { return Ok(()) };
        let refusal = self.refusal_of(gap, code);
        let before = PageRange::new(wanted.start(), gap.start());
        for (done, _) in pages.runs(before).filter(|&(_, committed)| !committed) {
            // Should this fail, the pages are accessible for nothing, until committed or released.
            // SAFETY: committed a moment ago; nobody has been told.
            let _ = unsafe { self.pager.decommit(&self.mapping, done) };
        }
        Err(refusal)
    }

    /// Decommits every page of `range`.
    pub(super) fn decommit(&self, range: Range<usize>) -> Result<(), Error> {
        let unwanted = self.pages_of(Operation::Decommit, &range)?;
        self.decommit_run(&mut self.pages.lock(), unwanted)
            .map_err(|code| Error::new(Operation::Decommit, range, Cause::Os(code)))
    }

    fn pages_of(&self, operation: Operation, range: &Range<usize>) -> Result<PageRange, Error> {
        PageRange::outward(range, self.len())
            .ok_or_else(|| Error::new(operation, range.clone(), Cause::OutOfRange { len: self.len() }))
    }

    /// Every page's state at one moment.
    pub(super) fn runs(&self) -> Vec<(PageRange, bool)> {
        // Nothing may be allocated under the lock: guess, and if there are more runs than that, guess higher.
        let mut found = Vec::with_capacity(16);
        loop {
            let pages = self.pages.lock();
            let room = found.capacity();
            found.extend(pages.runs(pages.all()).take(room));
            let complete = found.last().is_some_and(|&(run, _): &(PageRange, bool)| run.end() == pages.all().end());
            drop(pages);
            if complete {
                return found;
            }
            found.clear();
            found.reserve(2 * room);
        }
    }

    /// Gives the mapping back to the system, and then the charge to the budgets: what the system keeps stays charged.
    pub(super) fn release(self) -> Result<(), OsCode> {
        let Core { mapping, pages, pager, policy, committed, .. } = self;
        // What it holds of the system outlives the memory.
        let _pager = pager;
        let Policy { budget, filter, monitors, .. } = policy;
        // Its threads run the filter. The filter itself is dropped last: that is the program's code, and may panic.
        drop(monitors);
        let _filter = filter;
        // Before the memory goes that its table may be in.
        drop(pages);
        // SAFETY: nothing of the region is left that could use it; raw pointers are their users' risk.
        let released = unsafe { mapping.release() };
        if matches!(released, Err((_, false))) {
            return released.map_err(|(code, _)| code);
        }
        if let Some(budget) = budget {
            // A fork takes the budgets' locks of live regions, and this is none any more.
            let _inside = gate::enter();
            budget.refund(PageCount::new(committed.into_inner()));
        }
        released.map_err(|(code, _)| code)
    }
}

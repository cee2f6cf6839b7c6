//! Builds regions.

#![allow(unsafe_code, reason = "registers what the fault handler shares")]

use std::fmt;
use std::io;
use std::ptr::NonNull;

use super::backend::{Backend, Pager};
use super::filter::{Fault, Filter, Verdict};
use super::filter_threads::FilterThreads;
use super::growth::Growth;
use super::handle::{Live, Region};
use super::inner::{Policy, RegionInner, ServedRegion, Service};
use super::page_map;
use crate::budget::Budget;
use crate::error::{Cause, Error, Operation, Reason};
use crate::fault::{Armed, Outcome, Tally, registry};
use crate::mapping::{Mapping, whole_pages};
use crate::os;
use crate::page::PageCount;
use crate::plain::{OsCode, Placement};

impl Region {
    /// Reserves `len` bytes, rounded up to whole pages, which commit on touch.
    ///
    /// # Errors
    /// See [`Reservation::new`](crate::Reservation::new). It also fails if the fault handler cannot be installed.
    pub fn new(len: usize) -> Result<Region, Error> {
        Region::builder(len).build()
    }

    /// Returns a builder for a region with a limit, a filter, a growth policy or a name.
    pub fn builder(len: usize) -> RegionBuilder {
        RegionBuilder {
            len,
            align: 1,
            commit_limit_bytes: usize::MAX,
            budget: None,
            backend: Backend::default(),
            is_timed: false,
            growth: Growth::default(),
            huge_pages: true,
            core_dumps: None,
            reports_refusals: true,
            filter: None,
            filter_threads: 0,
            name: Box::default(),
        }
    }
}

/// Builds a region. Returned by [`Region::builder`].
///
/// ```
/// use elbowroom::{Budget, Growth, Region, page_size};
///
/// let budget = Budget::new(64 << 20);
/// let region = Region::builder(1 << 30)
///     .name("cache")
///     .commit_limit(16 << 20)
///     .budget(&budget)
///     .growth(Growth::Pages(4))
///     .build()?;
/// region.try_write(0, 1u8)?;
/// assert_eq!(budget.committed_bytes(), 4 * page_size());
/// # Ok::<(), elbowroom::Error>(())
/// ```
#[must_use = "a builder makes no region until `build` is called"]
pub struct RegionBuilder {
    len: usize,
    align: usize,
    commit_limit_bytes: usize,
    growth: Growth,
    huge_pages: bool,
    // `None` for the default of the backend.
    core_dumps: Option<bool>,
    reports_refusals: bool,
    backend: Backend,
    is_timed: bool,
    budget: Option<Budget>,
    filter: Option<Box<Filter>>,
    filter_threads: usize,
    name: Box<str>,
}

impl RegionBuilder {
    /// Aligns the base to a multiple of `bytes`, a power of two.
    pub(crate) fn align(mut self, bytes: usize) -> RegionBuilder {
        self.align = bytes;
        self
    }

    /// Limits the bytes committed at any moment, rounded down to whole pages. By default only the length limits them.
    pub fn commit_limit(mut self, bytes: usize) -> RegionBuilder {
        self.commit_limit_bytes = bytes;
        self
    }

    /// Charges the region's commits to `budget` and to the budgets above it.
    pub fn budget(mut self, budget: &Budget) -> RegionBuilder {
        self.budget = Some(budget.clone());
        self
    }

    /// Sets how many pages a fault commits. The default is [`Growth::default`].
    pub fn growth(mut self, growth: Growth) -> RegionBuilder {
        self.growth = growth;
        self
    }

    /// Sets whether windows of at least a huge page ask the system for huge pages, where it has them for private memory
    /// (Linux).
    ///
    /// The default is yes. Huge pages make memory faster to populate and to access. Only windows of
    /// [`Growth::Adaptive`] for a write ask for them, so a region that stays small or is touched sparsely has none.
    /// With `false`, the region asks for none. A system that gives huge pages to all memory still does so.
    pub fn huge_pages(mut self, huge_pages: bool) -> RegionBuilder {
        self.huge_pages = huge_pages;
        self
    }

    /// Sets whether core dumps include the committed pages (Linux). They never include reserved pages.
    ///
    /// The default is yes, except with [`Backend::Userfault`] and [`Backend::UserfaultMonitor`]: with these, each run
    /// of pages in dumps takes a mapping, which they otherwise save. Exclude memory that is large or secret. On Windows
    /// and macOS this has no effect.
    pub fn core_dumps(mut self, core_dumps: bool) -> RegionBuilder {
        self.core_dumps = Some(core_dumps);
        self
    }

    /// Sets whether a refused touch through a plain pointer writes a line to standard error.
    ///
    /// The default is yes; a process writes at most ten such lines a second.
    ///
    /// Turn it off in a program whose own signal handler recovers from refused touches, such as a WebAssembly engine.
    /// [`fault::Recorder`](crate::fault::Recorder) and [`Stats::refused`](crate::Stats::refused) still count them.
    pub fn report_refusals(mut self, report: bool) -> RegionBuilder {
        self.reports_refusals = report;
        self
    }

    /// Measures how long each fault takes, for [`Stats::latency`](crate::Stats::latency).
    ///
    /// Each fault then reads the clock twice.
    pub fn timed(mut self) -> RegionBuilder {
        self.is_timed = true;
        self
    }

    /// Sets how touched pages are committed.
    pub fn backend(mut self, backend: Backend) -> RegionBuilder {
        self.backend = backend;
        self
    }

    /// Sets a filter, which is asked about every fault in the region before anything is committed.
    ///
    /// A fault commits a window of pages, and the filter is not asked about the other pages of the window. A filter
    /// that decides page by page needs [`Growth::Pages`]`(1)`.
    ///
    /// The filter runs on the faulting thread, in the middle of the touch, on a separate stack of at least 128 KiB (on
    /// Windows, on the thread's own). It is ordinary Rust code and may touch other regions, within these rules. It is
    /// like a function that the touching code calls. For an accessor, that is the accessor's caller, which may hold
    /// locks. For a plain pointer, the code around it may be anything: if it may be the allocator, the filter must not
    /// allocate. Asynchronous signals are blocked until the filter returns. A thread that the filter starts inherits
    /// this, so start threads elsewhere.
    ///
    /// If two threads touch the same page at once, the filter may be asked twice. A panic in the filter aborts the
    /// process with its message.
    ///
    /// On its own region, a filter may call [`commit`](Region::commit), [`decommit`](Region::decommit),
    /// [`stats`](Region::stats) and [`spans`](Region::spans), and may touch committed pages. A touch of an uncommitted
    /// page is refused, and so is [`release`](Region::release). [`Fault::commit`](crate::Fault::commit) commits the
    /// fault's window, and returns an error if that fails. [`Fault::fill`](crate::Fault::fill) also gives the pages
    /// their contents.
    pub fn filter(
        mut self,
        filter: impl Fn(&Fault<'_>) -> Verdict + Send + Sync + 'static,
    ) -> RegionBuilder {
        self.filter = Some(Box::new(filter));
        self
    }

    /// Runs the filter on `threads` threads that belong to the region, while the faulting thread sleeps.
    ///
    /// The filter may then take locks, allocate, do I/O and block, even if the faulting thread is inside the allocator
    /// or holds locks. It must not wait for that thread. Up to `threads` faults are filtered at once. With `0`, the
    /// default, the filter runs on the faulting thread. Without a filter, this has no effect. Each fault costs two more
    /// thread switches.
    ///
    /// If the filter panics, its thread ends, and this fault and every later one are refused with `is_declined()`. The
    /// same holds in a forked child, which has no such threads. Two regions whose filters touch each other can
    /// deadlock.
    pub fn filter_threads(mut self, threads: usize) -> RegionBuilder {
        self.filter_threads = threads;
        self
    }

    /// Names the region.
    ///
    /// Messages show the name, and so does the system's own listing of the process's memory, if it has names: see
    /// [`ReservationBuilder::name`](crate::ReservationBuilder::name).
    pub fn name(mut self, name: &str) -> RegionBuilder {
        self.name = name.into();
        self
    }

    /// Builds the region.
    ///
    /// # Errors
    /// See [`Region::new`].
    pub fn build(self) -> Result<Region, Error> {
        let asked = self.len;
        let refuse = |operation, cause: Cause| Error::new(operation, 0..asked, cause);
        let refuse_os = |operation| move |code: OsCode| refuse(operation, Cause::os(code));
        let refuse_thread = |error: io::Error| {
            let code = OsCode(error.raw_os_error().unwrap_or(0));
            refuse(Operation::StartFilterThreads, Cause::os(code))
        };

        let data = PageCount::inside(whole_pages(asked)?);
        let all = PageCount::new(data.get() + 1 + page_map::table_pages(data).get()).bytes();
        if all > isize::MAX as usize {
            return Err(refuse(Operation::Reserve, Reason::TooLarge.into()));
        }
        let armed = Armed::new().map_err(refuse_os(Operation::InstallHandler))?;
        let align = self.align.max(os::granularity());
        let mut mapping = Mapping::reserve(all, align, Placement::Anywhere, self.name)
            .map_err(refuse_os(Operation::Reserve))?;
        let is_served = self.backend == Backend::UserfaultMonitor;
        let filter_threads = match self.filter_threads {
            threads if threads > 0 && self.filter.is_some() && !is_served => {
                let started = FilterThreads::start(threads, mapping.name());
                Some(started.map_err(refuse_thread)?)
            }
            _ => None,
        };
        let policy = Policy {
            growth: self.growth,
            huge_pages: self.huge_pages,
            reports_refusals: self.reports_refusals,
            commit_limit: PageCount::inside(self.commit_limit_bytes).min(data),
            budget: self.budget,
            filter: self.filter,
            filter_threads,
            latencies: self
                .is_timed
                .then(|| Outcome::ALL.map(|_| Box::new(Tally::new()))),
        };
        let reason = if is_served {
            Reason::UserfaultEvents
        } else {
            Reason::Userfault
        };
        let pager = Pager::new(self.backend, &mapping, PageCount::new(data.get() + 1))
            .map_err(|code| refuse(Operation::SetUpBackend, Cause::with_code(reason, code)))?;
        let is_plain = pager.backend() == Backend::Protection;
        if !self.core_dumps.unwrap_or(is_plain) {
            mapping.exclude_from_core_dumps();
        }
        let inner = RegionInner::new(mapping, data, pager, policy);
        let (base, reach) = (inner.base(), inner.reach());
        let inner = NonNull::from(Box::leak(Box::new(inner)));
        // SAFETY: the region was just leaked, and `Region::close` frees it after `Entered::remove`. Its addresses are
        // those of its own mapping, which no other region has.
        let entered = unsafe { registry::enter(inner) };
        // Its drop gives everything back if the threads do not start.
        let mut region = Region {
            inner,
            base,
            reach,
            live: Some(Live {
                entered,
                armed,
                service: None,
            }),
        };
        // SAFETY: the region is valid until `Region::close` frees it. Before that, `close` drops the service and with
        // it everything that its threads use.
        let served = unsafe { ServedRegion::new(inner) };
        if let (Some(served), Some(live)) = (served, &mut region.live) {
            let started = Service::start(served, self.filter_threads);
            live.service = Some(started.map_err(refuse_thread)?);
        }
        Ok(region)
    }
}

impl fmt::Debug for RegionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegionBuilder")
            .field("len", &self.len)
            .field("align", &self.align)
            .field("commit_limit_bytes", &self.commit_limit_bytes)
            .field("budget", &self.budget)
            .field("growth", &self.growth)
            .field("huge_pages", &self.huge_pages)
            .field("core_dumps", &self.core_dumps)
            .field("reports_refusals", &self.reports_refusals)
            .field("backend", &self.backend)
            .field("is_timed", &self.is_timed)
            .field("filter", &self.filter.is_some())
            .field("filter_threads", &self.filter_threads)
            .field("name", &self.name)
            .finish()
    }
}

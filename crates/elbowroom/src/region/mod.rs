//! A reservation that commits on touch.

#![allow(unsafe_code, reason = "owns what the fault handler shares, and calls the accessors' asm")]

use std::cell::Cell;
use std::fmt;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

use bytemuck::{AnyBitPattern, NoUninit};

use crate::error::{Cause, Error, Operation, OsCode};
use crate::fault::registry::{self, Entered};
use crate::fault::{Armed, FaultAccess, FaultCode, Histogram, Outcome, Refusal, Tally, Touch, access, frames};
use crate::os::{self, Placement};
use crate::page::{self, PageCount};
use crate::reservation::{self, Access, Mapping, PageState, Span};

pub(crate) mod backend;
mod barred;
mod budget;
mod core;
mod growth;
mod info;
mod io;
mod monitor;
mod service;
mod state;

pub use self::backend::Backend;
use self::backend::Pager;
pub(crate) use self::budget::RefusedBy;
pub use self::budget::{Budget, BudgetBuilder};
pub(crate) use self::core::Core;
pub(crate) use self::growth::Layout;
pub use growth::Growth;
pub use info::{RegionInfo, regions};
use monitor::Monitors;
use service::Service;

/// No system has smaller pages, in bytes.
const LEAST_PAGE: usize = 4096;

/// A touch of an uncommitted page of a region, as its filter sees it.
pub struct Fault<'a> {
    region: &'a Core,
    address: usize,
    access: FaultAccess,
    code: FaultCode,
    is_page_fault: bool,
    // The page is missing from memory that may be accessed: a touch under `Backend::Userfault`.
    is_missing: bool,
    // What the filter has committed itself. A Cell also keeps a fault on the thread that handles it, where
    // asynchronous signals are blocked, as `commit` needs.
    cured: Cell<Option<PageCount>>,
}

impl<'a> Fault<'a> {
    fn new(region: &'a Core, touch: &Touch) -> Fault<'a> {
        let &Touch { address, access, code, is_inaccessible, is_missing } = touch;
        Fault {
            region,
            address,
            access,
            code,
            is_page_fault: region.is_page_fault(is_inaccessible, is_missing),
            is_missing,
            cured: Cell::new(None),
        }
    }

    /// The address that was touched.
    pub fn address(&self) -> usize {
        self.address
    }

    /// The same in bytes from the base of the region. `region.len()` or more for a touch of the guard page behind it,
    /// which can never be committed.
    pub fn offset(&self) -> usize {
        self.region.offset_of(self.address)
    }

    /// Reading, writing or executing.
    pub fn access(&self) -> FaultAccess {
        self.access
    }

    /// The platform's own name for what happened: the signal and its code, or the exception code.
    pub fn code(&self) -> FaultCode {
        self.code
    }

    /// Whether it is a page fault, which a commit cures: `EXCEPTION_ACCESS_VIOLATION`, or SIGSEGV for memory that is
    /// not mapped or not accessible, or SIGBUS for memory that is missing, with [`Backend::Userfault`]. Other faults in
    /// a region's addresses, such as a bus error of a file that somebody mapped there, reach the filter too and are
    /// refused whatever it says.
    pub fn is_page_fault(&self) -> bool {
        self.is_page_fault
    }

    /// The name of the region, or the empty string.
    pub fn region_name(&self) -> &str {
        self.region.name()
    }

    /// How much of the region is committed, in bytes.
    pub fn committed_bytes(&self) -> usize {
        self.region.committed_bytes()
    }

    /// The region's commit limit, in bytes.
    pub fn commit_limit_bytes(&self) -> usize {
        self.region.commit_limit_bytes()
    }

    /// Commits the window of this fault now, for a filter that wants to see whether that works. Without it, the region
    /// commits after the filter has answered [`Verdict::Commit`].
    ///
    /// The bytes that were committed; an empty range if another thread has just committed the page.
    ///
    /// # Errors
    /// As for [`Region::commit`], and `is_invalid_range()` for a touch of the guard page behind the region.
    pub fn commit(&self) -> Result<Range<usize>, Error> {
        self.region.commit_for_filter(self).inspect(|bytes| self.cured.set(Some(PageCount::inside(bytes.len()))))
    }
}

impl Fault<'_> {
    /// How many pages the filter has committed for it, if it has.
    fn cured(&self) -> Option<PageCount> {
        self.cured.get()
    }
}

impl fmt::Debug for Fault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault")
            .field("region", &self.region_name())
            .field("offset", &self.offset())
            .field("access", &self.access)
            .field("code", &self.code)
            .finish_non_exhaustive()
    }
}

/// What a filter answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// Commit the page, within the region's limits, and continue with the instruction that faulted.
    Commit,
    /// Do not. An accessor returns an error; a touch through a plain pointer goes to the handlers that were there
    /// before, which as a rule means that the process ends.
    Decline,
}

/// What a region has used and done so far.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The length of the region.
    pub reserved_bytes: usize,
    /// How much of it is committed now.
    pub committed_bytes: usize,
    /// How much may be.
    pub commit_limit_bytes: usize,
    /// Faults in the region's addresses, refused ones and those that lost a race included.
    pub faults: u64,
    /// Times that pages were committed, by a fault or by [`Region::commit`].
    pub commits: u64,
    /// Faults that were refused, by whomever.
    pub declined: u64,
    // In the order of `Outcome::ALL`.
    outcomes: [u64; Outcome::ALL.len()],
    /// How long faults took, by outcome, in a region that is [`timed`](RegionBuilder::timed).
    pub latencies: Option<Latencies>,
}

impl Stats {
    /// The faults with this outcome. Those that are being handled have none yet.
    pub fn faults_of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }
}

/// How long the faults of a region took to handle, filter and all, by what became of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latencies {
    // In the order of `Outcome::ALL`.
    by_outcome: [Histogram; Outcome::ALL.len()],
}

impl Latencies {
    /// Of the faults with this outcome.
    pub fn of(&self, outcome: Outcome) -> &Histogram {
        &self.by_outcome[outcome as usize]
    }
}

/// A range of addresses whose pages are committed when they are touched.
///
/// The first touch of a page faults; the process-wide fault handler finds the region, asks its filter, commits a window
/// of pages around the touch within the region's limits, and continues with the same instruction. The address never
/// changes.
///
/// ```
/// use elbowroom::{Growth, Region, Verdict, page_size};
///
/// let region = Region::builder(80 * page_size())
///     .commit_limit(40 * page_size())
///     .growth(Growth::Pages(1))
///     .filter(|fault| if fault.offset() < 60 * page_size() { Verdict::Commit } else { Verdict::Decline })
///     .build()?;
///
/// region.try_write(12345, 7u8)?;
/// assert_eq!(region.try_read::<u8>(12345)?, 7);
/// assert_eq!(region.stats().committed_bytes, page_size());
///
/// assert!(region.try_write(70 * page_size(), 7u8).unwrap_err().is_declined());
/// assert!(region.try_fill(0..50 * page_size(), 1).unwrap_err().is_limit());
/// # Ok::<(), elbowroom::Error>(())
/// ```
///
/// # Touching it
///
/// *Accessors* (`try_read`, `try_write`, `try_fill`, `try_copy_from_slice`, `try_copy_to_slice`) are safe: if the touch
/// is refused, they return an error that says by whom and why. They take `&self` and any number of threads may use them
/// at once; to each other they are plain loads and stores, which are indivisible up to 8 bytes if aligned.
///
/// *Plain pointers* from [`as_ptr`](Region::as_ptr) work as well, at the caller's risk: a refused touch is reported in
/// a line on standard error and then goes to the handlers that were there before, as if this library were not. A Rust
/// reference must only point at memory that is committed, and stays so while the reference lives.
///
/// A system call does not raise a fault: `read(2)` into uncommitted memory fails with EFAULT.
/// [`prepare`](Region::prepare) the range first, use [`read_from`](Region::read_from) and
/// [`write_to`](Region::write_to), or choose [`Backend::UserfaultMonitor`].
///
/// # The end of the region
///
/// Behind the last page lies a guard page, reserved and never committed. A touch of it is a fault of this region, as
/// every run over the end begins: the filter hears of it ([`Fault::offset`] is then at least [`len`](Region::len)) and
/// it is refused with `is_invalid_range()`. Accessors let the hardware decide up to there; past the guard page they
/// refuse without a touch.
///
/// # Platform differences
///
/// On Unix the handler is a signal handler for SIGSEGV and SIGBUS, on Windows a vectored exception handler; it is
/// installed with the first region and removed with the last. What is not a region's goes to the handlers that were
/// there before. One that the program puts in front of ours later has to pass on what it does not know; each new region
/// puts ours in front again. A thread must not block SIGSEGV and SIGBUS: a fault then kills the process
/// (sigprocmask(2)). See PLATFORM.md.
pub struct Region {
    // Invariant: a leaked box; valid until `close` frees it. The handler shares it, so never `&mut`.
    core: NonNull<Core>,
    // Copies for the accessors. Invariant: `base..base + reach` are the addresses in the registry; `reach` is at least
    // two pages.
    base: *mut u8,
    reach: usize,
    // What makes its faults ours. None once `close` has run.
    live: Option<Live>,
}

/// What makes a region's faults come to it.
struct Live {
    // The entry in the registry.
    entered: Entered,
    // The handler.
    armed: Armed,
    // The threads that serve it, with `Backend::UserfaultMonitor`.
    service: Option<Service>,
}

// SAFETY: what is shared with other threads and the handler is `Core`, which is Send and Sync by its parts (asserted
// below); the pointers are to it and to memory that belongs to no thread.
unsafe impl Send for Region {}
// SAFETY: as above, and the accessors are sound from any number of threads (see `fault::access`).
unsafe impl Sync for Region {}

const _: () = {
    const fn shareable<T: Send + Sync>() {}
    shareable::<Core>();
};

impl Region {
    /// Reserves `len` bytes, rounded up to whole pages, that commit on touch.
    ///
    /// # Errors
    /// As [`Reservation::new`](crate::Reservation::new); also if the fault handler cannot be installed.
    pub fn new(len: usize) -> Result<Region, Error> {
        Region::builder(len).build()
    }

    /// A region with a limit, a filter, a growth policy or a name.
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
            filter: None,
            monitors: 0,
            name: Box::default(),
        }
    }

    fn core(&self) -> &Core {
        // SAFETY: valid until `close` (invariant), which is only called by value or by drop.
        unsafe { self.core.as_ref() }
    }

    /// The first byte. The same for the life of the region.
    pub fn as_ptr(&self) -> *mut u8 {
        self.base
    }

    /// The length in bytes: what was asked for, rounded up to whole pages.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.core().len()
    }

    /// The name it was given, or the empty string.
    pub fn name(&self) -> &str {
        self.core().name()
    }

    /// The backend that it was made with; for [`Backend::Auto`], the one that this came to.
    pub fn backend(&self) -> Backend {
        self.core().backend()
    }

    /// Commits every page that holds a byte of `range`, without asking the filter: before a system call, or to have the
    /// cost now. Pages that are committed already keep their contents.
    ///
    /// # Errors
    /// `is_invalid_range()` outside the region, `is_limit()`, or `is_out_of_memory()` from the system. Then nothing has
    /// changed.
    pub fn commit(&self, range: Range<usize>) -> Result<(), Error> {
        self.core().commit(range)
    }

    /// Gives every page that holds a byte of `range` back: contents lost, charge refunded. The next touch commits it
    /// again, and finds zeros. What was asked of the system for these pages (madvise, mbind, locking) is forgotten.
    ///
    /// # Errors
    /// `is_invalid_range()` outside the region; otherwise only if the system refuses. Then nothing has changed.
    pub fn decommit(&self, range: Range<usize>) -> Result<(), Error> {
        self.core().decommit(range)
    }

    /// Commits what a fault on the first byte of `range`, which is in the region, would, without asking the filter.
    /// The pages that are committed then, or the one page if it was. An error is about `range`.
    pub(crate) fn commit_ahead(&self, range: Range<usize>) -> Result<page::PageRange, Error> {
        self.core().commit_ahead(range)
    }

    /// What the region has used and done so far. Each figure is exact; taken while other threads touch the region, they
    /// may be of slightly different moments.
    pub fn stats(&self) -> Stats {
        self.core().stats()
    }

    /// The state of every page at one moment, in order: runs of equal pages that cover the whole region.
    pub fn spans(&self) -> Vec<Span> {
        let span = |(run, committed): (page::PageRange, bool)| Span {
            range: run.bytes(),
            state: if committed { PageState::Committed } else { PageState::Reserved },
            access: if committed { Access::ReadWrite } else { Access::None },
        };
        self.core().runs().into_iter().map(span).collect()
    }

    /// Gives everything back. Dropping does the same and cannot tell of a failure.
    ///
    /// # Errors
    /// If the system refuses, or if this is called from the region's own filter, which cannot end before it: then the
    /// region stays reserved until the process ends.
    pub fn release(mut self) -> Result<(), Error> {
        let range = 0..self.len();
        self.close().map_err(|cause| Error::new(Operation::Release, range, cause))
    }

    fn close(&mut self) -> Result<(), Cause> {
        let Some(Live { entered, armed, service }) = self.live.take() else { return Ok(()) };
        if frames::is_inside_fault_of(self.core()) {
            // The handler below us on this very thread still uses the region. It stays as it is for good: in the
            // registry, and with a handler.
            std::mem::forget((armed, service));
            return Err(Cause::InOwnFilter);
        }
        entered.remove();
        drop(service);
        #[cfg(feature = "metrics")]
        registry::retire(self.core().name(), self.core().outcomes());
        // SAFETY: from a leaked box (invariant); no handler and no thread looks at it any more, and `live` being None,
        // nobody comes here again.
        let core = unsafe { Box::from_raw(self.core.as_ptr()) };
        core.release().map_err(Cause::Os)
    }

    /// Whether an accessor may try `size` bytes at `offset`: up to the end of the guard page.
    #[inline(always)]
    fn reaches(&self, offset: usize, size: usize) -> bool {
        // A region is at least a page and its guard page, so what fits there needs one comparison and no overflow
        // check.
        if size <= 2 * LEAST_PAGE {
            offset <= self.reach.wrapping_sub(size)
        } else {
            offset.checked_add(size).is_some_and(|end| end <= self.reach)
        }
    }

    /// The address of `size` bytes at `offset`, if an accessor may try them.
    fn within_reach(&self, operation: Operation, offset: usize, size: usize) -> Result<*mut u8, Error> {
        if self.reaches(offset, size) {
            Ok(self.base.wrapping_add(offset))
        } else {
            Err(self.out_of_range(operation, offset, size))
        }
    }

    #[cold]
    fn out_of_range(&self, operation: Operation, offset: usize, size: usize) -> Error {
        Error::new(operation, offset..offset.saturating_add(size), Cause::OutOfRange { len: self.len() })
    }

    /// The error of an accessor that was refused at `at`, of a range that ends at `end`.
    #[cold]
    fn refused(&self, operation: Operation, at: usize, end: usize, packed: u64) -> Error {
        Error::new(operation, at..end, Refusal::unpack(packed).cause(&self.core().figures()))
    }

    /// Writes `value` at `offset`, committing the pages it lies on. Any alignment will do.
    ///
    /// # Errors
    /// Whatever refused the commit: `is_limit()`, `is_declined()`, `is_out_of_memory()`, `is_protected()`; or
    /// `is_invalid_range()` past the end. The bytes before [`Error::offset`] are written, none after.
    #[inline(always)]
    pub fn try_write<T: NoUninit>(&self, offset: usize, value: T) -> Result<(), Error> {
        // An aligned access lies in one page, so that it is made whole or not at all. The base is aligned.
        if !self.reaches(offset, size_of::<T>()) || offset % size_of::<T>().max(1) != 0 {
            return self.write_in_pieces(offset, value);
        }
        let base = self.base;
        let refusal = match *bytemuck::bytes_of(&value) {
            // SAFETY: in reach, and no reference of Rust's points into a region.
            [a] => unsafe { access::store_1(base, offset, a) },
            // SAFETY: in reach, aligned, and no reference of Rust's points into a region.
            [a, b] => unsafe { access::store_2(base, offset, u16::from_ne_bytes([a, b])) },
            // SAFETY: as above.
            [a, b, c, d] => unsafe { access::store_4(base, offset, u32::from_ne_bytes([a, b, c, d])) },
            [a, b, c, d, e, f, g, h] => {
                let value = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
                // SAFETY: as above.
                unsafe { access::store_8(base, offset, value) }
            }
            _ => return self.write_in_pieces(offset, value),
        };
        if refusal == 0 {
            Ok(())
        } else {
            Err(self.refused(Operation::Write, offset, offset + size_of::<T>(), refusal))
        }
    }

    /// [`try_write`](Region::try_write) of what is not one store. Takes the value and not its address, so that the
    /// caller may keep it in a register.
    #[inline(never)]
    fn write_in_pieces<T: NoUninit>(&self, offset: usize, value: T) -> Result<(), Error> {
        self.try_copy_from_slice(offset, bytemuck::bytes_of(&value))
    }

    /// Reads a value at `offset`, committing the pages it lies on. Any alignment will do.
    ///
    /// # Errors
    /// As [`try_write`](Region::try_write).
    #[inline(always)]
    pub fn try_read<T: AnyBitPattern>(&self, offset: usize) -> Result<T, Error> {
        let size = size_of::<T>();
        if !self.reaches(offset, size) || offset % size.max(1) != 0 || !matches!(size, 1 | 2 | 4 | 8) {
            return self.read_in_pieces(offset);
        }
        let mut value = MaybeUninit::<T>::uninit();
        let to = value.as_mut_ptr();
        macro_rules! load {
            ($load:ident, $type:ty) => {{
                // SAFETY: in reach and aligned.
                let (loaded, refusal) = unsafe { access::$load(self.base, offset) };
                // SAFETY: `value` has as many bytes as what was loaded, and `to` points at it.
                unsafe { to.cast::<$type>().write_unaligned(loaded) };
                refusal
            }};
        }
        let refusal = match size {
            1 => load!(load_1, u8),
            2 => load!(load_2, u16),
            4 => load!(load_4, u32),
            _ => load!(load_8, u64),
        };
        if refusal != 0 {
            return Err(self.refused(Operation::Read, offset, offset + size, refusal));
        }
        // SAFETY: every byte has been written, and any bytes are a T (AnyBitPattern).
        Ok(unsafe { value.assume_init() })
    }

    /// [`try_read`](Region::try_read) of what is not one load.
    #[inline(never)]
    fn read_in_pieces<T: AnyBitPattern>(&self, offset: usize) -> Result<T, Error> {
        let size = size_of::<T>();
        let from = self.within_reach(Operation::Read, offset, size)?;
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: in reach; `value` is writable for the size of its type.
        let copied = unsafe { access::copy_from_region(from, value.as_mut_ptr().cast(), size) };
        if copied.refusal != 0 {
            let end = offset + size;
            return Err(self.refused(Operation::Read, end - copied.left, end, copied.refusal));
        }
        // SAFETY: every byte has been written, and any bytes are a T (AnyBitPattern).
        Ok(unsafe { value.assume_init() })
    }

    /// Sets every byte of `range`, committing the pages it lies on.
    ///
    /// # Errors
    /// As [`try_write`](Region::try_write).
    pub fn try_fill(&self, range: Range<usize>, byte: u8) -> Result<(), Error> {
        self.check_order(Operation::Write, &range)?;
        let len = range.len();
        let to = self.within_reach(Operation::Write, range.start, len)?;
        // SAFETY: in reach, and no reference of Rust's points into a region.
        let filled = unsafe { access::fill(to, byte, len) };
        if filled.refusal == 0 {
            return Ok(());
        }
        Err(self.refused(Operation::Write, range.end - filled.left, range.end, filled.refusal))
    }

    /// Copies `bytes` to `offset`, committing the pages they land on.
    ///
    /// # Errors
    /// As [`try_write`](Region::try_write).
    pub fn try_copy_from_slice(&self, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        self.within_reach(Operation::Write, offset, bytes.len())?;
        self.copy_in(offset, bytes)
    }

    /// Copies `bytes` to `offset`; the caller has checked that they are within reach.
    fn copy_in(&self, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        let to = self.base.wrapping_add(offset);
        // SAFETY: `bytes` is readable, `to` in reach, and no reference of Rust's points into a region.
        let copied = unsafe { access::copy_to_region(bytes.as_ptr(), to, bytes.len()) };
        if copied.refusal == 0 {
            return Ok(());
        }
        let end = offset + bytes.len();
        Err(self.refused(Operation::Write, end - copied.left, end, copied.refusal))
    }

    /// Fills `bytes` from `offset`, committing the pages that are read.
    ///
    /// # Errors
    /// As [`try_write`](Region::try_write). What `bytes` holds is then new up to [`Error::offset`] and old from there.
    pub fn try_copy_to_slice(&self, offset: usize, bytes: &mut [u8]) -> Result<(), Error> {
        let from = self.within_reach(Operation::Read, offset, bytes.len())?;
        // SAFETY: `from` is in reach, and `bytes` writable.
        let copied = unsafe { access::copy_from_region(from, bytes.as_mut_ptr(), bytes.len()) };
        if copied.refusal == 0 {
            return Ok(());
        }
        let end = offset + bytes.len();
        Err(self.refused(Operation::Read, end - copied.left, end, copied.refusal))
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // A failure has nobody to be told to; `release` is there for who cares.
        let _ = self.close();
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region")
            .field("base", &self.base)
            .field("name", &self.name())
            .field("stats", &self.stats())
            .finish()
    }
}

/// What a region should be like; made by [`Region::builder`].
#[must_use = "a builder makes no region until `build` is called"]
pub struct RegionBuilder {
    len: usize,
    align: usize,
    commit_limit_bytes: usize,
    growth: Growth,
    huge_pages: bool,
    backend: Backend,
    is_timed: bool,
    budget: Option<Budget>,
    filter: Option<Box<core::Filter>>,
    monitors: usize,
    name: Box<str>,
}

impl RegionBuilder {
    /// Aligns the base to a power of two of bytes.
    pub(crate) fn align(mut self, bytes: usize) -> RegionBuilder {
        self.align = bytes;
        self
    }

    /// Commits at most so many bytes at any moment, rounded down to whole pages. Without it, the whole region may be.
    pub fn commit_limit(mut self, bytes: usize) -> RegionBuilder {
        self.commit_limit_bytes = bytes;
        self
    }

    /// Charges what the region commits to `budget` too, and to the budgets above it.
    pub fn budget(mut self, budget: &Budget) -> RegionBuilder {
        self.budget = Some(budget.clone());
        self
    }

    /// How many pages a fault commits. Without it, [`Growth::default`].
    pub fn growth(mut self, growth: Growth) -> RegionBuilder {
        self.growth = growth;
        self
    }

    /// Whether windows that have the size of a huge page ask the system for huge pages, where it has such for private
    /// memory (Linux); they do unless told otherwise. Fewer of them are needed, so that memory is faster to bring in
    /// and to reach. Only windows of [`Growth::Adaptive`] that a write made do so: a region that stays small, or is
    /// touched here and there, has none. `false` asks for none; a system that is set to give them to all memory does
    /// so all the same.
    pub fn huge_pages(mut self, huge_pages: bool) -> RegionBuilder {
        self.huge_pages = huge_pages;
        self
    }

    /// Keeps [`Stats::latencies`]: how long each fault takes, at the cost of looking at the clock twice.
    pub fn timed(mut self) -> RegionBuilder {
        self.is_timed = true;
        self
    }

    /// By what means pages are committed when they are touched.
    pub fn backend(mut self, backend: Backend) -> RegionBuilder {
        self.backend = backend;
        self
    }

    /// Asks `filter` about every fault in the region before anything is committed. A fault commits a window, of whose
    /// other pages the filter does not hear: one that decides page by page goes with [`Growth::Pages`]`(1)`.
    ///
    /// The filter runs on the thread that faulted, in the middle of the touch, on a stack of its own of at least 128
    /// KiB (on Windows, the thread's). It is ordinary Rust and may touch other regions, with what that implies: the
    /// touch is where the filter is called from. If an accessor touched, it is called from the accessor; a lock that
    /// the caller of the accessor holds is held. If a plain pointer touched, whatever code did so is in the middle of
    /// something: if that may be the allocator, the filter must not allocate. Asynchronous signals wait until the
    /// filter has returned; a thread that it starts inherits that, so start threads elsewhere.
    ///
    /// Two threads that touch the same page at once may both be asked. A touch of the region's own uncommitted pages
    /// from its filter is refused. A panic in a filter aborts the process with its message.
    pub fn filter(mut self, filter: impl Fn(&Fault<'_>) -> Verdict + Send + Sync + 'static) -> RegionBuilder {
        self.filter = Some(Box::new(filter));
        self
    }

    /// Runs the filter on a thread of its own, while the thread that faulted sleeps: it may then take locks, allocate,
    /// do I/O and block, whatever the thread that faulted was in the middle of (but not wait for that thread).
    ///
    /// If the filter panics, the thread ends, and this fault and every later one are refused with `is_declined()`; so
    /// it is in a forked child, which has no such thread. Two monitored regions whose filters touch each other wait for
    /// each other. A fault costs two thread switches more. Without a filter this does nothing.
    pub fn monitored(self) -> RegionBuilder {
        self.monitors(1)
    }

    /// As [`monitored`](RegionBuilder::monitored), with so many threads (0 means 1): as many faults are in the filter
    /// at once, and a slow one does not hold up the others.
    pub fn monitors(mut self, threads: usize) -> RegionBuilder {
        self.monitors = threads.max(1);
        self
    }

    /// Names the region, in messages and, where the system can, in its own listing of the process's memory: see
    /// [`ReservationBuilder::name`](crate::ReservationBuilder::name).
    pub fn name(mut self, name: &str) -> RegionBuilder {
        self.name = name.into();
        self
    }

    /// Makes the region.
    ///
    /// # Errors
    /// As [`Region::new`].
    pub fn build(self) -> Result<Region, Error> {
        let asked = self.len;
        let refuse = |operation, cause| Error::new(operation, 0..asked, cause);
        let code = |error: std::io::Error| OsCode(error.raw_os_error().unwrap_or(0));
        let refuse_os = |operation| move |code: OsCode| refuse(operation, Cause::Os(code));

        let data = PageCount::inside(reservation::whole_pages(asked)?);
        let all = PageCount::new(data.get() + 1 + state::table_pages(data).get()).bytes();
        if all > isize::MAX as usize {
            return Err(refuse(Operation::Reserve, Cause::TooLarge));
        }
        let armed = Armed::new().map_err(refuse_os(Operation::InstallHandler))?;
        let mapping = Mapping::reserve(all, self.align.max(os::granularity()), Placement::Anywhere, self.name)
            .map_err(refuse_os(Operation::Reserve))?;
        let monitors = match self.monitors {
            threads if threads > 0 && self.filter.is_some() && self.backend != Backend::UserfaultMonitor => {
                let started = Monitors::start(threads, mapping.name()).map_err(code);
                Some(started.map_err(refuse_os(Operation::StartMonitor))?)
            }
            _ => None,
        };
        let policy = core::Policy {
            growth: self.growth,
            huge_pages: self.huge_pages,
            commit_limit: PageCount::inside(self.commit_limit_bytes).min(data),
            budget: self.budget,
            filter: self.filter,
            monitors,
            latencies: self.is_timed.then(|| Outcome::ALL.map(|_| Box::new(Tally::new()))),
        };
        let for_events = self.backend == Backend::UserfaultMonitor;
        let pager = Pager::new(self.backend, &mapping, PageCount::new(data.get() + 1))
            .map_err(|code| refuse(Operation::SetUpBackend, Cause::Userfault { code, for_events }))?;
        let core = Core::new(mapping, data, pager, policy);
        let (base, reach) = (core.base(), core.reach());
        let core = NonNull::from(Box::leak(Box::new(core)));
        // SAFETY: leaked just now and freed by `close`, after `Entered::remove`; its addresses are those of a mapping
        // of its own.
        let entered = unsafe { registry::enter(core) };
        // Gives everything back, if the threads do not start.
        let mut region = Region { core, base, reach, live: Some(Live { entered, armed, service: None }) };
        let served = region.core().served().map(Arc::clone);
        if let (Some(userfault), Some(live)) = (served, &mut region.live) {
            // SAFETY: valid until `close`, which drops the service before; the pager attached the pages to this one.
            let started = unsafe { Service::start(core, userfault, self.monitors) };
            live.service = Some(started.map_err(code).map_err(refuse_os(Operation::StartMonitor))?);
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
            .field("backend", &self.backend)
            .field("is_timed", &self.is_timed)
            .field("filter", &self.filter.is_some())
            .field("monitors", &self.monitors)
            .field("name", &self.name)
            .finish()
    }
}

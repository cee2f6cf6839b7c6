//! The public type `Region`, which owns a region.

#![allow(unsafe_code, reason = "owns what the fault handler shares")]

use std::fmt;
use std::ops::Range;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;

use super::backend::Backend;
use super::filter::Faulted;
use super::inner::{RegionInner, Service};
use super::stats::Stats;
use crate::error::{Cause, Error, Operation, Reason};
use crate::fault::registry::Entered;
use crate::fault::{Armed, OwnerId, frames, totals};
use crate::page;
use crate::plain::{Access, PageState, Span};

/// A range of addresses whose pages are committed when they are touched.
///
/// The first touch of a page faults. The process-wide fault handler finds the region, asks its filter, commits a
/// window of pages around the touch within the region's limits, and runs the same instruction again. The address
/// never changes.
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
/// # Access
///
/// *Accessors* (`try_read`, `try_write`, `try_fill`, `try_copy_from_slice`, `try_copy_to_slice`) are safe: if a touch
/// is refused, they return an error with the cause. They take `&self`, and any number of threads may use them at
/// once. To each other they are plain loads and stores, which are indivisible up to 8 bytes if aligned.
///
/// *Cells* cost as much as plain accesses; use them in loops. [`hold`](Region::hold) commits a range and keeps it
/// committed while a guard exists, and the guard lends the range as [`Cells`](crate::Cells), which threads may share.
///
/// *Plain pointers* from [`as_ptr`](Region::as_ptr) work as well, at the caller's risk. A refused touch writes a line
/// to standard error. It then goes to the handlers that were installed before, as it would without this library.
///
/// A system call does not raise a fault: `read(2)` into uncommitted memory fails with EFAULT. Commit the range first
/// ([`commit`](Region::commit), [`commit_slice`](Region::commit_slice)), use [`read_from`](Region::read_from) and
/// [`write_to`](Region::write_to), or choose [`Backend::UserfaultMonitor`].
///
/// # The end of the region
///
/// A guard page, which is never committed, lies behind the last page. A touch of it is a fault of this region: the
/// filter is asked ([`Fault::offset`](crate::Fault::offset) is then at least [`len`](Region::len)), and the touch is
/// refused with `is_invalid_range()`. Accessors touch up to the end of the guard page, and refuse beyond it without a
/// touch.
///
/// # Platform differences
///
/// On Unix the handler is a signal handler for SIGSEGV and SIGBUS, on Windows a vectored exception handler. It is
/// installed with the first region and removed with the last. Faults that belong to no region go to the handlers that
/// were installed before. A handler that the program installs later must forward faults it does not recognise;
/// creating a region puts our handler first again. A thread must not block SIGSEGV and SIGBUS: a fault then kills the
/// process (sigprocmask(2)). See PLATFORM.md.
pub struct Region {
    // Invariant: a leaked box, valid until `close` frees it. The handler shares it, so there is never a `&mut` to it.
    pub(super) inner: NonNull<RegionInner>,
    // Copies for the accessors. Invariant: `base..base + reach` are the addresses in the registry; `reach` is at least
    // two pages.
    pub(super) base: *mut u8,
    pub(super) reach: usize,
    // `None` once `close` has run.
    pub(super) live: Option<Live>,
}

/// Keeps fault handling active for a region.
pub(super) struct Live {
    // The entry in the registry.
    pub(super) entered: Entered,
    // The handler.
    pub(super) armed: Armed,
    // The threads that serve the region, with `Backend::UserfaultMonitor`.
    pub(super) service: Option<Service>,
}

// SAFETY: the region points to a `RegionInner`, which is Send and Sync (asserted below), and to memory that is not
// bound to a thread.
unsafe impl Send for Region {}
// SAFETY: the region points to a `RegionInner`, which is Sync (asserted below). The accessors, which touch the memory
// under a shared reference, are asm that is sound from any number of threads (`fault::access`).
unsafe impl Sync for Region {}

// A panic cannot break an invariant, because the contents are only bytes.
impl UnwindSafe for Region {}
impl RefUnwindSafe for Region {}

const _: () = {
    const fn shareable<T: Send + Sync>() {}
    shareable::<RegionInner>();
};

impl Region {
    pub(super) fn inner(&self) -> &RegionInner {
        // SAFETY: the region is valid until `close` frees it (invariant). `release` and `drop` call `close` with
        // exclusive access, so no reference obtained here is alive then.
        unsafe { self.inner.as_ref() }
    }

    /// Returns the address of the first byte, which never changes.
    ///
    /// # Aliasing
    ///
    /// The caller may make a reference to bytes of the region if these hold while the reference lives:
    /// - The bytes are committed and stay committed: neither [`decommit`](Region::decommit) nor a release of the region
    ///   affects them.
    /// - Nothing writes to them through an accessor, [`read_from`](Region::read_from) or another pointer. Every safe
    ///   method with `&self` counts: [`try_write`](Region::try_write) writes under a shared reference.
    /// - For a `&mut`, nothing reads them either.
    ///
    /// If the filter [fills](crate::Fault::fill) each page with the same bytes every time, a shared reference is sound
    /// across decommits: each load finds these bytes, with or without a fault.
    ///
    /// [`commit_slice`](Region::commit_slice) lends a slice safely.
    pub fn as_ptr(&self) -> *mut u8 {
        self.base
    }

    /// Returns the length in bytes: the requested length, rounded up to whole pages.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.inner().len()
    }

    /// Returns the name, or the empty string.
    pub fn name(&self) -> &str {
        self.inner().name()
    }

    /// Returns the backend of the region. For [`Backend::Auto`], this is the one that was chosen.
    pub fn backend(&self) -> Backend {
        self.inner().backend()
    }

    /// Commits every page that holds a byte of `range`, without asking the filter.
    ///
    /// Use it before a system call, or to pay the cost in advance. Pages that are already committed keep their
    /// contents.
    ///
    /// # Errors
    /// `is_invalid_range()` outside the region, `is_limit()`, or `is_out_of_memory()` from the system. Nothing has
    /// changed then.
    pub fn commit(&self, range: Range<usize>) -> Result<(), Error> {
        self.inner().commit(range)
    }

    /// Decommits every page that holds a byte of `range`: contents are lost, and the charge is refunded.
    ///
    /// The next touch commits the page again and finds zeros. The system's settings for these pages (madvise, mbind,
    /// locks) are lost. If nothing else is committed in the page table of these pages (2 MiB of addresses if pages have
    /// 4 KiB), the table is given back as well, and the settings of the reserved pages in it are also lost.
    ///
    /// # Errors
    /// `is_invalid_range()` outside the region; `is_held()` if a [`HeldRange`](crate::HeldRange) holds one of the
    /// pages. Otherwise it fails only if the system refuses. Nothing has changed then.
    pub fn decommit(&self, range: Range<usize>) -> Result<(), Error> {
        self.inner().decommit(range)
    }

    /// Commits the window of a fault on the first byte of `range`, without asking the filter. `range` is inside the
    /// region. Returns the committed pages, or the one page if it was committed already. An error names `range`.
    pub(crate) fn commit_ahead(&self, range: Range<usize>) -> Result<page::PageRange, Error> {
        self.inner().commit_ahead(range)
    }

    /// Returns the memory and the faults of the region.
    ///
    /// Each figure is exact, but while other threads touch the region, the figures may be from slightly different
    /// moments.
    pub fn stats(&self) -> Stats {
        self.inner().stats()
    }

    /// Returns an upper bound of the bytes of the kernel's page tables for the committed pages.
    ///
    /// If pages have 4 KiB, each 2 MiB of addresses with a committed page takes a table of one page. Single pages that
    /// lie far apart therefore cost twice what [`Stats::committed_bytes`] says. Tables above the lowest level take a
    /// 512th of these and are not counted.
    ///
    /// It inspects the state of every page, and takes longer the more runs of committed pages there are.
    pub fn page_table_bytes(&self) -> usize {
        self.inner().page_table_bytes()
    }

    /// Returns the state of every page at one moment: runs of equal pages, in order, that cover the whole region.
    pub fn spans(&self) -> Vec<Span> {
        let span = |(run, committed): (page::PageRange, bool)| Span {
            range: run.bytes(),
            state: if committed {
                PageState::Committed
            } else {
                PageState::Reserved
            },
            access: if committed {
                Access::ReadWrite
            } else {
                Access::None
            },
        };
        self.inner().runs().into_iter().map(span).collect()
    }

    /// Gives everything back to the system. Dropping the region does the same, and ignores errors.
    ///
    /// # Errors
    /// Fails if the system refuses, or if it is called from the region's own filter, which cannot end before this call.
    /// The region then stays reserved until the process ends.
    pub fn release(mut self) -> Result<(), Error> {
        let range = 0..self.len();
        self.close()
            .map_err(|cause| Error::new(Operation::Release, range, cause))
    }

    fn close(&mut self) -> Result<(), Cause> {
        let Some(Live {
            entered,
            armed,
            service,
        }) = self.live.take()
        else {
            return Ok(());
        };
        if frames::is_inside_fault_of(OwnerId::of(self.inner())) {
            // The handler that runs this filter or callback still uses the region. So the region stays for ever as it
            // is: in the registry, and with the handler installed.
            std::mem::forget((armed, service));
            return Err(Reason::InOwnFilter.into());
        }
        entered.remove();
        drop(service);
        totals::add(&self.inner().outcomes());
        // SAFETY: the pointer is from a leaked box (invariant). The region has left the registry, so no handler uses
        // it. The service is dropped, so no thread of the library does. `live` is now None, so this line runs once.
        let inner = unsafe { Box::from_raw(self.inner.as_ptr()) };
        inner.release().map_err(Cause::os)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // A failure is ignored here; `release` reports it.
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

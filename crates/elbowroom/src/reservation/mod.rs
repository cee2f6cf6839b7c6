//! Owned address ranges, committed and decommitted explicitly.

#![allow(unsafe_code, reason = "calls the system with ranges that it owns")]

use std::fmt;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use self::committed::{Committed, gaps, set};
use self::kept::Kept;
use crate::budget::Budget;
use crate::charge::Charge;
use crate::error::{Cause, Error, Operation, Reason};
use crate::mapping::{Mapping, whole_pages};
use crate::os;
use crate::page::{self, PageCount, PageRange};
use crate::plain::{Access, PageState, Placement, Span};

mod committed;
mod kept;

/// An owned range of addresses whose pages are committed and decommitted explicitly.
///
/// Making a reservation takes a system call and no memory, whatever its size. Its pages are reserved at first: a touch
/// faults, and nothing is charged. [`commit`](Reservation::commit) makes pages readable, writable and zero. The address
/// never changes. Dropping the reservation, or [`release`](Reservation::release), gives everything back.
///
/// Ranges are in bytes from the base, and are rounded outward to whole pages, as in Win32: a range includes every page
/// that holds a byte of it. Every method may be called from any number of threads at once.
///
/// The memory is accessed through [`as_ptr`](Reservation::as_ptr), at the caller's risk: touching an uncommitted page
/// kills the process. [`Region`](crate::Region) is memory that commits itself.
///
/// ```
/// use elbowroom::{PageState, Reservation, page_size};
///
/// let block = Reservation::new(16 << 40)?; // 16 TiB
/// block.commit(0..1)?;
/// // SAFETY: the first page is committed, and nothing else uses it.
/// unsafe { block.as_ptr().write(7) };
///
/// let spans = block.spans();
/// assert_eq!(spans[0].range, 0..page_size());
/// assert_eq!(spans[0].state, PageState::Committed);
/// assert_eq!(spans[1].state, PageState::Reserved);
/// block.release()?;
/// # Ok::<(), elbowroom::Error>(())
/// ```
///
/// # Platform differences
///
/// The length is rounded up to the page size. The base lies at a multiple of
/// [`allocation_granularity`](crate::allocation_granularity): 64 KiB on Windows, a page elsewhere. PLATFORM.md says
/// which commits each system charges.
pub struct Reservation {
    mapping: Mapping,
    // Dropped after `mapping`, because the charge is refunded when the system has the pages back.
    held: Mutex<Held>,
}

/// The committed pages of a reservation, and their charge.
struct Held {
    committed: Committed,
    // The pages that the system lets the program access, if decommitted ones are among them.
    kept: Option<Kept>,
    // The charge for the committed pages, if there is a budget.
    charge: Option<Charge>,
}

impl Reservation {
    /// Reserves `len` bytes, rounded up to whole pages, where the system chooses.
    ///
    /// # Errors
    /// `is_invalid_range()` if `len` is zero or beyond the address space; `is_out_of_memory()` if there is no free gap
    /// of that size, or if the process's limit on address space is reached (RLIMIT_AS, a job object).
    pub fn new(len: usize) -> Result<Reservation, Error> {
        Reservation::builder(len).build()
    }

    /// Returns a builder for a reservation with an alignment, an address, a budget or a name.
    pub fn builder(len: usize) -> ReservationBuilder {
        ReservationBuilder {
            len,
            align: 1,
            placement: Placement::Anywhere,
            budget: None,
            name: Box::default(),
            keeps_access: false,
        }
    }

    /// Returns the address of the first byte, which never changes.
    ///
    /// # Aliasing
    ///
    /// The caller may make references to committed bytes. Each must end before its bytes are decommitted or released,
    /// and before [`protect`](Reservation::protect) changes the access to them.
    pub fn as_ptr(&self) -> *mut u8 {
        self.mapping.base().as_ptr()
    }

    /// Returns the length in bytes: the requested length, rounded up to whole pages.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.mapping.len()
    }

    /// Returns the name, or the empty string.
    pub fn name(&self) -> &str {
        self.mapping.name()
    }

    /// Commits the pages of `range`: they are readable, writable, and zero at first.
    ///
    /// Pages that are already committed keep their contents and their access.
    ///
    /// # Errors
    /// `is_invalid_range()` outside the reservation; `is_limit()` if a [budget](ReservationBuilder::budget) has no
    /// room; `is_out_of_memory()` if the system's commit limit is reached. Nothing has changed then.
    pub fn commit(&self, range: Range<usize>) -> Result<(), Error> {
        let budget = self.commit_pages(range)?;
        // Outside the lock, because a callback may commit here, too.
        if let Some(budget) = budget {
            budget.run_pending_callbacks();
        }
        Ok(())
    }

    /// Commits as [`commit`](Reservation::commit) does, and leaves the callbacks of budgets to
    /// [`Budget::run_pending_callbacks`]. For the crate `elbowroom-pager`, which commits under a lock.
    #[doc(hidden)]
    pub fn commit_before_callbacks(&self, range: Range<usize>) -> Result<(), Error> {
        self.commit_pages(range).map(drop)
    }

    /// Commits the pages of `range`. Returns the budget that was charged.
    fn commit_pages(&self, range: Range<usize>) -> Result<Option<Budget>, Error> {
        let pages = self.pages(Operation::Commit, &range)?;
        let mut held = self.lock();
        let Held {
            committed,
            kept,
            charge,
        } = &mut *held;
        let gaps = gaps(committed, pages);
        let missing = PageCount::new(gaps.iter().map(|gap| gap.count().get()).sum());
        if let Some(charge) = charge {
            let refused = charge.grow(missing);
            refused.map_err(|error| error.about(range.clone()).during(Operation::Commit))?;
        }
        for (done, &gap) in gaps.iter().enumerate() {
            let committed = match kept {
                Some(kept) => kept.open(&self.mapping, gap),
                // SAFETY: the pages are reserved: the map of committed pages does not contain them, and stays locked.
                None => unsafe { self.mapping.commit(gap) },
            };
            if let Err(code) = committed {
                // Pages that a reservation keeps accessible stay so.
                for &gap in gaps[..done].iter().filter(|_| kept.is_none()) {
                    // SAFETY: the pages were committed a moment ago and not announced: the map of committed pages has
                    // not changed, and stays locked.
                    unsafe { self.mapping.uncommit(gap) };
                }
                if let Some(charge) = charge {
                    charge.shrink(missing);
                }
                return Err(Error::new(Operation::Commit, range, Cause::of_commit(code)));
            }
        }
        for gap in gaps {
            set(committed, gap, Some(Access::ReadWrite));
        }
        Ok(charge.as_ref().map(|charge| charge.budget().clone()))
    }

    /// Decommits the pages of `range`: their contents are lost, their charge is refunded, and a touch faults.
    ///
    /// If they are committed again, they read as zero. Reserved pages stay reserved.
    ///
    /// # Errors
    /// `is_invalid_range()` outside the reservation. Otherwise it fails only if the system refuses, as Linux does when
    /// the process has reached its limit of mappings (`vm.max_map_count`). The pages stay committed then. Their
    /// contents stay as well, unless [access is kept](ReservationBuilder::keep_access) and a part of the pages is
    /// locked.
    pub fn decommit(&self, range: Range<usize>) -> Result<(), Error> {
        let pages = self.pages(Operation::Decommit, &range)?;
        let mut held = self.lock();
        let Held {
            committed,
            kept,
            charge,
        } = &mut *held;
        let gaps = gaps(committed, pages);
        if gaps == [pages] || pages.is_empty() {
            return Ok(());
        }
        let is_discarded = kept.as_ref().is_some_and(|kept| {
            // SAFETY: no reference points into the pages: the library makes none, and the program has ended those that
            // it made from `as_ptr` (its contract).
            unsafe { kept.discard(&self.mapping, committed, pages) }
        });
        if !is_discarded {
            // SAFETY: no reference points into the pages: the library makes none, and the program has ended those that
            // it made from `as_ptr` (its contract).
            unsafe { self.mapping.decommit(pages) }
                .map_err(|code| Error::new(Operation::Decommit, range, Cause::os(code)))?;
            if let Some(kept) = kept {
                kept.close(pages);
            }
        }
        set(committed, pages, None);
        if let Some(charge) = charge {
            let reserved: usize = gaps.iter().map(|gap| gap.count().get()).sum();
            charge.shrink(pages.count().saturating_sub(PageCount::new(reserved)));
        }
        Ok(())
    }

    /// Changes the access to the pages of `range`, all of which must be committed. Contents stay.
    ///
    /// # Errors
    /// `is_invalid_range()` outside the reservation; `is_not_committed()` if a page in it is reserved. Otherwise it
    /// fails only if the system refuses (the limit of mappings is reached, or a security policy forbids execution).
    pub fn protect(&self, range: Range<usize>, access: Access) -> Result<(), Error> {
        let pages = self.pages(Operation::Protect, &range)?;
        let mut held = self.lock();
        let refuse = |cause: Cause| Err(Error::new(Operation::Protect, range.clone(), cause));
        if !gaps(&held.committed, pages).is_empty() {
            return refuse(Reason::NotCommitted.into());
        }
        if pages.is_empty() {
            return Ok(());
        }
        // SAFETY: the pages are committed, as checked above under the lock. No reference points into them: the library
        // makes none, and the program has ended those that it made from `as_ptr` (its contract).
        if let Err(code) = unsafe { self.mapping.protect(pages, access) } {
            if let Some(kept) = &mut held.kept {
                kept.doubt(pages);
            }
            return refuse(Cause::os(code));
        }
        set(&mut held.committed, pages, Some(access));
        Ok(())
    }

    /// Returns the state of every page: runs of equal pages, in order, that cover the whole reservation.
    pub fn spans(&self) -> Vec<Span> {
        let held = self.lock();
        let committed = &held.committed;
        let all = PageRange::new(0, self.len() / page::size());
        let mut spans = Vec::with_capacity(2 * committed.len() + 1);
        let mut next = 0;
        let reserved = |range: PageRange| Span {
            range: range.bytes(),
            state: PageState::Reserved,
            access: Access::None,
        };
        for (&start, &(end, access)) in committed.iter() {
            if next < start {
                spans.push(reserved(PageRange::new(next, start)));
            }
            let range = PageRange::new(start, end).bytes();
            spans.push(Span {
                range,
                state: PageState::Committed,
                access,
            });
            next = end;
        }
        if next < all.end() {
            spans.push(reserved(PageRange::new(next, all.end())));
        }
        spans
    }

    /// Gives everything back to the system. Dropping the reservation does the same, and ignores errors.
    ///
    /// # Errors
    /// Fails only if the system refuses. The addresses then stay reserved until the process ends.
    pub fn release(self) -> Result<(), Error> {
        let range = 0..self.len();
        let Reservation { mapping, held } = self;
        // SAFETY: the reservation ends here, and nothing uses the memory afterwards: the library has no other pointer
        // to it, and a later use of a pointer from `as_ptr` is an error of the program's unsafe code.
        let released = unsafe { mapping.release() };
        if let Err((_, false)) = released {
            // Memory that the system keeps stays charged.
            std::mem::forget(held);
        }
        released.map_err(|(code, _)| Error::new(Operation::Release, range, Cause::os(code)))
    }

    fn pages(&self, operation: Operation, range: &Range<usize>) -> Result<PageRange, Error> {
        PageRange::outward(range, self.len())
            .ok_or_else(|| Error::out_of_range(operation, range.clone(), self.len()))
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Nothing panics while the lock is held, and each change is complete.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("base", &self.as_ptr())
            .field("len", &self.len())
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

/// Builds a reservation. Returned by [`Reservation::builder`].
///
/// ```
/// use elbowroom::Reservation;
///
/// let reservation = Reservation::builder(1 << 20).align(2 << 20).name("table").build()?;
/// assert_eq!(reservation.as_ptr().addr() % (2 << 20), 0);
/// # Ok::<(), elbowroom::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder reserves nothing until `build` is called"]
pub struct ReservationBuilder {
    len: usize,
    align: usize,
    placement: Placement,
    budget: Option<Budget>,
    name: Box<str>,
    keeps_access: bool,
}

impl ReservationBuilder {
    /// Aligns the base to a multiple of `bytes`, a power of two.
    ///
    /// An alignment below [`allocation_granularity`](crate::allocation_granularity) has no effect.
    pub fn align(mut self, bytes: usize) -> ReservationBuilder {
        self.align = bytes;
        self
    }

    /// Reserves at exactly this address, a multiple of the alignment, or fails with `is_address_in_use()`.
    ///
    /// Existing mappings are never replaced.
    pub fn at(mut self, address: usize) -> ReservationBuilder {
        self.placement = Placement::Exactly(address);
        self
    }

    /// Reserves at this address if it is free, otherwise where the system chooses.
    pub fn near(mut self, address: usize) -> ReservationBuilder {
        self.placement = Placement::Near(address);
        self
    }

    /// Charges the committed pages to `budget`, and to the budgets above it.
    pub fn budget(mut self, budget: &Budget) -> ReservationBuilder {
        self.budget = Some(budget.clone());
        self
    }

    /// Names the reservation for diagnosis.
    ///
    /// On Linux with CONFIG_ANON_VMA_NAME, `/proc/PID/maps` shows it as `[anon:NAME]`: its first 79 bytes, with
    /// characters that the kernel forbids replaced by `_`.
    pub fn name(mut self, name: &str) -> ReservationBuilder {
        self.name = name.into();
        self
    }

    /// Sets whether decommitted pages stay accessible, so that pages can be committed and decommitted one by one
    /// without a change of the process's mappings. The default is no. It has an effect on Linux.
    ///
    /// Pages become accessible by blocks of at least 2 MiB, at the first commit inside a block. Decommitting gives
    /// their memory back by madvise(2) with MADV_DONTNEED, which takes a fraction of the time. No page takes mappings
    /// of its own (`vm.max_map_count`). Budgets are charged for exactly the committed pages, as usual. The price:
    ///
    /// - A touch of a decommitted page may work instead of faulting. It takes memory that no budget counts, and a page
    ///   that was written to in this way is not zero when it is committed again.
    /// - The system's own charge for a block is refunded when the reservation is released. So the setting has no
    ///   effect where such charges are counted (`vm.overcommit_memory=2`, RLIMIT_DATA), and none in locked memory
    ///   (mlockall(2)).
    /// - The kernel's page tables of decommitted pages stay until the release: 4 KiB for each 2 MiB that was touched.
    /// - The system uses no huge pages for the reservation.
    ///
    /// ```
    /// use elbowroom::{Budget, Reservation, page_size};
    ///
    /// let budget = Budget::new(page_size());
    /// let pool = Reservation::builder(1 << 40).budget(&budget).keep_access(true).build()?;
    /// for page in 0..10 {
    ///     let place = page * page_size()..(page + 1) * page_size();
    ///     pool.commit(place.clone())?; // the budget has room for one
    ///     pool.decommit(place)?;
    /// }
    /// # Ok::<(), elbowroom::Error>(())
    /// ```
    pub fn keep_access(mut self, is_kept: bool) -> ReservationBuilder {
        self.keeps_access = is_kept;
        self
    }

    /// Builds the reservation.
    ///
    /// # Errors
    /// See [`Reservation::new`]. Also `is_invalid_alignment()` for an alignment that is not a power of two or an
    /// address that is not a multiple of it, and `is_address_in_use()`.
    pub fn build(self) -> Result<Reservation, Error> {
        let len = whole_pages(self.len)?;
        let asked = self.len;
        let refuse = |cause: Cause| Error::new(Operation::Reserve, 0..asked, cause);
        if !self.align.is_power_of_two() {
            return Err(refuse(Reason::NotAPowerOfTwo.into()));
        }
        let align = self.align.max(os::granularity());
        if let Placement::Exactly(address) = self.placement {
            if address % align != 0 {
                return Err(Error::misaligned(Operation::Reserve, 0..asked, align));
            }
            if address == 0 || address.checked_add(len).is_none() {
                return Err(refuse(Reason::TooLarge.into()));
            }
        }
        let mut mapping = Mapping::reserve(len, align, self.placement, self.name)
            .map_err(|code| refuse(Cause::os(code)))?;
        let kept = { self.keeps_access }.then(|| Kept::new(&mut mapping));
        Ok(Reservation {
            mapping,
            held: Mutex::new(Held {
                committed: Committed::new(),
                kept: kept.flatten(),
                charge: self.budget.as_ref().map(Charge::none),
            }),
        })
    }
}

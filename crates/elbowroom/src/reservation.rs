//! An owned range of addresses, committed and decommitted by hand.

#![allow(unsafe_code, reason = "calls the system with ranges that it owns")]

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Cause, Error, Operation, OsCode};
use crate::os::{self, Bar, Placement, Userfault};
use crate::page::{self, PageIndex, PageRange};

/// What a program may do with a committed page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Nothing. The page stays committed and keeps its contents.
    None,
    /// Read.
    Read,
    /// Read and write: what a page has when it is committed.
    ReadWrite,
    /// Read and execute. Nothing is ever writable and executable at once.
    ReadExecute,
}

/// Whether a page is reserved or committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PageState {
    /// Its address is set aside and nothing else. Any touch faults.
    Reserved,
    /// Charged to the system's commit limit where the system has one, and the program's to use.
    Committed,
}

/// A run of neighbouring pages in the same state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The bytes, from the base of the reservation: whole pages.
    pub range: Range<usize>,
    /// Reserved or committed.
    pub state: PageState,
    /// What may be done there; [`Access::None`] where reserved.
    pub access: Access,
}

/// A mapping that is released when dropped. All of a reservation's and a region's calls to the system go through it.
pub(crate) struct Mapping {
    // Invariant: `base` and `len` are those of one successful `os::reserve`, released only by dropping this.
    base: NonNull<u8>,
    len: usize,
    name: Box<str>,
}

// SAFETY: a mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping {}
// SAFETY: every method that takes `&self` is a system call, which the system serialises.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(crate) fn reserve(len: usize, align: usize, placement: Placement, name: Box<str>) -> Result<Mapping, OsCode> {
        let mapping = Mapping { base: os::reserve(len, align, placement)?, len, name };
        mapping.label(mapping.base, len);
        Ok(mapping)
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Shows the name in the system's listing.
    fn label(&self, start: NonNull<u8>, len: usize) {
        if !self.name.is_empty() {
            os::name(start, len, &self.name);
        }
    }

    /// The address and length of `pages`, which the callers take from inside this mapping.
    fn part(&self, pages: PageRange) -> (NonNull<u8>, usize) {
        let bytes = pages.bytes();
        debug_assert!(bytes.end <= self.len, "{bytes:?} of {}", self.len);
        // SAFETY: offsets inside the mapping (the `PageRange`s that come here are of this mapping) do not wrap, and
        // nothing is mapped at address 0.
        let start = unsafe { self.base.add(bytes.start) };
        (start, bytes.len())
    }

    /// Commits pages that are reserved. If the system refuses half way, all of them are reserved again.
    ///
    /// # Safety
    /// `pages` are inside this mapping and reserved.
    pub(crate) unsafe fn commit(&self, pages: PageRange) -> Result<(), OsCode> {
        let (start, len) = self.part(pages);
        // SAFETY: whole reserved pages of this live mapping (contract).
        unsafe { os::commit(start, len) }.inspect_err(|_| {
            // mprotect(2) over several mappings may have changed the first of them. Nobody has been told of these
            // pages, so nothing is lost. Should this fail too, they are accessible for nothing, until committed or
            // released.
            // SAFETY: the same pages, which nothing can refer to yet.
            let _ = unsafe { os::decommit(start, len) };
            self.label(start, len);
        })
    }

    /// Brings committed pages in, where the system can, without changing them. Pages that are not committed stay so.
    ///
    /// # Safety
    /// If the pages may be other than committed, readable and writable, the fault handler is installed.
    pub(crate) unsafe fn populate(&self, pages: PageRange) {
        if !pages.is_empty() {
            let (start, len) = self.part(pages);
            // SAFETY: whole pages of this live mapping, at least one; the rest is the contract, passed on.
            unsafe { os::populate(start, len) };
        }
    }

    /// Lets the system use huge pages for committed ones, where it has such.
    pub(crate) fn advise_huge(&self, pages: PageRange) {
        let (start, len) = self.part(pages);
        // SAFETY: whole pages of this live mapping.
        unsafe { os::advise_huge(start, len) };
    }

    /// [`commit`](Mapping::commit) for pages that hold the library's own tables.
    ///
    /// # Safety
    /// As for `commit`.
    pub(crate) unsafe fn commit_bookkeeping(&self, pages: PageRange) -> Result<(), OsCode> {
        let (start, len) = self.part(pages);
        // SAFETY: whole reserved pages of this live mapping (contract).
        unsafe { os::commit_bookkeeping(start, len) }
    }

    /// # Safety
    /// `pages` are inside this mapping, and no reference points into them.
    pub(crate) unsafe fn decommit(&self, pages: PageRange) -> Result<(), OsCode> {
        let (start, len) = self.part(pages);
        // SAFETY: whole pages of this live mapping without references (contract).
        unsafe { os::decommit(start, len) }?;
        // The pages are a new mapping now, where that is how a platform decommits.
        self.label(start, len);
        Ok(())
    }

    /// # Safety
    /// `pages` are inside this mapping and committed, and no reference points into them.
    unsafe fn protect(&self, pages: PageRange, access: Access) -> Result<(), OsCode> {
        let (start, len) = self.part(pages);
        // SAFETY: whole committed pages of this live mapping without references (contract).
        unsafe { os::protect(start, len, access) }
    }

    /// Makes reserved pages accessible and missing, for [`fill`](Mapping::fill).
    ///
    /// # Safety
    /// `pages` are inside this mapping and reserved, and nobody touches them yet.
    pub(crate) unsafe fn attach(&self, pages: PageRange, userfault: &Userfault) -> Result<(), OsCode> {
        let (start, len) = self.part(pages);
        // SAFETY: whole reserved pages of this live mapping, untouched (contract).
        unsafe { userfault.attach(start, len) }?;
        self.label(start, len);
        Ok(())
    }

    /// In a forked child: attaches the pages again, or, if that fails, makes what is missing inaccessible.
    pub(crate) fn reattach(&self, pages: PageRange, userfault: &Userfault) -> Result<(), OsCode> {
        let (start, len) = self.part(pages);
        userfault.register(start, len)
    }

    /// Commits attached pages: those that are missing become zero.
    ///
    /// # Safety
    /// `pages` are attached to this userfaultfd.
    pub(crate) unsafe fn fill(&self, pages: PageRange, userfault: &Userfault) -> Result<(), OsCode> {
        let (start, len) = self.part(pages);
        // SAFETY: whole attached pages (contract).
        unsafe { os::fill(userfault, start, len) }
    }

    /// [`fill`](Mapping::fill) for one page that is about to be written.
    ///
    /// # Safety
    /// As for `fill`.
    pub(crate) unsafe fn fill_written(&self, page: PageIndex, userfault: &Userfault) -> Result<(), OsCode> {
        let (start, _) = self.part(page.alone());
        // SAFETY: a whole attached page (contract).
        unsafe { os::fill_written(userfault, start) }
    }

    /// Decommits attached pages.
    ///
    /// # Safety
    /// `pages` are attached to this userfaultfd, and no reference points into them.
    pub(crate) unsafe fn empty(&self, pages: PageRange, userfault: &Userfault) -> Result<(), OsCode> {
        let (start, len) = self.part(pages);
        // SAFETY: whole attached pages without references (contract).
        unsafe { os::empty(userfault, start, len) }
    }

    /// Wakes who waits for attached pages.
    pub(crate) fn wake(&self, pages: PageRange, userfault: &Userfault) {
        let (start, len) = self.part(pages);
        userfault.wake(start, len);
    }

    /// Makes every touch of an attached page fail.
    ///
    /// # Safety
    /// The page is attached, and missing.
    pub(crate) unsafe fn bar(&self, page: PageIndex) -> Result<Bar, OsCode> {
        let (start, len) = self.part(page.alone());
        // SAFETY: a whole page that is attached and missing (contract).
        unsafe { os::bar(start, len) }
    }

    /// # Safety
    /// The page was barred so, and is.
    pub(crate) unsafe fn unbar(&self, page: PageIndex, bar: Bar) {
        let (start, len) = self.part(page.alone());
        // SAFETY: the contract, passed on.
        unsafe { os::unbar(start, len, bar) };
    }

    /// After a commit of reserved `pages` failed with `code`: whether the mappings of the process ran out.
    pub(crate) fn is_out_of_mappings(&self, pages: PageRange, code: OsCode) -> bool {
        let (start, len) = self.part(pages);
        os::is_out_of_memory(code) && os::is_out_of_mappings(start, len)
    }

    /// Gives the addresses back. On failure they stay reserved for good; whether at least nothing in them is committed
    /// any more is the second part of the error.
    ///
    /// # Safety
    /// Nothing uses the memory any more.
    pub(crate) unsafe fn release(mut self) -> Result<(), (OsCode, bool)> {
        drop(std::mem::take(&mut self.name));
        let mapping = std::mem::ManuallyDrop::new(self);
        // SAFETY: the base and length of one reservation (invariant), released once: its drop does not run.
        unsafe { os::release(mapping.base, mapping.len) }.map_err(|code| {
            // munmap(2) fails where it would split a mapping and vm.max_map_count is reached; a fresh mapping over it
            // joins its neighbours.
            // SAFETY: the same addresses, which nothing uses any more.
            (code, unsafe { os::decommit(mapping.base, mapping.len) }.is_ok())
        })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // A failure has nobody to be told to, and leaves address space reserved; `release` is there for who cares.
        // SAFETY: the base and length of one reservation (invariant), released once; whoever dropped the mapping was
        // done with it.
        let _ = unsafe { os::release(self.base, self.len) };
    }
}

/// Checks and rounds what a builder was told.
pub(crate) fn whole_pages(len: usize) -> Result<usize, Error> {
    let refuse = |cause| Error::new(Operation::Reserve, 0..len, cause);
    if len == 0 {
        return Err(refuse(Cause::Empty));
    }
    // No object may be larger than isize::MAX bytes (std::ptr, "Allocation").
    page::round_up(len).filter(|&len| len <= isize::MAX as usize).ok_or(refuse(Cause::TooLarge))
}

/// An owned range of addresses whose pages are committed and decommitted by hand.
///
/// Making one costs a system call and no memory, whatever its size. Its pages start out reserved: a touch faults, and
/// nothing is charged. [`commit`](Reservation::commit) makes pages readable and writable, zero at first. The address
/// never changes. Dropping it, or [`release`](Reservation::release), gives everything back.
///
/// Ranges are in bytes from the base and are rounded outward to whole pages, as Win32 does: a range means every page
/// that holds a byte of it. Every method may be called from any number of threads.
///
/// The memory is reached through [`as_ptr`](Reservation::as_ptr), at the caller's risk: a touch of a page that is not
/// committed kills the process. See [`Region`](crate::Region) for memory that commits itself.
///
/// ```
/// use elbowroom::{PageState, Reservation, page_size};
///
/// let block = Reservation::new(16 << 40)?; // 16 TiB
/// block.commit(0..1)?;
/// // SAFETY: the first page is committed, and nothing else uses it.
/// unsafe { block.as_ptr().write(7) };
///
/// let spans = block.query();
/// assert_eq!(spans[0].range, 0..page_size());
/// assert_eq!(spans[0].state, PageState::Committed);
/// assert_eq!(spans[1].state, PageState::Reserved);
/// block.release()?;
/// # Ok::<(), elbowroom::Error>(())
/// ```
///
/// # Platform differences
///
/// The length is rounded up to the page size; the base lies at a multiple of
/// [`allocation_granularity`](crate::allocation_granularity), 64 KiB on Windows and a page elsewhere. What is charged
/// where is in PLATFORM.md.
pub struct Reservation {
    mapping: Mapping,
    // The committed pages: start → (end, access). Invariant: runs are in order, do not overlap and are not empty; two
    // that touch differ in access. What is not here is reserved.
    committed: Mutex<BTreeMap<usize, (usize, Access)>>,
}

impl Reservation {
    /// Reserves `len` bytes, rounded up to whole pages, where the system chooses.
    ///
    /// # Errors
    /// `is_invalid_range()` if `len` is zero or beyond the address space, `is_out_of_memory()` if no gap that large is
    /// free or the process may not have more (RLIMIT_AS, a job object).
    pub fn new(len: usize) -> Result<Reservation, Error> {
        Reservation::builder(len).reserve()
    }

    /// A reservation with an alignment, an address or a name.
    pub fn builder(len: usize) -> ReservationBuilder {
        ReservationBuilder { len, align: 1, placement: Placement::Anywhere, name: Box::default() }
    }

    /// The first byte. The same for the life of the reservation.
    pub fn as_ptr(&self) -> *mut u8 {
        self.mapping.base().as_ptr()
    }

    /// The length in bytes: what was asked for, rounded up to whole pages.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.mapping.len()
    }

    /// The name it was given, or the empty string.
    pub fn name(&self) -> &str {
        self.mapping.name()
    }

    /// Commits the pages of `range`: readable, writable, and zero at first. Pages that are committed already keep their
    /// contents and their access.
    ///
    /// # Errors
    /// `is_invalid_range()` outside the reservation; `is_out_of_memory()` when the system has no more to commit. Then
    /// nothing has changed.
    pub fn commit(&self, range: Range<usize>) -> Result<(), Error> {
        let pages = self.pages(Operation::Commit, &range)?;
        let mut committed = self.lock();
        let gaps = gaps(&committed, pages);
        for (done, &gap) in gaps.iter().enumerate() {
            // SAFETY: pages of this mapping that are not among the committed ones, and the map stays locked.
            if let Err(code) = unsafe { self.mapping.commit(gap) } {
                for &gap in &gaps[..done] {
                    // Should this fail, the pages are accessible for nothing, until committed or released.
                    // SAFETY: committed a moment ago; nobody has been told.
                    let _ = unsafe { self.mapping.decommit(gap) };
                }
                let out_of_mappings = self.mapping.is_out_of_mappings(gap, code);
                let cause = if out_of_mappings { Cause::Mappings(code) } else { Cause::Os(code) };
                return Err(Error::new(Operation::Commit, range, cause));
            }
        }
        for gap in gaps {
            set(&mut committed, gap, Some(Access::ReadWrite));
        }
        Ok(())
    }

    /// Gives the pages of `range` back: their contents are lost, their charge refunded, and a touch faults. Committed
    /// again, they read as zero. Pages that are reserved stay so.
    ///
    /// # Errors
    /// `is_invalid_range()` outside the reservation; otherwise only if the system refuses, as Linux does when the
    /// mappings of the process run out (`vm.max_map_count`). Then nothing has changed.
    pub fn decommit(&self, range: Range<usize>) -> Result<(), Error> {
        let pages = self.pages(Operation::Decommit, &range)?;
        let mut committed = self.lock();
        if gaps(&committed, pages) == [pages] || pages.is_empty() {
            return Ok(());
        }
        // SAFETY: pages of this mapping; the memory is only reached through raw pointers, at their users' risk.
        unsafe { self.mapping.decommit(pages) }
            .map_err(|code| Error::new(Operation::Decommit, range, Cause::Os(code)))?;
        set(&mut committed, pages, None);
        Ok(())
    }

    /// Changes what may be done with the pages of `range`, all of which must be committed. Contents stay.
    ///
    /// # Errors
    /// `is_invalid_range()` outside the reservation, `is_not_committed()` if a page in it is reserved; otherwise only
    /// if the system refuses (mappings ran out; a security policy forbids execution).
    pub fn protect(&self, range: Range<usize>, access: Access) -> Result<(), Error> {
        let pages = self.pages(Operation::Protect, &range)?;
        let mut committed = self.lock();
        let refuse = |cause| Err(Error::new(Operation::Protect, range.clone(), cause));
        if !gaps(&committed, pages).is_empty() {
            return refuse(Cause::NotCommitted);
        }
        if pages.is_empty() {
            return Ok(());
        }
        // SAFETY: committed pages of this mapping; the memory is only reached through raw pointers, at their users'
        // risk.
        if let Err(code) = unsafe { self.mapping.protect(pages, access) } {
            return refuse(Cause::Os(code));
        }
        set(&mut committed, pages, Some(access));
        Ok(())
    }

    /// The state of every page, in order: runs of equal pages that cover the whole reservation.
    pub fn query(&self) -> Vec<Span> {
        let committed = self.lock();
        let all = PageRange::new(0, self.len() / page::size());
        let mut spans = Vec::with_capacity(2 * committed.len() + 1);
        let mut next = 0;
        let reserved =
            |range: PageRange| Span { range: range.bytes(), state: PageState::Reserved, access: Access::None };
        for (&start, &(end, access)) in committed.iter() {
            if next < start {
                spans.push(reserved(PageRange::new(next, start)));
            }
            let range = PageRange::new(start, end).bytes();
            spans.push(Span { range, state: PageState::Committed, access });
            next = end;
        }
        if next < all.end() {
            spans.push(reserved(PageRange::new(next, all.end())));
        }
        spans
    }

    /// Gives everything back. Dropping does the same and cannot tell of a failure.
    ///
    /// # Errors
    /// Only if the system refuses; then the addresses stay reserved until the process ends.
    pub fn release(self) -> Result<(), Error> {
        let range = 0..self.len();
        // SAFETY: the reservation ends here; pointers from `as_ptr` are their users' risk.
        unsafe { self.mapping.release() }.map_err(|(code, _)| Error::new(Operation::Release, range, Cause::Os(code)))
    }

    fn pages(&self, operation: Operation, range: &Range<usize>) -> Result<PageRange, Error> {
        PageRange::outward(range, self.len())
            .ok_or_else(|| Error::new(operation, range.clone(), Cause::OutOfRange { len: self.len() }))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, (usize, Access)>> {
        // Nothing panics while it is held, and each change is whole.
        self.committed.lock().unwrap_or_else(PoisonError::into_inner)
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

/// The parts of `pages` that no committed run covers, in order.
fn gaps(committed: &BTreeMap<usize, (usize, Access)>, pages: PageRange) -> Vec<PageRange> {
    let mut gaps = Vec::new();
    let mut next = pages.start();
    // The run that starts before `pages` may reach into it.
    if let Some((_, &(end, _))) = committed.range(..=pages.start()).next_back() {
        next = next.max(end);
    }
    for (&start, &(end, _)) in committed.range(pages.start()..pages.end()) {
        if next < start {
            gaps.push(PageRange::new(next, start));
        }
        next = next.max(end);
    }
    if next < pages.end() {
        gaps.push(PageRange::new(next, pages.end()));
    }
    gaps
}

/// Makes `pages` committed with this access, or with `None` reserved.
fn set(committed: &mut BTreeMap<usize, (usize, Access)>, pages: PageRange, access: Option<Access>) {
    let (mut start, mut end) = (pages.start(), pages.end());
    // Cut what overlaps: what sticks out on either side stays.
    let overlapping: Vec<_> = committed
        .range(..end)
        .rev()
        .take_while(|&(_, &(run_end, _))| run_end > start)
        .map(|(&run_start, &run)| (run_start, run))
        .collect();
    for (run_start, (run_end, run_access)) in overlapping {
        committed.remove(&run_start);
        if run_start < start {
            committed.insert(run_start, (start, run_access));
        }
        if run_end > end {
            committed.insert(end, (run_end, run_access));
        }
    }
    let Some(access) = access else { return };
    // Join with equal neighbours.
    if let Some((&before, &(before_end, before_access))) = committed.range(..start).next_back() {
        if before_end == start && before_access == access {
            committed.remove(&before);
            start = before;
        }
    }
    if let Some(&(after_end, after_access)) = committed.get(&end) {
        if after_access == access {
            committed.remove(&end);
            end = after_end;
        }
    }
    committed.insert(start, (end, access));
}

/// What a reservation should be like; made by [`Reservation::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder reserves nothing until `reserve` is called"]
pub struct ReservationBuilder {
    len: usize,
    align: usize,
    placement: Placement,
    name: Box<str>,
}

impl ReservationBuilder {
    /// Aligns the base to a power of two of bytes. Less than
    /// [`allocation_granularity`](crate::allocation_granularity) changes nothing.
    pub fn align(mut self, bytes: usize) -> ReservationBuilder {
        self.align = bytes;
        self
    }

    /// Reserves at exactly this address, a multiple of the alignment, or fails with `is_address_in_use()`. Whatever is
    /// mapped there is never replaced.
    pub fn at(mut self, address: usize) -> ReservationBuilder {
        self.placement = Placement::Exactly(address);
        self
    }

    /// Reserves at this address if it is free, else where the system chooses.
    pub fn near(mut self, address: usize) -> ReservationBuilder {
        self.placement = Placement::Near(address);
        self
    }

    /// Names it for diagnosis. On Linux with CONFIG_ANON_VMA_NAME the name shows in `/proc/PID/maps` as `[anon:NAME]`,
    /// its first 79 bytes, and what the kernel forbids there replaced by `_`.
    pub fn name(mut self, name: &str) -> ReservationBuilder {
        self.name = name.into();
        self
    }

    /// Makes the reservation.
    ///
    /// # Errors
    /// As [`Reservation::new`]; also `is_invalid_alignment()` for an alignment that is not a power of two or an address
    /// that is not a multiple of it, and `is_address_in_use()`.
    pub fn reserve(self) -> Result<Reservation, Error> {
        let len = whole_pages(self.len)?;
        let asked = self.len;
        let refuse = |cause| Error::new(Operation::Reserve, 0..asked, cause);
        if !self.align.is_power_of_two() {
            return Err(refuse(Cause::Misaligned { of: self.align.max(1) }));
        }
        let align = self.align.max(os::granularity());
        if let Placement::Exactly(address) = self.placement {
            if address % align != 0 {
                return Err(refuse(Cause::Misaligned { of: align }));
            }
            if address == 0 || address.checked_add(len).is_none() {
                return Err(refuse(Cause::TooLarge));
            }
        }
        let mapping =
            Mapping::reserve(len, align, self.placement, self.name).map_err(|code| refuse(Cause::Os(code)))?;
        Ok(Reservation { mapping, committed: Mutex::new(BTreeMap::new()) })
    }
}

//! A range of addresses that the library owns. Every system call on its memory goes through
//! [`Mapping`].

#![allow(unsafe_code, reason = "calls the system with ranges that it owns")]

use std::ptr::NonNull;

use crate::error::{Error, Operation, Reason};
use crate::os::{self, Poison, Userfault};
use crate::page::{self, PageIndex, PageRange};
use crate::plain::{Access, OsCode, Placement};

/// A mapping that is released when dropped.
pub(crate) struct Mapping {
    // Invariant: `base` and `len` are those of one successful `os::reserve`, released only by dropping this.
    base: NonNull<u8>,
    len: usize,
    name: Box<str>,
    // Whether core dumps have the committed pages.
    is_in_core_dumps: bool,
}

// SAFETY: a mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping {}
// SAFETY: every method that takes `&self` is a system call, which the system serialises.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(crate) fn reserve(
        len: usize,
        align: usize,
        placement: Placement,
        name: Box<str>,
    ) -> Result<Mapping, OsCode> {
        let mapping = Mapping {
            base: os::reserve(len, align, placement)?,
            len,
            name,
            is_in_core_dumps: true,
        };
        mapping.mark(mapping.base, len);
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

    /// Keeps the pages out of core dumps, also when they are committed.
    pub(crate) fn exclude_from_core_dumps(&mut self) {
        self.is_in_core_dumps = false;
        self.mark(self.base, self.len);
    }

    /// Tells the system what is to be known of pages that are a new mapping.
    fn mark(&self, start: NonNull<u8>, len: usize) {
        if !self.name.is_empty() {
            os::name(start, len, &self.name);
        }
        if !self.is_in_core_dumps {
            os::set_in_core_dumps(start, len, false);
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
            // SAFETY: the same pages, inside this mapping. They were reserved, and none was announced since.
            unsafe { self.uncommit(pages) };
        })
    }

    /// Makes pages reserved again that were committed a moment ago, all or some of them. What the program has advised
    /// the system about them stays. If the system refuses, they are accessible without use, until they are committed or
    /// released.
    ///
    /// # Safety
    /// `pages` are inside this mapping, and were not announced as committed, so no reference points into them.
    pub(crate) unsafe fn uncommit(&self, pages: PageRange) {
        let (start, len) = self.part(pages);
        // SAFETY: whole pages of this live mapping without references (contract).
        let _ = unsafe { os::uncommit(start, len) };
    }

    /// Brings committed pages in, where the system can, without changing them. Pages that are not committed stay so.
    ///
    /// # Safety
    /// If the pages may be other than committed, readable and writable, the fault handler is installed.
    pub(crate) unsafe fn prefault(&self, pages: PageRange) {
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
        self.mark(start, len);
        Ok(())
    }

    /// # Safety
    /// `pages` are inside this mapping and committed, and no reference points into them.
    pub(crate) unsafe fn protect(&self, pages: PageRange, access: Access) -> Result<(), OsCode> {
        let (start, len) = self.part(pages);
        // SAFETY: whole committed pages of this live mapping without references (contract).
        unsafe { os::protect(start, len, access) }
    }

    /// Makes reserved pages accessible and missing, for [`fill`](Mapping::fill).
    ///
    /// # Safety
    /// `pages` are inside this mapping and reserved, and nobody touches them yet.
    pub(crate) unsafe fn attach(
        &self,
        pages: PageRange,
        userfault: &Userfault,
    ) -> Result<(), OsCode> {
        let (start, len) = self.part(pages);
        // SAFETY: whole reserved pages of this live mapping, untouched (contract).
        unsafe { userfault.attach(start, len) }?;
        self.mark(start, len);
        // A dump would have all of it, since every page is accessible.
        os::set_in_core_dumps(start, len, false);
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
    pub(crate) unsafe fn fill(
        &self,
        pages: PageRange,
        userfault: &Userfault,
    ) -> Result<(), OsCode> {
        let (start, len) = self.part(pages);
        // SAFETY: whole attached pages (contract).
        unsafe { os::fill(userfault, start, len) }?;
        self.mark_attached(start, len, true);
        Ok(())
    }

    /// Adds attached pages to core dumps, or takes them out again, if the committed ones are to be there.
    fn mark_attached(&self, start: NonNull<u8>, len: usize, are_committed: bool) {
        if self.is_in_core_dumps {
            os::set_in_core_dumps(start, len, are_committed);
        }
    }

    /// [`fill`](Mapping::fill) for one page that is about to be written.
    ///
    /// # Safety
    /// As for `fill`.
    pub(crate) unsafe fn fill_written(
        &self,
        page: PageIndex,
        userfault: &Userfault,
    ) -> Result<(), OsCode> {
        let (start, len) = self.part(page.alone());
        // SAFETY: a whole attached page (contract).
        unsafe { os::fill_written(userfault, start) }?;
        self.mark_attached(start, len, true);
        Ok(())
    }

    /// Decommits attached pages.
    ///
    /// # Safety
    /// `pages` are attached to this userfaultfd, and no reference points into them.
    pub(crate) unsafe fn empty(
        &self,
        pages: PageRange,
        userfault: &Userfault,
    ) -> Result<(), OsCode> {
        let (start, len) = self.part(pages);
        // SAFETY: whole attached pages without references (contract).
        unsafe { os::empty(userfault, start, len) }?;
        self.mark_attached(start, len, false);
        Ok(())
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
    pub(crate) unsafe fn poison(&self, page: PageIndex) -> Result<Poison, OsCode> {
        let (start, len) = self.part(page.alone());
        // SAFETY: a whole page that is attached and missing (contract).
        unsafe { os::poison(start, len) }
    }

    /// # Safety
    /// The page was barred so, and is.
    pub(crate) unsafe fn cure(&self, page: PageIndex, poison: Poison) {
        let (start, len) = self.part(page.alone());
        // SAFETY: the contract, passed on.
        unsafe { os::cure(start, len, poison) };
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
            let decommitted = unsafe { os::decommit(mapping.base, mapping.len) };
            (code, decommitted.is_ok())
        })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // A failure has nobody to be told to, and leaves address space reserved; `release` is there for who cares.
        // SAFETY: the base and length of one reservation (invariant), released once; the owner that dropped the
        // mapping was done with it.
        let _ = unsafe { os::release(self.base, self.len) };
    }
}

/// Returns a length that a builder was given, rounded up to whole pages.
pub(crate) fn whole_pages(len: usize) -> Result<usize, Error> {
    let refuse = |reason: Reason| Error::new(Operation::Reserve, 0..len, reason);
    if len == 0 {
        return Err(refuse(Reason::Empty));
    }
    // No object may be larger than isize::MAX bytes (std::ptr, "Allocation").
    page::round_up(len)
        .filter(|&len| len <= isize::MAX as usize)
        .ok_or(refuse(Reason::TooLarge))
}

//! A range of addresses that the library owns. Every system call on its memory goes through
//! [`Mapping`].

#![allow(unsafe_code, reason = "calls the system with ranges that it owns")]

use std::ptr::NonNull;

use crate::error::{Error, Operation, Reason};
use crate::os::userfault::{Poison, Userfault};
use crate::os::{self, Pages};
use crate::page::{self, PageIndex, PageRange};
use crate::plain::{Access, OsCode, Placement};

/// A mapping that is released when dropped.
pub(crate) struct Mapping {
    // Invariant: `base` and `len` are those of one successful `os::reserve`, released only by dropping this.
    base: NonNull<u8>,
    len: usize,
    name: Box<str>,
    // Whether core dumps include the committed pages.
    is_in_core_dumps: bool,
    // Whether the system uses no huge pages here.
    refuses_huge: bool,
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
            refuses_huge: false,
        };
        mapping.mark(mapping.all());
        Ok(mapping)
    }

    /// Returns the first address. Pointers made from it are used only while the mapping lives.
    #[inline(always)]
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Keeps the pages out of core dumps, also when they are committed.
    pub(crate) fn exclude_from_core_dumps(&mut self) {
        self.is_in_core_dumps = false;
        self.mark(self.all());
    }

    /// Prepares a mapping, all of whose pages are reserved, for [`discard`](Mapping::discard). Returns whether the
    /// system has it, and lets pages be accessible without memory at no cost.
    pub(crate) fn keep_access(&mut self) -> bool {
        self.refuses_huge = os::may_keep_access(self.all());
        self.mark(self.all());
        self.refuses_huge
    }

    /// Applies the settings to pages that are a new mapping.
    fn mark(&self, pages: Pages<'_>) {
        if !self.name.is_empty() {
            os::name(pages, &self.name);
        }
        if !self.is_in_core_dumps {
            os::set_in_core_dumps(pages, false);
        }
        if self.refuses_huge {
            os::refuse_huge(pages);
        }
    }

    fn all(&self) -> Pages<'_> {
        // SAFETY: the base and the length are those of one reservation (invariant), which consists of whole pages. It
        // is released by `release` and by dropping this, neither of which can happen while it is borrowed.
        unsafe { Pages::new(self.base, self.len) }
    }

    /// Returns the token for these pages.
    ///
    /// # Panics
    /// Panics if they are not inside this mapping.
    fn part(&self, pages: PageRange) -> Pages<'_> {
        let bytes = pages.bytes();
        assert!(bytes.end <= self.len, "{bytes:?} of {}", self.len);
        // SAFETY: the offset is inside the reservation (asserted; a `PageRange` does not end before it starts), so the
        // address does not wrap and is not null.
        let start = unsafe { self.base.add(bytes.start) };
        // SAFETY: the range is whole pages inside one reservation (asserted). It is released by `release` and by
        // dropping this, neither of which can happen while it is borrowed.
        unsafe { Pages::new(start, bytes.len()) }
    }

    /// Commits pages that are reserved. If the system refuses half way, all of them are reserved again.
    ///
    /// # Safety
    /// The pages are reserved, or no reference points into them: a refusal takes them away.
    pub(crate) unsafe fn commit(&self, pages: PageRange) -> Result<(), OsCode> {
        os::commit(self.part(pages)).inspect_err(|_| {
            // SAFETY: no reference points into the pages: they were reserved, and were not announced as committed since
            // (contract).
            unsafe { self.uncommit(pages) };
        })
    }

    /// Makes pages that were committed a moment ago reserved again; some of them may be reserved already. The program's
    /// advice to the system about them is kept. If the system refuses, they stay accessible and unused until they are
    /// committed or released.
    ///
    /// # Safety
    /// The pages were not announced as committed, so no reference points into them.
    pub(crate) unsafe fn uncommit(&self, pages: PageRange) {
        // SAFETY: no reference points into the pages (contract).
        let _ = unsafe { os::uncommit(self.part(pages)) };
    }

    /// Makes committed pages resident, if the system can, without changing them. Pages that are not committed stay so.
    ///
    /// # Safety
    /// If the pages may be other than committed, readable and writable, the fault handler is installed.
    pub(crate) unsafe fn prefault(&self, pages: PageRange) {
        if !pages.is_empty() {
            // SAFETY: the pages are committed, readable and writable, or the fault handler is installed (contract).
            unsafe { os::populate(self.part(pages)) };
        }
    }

    /// Lets the system use huge pages for committed pages, if it has them.
    pub(crate) fn advise_huge(&self, pages: PageRange) {
        os::advise_huge(self.part(pages));
    }

    /// Commits pages that hold the library's own tables.
    pub(crate) fn commit_bookkeeping(&self, pages: PageRange) -> Result<(), OsCode> {
        os::commit_bookkeeping(self.part(pages))
    }

    /// Makes pages reserved, in whatever state they are.
    ///
    /// # Safety
    /// No reference points into the pages.
    pub(crate) unsafe fn decommit(&self, pages: PageRange) -> Result<(), OsCode> {
        let pages = self.part(pages);
        // SAFETY: no reference points into the pages (contract).
        unsafe { os::decommit(pages) }?;
        // Some platforms decommit by a new mapping, which lacks the settings.
        self.mark(pages);
        Ok(())
    }

    /// Gives the memory of pages back, which keep their access and are zero afterwards. Only after
    /// [`keep_access`](Mapping::keep_access) has succeeded.
    ///
    /// # Safety
    /// No reference points into the pages.
    pub(crate) unsafe fn discard(&self, pages: PageRange) -> Result<(), OsCode> {
        debug_assert!(self.refuses_huge);
        // SAFETY: no reference points into the pages (contract).
        unsafe { os::discard(self.part(pages)) }
    }

    /// Changes the access to committed pages.
    ///
    /// # Safety
    /// The pages are committed, and no reference points into them.
    pub(crate) unsafe fn protect(&self, pages: PageRange, access: Access) -> Result<(), OsCode> {
        // SAFETY: the pages are committed, and no reference points into them (contract).
        unsafe { os::protect(self.part(pages), access) }
    }

    /// Makes reserved pages accessible and missing, for [`fill`](Mapping::fill).
    ///
    /// # Safety
    /// No reference points into the pages.
    pub(crate) unsafe fn attach(
        &self,
        pages: PageRange,
        userfault: &Userfault,
    ) -> Result<(), OsCode> {
        let pages = self.part(pages);
        // SAFETY: no reference points into the pages (contract).
        unsafe { userfault.attach(pages) }?;
        self.mark(pages);
        // Every page is accessible, so a dump would include all of them.
        os::set_in_core_dumps(pages, false);
        Ok(())
    }

    /// Attaches the pages again, in a forked child. If that fails, makes missing pages inaccessible.
    pub(crate) fn reattach(&self, pages: PageRange, userfault: &Userfault) -> Result<(), OsCode> {
        userfault.register(self.part(pages))
    }

    /// Commits attached pages: missing pages become zero. If the system refuses part of the way, some of them are
    /// committed.
    pub(crate) fn fill(&self, pages: PageRange, userfault: &Userfault) -> Result<(), OsCode> {
        let pages = self.part(pages);
        os::userfault::fill(userfault, pages)?;
        self.mark_attached(pages, true);
        Ok(())
    }

    /// Adds attached pages to core dumps when they are committed, and removes them otherwise, if dumps are to include
    /// them.
    fn mark_attached(&self, pages: Pages<'_>, are_committed: bool) {
        if self.is_in_core_dumps {
            os::set_in_core_dumps(pages, are_committed);
        }
    }

    /// Commits one attached page that is about to be written.
    pub(crate) fn fill_written(
        &self,
        page: PageIndex,
        userfault: &Userfault,
    ) -> Result<(), OsCode> {
        let pages = self.part(page.alone());
        os::userfault::fill_written(userfault, pages)?;
        self.mark_attached(pages, true);
        Ok(())
    }

    /// Commits attached pages with these contents, which are exactly as long as the pages.
    pub(crate) fn fill_with(
        &self,
        pages: PageRange,
        userfault: &Userfault,
        contents: &[u8],
    ) -> Result<(), OsCode> {
        let pages = self.part(pages);
        os::userfault::fill_with(userfault, pages, contents)?;
        self.mark_attached(pages, true);
        Ok(())
    }

    /// Decommits attached pages.
    ///
    /// # Safety
    /// No reference points into the pages.
    pub(crate) unsafe fn empty(
        &self,
        pages: PageRange,
        userfault: &Userfault,
    ) -> Result<(), OsCode> {
        let pages = self.part(pages);
        // SAFETY: no reference points into the pages (contract).
        unsafe { os::userfault::empty(userfault, pages) }?;
        self.mark_attached(pages, false);
        Ok(())
    }

    /// Wakes the threads that wait for attached pages.
    pub(crate) fn wake(&self, pages: PageRange, userfault: &Userfault) {
        userfault.wake(self.part(pages));
    }

    /// Makes every touch of an attached page fail.
    ///
    /// # Safety
    /// The page is missing.
    pub(crate) unsafe fn poison(&self, page: PageIndex) -> Result<Poison, OsCode> {
        // SAFETY: the token is for this page alone (`alone`; `part` checks that it is inside), and it is missing
        // (contract).
        unsafe { os::userfault::poison(self.part(page.alone())) }
    }

    /// Undoes [`poison`](Mapping::poison) of a page that was poisoned in this way.
    pub(crate) fn cure(&self, page: PageIndex, poison: Poison) {
        os::userfault::cure(self.part(page.alone()), poison);
    }

    /// Gives the addresses back. On failure they stay reserved for ever. The second part of the error tells whether no
    /// page in them is committed any more.
    ///
    /// # Safety
    /// Nothing uses the memory any more.
    pub(crate) unsafe fn release(mut self) -> Result<(), (OsCode, bool)> {
        drop(std::mem::take(&mut self.name));
        let mapping = std::mem::ManuallyDrop::new(self);
        // SAFETY: the base and the length are those of one successful `os::reserve` (invariant). They were not released
        // before: only this and the drop release them, both end the mapping, and the drop does not run. Nothing uses
        // the memory any more (contract).
        unsafe { os::release(mapping.base, mapping.len) }.map_err(|code| {
            // munmap(2) fails if it would split a mapping when vm.max_map_count is reached. A fresh mapping over the
            // range joins its neighbours.
            // SAFETY: nothing uses the memory any more (contract), so no reference points into it.
            let decommitted = unsafe { os::decommit(mapping.all()) };
            (code, decommitted.is_ok())
        })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // A failure leaves address space reserved; `release` reports it.
        // SAFETY: the base and the length are those of one successful `os::reserve` (invariant). They were not released
        // before: only this and `release` release them, both end the mapping, and after `release` this does not run.
        // Nothing uses the addresses afterwards: no `Pages` are left, because they borrow the mapping, and pointers
        // made from `base` are used only while the mapping lives.
        let _ = unsafe { os::release(self.base, self.len) };
    }
}

/// Returns a length given to a builder, rounded up to whole pages.
pub(crate) fn whole_pages(len: usize) -> Result<usize, Error> {
    let refuse = |reason: Reason| Error::new(Operation::Reserve, 0..len, reason);
    if len == 0 {
        return Err(refuse(Reason::Empty));
    }
    // No object may be larger than isize::MAX bytes (std::ptr, "Allocation").
    match page::round_up(len) {
        Some(whole) if whole <= isize::MAX as usize => Ok(whole),
        _ => Err(refuse(Reason::TooLarge)),
    }
}

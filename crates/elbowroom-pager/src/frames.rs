//! The memory: one reservation for the whole array, whose pages are committed and decommitted in place.
//!
//! So a page is always at the same address, pages that are next to each other in the store are next to each other in
//! memory, and what is committed is exactly what a budget is charged for. Where the system allows it, decommitted pages
//! stay accessible, which saves most of the time of the two calls.

#![allow(unsafe_code, reason = "lends parts of the memory as bytes")]

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use elbowroom::{Budget, Reservation};

/// Address space for the pages of an array.
pub(crate) struct Frames {
    reservation: Reservation,
    // The one that the reservation is charged to.
    budget: Budget,
    // What the budget allows for pages.
    limit_bytes: usize,
    page_bytes: usize,
    // Invariant: at most the reservation's length.
    len_bytes: AtomicUsize,
    // Bytes that are committed, and the most that ever were.
    resident: AtomicUsize,
    resident_max: AtomicUsize,
}

impl Frames {
    /// Reserves address space for `max_bytes`, of which `len_bytes` are in use. Of the budget, `limit_bytes` are for
    /// pages.
    pub(crate) fn new(
        max_bytes: usize,
        len_bytes: usize,
        page_bytes: usize,
        budget: &Budget,
        limit_bytes: usize,
    ) -> Result<Frames, elbowroom::Error> {
        debug_assert!(page_bytes.is_power_of_two() && page_bytes % elbowroom::page_size() == 0);
        debug_assert!(len_bytes <= max_bytes);
        // An empty array has an address, too.
        let len = max_bytes.max(1).checked_next_multiple_of(page_bytes);
        let reservation = Reservation::builder(len.unwrap_or(usize::MAX))
            .align(page_bytes)
            .budget(budget)
            .keep_access(true)
            .name("elbowroom-pager")
            .build()?;
        Ok(Frames {
            reservation,
            budget: budget.clone(),
            limit_bytes,
            page_bytes,
            len_bytes: AtomicUsize::new(len_bytes),
            resident: AtomicUsize::new(0),
            resident_max: AtomicUsize::new(0),
        })
    }

    pub(crate) fn base(&self) -> *mut u8 {
        self.reservation.as_ptr()
    }

    pub(crate) fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    pub(crate) fn len_bytes(&self) -> usize {
        self.len_bytes.load(Relaxed)
    }

    pub(crate) fn max_bytes(&self) -> usize {
        self.reservation.len()
    }

    /// Changes how many bytes are in use.
    pub(crate) fn set_len_bytes(&self, len: usize) {
        assert!(len <= self.reservation.len());
        self.len_bytes.store(len, Relaxed);
    }

    /// Returns the number of pages that hold bytes in use.
    pub(crate) fn pages(&self) -> usize {
        self.len_bytes().div_ceil(self.page_bytes)
    }

    /// Returns the pages that hold the bytes.
    pub(crate) fn pages_of(&self, bytes: Range<usize>) -> Range<usize> {
        if bytes.is_empty() {
            return 0..0;
        }
        // Shifts, because a division takes longer than all else when a page is found resident.
        let shift = self.page_bytes.trailing_zeros();
        bytes.start >> shift..((bytes.end - 1) >> shift) + 1
    }

    /// Returns the bytes in use of these pages.
    pub(crate) fn bytes_of(&self, pages: Range<usize>) -> Range<usize> {
        let len = self.len_bytes();
        (pages.start * self.page_bytes).min(len)..(pages.end * self.page_bytes).min(len)
    }

    /// Returns how many pages the budget allows at most, at least one.
    pub(crate) fn pages_max(&self) -> usize {
        (self.limit_bytes / self.page_bytes).max(1)
    }

    pub(crate) fn resident_bytes(&self) -> usize {
        self.resident.load(Relaxed)
    }

    pub(crate) fn resident_bytes_max(&self) -> usize {
        self.resident_max.load(Relaxed)
    }

    /// Commits pages, all or none: zeros. The callbacks of budgets are left to
    /// [`run_callbacks`](Frames::run_callbacks).
    pub(crate) fn commit(&self, pages: Range<usize>) -> Result<(), elbowroom::Error> {
        let place = self.place(pages);
        let bytes = place.len();
        self.reservation.commit_before_callbacks(place)?;
        let resident = self.resident.fetch_add(bytes, Relaxed) + bytes;
        self.resident_max.fetch_max(resident, Relaxed);
        Ok(())
    }

    /// Calls the callbacks of budgets that are due. They may use arrays: the caller holds no lock, and has no page
    /// claimed or in transit.
    pub(crate) fn run_callbacks(&self) {
        self.budget.run_pending_callbacks();
    }

    /// Returns the memory of all of these pages to the system, or of none.
    pub(crate) fn decommit(&self, pages: Range<usize>) -> Result<(), elbowroom::Error> {
        let place = self.place(pages);
        let bytes = place.len();
        self.reservation.decommit(place)?;
        self.resident.fetch_sub(bytes, Relaxed);
        Ok(())
    }

    /// Returns the memory of all pages to the system. If that fails, dropping the reservation returns it.
    pub(crate) fn clear(&self) {
        if self.reservation.decommit(0..self.reservation.len()).is_ok() {
            self.resident.store(0, Relaxed);
        }
    }

    fn place(&self, pages: Range<usize>) -> Range<usize> {
        pages.start * self.page_bytes..pages.end * self.page_bytes
    }

    /// Lends bytes of the memory.
    ///
    /// # Safety
    /// - The pages that hold the bytes are committed, and stay so while the slice lives.
    /// - Nothing writes these bytes meanwhile.
    pub(crate) unsafe fn bytes(&self, bytes: Range<usize>) -> &[u8] {
        assert!(bytes.start <= bytes.end && bytes.end <= self.reservation.len());
        // SAFETY: inside the reservation (asserted).
        let start = unsafe { self.base().add(bytes.start) };
        // SAFETY: `start` is not null and aligned for bytes. The bytes are inside one reservation (asserted), whose
        // length is at most isize::MAX; committed, and so initialised: a commit makes zeros (`Reservation::commit`);
        // and not written while the slice lives (contract). The reservation is borrowed.
        unsafe { std::slice::from_raw_parts(start, bytes.len()) }
    }

    /// Lends bytes of the memory for writing.
    ///
    /// # Safety
    /// - The pages that hold the bytes are committed, and stay so while the slice lives.
    /// - Nothing else reads or writes these bytes meanwhile.
    #[expect(clippy::mut_from_ref, reason = "exclusive by contract")]
    pub(crate) unsafe fn bytes_mut(&self, bytes: Range<usize>) -> &mut [u8] {
        assert!(bytes.start <= bytes.end && bytes.end <= self.reservation.len());
        // SAFETY: inside the reservation (asserted).
        let start = unsafe { self.base().add(bytes.start) };
        // SAFETY: `start` is not null and aligned for bytes. The bytes are inside one reservation (asserted), whose
        // length is at most isize::MAX; committed, and so initialised: a commit makes zeros (`Reservation::commit`);
        // and nothing else touches them while the slice lives (contract). The reservation is borrowed.
        unsafe { std::slice::from_raw_parts_mut(start, bytes.len()) }
    }
}

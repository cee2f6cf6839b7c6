//! Pages that stay accessible when they are decommitted.

#![allow(unsafe_code, reason = "calls the system with ranges that it owns")]

use super::committed::{Committed, gaps, set};
use crate::mapping::Mapping;
use crate::page::{self, PageRange};
use crate::plain::{Access, OsCode};

/// The most blocks in a reservation. Each takes at most two of the 65,530 mappings that Linux gives a process by
/// default.
const BLOCKS_MAX: usize = 16_384;

/// The accessible pages of a reservation that keeps access.
pub(super) struct Kept {
    // Invariant: these pages are readable and writable, except committed ones whose access the program has changed.
    // They include all committed pages. Those that are not committed have no memory.
    accessible: Committed,
    // Pages whose access the system has perhaps changed, when it refused to change that of all pages of a range.
    doubtful: Committed,
    // Pages become accessible by blocks of this many pages, a power of two.
    block_pages: usize,
}

impl Kept {
    /// Prepares a new mapping, all of whose pages are reserved. Returns `None` if the system counts accessible pages.
    pub(super) fn new(mapping: &mut Mapping) -> Option<Kept> {
        let pages = mapping.len() / page::size();
        let least = page::huge_size() / page::size();
        let block_pages = pages.div_ceil(BLOCKS_MAX).next_power_of_two().max(least);
        mapping.keep_access().then(|| Kept {
            accessible: Committed::new(),
            doubtful: Committed::new(),
            block_pages,
        })
    }

    /// Makes pages accessible, with the blocks around them. If the system refuses half way, some of them are
    /// accessible.
    pub(super) fn open(&mut self, mapping: &Mapping, pages: PageRange) -> Result<(), OsCode> {
        if gaps(&self.accessible, pages).is_empty() {
            return Ok(());
        }
        let all = mapping.len() / page::size();
        let start = pages.start() / self.block_pages * self.block_pages;
        let end = pages.end().next_multiple_of(self.block_pages).min(all);
        for gap in gaps(&self.accessible, PageRange::new(start, end)) {
            // Locked memory refuses the advice (madvise(2), EINVAL). If it were made accessible, the kernel would make
            // all of it resident.
            // SAFETY: the pages are reserved: they are not accessible, and so not committed (invariant). So no
            // reference points into them.
            if unsafe { mapping.discard(gap) }.is_err() || self.open_gap(mapping, gap).is_err() {
                break;
            }
        }
        // The system may refuse a block and permit the pages, for example if the block is larger than all memory.
        for gap in gaps(&self.accessible, pages) {
            self.open_gap(mapping, gap)?;
        }
        Ok(())
    }

    /// Makes pages accessible that are not.
    fn open_gap(&mut self, mapping: &Mapping, gap: PageRange) -> Result<(), OsCode> {
        // SAFETY: the pages are reserved: they are not accessible, and so not committed (invariant).
        unsafe { mapping.commit(gap) }?;
        set(&mut self.accessible, gap, Some(Access::ReadWrite));
        Ok(())
    }

    /// Gives the memory of pages back and keeps their access, unless the system refuses or the program has changed the
    /// access. Returns whether it was done.
    ///
    /// # Safety
    /// No reference points into the pages.
    pub(super) unsafe fn discard(
        &self,
        mapping: &Mapping,
        committed: &Committed,
        pages: PageRange,
    ) -> bool {
        let first = committed.range(..pages.start()).next_back();
        let mut runs = first
            .into_iter()
            .chain(committed.range(pages.start()..pages.end()));
        // Locked memory refuses: mlock(2) came after the reservation was made.
        gaps(&self.doubtful, pages) == [pages]
            && runs.all(|(_, &(end, access))| end <= pages.start() || access == Access::ReadWrite)
            // SAFETY: no reference points into the pages (contract).
            && unsafe { mapping.discard(pages) }.is_ok()
    }

    /// Notes that the system has refused to change the access of pages.
    pub(super) fn doubt(&mut self, pages: PageRange) {
        set(&mut self.doubtful, pages, Some(Access::None));
    }

    /// Notes that pages were decommitted by a new mapping.
    pub(super) fn close(&mut self, pages: PageRange) {
        set(&mut self.accessible, pages, None);
        set(&mut self.doubtful, pages, None);
    }
}

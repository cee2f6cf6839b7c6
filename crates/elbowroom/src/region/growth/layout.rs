//! Where the pages of a region lie, and which of them a huge page can take the place of.

use std::ptr::NonNull;

use crate::page::{self, PageCount, PageRange};

/// The pages of a region, and where they lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(in super::super) total: PageCount,
    /// The pages that a huge page takes the place of.
    pub(in super::super) huge: PageCount,
    /// The number of the first page, counted from an address that is a multiple of a huge page's size.
    pub(in super::super) first: usize,
}

impl Layout {
    /// Of `total` pages from `base` on.
    pub(crate) fn new(base: NonNull<u8>, total: PageCount) -> Layout {
        let huge = PageCount::inside(page::huge_size());
        Layout {
            total,
            huge,
            first: PageCount::inside(base.addr().get()).get() % huge.get(),
        }
    }

    /// How far `page` lies behind the last boundary between huge pages.
    pub(super) fn behind_boundary(self, page: usize) -> usize {
        (self.first + page) % self.huge.get()
    }

    /// How far `page` lies before the next boundary between huge pages, or at one.
    pub(super) fn before_boundary(self, page: usize) -> usize {
        (self.huge.get() - self.behind_boundary(page)) % self.huge.get()
    }

    /// The whole huge pages in `run`.
    pub(crate) fn huge_pages_in(self, run: PageRange) -> PageRange {
        let start = (run.start() + self.before_boundary(run.start())).min(run.end());
        PageRange::new(
            start,
            run.end().saturating_sub(self.behind_boundary(run.end())),
        )
    }
}

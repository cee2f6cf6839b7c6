//! The position of a region's pages, and which of them a huge page can replace.

use std::ptr::NonNull;

use crate::page::{self, PageCount, PageRange};

/// The number and the position of a region's pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(in super::super) total: PageCount,
    /// The number of pages that a huge page replaces.
    pub(in super::super) huge: PageCount,
    /// The number of the first page, counted from a multiple of the size of a huge page.
    pub(in super::super) first: usize,
}

impl Layout {
    /// Returns the layout of `total` pages from `base` on.
    pub(crate) fn new(base: NonNull<u8>, total: PageCount) -> Layout {
        let huge = PageCount::inside(page::huge_size());
        Layout {
            total,
            huge,
            first: PageCount::inside(base.addr().get()).get() % huge.get(),
        }
    }

    /// Returns the distance of `page` from the last boundary between huge pages.
    pub(super) fn behind_boundary(self, page: usize) -> usize {
        (self.first + page) % self.huge.get()
    }

    /// Returns the distance of `page` to the next boundary between huge pages, 0 at a boundary.
    pub(super) fn before_boundary(self, page: usize) -> usize {
        (self.huge.get() - self.behind_boundary(page)) % self.huge.get()
    }

    /// Returns the whole huge pages in `run`.
    pub(crate) fn huge_pages_in(self, run: PageRange) -> PageRange {
        let start = (run.start() + self.before_boundary(run.start())).min(run.end());
        PageRange::new(
            start,
            run.end().saturating_sub(self.behind_boundary(run.end())),
        )
    }
}

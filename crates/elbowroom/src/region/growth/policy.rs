//! The growth policies, and how far ahead of need they commit memory that is used from its start.

use crate::page::{self, PageCount};

/// How many pages a fault commits: the *window*.
///
/// Whatever the growth, a window is clamped to the region, to pages that are still reserved, and to what the commit
/// limit and the budgets leave, at least to the page that was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Growth {
    /// The aligned window of this many pages that holds the page touched: with `Pages(16)`, a touch of page 20 commits
    /// pages 16 to 31. 0 means 1.
    Pages(usize),
    /// A window that follows the program: one page for a touch out of the blue, twice as much at each fault where the
    /// program runs on, upwards or downwards, until a window has `max_bytes` (at least a page).
    ///
    /// Faults never commit more than twice the pages that the program has run over, and at either end of a run never as
    /// much as one largest window ahead of it. A *run* goes on where a fault lies next to what the run has committed,
    /// or skips at most an eighth of what it has run over (and of the largest window), so that threads which overtake
    /// each other do not end it. Pages within a run that are skipped count as run over: a program that begins densely
    /// and goes on sparsely, but in steps shorter than that, is taken for a dense one. One that goes in steps of two
    /// pages or more from the start is not: it gets one page for each touch. Up to 16 runs of a region are followed at
    /// once, which may be those of as many threads; touches out of the blue do not end them.
    ///
    /// A window that a write needs is also made resident at once (on Linux from 5.14 on, by one call, which spares the
    /// program a kernel fault for each page; on Windows by touching; not on macOS); the price is that up to a window of
    /// memory is taken before it is used. From the size of a huge page on (2 MiB, where pages have 4 KiB), windows
    /// end at multiples of it and, unless [`RegionBuilder::huge_pages`](crate::RegionBuilder::huge_pages) says
    /// otherwise, consist of huge pages.
    Adaptive {
        /// The size of the largest window in bytes, rounded down to pages: what one fault may take the time for, and
        /// what may be committed ahead of use, at most.
        max_bytes: usize,
    },
}

impl Default for Growth {
    /// Adaptive, with windows of up to 2 MiB: large enough for the cost of a fault to vanish, small enough that what
    /// the system has zeroed is still in the cache when the program comes to it.
    fn default() -> Growth {
        Growth::Adaptive { max_bytes: 2 << 20 }
    }
}

impl Growth {
    /// For memory that is used from its start without a gap: how many pages should be committed in all, of `total`,
    /// when `committed` are and `needed` are about to be in use. At least `needed`, and without need no more than
    /// `committed`.
    ///
    /// A fixed growth rounds up to whole windows; an adaptive one adds as much as there was, up to the largest window,
    /// and ends large windows where huge pages end, if the memory begins where one does.
    pub(crate) fn ahead(
        self,
        committed: PageCount,
        needed: PageCount,
        total: PageCount,
    ) -> PageCount {
        if needed <= committed {
            return committed;
        }
        let wanted = match self {
            Growth::Pages(pages) => needed
                .get()
                .checked_next_multiple_of(pages.max(1))
                .unwrap_or(usize::MAX),
            Growth::Adaptive { max_bytes } => {
                let (huge, window) = (
                    page::huge_size() / page::size(),
                    committed.min(largest(max_bytes)).get(),
                );
                let wanted = committed.get().saturating_add(window);
                let aligned = if window < huge {
                    wanted
                } else {
                    wanted - wanted % huge
                };
                if aligned < needed.get() {
                    wanted.max(needed.get())
                } else {
                    aligned
                }
            }
        };
        PageCount::new(wanted.min(total.get().max(needed.get())))
    }
}

/// The pages of the largest window.
pub(super) fn largest(max_bytes: usize) -> PageCount {
    PageCount::inside(max_bytes).max(PageCount::new(1))
}

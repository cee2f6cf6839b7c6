//! The growth policies, and how far ahead of need they commit memory that is used from its start.

use crate::page::{self, PageCount};

/// The number of pages that a fault commits: the *window*.
///
/// Every window is clamped to the region, to pages that are still reserved, and to the room that the commit limit and
/// the budgets leave. It always contains the touched page.
///
/// ```
/// use elbowroom::{Growth, Region, page_size};
///
/// let region = Region::builder(1 << 30).growth(Growth::Pages(4)).build()?;
/// region.try_write(5 * page_size(), 1u8)?;
/// assert_eq!(region.stats().committed_bytes, 4 * page_size()); // pages 4 to 7
/// # Ok::<(), elbowroom::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Growth {
    /// The aligned window of this many pages around the touched page: with `Pages(16)`, a touch of page 20 commits
    /// pages 16 to 31. 0 means 1.
    Pages(usize),
    /// A window that follows the program's accesses. An isolated touch gets one page. Each fault of a sequential run,
    /// upwards or downwards, doubles the window, up to `max_bytes` (at least a page).
    ///
    /// Faults never commit more than twice the pages that the program has passed over, and at either end of a run
    /// always less than a largest window ahead. A fault continues a *run* if it lies next to the run's committed pages,
    /// or skips at most an eighth of the pages passed over (and of the largest window), so that threads that overtake
    /// each other do not end the run. Skipped pages within a run count as passed over. So a program that begins densely
    /// and continues sparsely, in shorter steps than that, is taken for a dense one. A program with steps of two or
    /// more pages from the start is not: it gets one page for each touch. A region follows up to 16 runs at once, for
    /// example of 16 threads. Isolated touches do not end them.
    ///
    /// A window for a write is also made resident at once: on Linux since 5.14 by one call, which saves a kernel fault
    /// for each page; on Windows by touching; not on macOS. The price is that up to a window of memory is resident
    /// before it is used. From the size of a huge page on (2 MiB if pages have 4 KiB), windows end at multiples of it
    /// and consist of huge pages, unless [`RegionBuilder::huge_pages`](crate::RegionBuilder::huge_pages) says
    /// otherwise.
    Adaptive {
        /// The size of the largest window in bytes, rounded down to whole pages. It bounds the time of one fault and
        /// the memory committed ahead of use.
        max_bytes: usize,
    },
}

impl Default for Growth {
    /// Returns the adaptive growth with windows of up to 2 MiB. This is large enough that the cost of a fault vanishes,
    /// and small enough that the zeroed memory is still in the cache when the program reaches it.
    fn default() -> Growth {
        Growth::Adaptive { max_bytes: 2 << 20 }
    }
}

impl Growth {
    /// Returns the number of pages, of `total`, to commit in all, for memory that is used from its start without a gap.
    /// `committed` pages are committed, and `needed` are about to be used. The result is at least `needed`, and if
    /// nothing is needed, at most `committed`.
    ///
    /// A fixed growth rounds up to whole windows. An adaptive growth adds as much as there was, up to the largest
    /// window, and ends large windows at boundaries of huge pages, if the memory begins at one.
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

/// Returns the number of pages of the largest window.
pub(super) fn largest(max_bytes: usize) -> PageCount {
    PageCount::inside(max_bytes).max(PageCount::new(1))
}

//! How many pages a fault commits. Pure functions from numbers to a window.

use crate::page::{PageCount, PageIndex, PageRange};

/// How many pages a fault commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Growth {
    /// The aligned window of this many pages that holds the page touched: with `Pages(16)`, a touch of page 20 commits
    /// pages 16 to 31. Clamped to the region, to pages that are still reserved, and to what the commit limit leaves.
    /// 0 means 1.
    Pages(usize),
}

impl Default for Growth {
    /// 16 pages, 64 KiB of 4 KiB pages: the cost of a fault is mostly the same whatever its window, so this divides it
    /// by 16 and commits at most 15 pages more than needed.
    fn default() -> Growth {
        Growth::Pages(16)
    }
}

impl Growth {
    /// The pages that a fault on `page` should commit, of a region of `total` pages.
    pub(super) fn window(self, page: PageIndex, total: PageCount) -> PageRange {
        let Growth::Pages(pages) = self;
        let pages = pages.max(1);
        let start = page.get() - page.get() % pages;
        PageRange::new(start, start.saturating_add(pages).min(total.get()))
    }
}

/// The part of `run` that is at most `room` pages and holds `page`: what starts at `page` first, then what lies before
/// it. `None` without room.
pub(super) fn clamp(run: PageRange, page: PageIndex, room: PageCount) -> Option<PageRange> {
    if room == PageCount::ZERO {
        return None;
    }
    let room = room.get();
    let end = run.end().min(page.get().saturating_add(room));
    let start = run.start().max(end.saturating_sub(room));
    Some(PageRange::new(start, end))
}

/// The part of `window` that is at most `reach` pages away from `page`.
pub(super) fn clip(window: PageRange, page: PageIndex, reach: PageCount) -> PageRange {
    let (page, reach) = (page.get(), reach.get());
    PageRange::new(
        window.start().max(page.saturating_sub(reach)),
        window.end().min(page.saturating_add(reach).saturating_add(1)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_window_holds_its_page_and_stays_inside(total in 1usize..10_000, at in 0usize..10_000, pages: usize) {
            let page = PageIndex::new(at % total);
            let window = Growth::Pages(pages).window(page, PageCount::new(total));
            prop_assert!(window.contains(page));
            prop_assert!(window.end() <= total);
            prop_assert!(window.count().get() <= pages.max(1));
            prop_assert_eq!(window.start() % pages.max(1), 0);
        }

        #[test]
        fn a_clamped_run_holds_its_page_and_uses_the_room(
            start in 0usize..1000, len in 1usize..1000, at in 0usize..1000, room in 1usize..2000,
        ) {
            let run = PageRange::new(start, start + len);
            let page = PageIndex::new(start + at % len);
            let clamped = clamp(run, page, PageCount::new(room)).unwrap();
            prop_assert!(clamped.contains(page));
            prop_assert!(run.start() <= clamped.start() && clamped.end() <= run.end());
            prop_assert_eq!(clamped.count().get(), len.min(room));
        }
    }

    #[test]
    fn a_clipped_window_holds_its_page() {
        let clip = |reach| super::clip(PageRange::new(10, 50), PageIndex::new(20), PageCount::new(reach));
        assert_eq!(clip(0), PageRange::new(20, 21));
        assert_eq!(clip(5), PageRange::new(15, 26));
        assert_eq!(clip(15), PageRange::new(10, 36));
        assert_eq!(clip(usize::MAX), PageRange::new(10, 50));
    }

    #[test]
    fn without_room_there_is_no_window() {
        assert_eq!(clamp(PageRange::new(0, 9), PageIndex::new(3), PageCount::ZERO), None);
    }

    #[test]
    fn windows_are_aligned() {
        let window = |pages, page| Growth::Pages(pages).window(PageIndex::new(page), PageCount::new(40));
        assert_eq!(window(16, 20), PageRange::new(16, 32));
        assert_eq!(window(16, 39), PageRange::new(32, 40));
        assert_eq!(window(1, 7), PageRange::new(7, 8));
        assert_eq!(window(0, 7), PageRange::new(7, 8));
        assert_eq!(window(usize::MAX, 7), PageRange::new(0, 40));
    }
}

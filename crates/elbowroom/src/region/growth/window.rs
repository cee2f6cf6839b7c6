//! The window of a fault, and the part of it that limits allow.

use super::layout::Layout;
use super::policy::{Growth, largest};
use super::streams::Streams;
use crate::page::{PageCount, PageIndex, PageRange};

impl Growth {
    /// Returns the pages that a fault on `page` should commit, given the recent runs in `streams`.
    pub(in super::super) fn window(
        self,
        streams: &Streams,
        page: PageIndex,
        layout: Layout,
    ) -> PageRange {
        let total = layout.total.get();
        match self {
            Growth::Pages(pages) => {
                let pages = pages.max(1);
                let start = page.get() - page.get() % pages;
                PageRange::new(start, start.saturating_add(pages).min(total))
            }
            Growth::Adaptive { max_bytes } => {
                match streams.continued_by(page, largest(max_bytes)) {
                    Some((_, stream)) => stream.window(page, largest(max_bytes), layout),
                    None => page.alone(),
                }
            }
        }
    }
}

/// Returns the part of `run` that has at most `room` pages and contains `page`: first the pages from `page` on, then
/// those before it. Returns `None` without room.
pub(in super::super) fn clamp(
    run: PageRange,
    page: PageIndex,
    room: PageCount,
) -> Option<PageRange> {
    if room == PageCount::ZERO {
        return None;
    }
    let room = room.get();
    let end = run.end().min(page.get().saturating_add(room));
    let start = run.start().max(end.saturating_sub(room));
    Some(PageRange::new(start, end))
}

/// Returns the part of `window` that is at most `reach` pages away from `page`.
pub(in super::super) fn clip(window: PageRange, page: PageIndex, reach: PageCount) -> PageRange {
    let (page, reach) = (page.get(), reach.get());
    PageRange::new(
        window.start().max(page.saturating_sub(reach)),
        window
            .end()
            .min(page.saturating_add(reach).saturating_add(1)),
    )
}

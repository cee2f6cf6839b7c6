//! The window of a fault, and what limits leave of it.

use super::layout::Layout;
use super::policy::{Growth, largest};
use super::streams::Streams;
use crate::page::{PageCount, PageIndex, PageRange};

impl Growth {
    /// The pages that a fault on `page` should commit, where faults have run as `streams` says.
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

/// The part of `run` that is at most `room` pages and holds `page`: what starts at `page` first, then what lies before
/// it. `None` without room.
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

/// The part of `window` that is at most `reach` pages away from `page`.
pub(in super::super) fn clip(window: PageRange, page: PageIndex, reach: PageCount) -> PageRange {
    let (page, reach) = (page.get(), reach.get());
    PageRange::new(
        window.start().max(page.saturating_sub(reach)),
        window
            .end()
            .min(page.saturating_add(reach).saturating_add(1)),
    )
}

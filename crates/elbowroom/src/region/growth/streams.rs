//! The runs of faults in a region, and the windows that continue a run.

use super::layout::Layout;
use super::policy::{Growth, largest};
use crate::page::{PageCount, PageIndex, PageRange};

/// A run of faults: the program touches page after page, upwards, downwards, or both.
///
/// ```text
///   committed.start   seen.start        seen.end   committed.end
///   | ahead           | passed over            | ahead        |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    // Invariant: not empty and inside `committed`, which is at most twice as long. It extends from the lowest to the
    // highest page that faulted.
    pub(super) seen: PageRange,
    // The pages that these faults have committed, and those between them.
    pub(super) committed: PageRange,
}

impl Stream {
    /// Returns `seen`, extended by a fault at `page`.
    fn seen_with(self, page: PageIndex) -> PageRange {
        hull(self.seen, page.alone())
    }

    /// Returns whether a fault at `page`, which is not committed, continues this run.
    fn is_continued_by(self, page: PageIndex, max: PageCount) -> bool {
        let skipped = if page.get() >= self.committed.end() {
            page.get() - self.committed.end()
        } else if page.get() < self.committed.start() {
            self.committed.start() - 1 - page.get()
        } else {
            return false;
        };
        skipped <= self.seen.count().min(max).get() / 8
    }

    /// Returns the window of a fault that continues this run: as many pages as keep the invariant, rounded down to a
    /// power of two, and at most `max`. It lies next to the committed pages and contains `page`: at least
    /// `2 * skipped + 2` pages keep the invariant, and `max` is more than `8 * skipped`.
    pub(super) fn window(self, page: PageIndex, max: PageCount, layout: Layout) -> PageRange {
        let allowed = 2 * self.seen_with(page).count().get() - self.committed.count().get();
        let pages = if allowed >= max.get() {
            max.get()
        } else {
            1 << allowed.ilog2()
        };
        let is_large = pages >= layout.huge.get();
        if page.get() >= self.committed.end() {
            let start = self.committed.end();
            let end = (start + pages).min(layout.total.get());
            let aligned = end.saturating_sub(layout.behind_boundary(end));
            let is_better = is_large && end < layout.total.get() && aligned > page.get();
            PageRange::new(start, if is_better { aligned } else { end })
        } else {
            let end = self.committed.start();
            let start = end.saturating_sub(pages);
            let aligned = start + layout.before_boundary(start);
            let is_better = is_large && start > 0 && aligned <= page.get();
            PageRange::new(if is_better { aligned } else { start }, end)
        }
    }
}

/// The number of runs that a region follows at once, and of isolated touches that it remembers. It is larger than the
/// number of threads that usually fill one region.
pub(super) const STREAMS: usize = 16;

/// The recent runs of faults in a region. Used under the region's lock; of a fixed size.
#[derive(Debug)]
pub(in super::super) struct Streams {
    // Runs of two or more faults, the latest first.
    pub(super) runs: [Option<Stream>; STREAMS],
    // Isolated touches, the latest first. They are separate, so that they never displace a run.
    touches: [Option<PageIndex>; STREAMS],
}

/// The position of a run in `Streams`.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Run(usize),
    Touch(usize),
}

impl Streams {
    pub(in super::super) const NONE: Streams = Streams {
        runs: [None; STREAMS],
        touches: [None; STREAMS],
    };

    /// Returns the latest run that a fault at `page` continues.
    pub(super) fn continued_by(&self, page: PageIndex, max: PageCount) -> Option<(Place, Stream)> {
        // Loops instead of iterator chains: this runs on a signal stack, which may be as small as 8 KiB, and without
        // optimisation every link of such a chain has its own frame.
        for (at, run) in self.runs.iter().enumerate() {
            if let Some(run) = run {
                if run.is_continued_by(page, max) {
                    return Some((Place::Run(at), *run));
                }
            }
        }
        for (at, touch) in self.touches.iter().enumerate() {
            if let Some(touch) = touch {
                let stream = Stream {
                    seen: touch.alone(),
                    committed: touch.alone(),
                };
                if stream.is_continued_by(page, max) {
                    return Some((Place::Touch(at), stream));
                }
            }
        }
        None
    }

    /// Records that a fault on `page` committed `run`, which contains it and is at most its window.
    pub(in super::super) fn note(&mut self, growth: Growth, page: PageIndex, run: PageRange) {
        let Growth::Adaptive { max_bytes } = growth else {
            return;
        };
        let Some((place, stream)) = self.continued_by(page, largest(max_bytes)) else {
            push(&mut self.touches, page);
            return;
        };
        match place {
            Place::Run(at) => self.runs[at] = None,
            Place::Touch(at) => self.touches[at] = None,
        }
        let continued = Stream {
            seen: stream.seen_with(page),
            committed: hull(stream.committed, run),
        };
        push(&mut self.runs, continued);
    }

    /// Forgets the runs over `pages`, which are decommitted.
    pub(in super::super) fn forget(&mut self, pages: PageRange) {
        for run in &mut self.runs {
            run.take_if(|run| overlap(run.committed, pages));
        }
        for touch in &mut self.touches {
            touch.take_if(|touch| pages.contains(*touch));
        }
    }
}

/// Puts `item` in front. It takes a free place, or else displaces the last item.
fn push<T>(list: &mut [Option<T>; STREAMS], item: T) {
    let displaced = list.iter().position(Option::is_none).unwrap_or(STREAMS - 1);
    list[..=displaced].rotate_right(1);
    list[0] = Some(item);
}

/// Returns the smallest range that contains both.
pub(super) fn hull(a: PageRange, b: PageRange) -> PageRange {
    PageRange::new(a.start().min(b.start()), a.end().max(b.end()))
}

fn overlap(a: PageRange, b: PageRange) -> bool {
    a.start() < b.end() && b.start() < a.end()
}

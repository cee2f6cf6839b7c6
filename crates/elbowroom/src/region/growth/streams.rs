//! Where the faults of a region have run, and the windows with which a run goes on.

use super::layout::Layout;
use super::policy::{Growth, largest};
use crate::page::{PageCount, PageIndex, PageRange};

/// A run of faults: the program touches page after page, upwards, downwards, or both in turn.
///
/// ```text
///   committed.start   seen.start        seen.end   committed.end
///   | ahead           | run over               | ahead        |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    // Invariant: not empty and inside `committed`, which is at most twice as long. From the lowest to the highest page
    // that faulted.
    pub(super) seen: PageRange,
    // What these faults have committed, and what lay in between.
    pub(super) committed: PageRange,
}

impl Stream {
    /// The run that faults at `page` as well.
    fn seen_with(self, page: PageIndex) -> PageRange {
        hull(self.seen, page.alone())
    }

    /// Whether a fault at `page`, which is not committed, goes on with this run.
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

    /// The window of a fault that goes on with this run: as many pages as keep the invariant, rounded down to a power
    /// of two, at most `max`. Next to what is committed, and with `page` in it: at least `2 * skipped + 2` pages keep
    /// the invariant, and `max` is more than `8 * skipped`.
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

/// How many runs of a region are followed at once, and how many touches that may become one are remembered: more than
/// threads, as a rule, fill one region.
pub(super) const STREAMS: usize = 16;

/// Where the faults of a region have run of late. Under the region's lock; of a fixed size.
#[derive(Debug)]
pub(in super::super) struct Streams {
    // Runs of two faults and more, the latest first.
    pub(super) runs: [Option<Stream>; STREAMS],
    // Touches out of the blue, the latest first. Apart, so that however many there are, they displace no run.
    touches: [Option<PageIndex>; STREAMS],
}

/// Where a run is kept.
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

    /// The latest run that a fault at `page` goes on with.
    pub(super) fn continued_by(&self, page: PageIndex, max: PageCount) -> Option<(Place, Stream)> {
        // Loops, not iterators in a chain: this runs on a signal stack, which may be as small as 8 KiB, and without
        // optimisation every link of such a chain has a frame of its own.
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

    /// Notes that a fault on `page` committed `run`, which holds it and is no more than its window.
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

/// Puts `item` in front, in place of nothing or else of the last.
fn push<T>(list: &mut [Option<T>; STREAMS], item: T) {
    let displaced = list.iter().position(Option::is_none).unwrap_or(STREAMS - 1);
    list[..=displaced].rotate_right(1);
    list[0] = Some(item);
}

/// The smallest range that holds both.
pub(super) fn hull(a: PageRange, b: PageRange) -> PageRange {
    PageRange::new(a.start().min(b.start()), a.end().max(b.end()))
}

fn overlap(a: PageRange, b: PageRange) -> bool {
    a.start() < b.end() && b.start() < a.end()
}

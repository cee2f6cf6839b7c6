//! The guarantees of windows, for arbitrary programs.

use proptest::prelude::*;

use super::streams::{STREAMS, Stream, hull};
use super::*;
use crate::page::{self, PageCount, PageIndex, PageRange};

fn layout(total: usize) -> Layout {
    Layout {
        total: PageCount::new(total),
        huge: PageCount::new(512),
        first: 0,
    }
}

fn adaptive(max_pages: usize) -> Growth {
    Growth::Adaptive {
        max_bytes: max_pages * page::size(),
    }
}

/// A region reduced to its growth: the committed pages, and the touched pages.
struct Model {
    growth: Growth,
    layout: Layout,
    streams: Streams,
    committed: Vec<bool>,
    touched: Vec<bool>,
    // So far: the number of committed pages, and of touched pages since they were last reserved.
    commits: usize,
    used: usize,
}

impl Model {
    fn new(growth: Growth, layout: Layout) -> Model {
        let pages = layout.total.get();
        let (committed, touched) = (vec![false; pages], vec![false; pages]);
        Model {
            growth,
            layout,
            streams: Streams::NONE,
            committed,
            touched,
            commits: 0,
            used: 0,
        }
    }

    /// Touches a page. Returns the window if the touch is a fault.
    fn touch(&mut self, at: usize) -> Option<PageRange> {
        self.used += usize::from(!std::mem::replace(&mut self.touched[at], true));
        if self.committed[at] {
            return None;
        }
        let page = PageIndex::new(at);
        let window = self.growth.window(&self.streams, page, self.layout);
        assert!(
            window.contains(page) && window.end() <= self.layout.total.get(),
            "{window:?} for {at}"
        );
        let start = (window.start()..at)
            .rev()
            .find(|&at| self.committed[at])
            .map_or(window.start(), |at| at + 1);
        let end = (at..window.end())
            .find(|&at| self.committed[at])
            .unwrap_or(window.end());
        self.committed[start..end].fill(true);
        self.commits += end - start;
        self.streams
            .note(self.growth, page, PageRange::new(start, end));
        Some(window)
    }

    fn decommit(&mut self, pages: PageRange) {
        self.committed[pages.start()..pages.end()].fill(false);
        self.touched[pages.start()..pages.end()].fill(false);
        self.streams.forget(pages);
    }
}

impl Streams {
    /// Returns the run that the latest fault, on `page`, continued or began.
    fn latest(&self, page: PageIndex) -> Stream {
        let alone = Stream {
            seen: page.alone(),
            committed: page.alone(),
        };
        self.runs[0]
            .filter(|run| run.seen.contains(page))
            .unwrap_or(alone)
    }
}

/// The accesses of one thread of a program: it walks over pages, one after the other.
fn walk() -> impl Strategy<Value = Vec<usize>> {
    (0..PAGES / 2, 0..PAGES / 2, any::<bool>()).prop_map(|(start, len, up)| {
        let pages = start..start + len;
        if up {
            pages.collect()
        } else {
            pages.rev().collect()
        }
    })
}

const PAGES: usize = 6000;

proptest! {
    #[test]
    fn a_fixed_window_holds_its_page_and_stays_inside(total in 1usize..10_000, at in 0usize..10_000, pages: usize) {
        let page = PageIndex::new(at % total);
        let window = Growth::Pages(pages).window(&Streams::NONE, page, layout(total));
        prop_assert!(window.contains(page));
        prop_assert!(window.end() <= total);
        prop_assert!(window.count().get() <= pages.max(1));
        prop_assert_eq!(window.start() % pages.max(1), 0);
    }

    /// Several threads walk over memory, each page by page and at its own pace, also through each other's parts, with a
    /// decommit in the middle.
    #[test]
    fn no_more_is_committed_than_twice_what_was_used(
        walks in prop::collection::vec(walk(), 1..6),
        paces in prop::collection::vec((0usize..6, 1usize..300), 1..100),
        max in 1usize..3000,
        first in 0usize..512,
        decommit in prop::option::of((0..PAGES, 0..PAGES)),
    ) {
        let mut model = Model::new(adaptive(max), Layout { first, ..layout(PAGES) });
        let mut walks: Vec<_> = walks.into_iter().map(Vec::into_iter).collect();
        let count = walks.len();
        let check = |model: &mut Model, at: usize| {
            let window = model.touch(at).map_or(1, |window| window.count().get());
            assert!(window <= max, "a window of {window} pages, not {max}");
            // A walk that begins or continues after the decommit may seem to continue a run nearby. The pages in
            // between, an eighth of a window at most, then count as passed over.
            let skipped = 2 * count * max / 8;
            let (commits, used) = (model.commits, model.used);
            assert!(commits <= 2 * (used + skipped), "{commits} committed, {used} used");
        };
        for (n, (thread, steps)) in paces.into_iter().enumerate() {
            for at in walks[thread % count].by_ref().take(steps) {
                check(&mut model, at);
            }
            if let (10, Some((a, b))) = (n, decommit) {
                model.decommit(PageRange::new(a.min(b), a.max(b)));
            }
        }
        for at in walks.into_iter().flatten() {
            check(&mut model, at);
        }
    }

    /// One thread that touches every page needs one fault for each doubling, and then one for each largest window.
    #[test]
    fn a_walk_takes_few_faults(pages in walk(), max in 1usize..3000, first in 0usize..512) {
        let layout = Layout { first, ..layout(PAGES) };
        let mut model = Model::new(adaptive(max), layout);
        let windows: Vec<_> = pages.iter().filter_map(|&at| model.touch(at)).collect();
        let faults = windows.len();
        // Alignment shortens each window larger than a huge page by less than a huge page, and on average by at most
        // half.
        prop_assert!(faults <= 14 + 2 * pages.len() / max, "{} faults for {} pages", faults, pages.len());
        prop_assert!(model.commits <= 2 * model.used, "{} committed, {} used", model.commits, model.used);
        let is_up = pages.first() <= pages.last();
        for window in windows.iter().filter(|window| window.count() >= layout.huge) {
            let (edge, end) = if is_up { (window.end(), PAGES) } else { (window.start(), 0) };
            prop_assert!(edge == end || layout.behind_boundary(edge) == 0, "{:?} ends inside a huge page", window);
        }
    }

    /// Arbitrary touches.
    #[test]
    fn no_more_is_committed_than_twice_what_was_run_over(
        touches in prop::collection::vec((0..PAGES, -3isize..40), 1..300),
        max in 1usize..3000,
        first in 0usize..512,
    ) {
        let mut model = Model::new(adaptive(max), Layout { first, ..layout(PAGES) });
        let mut run_over = 0;
        for (start, step) in touches {
            for n in 0..5 {
                let at = start.saturating_add_signed(n * step).min(PAGES - 1);
                let page = PageIndex::new(at);
                let run = model.streams.continued_by(page, PageCount::new(max));
                let before = run.map_or(0, |(_, run)| run.seen.count().get());
                if model.touch(at).is_some() {
                    run_over += model.streams.latest(page).seen.count().get() - before;
                }
            }
            prop_assert!(model.commits <= 2 * run_over, "{} committed, {} run over", model.commits, run_over);
            for stream in model.streams.runs.iter().flatten() {
                prop_assert!(stream.committed.count().get() <= 2 * stream.seen.count().get(), "{stream:?}");
                prop_assert_eq!(hull(stream.seen, stream.committed), stream.committed);
                prop_assert!(stream.committed.end() - stream.seen.end() < max, "{stream:?}");
                prop_assert!(stream.seen.start() - stream.committed.start() < max, "{stream:?}");
            }
        }
    }

    #[test]
    fn a_prefix_grows_ahead_of_need(
        committed in 0usize..9000, needed in 0usize..9000, total in 0usize..20_000, n in 0usize..99,
    ) {
        let count = PageCount::new;
        for growth in [Growth::Pages(n), adaptive(n)] {
            let ahead = growth.ahead(count(committed), count(needed), count(total)).get();
            prop_assert!(ahead >= committed && ahead >= needed);
            prop_assert!(needed > committed || ahead == committed);
            prop_assert!(ahead <= needed.max(committed) + n.max(1));
            prop_assert!(ahead <= total.max(needed).max(committed));
            let is_adaptive = matches!(growth, Growth::Adaptive { .. });
            prop_assert!(!is_adaptive || ahead <= committed.max(2 * needed), "{} for {}", ahead, needed);
        }
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

/// Returns the windows of the faults of these touches.
fn windows(layout: Layout, max: usize, pages: impl Iterator<Item = usize>) -> Vec<(usize, usize)> {
    let mut model = Model::new(adaptive(max), layout);
    pages
        .filter_map(|at| model.touch(at))
        .map(|window| (window.start(), window.end()))
        .collect()
}

#[test]
fn windows_double_and_align() {
    let ends = |layout, max| {
        windows(layout, max, 0..layout.total.get())
            .iter()
            .map(|&(_, end)| end)
            .collect::<Vec<_>>()
    };
    let to_512 = [1, 3, 7, 15, 31, 63, 127, 255, 511, 512];
    let large = [1024, 2048, 4096, 8192, 12_288, 16_384, 20_000];
    assert_eq!(
        ends(layout(20_000), 4096),
        [&to_512[..], &large[..]].concat()
    );
    // Where the region does not start at a boundary between huge pages.
    let shifted = ends(
        Layout {
            first: 12,
            ..layout(20_000)
        },
        4096,
    );
    assert_eq!(shifted[8..14], [511, 1012, 1524, 2548, 4596, 8692]);
    assert_eq!(ends(layout(40), 10), [1, 3, 7, 15, 25, 35, 40]);
    assert_eq!(ends(layout(3), 0), [1, 2, 3]);

    let down: Vec<_> = windows(layout(20_000), 4096, (0..20_000).rev())
        .iter()
        .map(|&(start, _)| start)
        .collect();
    let aligned = [18_944, 17_920, 15_872, 11_776, 7680, 3584, 0];
    assert_eq!(down[..3], [19_999, 19_997, 19_993]);
    assert_eq!(down[down.len() - 7..], aligned);
}

#[test]
fn touches_out_of_the_blue_get_one_page_and_end_no_run() {
    let mut model = Model::new(adaptive(4096), layout(1_000_000));
    let mut sizes = Vec::new();
    for at in 0..3000 {
        sizes.extend(model.touch(at).map(|window| window.count().get()));
        // Every third page from the start, far away from the rest.
        let window = model.touch(500_000 + 3 * at).expect("not committed");
        assert_eq!(window.count().get(), 1);
    }
    assert_eq!(
        sizes,
        [1, 2, 4, 8, 16, 32, 64, 128, 256, 1, 512, 1024, 2048]
    );
}

#[test]
fn threads_are_told_apart() {
    let mut model = Model::new(adaptive(64), layout(100_000));
    let mut faults = 0;
    for at in 0..1000 {
        for thread in 0..STREAMS {
            faults += usize::from(model.touch(thread * 5000 + at).is_some());
        }
    }
    // 1, 2, 4, 8, 16 and 32 pages, and then 64.
    assert_eq!(faults, STREAMS * (6 + (1000 - 63usize).div_ceil(64)));
}

#[test]
fn threads_that_overtake_each_other_at_the_end_of_a_run_do_not_end_it() {
    let mut model = Model::new(adaptive(64), layout(10_000));
    // In order at first; then each pair of pages in reverse order.
    let pages = (0..16).chain((8..1000).flat_map(|n| [2 * n + 1, 2 * n]));
    let faults = pages.filter_map(|at| model.touch(at)).count();
    assert_eq!(faults, 6 + (2000 - 63usize).div_ceil(64));
}

#[test]
fn after_a_decommit_a_run_begins_anew() {
    let mut model = Model::new(adaptive(64), layout(1000));
    let sizes = |model: &mut Model| {
        (0..100)
            .filter_map(|at| model.touch(at))
            .map(|window| window.count().get())
            .collect::<Vec<_>>()
    };
    assert_eq!(sizes(&mut model), [1, 2, 4, 8, 16, 32, 64]);
    model.decommit(PageRange::new(0, 1000));
    assert_eq!(sizes(&mut model), [1, 2, 4, 8, 16, 32, 64]);
}

#[test]
fn huge_pages_are_those_wholly_inside() {
    let inside = |first, start, end| {
        Layout {
            first,
            ..layout(9999)
        }
        .huge_pages_in(PageRange::new(start, end))
    };
    assert_eq!(inside(0, 0, 1024), PageRange::new(0, 1024));
    assert_eq!(inside(0, 1, 1025), PageRange::new(512, 1024));
    assert_eq!(inside(12, 0, 1025), PageRange::new(500, 1012));
    for (start, end) in [(1, 511), (1, 512), (1, 1023), (0, 511), (513, 1023)] {
        assert!(inside(0, start, end).is_empty(), "{start}..{end}");
    }
}

#[test]
fn a_prefix_ends_where_huge_pages_end() {
    let (count, huge) = (PageCount::new, page::huge_size() / page::size());
    let ahead = |committed, needed| {
        adaptive(huge)
            .ahead(count(committed), count(needed), count(100 * huge))
            .get()
    };
    assert_eq!(ahead(0, 1), 1);
    assert_eq!(ahead(1, 2), 2);
    assert_eq!(ahead(2, 3), 4);
    assert_eq!(ahead(huge / 2, huge / 2 + 1), huge);
    assert_eq!(ahead(huge, huge + 1), 2 * huge);
    assert_eq!(ahead(3 * huge, 3 * huge + 1), 4 * huge);
    // After a large step, the next window is a part of one that ends there.
    assert_eq!(ahead(0, 3 * huge + 7), 3 * huge + 7);
    assert_eq!(ahead(3 * huge + 7, 3 * huge + 8), 4 * huge);
    assert_eq!(ahead(3 * huge + 7, 4 * huge + 3), 4 * huge + 7);
}

#[test]
fn a_clipped_window_holds_its_page() {
    let clip = |reach| {
        super::clip(
            PageRange::new(10, 50),
            PageIndex::new(20),
            PageCount::new(reach),
        )
    };
    assert_eq!(clip(0), PageRange::new(20, 21));
    assert_eq!(clip(5), PageRange::new(15, 26));
    assert_eq!(clip(15), PageRange::new(10, 36));
    assert_eq!(clip(usize::MAX), PageRange::new(10, 50));
}

#[test]
fn without_room_there_is_no_window() {
    assert_eq!(
        clamp(PageRange::new(0, 9), PageIndex::new(3), PageCount::ZERO),
        None
    );
}

#[test]
fn fixed_windows_are_aligned() {
    let window =
        |pages, page| Growth::Pages(pages).window(&Streams::NONE, PageIndex::new(page), layout(40));
    assert_eq!(window(16, 20), PageRange::new(16, 32));
    assert_eq!(window(16, 39), PageRange::new(32, 40));
    assert_eq!(window(1, 7), PageRange::new(7, 8));
    assert_eq!(window(0, 7), PageRange::new(7, 8));
    assert_eq!(window(usize::MAX, 7), PageRange::new(0, 40));
}

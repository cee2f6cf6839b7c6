//! Windows that follow the program: few faults for a run, one page for an isolated touch, within limits and filters.

use crate::common::{self, page};

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use elbowroom::{Budget, Growth, PageState, Region, RegionBuilder, Verdict, page_size};
use proptest::prelude::*;

fn adaptive(pages: usize, max_pages: usize) -> RegionBuilder {
    Region::builder(page(pages)).growth(Growth::Adaptive {
        max_bytes: page(max_pages),
    })
}

fn committed_pages(region: &Region) -> Vec<usize> {
    let spans = region
        .spans()
        .into_iter()
        .filter(|span| span.state == PageState::Committed);
    spans
        .flat_map(|span| span.range.start / page_size()..span.range.end / page_size())
        .collect()
}

/// The fewest faults in which windows that double from a page to `max` cover `pages`.
fn faults_for(pages: usize, max: usize) -> u64 {
    let (mut covered, mut faults) = (0, 0);
    while covered < pages {
        covered += (covered + 1).min(max);
        faults += 1;
    }
    faults
}

#[test]
fn a_run_upwards_takes_few_faults() {
    let region = adaptive(1000, 64).build().unwrap();
    for n in 0..1000 {
        region.try_write(page(n), n).unwrap();
        let committed = region.stats().committed_bytes / page_size();
        assert!(
            committed <= 2 * (n + 1) && committed <= n + 64,
            "{committed} pages at {n}"
        );
    }
    assert_eq!(region.stats().faults, faults_for(1000, 64));
    assert_eq!(region.stats().commits, region.stats().faults);
    assert!((0..1000).all(|n| region.try_read::<usize>(page(n)).unwrap() == n));
}

#[test]
fn a_run_downwards_takes_as_few() {
    let region = adaptive(1000, 64).build().unwrap();
    (0..1000)
        .rev()
        .for_each(|n| region.try_write(page(n), n).unwrap());
    assert_eq!(region.stats().faults, faults_for(1000, 64));
}

#[test]
fn an_accessor_that_runs_over_a_range_is_a_run_too() {
    let region = adaptive(1000, 64).build().unwrap();
    region.try_fill(0..page(1000), 7).unwrap();
    assert_eq!(region.stats().faults, faults_for(1000, 64));
    let mut bytes = vec![0; page(1000)];
    region.try_copy_to_slice(0, &mut bytes).unwrap();
    assert!(bytes.iter().all(|&byte| byte == 7));
}

#[test]
fn the_default_adapts() {
    let region = Region::new(page(2000)).unwrap();
    region.try_fill(0..page(2000), 1).unwrap();
    // Alignment may take one fault more.
    assert!(
        region.stats().faults <= faults_for(2000, (2 << 20) / page_size()) + 1,
        "{:?}",
        region.stats()
    );
    let region = Region::new(page(2000)).unwrap();
    region.try_write(page(1000), 1u8).unwrap();
    assert_eq!(committed_pages(&region), [1000]);
}

#[test]
fn touches_here_and_there_get_a_page_each() {
    let region = Region::new(page(100_000)).unwrap();
    for n in 0..200 {
        region.try_write(page(n * 7919 % 100_000), 1u8).unwrap();
        assert_eq!(region.stats().committed_bytes, page(n + 1));
    }
    // So do steps of two pages and more.
    let region = Region::new(page(1000)).unwrap();
    (0..1000)
        .step_by(2)
        .for_each(|n| region.try_write(page(n), 1u8).unwrap());
    assert_eq!(region.stats().committed_bytes, page(500));
}

#[test]
fn reads_run_as_well() {
    let region = adaptive(1000, 64).build().unwrap();
    assert!((0..1000).all(|n| region.try_read::<u64>(page(n)).unwrap() == 0));
    assert_eq!(region.stats().faults, faults_for(1000, 64));
}

#[test]
fn a_limit_in_the_middle_of_a_window_is_used_up_to_the_last_page() {
    let budget = Budget::new(page(200));
    let limits: [RegionBuilder; 2] = [
        adaptive(1000, 64).commit_limit(page(200)),
        adaptive(1000, 64).budget(&budget),
    ];
    for builder in limits {
        let region = builder.build().unwrap();
        let error = region.try_fill(0..page(1000), 1).unwrap_err();
        assert!(error.is_limit(), "{error}");
        assert_eq!(error.offset(), page(200));
        assert_eq!(region.stats().committed_bytes, page(200));
        // Memory that was given back can be committed again, and the run continues.
        region.decommit(0..page(100)).unwrap();
        region.try_fill(page(200)..page(300), 1).unwrap();
        assert_eq!(region.stats().committed_bytes, page(200));
        assert!(region.try_write(0, 1u8).unwrap_err().is_limit());
    }
    assert_eq!(budget.committed_bytes(), 0);
}

#[test]
fn the_filter_is_asked_about_touches_and_not_about_windows() {
    let region = adaptive(1000, 64)
        .filter(|fault| {
            if fault.offset() / page_size() == 255 {
                Verdict::Decline
            } else {
                Verdict::Commit
            }
        })
        .build()
        .unwrap();
    // Windows of 64 from page 63 on: 191 to 254. Page 255 is the first of the next.
    let error = region.try_fill(0..page(1000), 1).unwrap_err();
    assert!(error.is_declined(), "{error}");
    assert_eq!(error.offset(), page(255));
    assert_eq!(committed_pages(&region), (0..255).collect::<Vec<_>>());
    // The run continues behind the page, which lies next to its window.
    region.try_write(page(256), 1u8).unwrap();
    assert!(committed_pages(&region).contains(&255));
    region.try_write(page(255), 1u8).unwrap();
}

#[test]
fn a_filter_that_commits_by_itself_gets_the_window() {
    let largest = std::sync::Arc::new(AtomicUsize::new(0));
    let seen = std::sync::Arc::clone(&largest);
    let region = adaptive(1000, 64)
        .filter(move |fault| match fault.commit() {
            Ok(range) => {
                seen.fetch_max(range.len() / page_size(), Ordering::Relaxed);
                Verdict::Commit
            }
            Err(_) => Verdict::Decline,
        })
        .build()
        .unwrap();
    region.try_fill(0..page(1000), 1).unwrap();
    assert_eq!(region.stats().faults, faults_for(1000, 64));
    assert_eq!(largest.load(Ordering::Relaxed), 64);
}

#[test]
fn what_is_decommitted_reads_as_zero_and_starts_from_a_page() {
    let region = adaptive(1000, 64).build().unwrap();
    region.try_fill(0..page(500), 1).unwrap();
    region.decommit(page(100)..page(300)).unwrap();
    let before = region.stats();
    region.try_write(page(200), 2u8).unwrap();
    assert_eq!(
        region.stats().committed_bytes,
        before.committed_bytes + page_size()
    );
    let mut bytes = vec![9; page(200)];
    region.try_copy_to_slice(page(100), &mut bytes).unwrap();
    assert!(
        bytes
            .iter()
            .enumerate()
            .all(|(n, &byte)| byte == if n == page(100) { 2 } else { 0 })
    );
    assert_eq!(region.try_read::<u8>(page(99)).unwrap(), 1);
    assert_eq!(region.try_read::<u8>(page(300)).unwrap(), 1);
}

#[test]
fn threads_that_fill_their_own_parts_each_get_large_windows() {
    let (threads, part) = (6, 1000);
    let region = adaptive(threads * part, 64).build().unwrap();
    let barrier = Barrier::new(threads);
    thread::scope(|scope| {
        for thread in 0..threads {
            let (region, barrier) = (&region, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for n in thread * part..(thread + 1) * part {
                    region.try_write(page(n), n).unwrap();
                }
            });
        }
    });
    assert_eq!(region.stats().committed_bytes, region.len());
    // A thread continues the run of the part before it if that run has reached its start: no additional faults.
    assert!(
        region.stats().commits <= threads as u64 * faults_for(part, 64),
        "{:?}",
        region.stats()
    );
    assert!((0..threads * part).all(|n| region.try_read::<usize>(page(n)).unwrap() == n));
}

#[test]
fn decommits_race_with_windows_that_are_being_brought_in() {
    // Whichever thread loses the race, a written page holds the written bytes, and a decommitted page is reserved.
    let region = adaptive(4000, 4000).build().unwrap();
    thread::scope(|scope| {
        let filler = scope.spawn(|| {
            for round in 0..common::times(50) as usize {
                for n in (0..2000).map(|n| n + 2000 * (round % 2)) {
                    region.try_write(page(n), n).unwrap();
                }
            }
        });
        while !filler.is_finished() {
            region.decommit(0..region.len()).unwrap();
            thread::yield_now();
        }
    });
    region.decommit(0..region.len()).unwrap();
    assert_eq!(region.stats().committed_bytes, 0);
    region.try_fill(0..region.len(), 3).unwrap();
}

/// A step applied to a region with limits, and to a vector of bytes.
#[derive(Clone, Debug)]
enum Step {
    Walk {
        start: usize,
        pages: usize,
        down: bool,
    },
    Touch(usize),
    Decommit {
        start: usize,
        pages: usize,
    },
    Commit {
        start: usize,
        pages: usize,
    },
}

const PAGES: usize = 300;

fn step() -> impl Strategy<Value = Step> {
    let part = (0..PAGES, 0..PAGES / 2);
    prop_oneof![
        3 => (part.clone(), any::<bool>()).prop_map(|((start, pages), down)| Step::Walk { start, pages, down }),
        3 => (0..PAGES).prop_map(Step::Touch),
        1 => part.clone().prop_map(|(start, pages)| Step::Decommit { start, pages }),
        1 => part.prop_map(|(start, pages)| Step::Commit { start, pages }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(common::times(64)) })]

    #[test]
    fn a_region_keeps_its_contents_and_its_limit(
        steps in prop::collection::vec(step(), 1..30),
        max in 1usize..200,
        limit in 1usize..=PAGES,
        huge: bool,
    ) {
        let region = adaptive(PAGES, max).commit_limit(page(limit)).huge_pages(huge).build().unwrap();
        let mut model = [0u64; PAGES];
        let mut value = 0;
        for step in steps {
            match step {
                Step::Walk { start, pages, down } => {
                    let end = (start + pages).min(PAGES);
                    for n in start..end {
                        let n = if down { start + end - 1 - n } else { n };
                        value += 1;
                        match region.try_write(page(n), value) {
                            Ok(()) => model[n] = value,
                            Err(error) => {
                                prop_assert!(error.is_limit(), "{}", error);
                                prop_assert_eq!(region.stats().committed_bytes, page(limit));
                            }
                        }
                    }
                }
                Step::Touch(n) => match region.try_read::<u64>(page(n)) {
                    Ok(read) => prop_assert_eq!(read, model[n]),
                    Err(error) => prop_assert!(error.is_limit() && model[n] == 0),
                },
                Step::Decommit { start, pages } => {
                    let end = (start + pages).min(PAGES);
                    region.decommit(page(start)..page(end)).unwrap();
                    model[start..end].fill(0);
                }
                Step::Commit { start, pages } => {
                    let end = (start + pages).min(PAGES);
                    if let Err(error) = region.commit(page(start)..page(end)) {
                        prop_assert!(error.is_limit());
                    }
                }
            }
            let committed = committed_pages(&region);
            prop_assert_eq!(region.stats().committed_bytes, page(committed.len()));
            prop_assert!(committed.len() <= limit);
            prop_assert!((0..PAGES).all(|n| model[n] == 0 || committed.contains(&n)));
        }
        for n in committed_pages(&region) {
            prop_assert_eq!(region.try_read::<u64>(page(n)).unwrap(), model[n]);
        }
    }
}

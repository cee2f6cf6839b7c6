//! Ranges that stay committed while a guard exists, and the cells that lend them.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use elbowroom::{Backend, Budget, Growth, HeldRange, Region, Verdict, page_size};
use proptest::prelude::*;

use crate::common;

/// Returns a region for each backend that this system has.
fn regions(len: usize) -> Vec<Region> {
    let mut backends = common::userfault_backends();
    backends.push(Backend::Protection);
    let build = |backend| Region::builder(len).backend(backend).build().unwrap();
    backends.into_iter().map(build).collect()
}

#[test]
fn cells_are_the_bytes_of_the_region() {
    for region in regions(8 * page_size()) {
        let held = region.hold(8..page_size() + 24).unwrap();
        assert_eq!(held.range(), 8..page_size() + 24);
        assert_eq!(held.as_ptr(), region.as_ptr().wrapping_add(8));
        assert_eq!(region.stats().committed_bytes, 2 * page_size());
        assert_eq!(region.stats().faults, 0, "no filter is asked");

        region
            .try_write(8, 0x0807_0605_0403_0201_u64.to_le())
            .unwrap();
        let bytes: Vec<u8> = held.cells::<u8>().unwrap().slice(0..8).iter().collect();
        assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(held.cells::<u16>().unwrap().get(3).to_le(), 0x0807);
        assert_eq!(held.cells::<u32>().unwrap().get(1).to_le(), 0x0807_0605);
        let words = held.cells::<i64>().unwrap();
        assert_eq!(words.len(), (page_size() + 16) / 8);
        assert_eq!(words.get(0).to_le(), 0x0807_0605_0403_0201);
        assert_eq!(words.get(1), 0, "fresh memory is zero");

        held.cells::<u8>().unwrap().set(0, 0xaa);
        held.cells::<u16>().unwrap().set(1, 0xbbbb);
        held.cells::<f32>().unwrap().set(1, 1.5);
        assert_eq!(
            region.try_read::<[u8; 4]>(8).unwrap(),
            [0xaa, 2, 0xbb, 0xbb]
        );
        assert_eq!(region.try_read::<f32>(12).unwrap(), 1.5);
        words.fill_with(|index| index as i64 * -3);
        let last = words.len() - 1;
        assert_eq!(
            region.try_read::<i64>(8 + 8 * last).unwrap(),
            last as i64 * -3
        );
        assert_eq!(region.try_read::<u64>(0).unwrap(), 0, "nothing before it");
        assert_eq!(
            region.try_read::<u64>(8 + 8 * words.len()).unwrap(),
            0,
            "nothing behind it"
        );
        assert!(
            words
                .iter()
                .rev()
                .eq((0..=last as i64).rev().map(|n| n * -3))
        );
        assert_eq!(words.iter().len(), words.len());
    }
}

/// Every length from none to a few turns of the unrolled loop.
#[test]
fn every_cell_is_filled_and_no_other() {
    let region = Region::new(page_size()).unwrap();
    for len in 0..40 {
        region.try_fill(0..page_size(), 0xff).unwrap();
        let held = region.hold(2..2 + 2 * len + 1).unwrap();
        let cells = held.cells::<u16>().unwrap();
        assert_eq!((cells.len(), cells.is_empty()), (len, len == 0));
        cells.fill_with(|index| index as u16);
        assert!(cells.iter().eq(0..len as u16));
        assert_eq!(region.try_read::<u16>(0).unwrap(), 0xffff);
        assert_eq!(region.try_read::<u16>(2 + 2 * len).unwrap(), 0xffff);
    }
}

#[test]
fn what_cannot_be_held_is_an_error_and_holds_nothing() {
    let page = page_size();
    let budget = Budget::new(3 * page);
    let region = Region::builder(8 * page)
        .commit_limit(4 * page)
        .budget(&budget)
        .growth(Growth::Pages(1))
        .filter(|_| Verdict::Decline)
        .build()
        .unwrap();
    assert!(region.hold(0..5 * page).unwrap_err().is_limit());
    let refused = region.hold(0..4 * page).unwrap_err();
    assert_eq!(refused.budget(), Some(&budget));
    assert!(
        region
            .hold(7 * page..8 * page + 1)
            .unwrap_err()
            .is_invalid_range()
    );
    #[expect(clippy::reversed_empty_ranges, reason = "what is tested")]
    let backwards = 9..3;
    assert!(region.hold(backwards).unwrap_err().is_invalid_range());
    assert_eq!(budget.committed_bytes(), 0);
    // None of the failed calls holds a page.
    region.commit(0..page).unwrap();
    region.decommit(0..8 * page).unwrap();

    // A filter that declines is not asked.
    let held = region.hold(4..16).unwrap();
    let refused = held.cells::<u64>().unwrap_err();
    assert!(refused.is_invalid_alignment());
    assert!(
        refused.to_string().contains("multiple of 8 bytes"),
        "{refused}"
    );
    assert_eq!(held.cells::<u32>().unwrap().len(), 3);
    let refused = region.decommit(0..1).unwrap_err();
    assert!(refused.is_held());
    assert_eq!(
        refused.to_string(),
        "cannot decommit byte 0: a HeldRange holds a page of it; drop that guard first"
    );
    region.decommit(page..8 * page).unwrap();
}

#[test]
#[should_panic(expected = "the index 4 is not inside 4 cells")]
fn a_cell_past_the_end_panics() {
    let region = Region::new(page_size()).unwrap();
    let held = region.hold(0..32).unwrap();
    held.cells::<u64>().unwrap().get(4);
}

#[test]
#[should_panic(expected = "the range 2..5 is not inside 4 cells")]
fn a_slice_past_the_end_panics() {
    let region = Region::new(page_size()).unwrap();
    let held = region.hold(0..32).unwrap();
    held.cells::<u64>().unwrap().slice(2..5);
}

#[test]
fn a_forgotten_guard_holds_for_the_life_of_the_region() {
    let region = Region::new(4 * page_size()).unwrap();
    std::mem::forget(region.hold(0..1).unwrap());
    assert!(region.decommit(0..1).unwrap_err().is_held());
    region.release().unwrap();
}

/// Several threads hold pages and count in them, while another thread decommits everything that is not held.
#[test]
fn what_is_held_is_never_decommitted() {
    const COUNTERS: usize = 4;
    for region in regions(COUNTERS * page_size()) {
        let (is_done, decommitted) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    for page in 0..COUNTERS {
                        let range = page * page_size()..(page + 1) * page_size();
                        match region.decommit(range) {
                            Ok(()) => decommitted.fetch_add(1, Ordering::Relaxed),
                            Err(error) => {
                                assert!(error.is_held(), "{error}");
                                continue;
                            }
                        };
                    }
                }
            });
            let threads = [0, 1].map(|thread| {
                let region = &region;
                scope.spawn(move || {
                    for round in 0..common::times(400) as usize {
                        let page = 2 * (round % 2) + thread;
                        let start = page * page_size();
                        let held = region.hold(start..start + page_size()).unwrap();
                        let cells = held.cells::<u64>().unwrap();
                        for count in 1..=100 {
                            cells.set(count % 7, count as u64);
                            assert_eq!(cells.get(count % 7), count as u64);
                        }
                    }
                })
            });
            for thread in threads {
                thread.join().unwrap();
            }
            is_done.store(true, Ordering::Relaxed);
        });
        region.decommit(0..region.len()).unwrap();
        assert_eq!(region.stats().committed_bytes, 0);
    }
}

const PAGES: usize = 12;

#[derive(Clone, Debug)]
enum Step {
    Hold(Range<usize>),
    Drop(usize),
    Decommit(Range<usize>),
    Fill(usize, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let range = (0..PAGES * 4, 0..20usize).prop_map(|(start, len)| {
        let unit = page_size() / 4;
        let end = (start + len).min(PAGES * 4);
        start * unit..end * unit
    });
    prop_oneof![
        range.clone().prop_map(Step::Hold),
        any::<usize>().prop_map(Step::Drop),
        range.prop_map(Step::Decommit),
        (any::<usize>(), any::<u8>()).prop_map(|(guard, byte)| Step::Fill(guard, byte)),
    ]
}

/// Returns the pages that a range of bytes touches.
fn pages(range: &Range<usize>) -> Range<usize> {
    if range.is_empty() {
        return 0..0;
    }
    range.start / page_size()..range.end.div_ceil(page_size())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(common::times(64)))]

    #[test]
    fn guards_behave_as_a_model_says(steps in prop::collection::vec(step(), 1..60)) {
        let region = Region::new(PAGES * page_size()).unwrap();
        let mut guards: Vec<HeldRange<'_>> = Vec::new();
        let mut model = vec![0u8; PAGES * page_size()];
        for step in steps {
            match step {
                Step::Hold(range) => guards.push(region.hold(range).unwrap()),
                Step::Drop(guard) if !guards.is_empty() => {
                    guards.swap_remove(guard % guards.len());
                }
                Step::Fill(guard, byte) if !guards.is_empty() => {
                    let held = &guards[guard % guards.len()];
                    held.cells::<u8>().unwrap().fill_with(|_| byte);
                    model[held.range()].fill(byte);
                }
                Step::Drop(_) | Step::Fill(..) => {}
                Step::Decommit(range) => {
                    let unwanted = pages(&range);
                    let is_held = guards.iter().any(|held| {
                        let held = pages(&held.range());
                        held.start < unwanted.end && unwanted.start < held.end
                    });
                    match region.decommit(range) {
                        Ok(()) => {
                            prop_assert!(!is_held);
                            let bytes = unwanted.start * page_size()..unwanted.end * page_size();
                            model[bytes].fill(0);
                        }
                        Err(error) => prop_assert!(is_held && error.is_held()),
                    }
                }
            }
        }
        drop(guards);
        let held = region.hold(0..region.len()).unwrap();
        prop_assert!(held.cells::<u8>().unwrap().iter().eq(model));
    }
}

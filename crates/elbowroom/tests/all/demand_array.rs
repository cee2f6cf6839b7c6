//! `DemandArray` from many threads, with drops counted and system calls refused.

#![allow(
    unsafe_code,
    reason = "says of the tests' own types that zero is a value"
)]

use crate::common;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::{panic, thread};

use bytemuck::Zeroable;
use elbowroom::{Budget, DemandArray, Growth, page_size};

#[test]
fn elements_aligned_to_more_than_a_page() {
    #[repr(align(131_072))]
    struct Wide(AtomicU64);
    // SAFETY: it consists of a number and padding, for which zero is valid.
    unsafe impl Zeroable for Wide {}

    let array = DemandArray::<Wide>::new(8).unwrap();
    // Lent instead of copied, because it barely fits on a stack.
    let five = array.touch(5).unwrap();
    five.0.store(5, Ordering::Relaxed);
    assert_eq!(std::ptr::from_ref(five).addr() % 131_072, 0);
    let values: Vec<u64> = array
        .slice(3..7)
        .unwrap()
        .iter()
        .map(|wide| wide.0.load(Ordering::Relaxed))
        .collect();
    assert_eq!(values, [0, 0, 5, 0]);
}

#[test]
fn elements_of_no_size() {
    let mut array = DemandArray::<()>::new(usize::MAX).unwrap();
    array.set(usize::MAX - 1, ()).unwrap();
    assert!(array.get(usize::MAX).unwrap_err().is_invalid_range());
    assert_eq!(array.slice(5..1 << 40).unwrap().len(), (1 << 40) - 5);
    array.clear_range(0..usize::MAX).unwrap();
    assert!(array.committed_ranges().eq(std::iter::once(0..usize::MAX)));
    assert_eq!(array.stats().committed_bytes, 0);
}

#[test]
fn an_empty_array() {
    let mut array = DemandArray::<u64>::new(0).unwrap();
    assert!(array.is_empty() && array.committed_ranges().next().is_none());
    assert!(array.get(0).unwrap_err().is_invalid_range());
    assert!(array.set(0, 1).unwrap_err().is_invalid_range());
    assert!(array.slice(0..0).unwrap().is_empty());
    array.clear_range(0..0).unwrap();
}

#[test]
#[expect(
    clippy::reversed_empty_ranges,
    reason = "an inverted range is what is tested"
)]
fn what_is_not_inside_is_an_error() {
    let mut array = DemandArray::<u64>::new(100).unwrap();
    for range in [
        0..101,
        100..101,
        5..4,
        usize::MAX..usize::MAX,
        0..usize::MAX,
        usize::MAX..0,
    ] {
        assert!(array.slice(range.clone()).unwrap_err().is_invalid_range());
        assert!(
            array
                .slice_mut(range.clone())
                .unwrap_err()
                .is_invalid_range()
        );
        assert!(array.clear_range(range).unwrap_err().is_invalid_range());
    }
    for index in [100, usize::MAX] {
        assert!(array.get(index).unwrap_err().is_invalid_range());
        assert!(array.touch(index).unwrap_err().is_invalid_range());
        assert!(
            array
                .update(index, |_| unreachable!())
                .unwrap_err()
                .is_invalid_range()
        );
    }
    assert_eq!(array.get(103).unwrap_err().offset(), 824);
    assert_eq!(array.stats().committed_bytes, 0);
    assert!(
        DemandArray::<u64>::new(usize::MAX)
            .unwrap_err()
            .is_invalid_range()
    );
    assert!(
        DemandArray::<u64>::new(1 << 60)
            .unwrap_err()
            .is_invalid_range()
    );
}

#[test]
fn a_vast_array_commits_where_it_is_used() {
    let len = common::vast() / size_of::<u64>();
    let mut array = DemandArray::<u64>::builder(len)
        .growth(Growth::Pages(1))
        .name("table")
        .build()
        .unwrap();
    assert_eq!((array.len(), array.name()), (len, "table"));
    let places = [0, len / 3, len / 2, len - 1];
    for (n, place) in places.into_iter().enumerate() {
        array.set(place, n as u64 + 1).unwrap();
    }
    assert_eq!(array.stats().committed_bytes, 4 * page_size());
    for index in (0..1000).map(|n| n * (len / 1000) + 1) {
        array.get(index).unwrap();
    }
    assert_eq!(
        array.stats().committed_bytes,
        4 * page_size(),
        "reading commits nothing"
    );
    let runs: Vec<_> = array.committed_ranges().collect();
    assert_eq!(runs.len(), 4);
    assert!(
        runs.iter()
            .zip(places)
            .all(|(run, place)| run.contains(&place))
    );
    array.clear_range(0..len).unwrap();
    assert_eq!(array.stats().committed_bytes, 0);
    assert_eq!(array.get(len / 3).unwrap(), 0);
    assert!(array.committed_ranges().next().is_none());
}

#[test]
fn growth_commits_a_window() {
    let mut array = DemandArray::<u8>::builder(100 * page_size())
        .growth(Growth::Pages(16))
        .build()
        .unwrap();
    array.set(20 * page_size(), 1).unwrap();
    assert!(
        array
            .committed_ranges()
            .eq(std::iter::once(16 * page_size()..32 * page_size()))
    );
    assert_eq!(array.stats().commits, 1);
    for page in 16..32 {
        array.set(page * page_size(), 1).unwrap();
    }
    assert_eq!(array.stats().commits, 1);
}

#[test]
fn a_budget_is_charged_and_refunded() {
    let budget = Budget::builder(3 * page_size()).name("tenant").build();
    let mut array = DemandArray::<u64>::builder(1 << 20)
        .growth(Growth::Pages(1))
        .budget(&budget)
        .build()
        .unwrap();
    let per_page = page_size() / 8;
    (0..3).for_each(|page| array.set(2 * page * per_page, 1).unwrap());
    let error = array.set(9 * per_page + 5, 1).unwrap_err();
    assert!(
        error.is_limit() && error.to_string().contains("tenant"),
        "{error}"
    );
    assert_eq!(error.offset(), 9 * page_size() + 40);
    assert!(array.slice(0..3 * per_page).is_err());
    assert_eq!(budget.committed_bytes(), 3 * page_size());
    assert_eq!(array.get(4 * per_page).unwrap(), 1);
    array.clear_range(0..per_page).unwrap();
    assert_eq!(budget.committed_bytes(), 2 * page_size());
    array.set(9 * per_page + 5, 1).unwrap();
    drop(array);
    assert_eq!(budget.committed_bytes(), 0);
}

#[test]
fn threads_share_an_array_of_atomics() {
    let len = 64 * page_size() / 8;
    let array = DemandArray::<AtomicU64>::builder(len)
        .growth(Growth::Pages(1))
        .build()
        .unwrap();
    let rounds = u64::from(common::times(20));
    thread::scope(|scope| {
        for worker in 0..4usize {
            let array = &array;
            scope.spawn(move || {
                for round in 0..rounds {
                    for at in (0..len).step_by(257) {
                        // The threads first meet on the same pages, by different methods.
                        if worker % 2 == 0 {
                            array.touch(at).unwrap().fetch_add(1, Ordering::Relaxed);
                        } else {
                            let end = len.min(at + 1000);
                            array.slice(at..end).unwrap()[0].fetch_add(1, Ordering::Relaxed);
                        }
                        assert!(array.touch(at).unwrap().load(Ordering::Relaxed) > round);
                    }
                }
            });
        }
    });
    let all = array.slice(0..len).unwrap();
    let sum: u64 = all.iter().map(|count| count.load(Ordering::Relaxed)).sum();
    assert_eq!(sum, 4 * rounds * len.div_ceil(257) as u64);
    assert_eq!(array.stats().committed_bytes, 64 * page_size());
}

/// A reference to a counter, or zero, which is no reference.
struct Counted<'a>(Option<&'a AtomicUsize>);
// SAFETY: `Option<&T>` is None if it is all zero.
unsafe impl Zeroable for Counted<'_> {}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.0 {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn elements_are_dropped_once() {
    let drops = AtomicUsize::new(0);
    let dropped = || drops.swap(0, Ordering::Relaxed);
    let per_page = page_size() / size_of::<Counted<'_>>();
    let mut array = DemandArray::<Counted<'_>>::builder(50 * per_page)
        .growth(Growth::Pages(1))
        .build()
        .unwrap();
    array.set(3, Counted(Some(&drops))).unwrap();
    assert_eq!(dropped(), 0);
    array.set(3, Counted(Some(&drops))).unwrap();
    assert_eq!(dropped(), 1, "the old one");
    for page in 10..20 {
        array
            .set(page * per_page + 7, Counted(Some(&drops)))
            .unwrap();
    }
    array
        .clear_range(11 * per_page + 7..13 * per_page + 7)
        .unwrap();
    assert_eq!(dropped(), 2);
    assert_eq!(array.stats().committed_bytes, 10 * page_size());
    array
        .update(13 * per_page + 7, |element| element.0 = None)
        .unwrap();
    drop(array);
    assert_eq!(dropped(), 1 + 7);
}

#[test]
fn a_panic_in_a_drop_leaves_no_element_out() {
    struct Fussy<'a>(Counted<'a>);
    // SAFETY: all zero is valid for its field.
    unsafe impl Zeroable for Fussy<'_> {}
    impl Drop for Fussy<'_> {
        fn drop(&mut self) {
            if self
                .0
                .0
                .is_some_and(|drops| drops.load(Ordering::Relaxed) == 0)
            {
                panic::resume_unwind(Box::new(()));
            }
        }
    }
    let drops = AtomicUsize::new(0);
    let per_page = page_size() / size_of::<Fussy<'_>>();
    let mut array = DemandArray::<Fussy<'_>>::builder(50 * per_page)
        .growth(Growth::Pages(1))
        .build()
        .unwrap();
    for page in [1, 2, 10, 20] {
        array
            .set(page * per_page, Fussy(Counted(Some(&drops))))
            .unwrap();
    }
    let drop_all = panic::AssertUnwindSafe(|| drop(array));
    assert!(panic::catch_unwind(drop_all).is_err(), "in the first one");
    assert_eq!(drops.load(Ordering::Relaxed), 4);
}

#[test]
fn a_panic_in_a_drop_or_a_change_leaves_elements_everywhere() {
    struct Fussy(u64);
    // SAFETY: it is a number, for which zero is valid.
    unsafe impl Zeroable for Fussy {}
    impl Drop for Fussy {
        fn drop(&mut self) {
            assert_ne!(self.0, 13, "unlucky");
        }
    }
    let per_page = page_size() / size_of::<Fussy>();
    let mut array = DemandArray::<Fussy>::new(10 * per_page).unwrap();
    for index in 0..10 * per_page {
        array
            .set(index, Fussy(if index == 3 * per_page { 13 } else { 1 }))
            .unwrap();
    }
    let clear = panic::AssertUnwindSafe(|| array.clear_range(0..10 * per_page));
    assert!(panic::catch_unwind(clear).is_err());
    assert_eq!(array.touch(3 * per_page).unwrap().0, 0);
    assert_eq!(array.touch(9 * per_page).unwrap().0, 1);
    array.clear_range(0..10 * per_page).unwrap();
    let change = panic::AssertUnwindSafe(|| array.update(5, |_| panic!("a change")));
    assert!(panic::catch_unwind(change).is_err());
    assert_eq!(array.touch(5).unwrap().0, 0);
}

#[cfg(feature = "inject")]
mod refused {
    use elbowroom::inject::{self, Call};

    use super::super::demand_array_model::{Element as _, Odd};
    use super::*;

    /// An element in the middle of the fifth page.
    fn middle() -> usize {
        (4 * page_size() + page_size() / 2) / size_of::<Odd>()
    }

    fn array() -> DemandArray<Odd> {
        let len = 10 * page_size() / size_of::<Odd>();
        let mut array = DemandArray::builder(len)
            .growth(Growth::Pages(1))
            .build()
            .unwrap();
        array.set(middle(), Odd::of(5)).unwrap();
        array
    }

    #[test]
    fn a_refused_commit_changes_nothing() {
        // An element on two pages.
        let straddling = page_size() / size_of::<Odd>();
        for nth in 1..=2 {
            let mut array = array();
            let plan = inject::refuse(Call::Commit, nth);
            let error = array.set(straddling, Odd::of(1)).unwrap_err();
            assert!(plan.happened() && error.is_out_of_memory());
            drop(plan);
            let size = size_of::<Odd>();
            let first_refused = if nth == 1 {
                straddling * size
            } else {
                page_size()
            };
            assert_eq!(error.range(), first_refused..(straddling + 1) * size);
            assert_eq!(array.get(straddling).unwrap(), Odd::of(0));
            assert_eq!(array.stats().committed_bytes, nth as usize * page_size());
            array.set(straddling, Odd::of(1)).unwrap();
            assert_eq!(array.get(straddling).unwrap(), Odd::of(1));
        }
        for nth in 1..=2 {
            let mut array = array();
            let len = array.len();
            let plan = inject::refuse(Call::Commit, nth);
            assert!(array.slice_mut(0..len).unwrap_err().is_out_of_memory());
            drop(plan);
            assert_eq!(array.stats().committed_bytes, page_size());
            assert_eq!(array.get(middle()).unwrap(), Odd::of(5));
            assert_eq!(array.slice(0..len).unwrap()[middle()], Odd::of(5));
        }
    }

    #[test]
    fn what_cannot_be_given_back_is_zero_all_the_same() {
        let mut array = array();
        let len = array.len();
        let plan = inject::refuse(Call::Decommit, 1);
        assert!(array.clear_range(1..len).is_err());
        assert!(plan.happened());
        drop(plan);
        assert_eq!(array.stats().committed_bytes, page_size());
        assert!(
            array
                .slice(0..len)
                .unwrap()
                .iter()
                .all(|&element| element == Odd::of(0))
        );
        array.clear_range(0..len).unwrap();
        assert!(
            array.stats().committed_bytes <= page_size(),
            "but the last, if the array does not fill it"
        );
    }

    #[test]
    fn a_vast_array_that_cannot_be_given_back_is_cleared_where_it_was_used() {
        let len = common::vast() / size_of::<u64>();
        let mut array = DemandArray::<u64>::new(len).unwrap();
        for index in [0, len / 2, len - 1] {
            array.set(index, 7).unwrap();
        }
        let plan = inject::refuse(Call::Decommit, 1);
        // All pages of the array, one by one, would take minutes.
        assert!(array.clear_range(0..len).unwrap_err().is_out_of_memory());
        assert!(plan.happened());
        drop(plan);
        assert!([0, len / 2, len - 1].map(|index| array.get(index).unwrap()) == [0; 3]);
    }

    #[test]
    fn a_refused_reservation_is_an_error() {
        let plan = inject::refuse(Call::Reserve, 1);
        assert!(DemandArray::<u8>::new(1).unwrap_err().is_out_of_memory());
        drop(plan);
    }
}

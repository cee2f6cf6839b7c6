//! Tests on caches of their own.

use std::mem::ManuallyDrop;

use super::super::prefix::WARM_BYTES;
use super::*;
use crate::budget::Budget;
use crate::containers::Options;
use crate::containers::prefix::{Extent, Inner, Prefix};
use crate::page;
use crate::region::Growth;

const LEN: usize = 64 << 20;

/// Returns a cache for one test, so that memory kept by other tests does not interfere.
fn bins() -> &'static Cache<Inner> {
    Box::leak(Box::new(Cache::new()))
}

fn options() -> Options {
    Options {
        growth: Growth::Pages(1),
        ..Options::default()
    }
}

fn reserve(bins: &'static Cache<Inner>, options: Options) -> Prefix {
    Prefix::reserve_from(bins, LEN, 1, Some(options), 0).unwrap()
}

fn committed(bins: &'static Cache<Inner>, pages: usize) -> Prefix {
    let mut prefix = reserve(bins, options());
    prefix
        .grow_mut(pages * page::size(), Extent::Ahead)
        .unwrap();
    prefix
}

fn end(bins: &'static Cache<Inner>, prefix: Prefix) {
    // SAFETY: the prefix ends here, and its drop does not run.
    unsafe { ManuallyDrop::new(prefix).end_on(bins) };
}

impl Cache<Inner> {
    /// Returns the number of committed pages without an owner, and the number of prefixes.
    fn counts(&'static self) -> (usize, usize) {
        (0..BIN_COUNT).fold((0, 0), |(pages, prefixes), number| {
            let bin = self.bin(number);
            let mut locked = bin.try_lock().unwrap();
            let warm = bin.0.warm_pages.load(Ordering::Relaxed);
            (pages + locked.places().pages + warm, prefixes + locked.len)
        })
    }
}

#[test]
fn the_next_takes_over_addresses_and_pages() {
    let bins = bins();
    let first = committed(bins, 3);
    let base = first.base();
    end(bins, first);
    let mut second = reserve(bins, options());
    assert_eq!(second.base(), base);
    // The pages do not belong to the new owner until it grows into them.
    assert_eq!((second.committed_bytes(), second.stats().commits), (0, 0));
    assert_eq!(bins.counts(), (3, 0));
    assert_eq!(second.grow_mut(1, Extent::Ahead).unwrap(), page::size());
    assert_eq!(bins.counts(), (2, 0));
    assert_eq!(
        second.grow_mut(5 * page::size(), Extent::Ahead).unwrap(),
        5 * page::size()
    );
    assert_eq!(bins.counts(), (0, 0));
}

#[test]
fn a_few_warm_pages_are_taken_over_at_once() {
    let bins = bins();
    let adaptive = || Options {
        growth: Growth::default(),
        huge_pages: false,
        ..options()
    };
    let few = PageCount::inside(WARM_BYTES).get().max(1);
    for (limit, taken) in [(usize::MAX, few), (page::size(), 1)] {
        end(bins, committed(bins, 2 * few));
        let mut owner = reserve(
            bins,
            Options {
                commit_limit_bytes: limit,
                ..adaptive()
            },
        );
        owner.grow_mut(1, Extent::Ahead).unwrap();
        assert_eq!(
            (owner.committed_bytes(), owner.stats().commits),
            (taken * page::size(), 1)
        );
        assert_eq!(bins.counts(), (2 * few - taken, 0));
        drop(owner);
        bins.give_back_all();
    }
    // At the reservation, if the number of bytes to be written is known, and if it is neither 0 nor too large.
    for (written, taken) in [(1, few), (0, 0), (few * page::size() + 1, 0)] {
        end(bins, committed(bins, 2 * few));
        let owner = Prefix::reserve_from(bins, LEN, 1, None, written).unwrap();
        assert_eq!(owner.committed_bytes(), taken * page::size());
        assert_eq!(bins.counts(), (2 * few - taken, 0));
        drop(owner);
        bins.give_back_all();
    }
    // A budget is charged for the needed pages only.
    end(bins, committed(bins, 2 * few));
    let budget = Budget::new(1 << 30);
    let mut owner = reserve(
        bins,
        Options {
            budget: Some(budget.clone()),
            ..adaptive()
        },
    );
    owner.grow_mut(1, Extent::Ahead).unwrap();
    assert_eq!(budget.committed_bytes(), page::size());
}

#[test]
fn pages_without_an_owner_are_bounded() {
    let bins = bins();
    let per_bin = PageCount::inside(BIN_BYTES).get();
    let many: Vec<Prefix> = (0..100).map(|_| committed(bins, per_bin / 4)).collect();
    many.into_iter().for_each(|prefix| end(bins, prefix));
    assert_eq!(
        bins.counts(),
        (BIN_COUNT * (per_bin / 4) * 4, BIN_COUNT * 4)
    );
    // Taken and not grown into: still without an owner.
    let taken: Vec<Prefix> = (0..BIN_COUNT * 4)
        .map(|_| reserve(bins, options()))
        .collect();
    assert_eq!(bins.counts(), (BIN_COUNT * (per_bin / 4) * 4, 0));
    // Leaves room for nothing else.
    end(bins, committed(bins, per_bin / 4));
    assert_eq!(bins.counts().1, 0);
    taken.into_iter().for_each(|prefix| end(bins, prefix));
    assert_eq!(
        bins.counts(),
        (BIN_COUNT * (per_bin / 4) * 4, BIN_COUNT * 4)
    );
    let given_back = bins.give_back_all();
    assert_eq!(given_back.prefixes, BIN_COUNT * 4);
    assert_eq!(
        given_back.committed_bytes,
        BIN_COUNT * (per_bin / 4) * 4 * page::size()
    );
    assert_eq!(bins.counts(), (0, 0));
}

#[test]
fn many_small_ones_are_bounded_in_number() {
    let bins = bins();
    let many: Vec<Prefix> = (0..100).map(|_| committed(bins, 1)).collect();
    many.into_iter().for_each(|prefix| end(bins, prefix));
    assert_eq!(bins.counts(), (BIN_COUNT * PLACES, BIN_COUNT * PLACES));
    bins.give_back_all();
}

#[test]
fn owners_pay_for_what_they_use_and_nothing_else() {
    let bins = bins();
    end(bins, committed(bins, 8));
    let budget = Budget::new(4 * page::size());
    let limited = Options {
        budget: Some(budget.clone()),
        commit_limit_bytes: 3 * page::size(),
        ..options()
    };
    let mut owner = reserve(bins, limited);
    assert_eq!(budget.committed_bytes(), 0);
    owner.grow_mut(2 * page::size(), Extent::Ahead).unwrap();
    assert_eq!(budget.committed_bytes(), 2 * page::size());
    assert_eq!(bins.counts(), (6, 0));
    assert!(
        owner
            .grow_mut(4 * page::size(), Extent::Ahead)
            .unwrap_err()
            .is_limit()
    );
    end(bins, owner);
    assert_eq!(budget.committed_bytes(), 0);
    assert_eq!(bins.counts(), (8, 1));
    // Neither the limit nor the budget of the previous owner applies.
    let mut next = committed(bins, 8);
    assert_eq!(next.stats().commit_limit_bytes, LEN);
    next.grow_mut(20 * page::size(), Extent::Ahead).unwrap();
    assert_eq!(budget.committed_bytes(), 0);
}

#[test]
fn a_shrunken_prefix_leaves_nothing_warm() {
    let bins = bins();
    end(bins, committed(bins, 8));
    let mut owner = committed(bins, 3);
    assert_eq!(bins.counts(), (5, 0));
    // SAFETY: nothing refers to the pages behind the first byte.
    assert_eq!(unsafe { owner.shrink(1) }.unwrap(), page::size());
    assert_eq!(bins.counts(), (0, 0));
    owner.grow_mut(3 * page::size(), Extent::Ahead).unwrap();
    end(bins, owner);
    assert_eq!(bins.counts(), (3, 1));
    bins.give_back_all();
}

#[test]
fn names_huge_pages_and_long_mappings_are_not_kept() {
    let bins = bins();
    end(
        bins,
        reserve(
            bins,
            Options {
                name: "mine".into(),
                ..options()
            },
        ),
    );
    let adaptive = Options {
        growth: Growth::default(),
        ..options()
    };
    let mut huge = Prefix::reserve_from(bins, 2 * page::huge_size(), 1, Some(adaptive), 0).unwrap();
    huge.grow_mut(page::huge_size(), Extent::Exact).unwrap();
    end(bins, huge);
    if page::size() == 4096 {
        // An emulator keeps data for each page of larger mappings.
        end(
            bins,
            Prefix::reserve_from(bins, MAPPING_BYTES_MAX + 1, 1, Some(options()), 0).unwrap(),
        );
    }
    assert_eq!(bins.counts(), (0, 0));
    // A long prefix is not given to a container that needs little, nor a short one to a container that needs more.
    end(bins, committed(bins, 1));
    let take = |len, align| bins.take(|inner| inner.fits(len, align), |_, _| PageCount::ZERO);
    assert!(take(LEN / 5, 1).is_none());
    assert!(take(LEN + page::size(), 1).is_none());
    assert!(take(LEN, 1 << 46).is_none());
    assert!(take(LEN / 4, 1).is_some());
}

#[test]
fn what_is_to_be_zero_is_not_taken_over() {
    let first = Prefix::reserve(LEN, 1, Some(options()), 0);
    let mut first = first.unwrap();
    first.grow_mut(1, Extent::Ahead).unwrap();
    // SAFETY: the prefix has committed its first page, and nothing else uses it.
    unsafe { first.base().write(7) };
    drop(first);
    let mut zeroed = Prefix::reserve_zeroed(LEN, 1, Some(options())).unwrap();
    zeroed.grow_mut(1, Extent::Ahead).unwrap();
    // SAFETY: the prefix has committed its first page, which is readable and initialised.
    assert_eq!(unsafe { zeroed.base().read() }, 0);
    // SAFETY: the page is committed, and nothing refers to it.
    unsafe { zeroed.base().write(7) };
    // SAFETY: nothing refers to the pages.
    unsafe { zeroed.shrink(0) }.unwrap();
    zeroed.grow_mut(1, Extent::Ahead).unwrap();
    // SAFETY: the prefix has committed its first page, which is readable and initialised.
    assert_eq!(unsafe { zeroed.base().read() }, 0);
}

#[test]
fn what_is_not_used_goes_back_in_the_end() {
    let bins = bins();
    let other = Prefix::reserve_from(bins, LEN / 8, 1, Some(options()), 0).unwrap();
    end(bins, committed(bins, 1));
    end(bins, other);
    assert_eq!(bins.counts(), (1, 2));
    for _ in 0..=AGE_MAX {
        end(
            bins,
            Prefix::reserve_from(bins, LEN / 8, 1, Some(options()), 0).unwrap(),
        );
    }
    assert_eq!(bins.counts(), (0, 1));
    bins.give_back_all();
}

#[test]
fn threads_share_the_bins() {
    let bins = bins();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for round in 0..500 {
                    let mut prefix = committed(bins, 1 + (thread + round) % 9);
                    let tag = thread * 10_000 + round;
                    // SAFETY: committed and aligned, and no other thread has the prefix.
                    unsafe { prefix.base().cast::<usize>().write(tag) };
                    prefix.grow_mut(12 * page::size(), Extent::Exact).unwrap();
                    // SAFETY: committed, aligned, written above, and no other thread has the prefix.
                    assert_eq!(unsafe { prefix.base().cast::<usize>().read() }, tag);
                    end(bins, prefix);
                }
            });
        }
    });
    assert!(bins.counts().1 > 0);
    bins.give_back_all();
    assert_eq!(bins.counts(), (0, 0));
}

#[test]
fn a_busy_bin_is_passed_by() {
    let bins = bins();
    end(bins, committed(bins, 1));
    // The state in the child of a fork while other threads hold the bins.
    let locked: Vec<Locked<Inner>> = (0..BIN_COUNT)
        .filter_map(|number| bins.bin(number).try_lock())
        .collect();
    assert_eq!(locked.len(), BIN_COUNT);
    assert!(bins.take(|_| true, |_, _| PageCount::ZERO).is_none());
    end(bins, committed(bins, 1));
    assert_eq!(bins.give_back_all().prefixes, 0);
    drop(locked);
    assert_eq!(bins.counts(), (1, 1));
    bins.give_back_all();
}

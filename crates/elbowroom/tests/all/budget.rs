//! Budgets: shared, nested, exact, refunded, and with callbacks.

#![allow(
    unsafe_code,
    reason = "a region can only be released in its own fault if a plain pointer touched it"
)]

use crate::common::{self, page};

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use elbowroom::{Budget, Growth, Region};
use proptest::prelude::*;

fn region(budget: &Budget, window: usize) -> Region {
    Region::builder(page(1000))
        .growth(Growth::Pages(window))
        .budget(budget)
        .build()
        .unwrap()
}

#[test]
fn a_budget_is_shared_and_refunded() {
    let budget = Budget::new(page(10) + 1);
    assert_eq!(
        (budget.limit_bytes(), budget.available_bytes()),
        (page(10), page(10))
    );
    let (first, second) = (region(&budget, 4), region(&budget, 4));
    first.try_write(0, 1u8).unwrap();
    second.commit(0..page(3)).unwrap();
    assert_eq!(
        (budget.committed_bytes(), budget.available_bytes()),
        (page(7), page(3))
    );
    // A window shrinks to the remaining room.
    first.try_write(page(8), 1u8).unwrap();
    assert_eq!(first.stats().committed_bytes, page(7));
    for error in [
        first.try_write(page(500), 1u8).unwrap_err(),
        second.commit(page(7)..page(8)).unwrap_err(),
    ] {
        assert!(error.is_limit());
        assert_eq!(error.budget(), Some(&budget));
        assert!(error.to_string().contains("the budget \"\""), "{error}");
    }
    second.commit(0..page(3)).unwrap();
    first.decommit(0..page(2)).unwrap();
    assert_eq!(budget.available_bytes(), page(2));
    drop(first);
    second.release().unwrap();
    assert_eq!(
        (budget.committed_bytes(), budget.peak_bytes()),
        (0, page(10))
    );
}

#[test]
fn the_budget_that_refuses_is_named() {
    let root = Budget::builder(page(20)).name("process").build();
    let tenants = [5, 30].map(|pages| {
        Budget::builder(page(pages))
            .name("tenant")
            .child_of(&root)
            .build()
    });
    let regions = tenants
        .each_ref()
        .map(|tenant| region(&tenant.child(page(100)), 1));
    let error = regions[0].try_fill(0..page(100), 1).unwrap_err();
    assert_eq!(
        (error.offset(), error.budget().unwrap().name()),
        (page(5), "tenant")
    );
    let error = regions[1].try_fill(0..page(100), 1).unwrap_err();
    assert_eq!(
        (error.offset(), error.budget().unwrap().name()),
        (page(15), "process")
    );
    assert_eq!(tenants[1].available_bytes(), 0);
    assert_eq!(error.budget(), Some(&root));
    // The region's own limit is not a budget.
    let limited = Region::builder(page(4))
        .commit_limit(page(1))
        .budget(&tenants[0])
        .build()
        .unwrap();
    let error = limited.commit(0..page(2)).unwrap_err();
    assert!(error.is_limit() && error.budget().is_none());
    assert_eq!(root.committed_bytes(), page(20));
    drop(regions);
    assert_eq!(
        (root.committed_bytes(), tenants[0].committed_bytes()),
        (0, 0)
    );
}

#[test]
fn a_threshold_is_heard_of_once_for_each_crossing() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = |name: &'static str| {
        let heard = Arc::clone(&heard);
        move |budget: &Budget| heard.lock().unwrap().push((name, budget.committed_bytes()))
    };
    let root = Budget::builder(page(100))
        .on_reaching(page(5), log("root"))
        .build();
    let child = Budget::builder(page(100))
        .child_of(&root)
        .on_reaching(page(2) + 1, log("child"))
        .build();
    let region = region(&child, 1);
    for n in 0..4 {
        region.try_write(page(n), 1u8).unwrap();
    }
    assert_eq!(heard.lock().unwrap()[..], [("child", page(3))]);
    region.commit(0..page(8)).unwrap();
    assert_eq!(heard.lock().unwrap()[1..], [("root", page(8))]);
    region.decommit(page(1)..page(8)).unwrap();
    region.commit(0..page(6)).unwrap();
    assert_eq!(
        heard.lock().unwrap()[2..],
        [("child", page(6)), ("root", page(6))]
    );
}

#[test]
fn a_threshold_may_be_answered_by_making_room() {
    // The callback decommits pages of the very region whose touch crossed the threshold.
    let target: Arc<Mutex<Option<Arc<Region>>>> = Arc::default();
    let in_callback = Arc::clone(&target);
    let budget = Budget::builder(page(10))
        .on_reaching(page(8), move |_| {
            let region = in_callback.lock().unwrap().clone().unwrap();
            let newest = region.stats().committed_bytes;
            assert!(newest >= page(8));
            region.decommit(0..page(4)).unwrap();
        })
        .build();
    let region = Arc::new(region(&budget, 1));
    *target.lock().unwrap() = Some(Arc::clone(&region));
    for n in 0..4 {
        region.try_write(page(n), 1u8).unwrap();
    }
    for n in 10..14 {
        region.try_write(page(n), 1u8).unwrap();
    }
    assert_eq!(budget.committed_bytes(), page(4));
    *target.lock().unwrap() = None;
}

#[test]
fn budgets_hold_at_every_moment_and_refuse_no_charge_that_fits() {
    // Room for the pages that each region needs (7, then 1) while the others have their largest number (12), but not
    // for 12 each.
    let root = Budget::new(page(44));
    let tenants: Vec<_> = (0..4).map(|_| root.child(page(12))).collect();
    let done = AtomicBool::new(false);
    let barrier = Barrier::new(tenants.len());
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert!(root.committed_bytes() <= page(44));
                assert!(
                    tenants
                        .iter()
                        .all(|tenant| tenant.committed_bytes() <= page(12))
                );
            }
        });
        let workers: Vec<_> = tenants
            .iter()
            .map(|tenant| {
                scope.spawn(|| {
                    let region = region(tenant, 5);
                    barrier.wait();
                    for round in 0..common::times(300) as usize {
                        // A window of five that does not fit must shrink, not refuse.
                        region.commit(0..page(7)).unwrap();
                        region.try_write(page(100 + 5 * (round % 20)), 1u8).unwrap();
                        region.decommit(0..region.len()).unwrap();
                    }
                })
            })
            .collect();
        let results: Vec<_> = workers
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect();
        done.store(true, Ordering::Relaxed);
        results.into_iter().for_each(|result| result.unwrap());
    });
    assert_eq!(root.committed_bytes(), 0);
    assert!(root.peak_bytes() <= page(44) && root.peak_bytes() >= page(8));
}

#[test]
fn a_deep_tree_is_dropped_without_recursion() {
    let mut budget = Budget::new(page(1));
    for _ in 0..common::times(200_000) {
        budget = budget.child(page(1));
    }
    drop(budget);
}

#[test]
fn a_region_that_is_dropped_by_a_budgets_callback_stays_valid() {
    let own: Arc<Mutex<Option<Region>>> = Arc::default();
    let in_callback = Arc::clone(&own);
    let budget = Budget::builder(page(10))
        .on_reaching(page(2), move |_| {
            let region = in_callback.lock().unwrap().take().unwrap();
            assert!(
                region
                    .release()
                    .unwrap_err()
                    .to_string()
                    .contains("own filter")
            );
        })
        .build();
    let region = region(&budget, 1);
    let second = region.as_ptr().wrapping_add(page(1));
    region.try_write(0, 1u8).unwrap();
    *own.lock().unwrap() = Some(region);
    // SAFETY: inside the region, which is leaked by the attempt to release it in the middle of this very touch.
    unsafe { second.write_volatile(1) };
    assert_eq!(budget.committed_bytes(), page(2));
}

#[test]
fn a_budget_outlives_its_children_and_its_handle() {
    let calls = Arc::new(AtomicUsize::new(0));
    let region = {
        let count = Arc::clone(&calls);
        let root = Budget::builder(page(3)).on_reaching(page(2), move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        region(&root.build().child(usize::MAX), 1)
    };
    assert!(region.try_fill(0..page(4), 1).unwrap_err().is_limit());
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(common::times(64)) })]

    /// Arbitrary trees of budgets, commits and decommits: each budget holds the sum of the commits below it, and a
    /// commit works if and only if every budget above has room.
    #[test]
    fn budgets_behave_like_sums(
        limits in prop::collection::vec((1usize..30, 0usize..8), 1..8),
        steps in prop::collection::vec((0usize..8, 0usize..20, 1usize..10, any::<bool>()), 1..60),
    ) {
        let mut budgets: Vec<(Budget, Option<usize>)> = Vec::new();
        for (n, (limit, parent)) in limits.iter().enumerate() {
            let parent = (n > 0 && parent % 3 != 0).then(|| parent % n);
            let builder = Budget::builder(page(*limit));
            let builder = match parent {
                Some(parent) => builder.child_of(&budgets[parent].0),
                None => builder,
            };
            budgets.push((builder.build(), parent));
        }
        let path = |n: usize| std::iter::successors(Some(n), |&n| budgets[n].1);
        let regions: Vec<_> = budgets.iter().map(|(budget, _)| region(budget, 1)).collect();
        let mut model = vec![[false; 40]; budgets.len()];
        let sum = |model: &Vec<[bool; 40]>, budget: usize| {
            let below = (0..budgets.len()).filter(|&n| path(n).any(|above| above == budget));
            below.map(|n| model[n].iter().filter(|&&committed| committed).count()).sum::<usize>()
        };
        for (which, start, len, commit) in steps {
            let which = which % budgets.len();
            let range = page(start)..page(start + len);
            if commit {
                let missing = model[which][start..start + len].iter().filter(|&&committed| !committed).count();
                let fits = path(which).all(|budget| sum(&model, budget) + missing <= limits[budget].0);
                prop_assert_eq!(regions[which].commit(range).is_ok(), fits || missing == 0);
                if fits || missing == 0 {
                    model[which][start..start + len].fill(true);
                }
            } else {
                regions[which].decommit(range).unwrap();
                model[which][start..start + len].fill(false);
            }
            for (n, (budget, _)) in budgets.iter().enumerate() {
                prop_assert_eq!(budget.committed_bytes(), page(sum(&model, n)));
            }
        }
    }
}

#[test]
fn a_charge_holds_until_it_is_dropped() {
    let reached = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reached);
    let budget = Budget::builder(page(5))
        .on_reaching(page(3), move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        })
        .build();
    let charge = budget.charge(page(2) + 1).unwrap();
    assert_eq!(
        (charge.bytes(), budget.committed_bytes()),
        (page(3), page(3))
    );
    assert_eq!(reached.load(Ordering::Relaxed), 1);
    let region = Region::builder(page(8))
        .growth(Growth::Pages(1))
        .budget(&budget)
        .build()
        .unwrap();
    // The charge and the region share the budget.
    let error = region.try_fill(0..page(3), 1).unwrap_err();
    assert_eq!(error.offset(), page(2));
    let error = budget.charge(1).unwrap_err();
    assert_eq!((error.budget(), error.range()), (Some(&budget), 0..1));
    assert!(error.to_string().starts_with("cannot charge"), "{error}");
    drop(charge);
    assert_eq!(budget.committed_bytes(), page(2));
    drop(region);
    assert_eq!(budget.charge(0).unwrap().bytes(), 0);
    assert!(budget.charge(usize::MAX).is_err());
}

//! A region's account of its pages, in every order of two threads that change it. The pages are real memory.

use std::sync::Arc;

use loom::thread;

use super::*;
use crate::os;
use crate::plain::{FaultAccess, FaultCode, Placement};

/// Returns a region of four pages that commits by `window`, and its budget.
fn region(commit_limit: usize, window: usize) -> (Arc<RegionInner>, Budget) {
    let data = PageCount::new(4);
    let len = PageCount::new(5).bytes();
    let mapping =
        Mapping::reserve(len, os::granularity(), Placement::Anywhere, Box::default()).unwrap();
    let budget = Budget::new(4 * page::size());
    let policy = Policy {
        growth: Growth::Pages(window),
        huge_pages: false,
        reports_refusals: true,
        commit_limit: PageCount::new(commit_limit),
        budget: Some(budget.clone()),
        filter: None,
        filter_threads: None,
        latencies: None,
    };
    (
        Arc::new(RegionInner::new(mapping, data, Pager::Protection, policy)),
        budget,
    )
}

/// Touches a page, as the handler does.
fn touch(inner: &RegionInner, page: usize) -> Result<Option<PageRange>, Cause> {
    let touch = Touch {
        address: inner.base().addr() + page * page::size(),
        access: FaultAccess::Write,
        code: FaultCode::Exception(0),
        is_inaccessible: true,
        is_missing: false,
    };
    inner.commit_around(&inner.fault(&touch))
}

/// Returns the committed pages, which region, table and budget must agree on, and the number of commits.
fn account(inner: &RegionInner, budget: &Budget) -> (usize, u64) {
    let runs = inner.runs().into_iter().filter(|&(_, committed)| committed);
    let committed: usize = runs.map(|(run, _)| run.byte_len()).sum();
    assert_eq!(
        (inner.committed_bytes(), budget.committed_bytes()),
        (committed, committed)
    );
    let commits = inner.stats().commits;
    (committed / page::size(), commits)
}

#[test]
fn a_race_for_the_last_page_charges_it_once_and_refuses_no_thread() {
    loom::model(|| {
        let (inner, budget) = region(1, 1);
        let other = {
            let inner = Arc::clone(&inner);
            thread::spawn(move || touch(&inner, 2).unwrap())
        };
        let mine = touch(&inner, 2).unwrap();
        let theirs = other.join().unwrap();
        assert_eq!(
            mine.is_some() as u32 + theirs.is_some() as u32,
            1,
            "one of them commits it"
        );
        assert_eq!(account(&inner, &budget), (1, 1));
        assert_eq!(budget.peak_bytes(), page::size());
    });
}

#[test]
fn the_limit_holds_in_every_order() {
    loom::model(|| {
        let (inner, budget) = region(3, 2);
        let other = {
            let inner = Arc::clone(&inner);
            thread::spawn(move || {
                // A window of two pages, reduced to the remaining room.
                let run = touch(&inner, 0).unwrap();
                assert!(inner.committed_bytes() <= 3 * page::size());
                run.unwrap().count().get()
            })
        };
        let mine = touch(&inner, 3).unwrap().unwrap().count().get();
        assert!(inner.committed_bytes() <= 3 * page::size());
        let theirs = other.join().unwrap();
        assert_eq!((mine + theirs, mine.max(theirs)), (3, 2));
        assert_eq!(account(&inner, &budget), (3, 2));
    });
}

#[test]
fn a_decommit_beside_a_touch_leaves_the_account_exact() {
    loom::model(|| {
        let (inner, budget) = region(4, 1);
        inner.commit(0..2 * page::size()).unwrap();
        let other = {
            let inner = Arc::clone(&inner);
            thread::spawn(move || inner.decommit(0..3 * page::size()).unwrap())
        };
        let committed = touch(&inner, 1).unwrap().is_some();
        other.join().unwrap();
        // The page was committed before, so the touch has committed it only if the decommit came first.
        assert_eq!(
            account(&inner, &budget),
            (usize::from(committed), 1 + u64::from(committed))
        );
    });
}

#[test]
fn a_commit_of_a_range_is_whole_beside_another() {
    loom::model(|| {
        let (inner, budget) = region(3, 1);
        let other = {
            let inner = Arc::clone(&inner);
            thread::spawn(move || inner.commit(2 * page::size()..4 * page::size()).is_ok())
        };
        let mine = inner.commit(0..2 * page::size()).is_ok();
        let theirs = other.join().unwrap();
        assert!(mine != theirs, "there is room for one of them");
        assert_eq!(account(&inner, &budget), (2, 1));
        // Nothing else was ever charged.
        assert_eq!(budget.peak_bytes(), 2 * page::size());
    });
}

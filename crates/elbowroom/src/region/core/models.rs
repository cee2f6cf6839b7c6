//! A region's account of its pages, in every order of two threads that change it. The pages are real.

#![cfg(all(test, loom))]

use std::cell::Cell;

use loom::thread;

use super::super::Fault;
use super::*;
use crate::fault::FaultCode;
use crate::os::Placement;

/// A region of four pages that commits by `window`, and its budget.
fn region(commit_limit: usize, window: usize) -> (Arc<Core>, Budget) {
    let data = PageCount::new(4);
    let len = PageCount::new(5).bytes();
    let mapping = Mapping::reserve(len, os::granularity(), Placement::Anywhere, Box::default()).unwrap();
    let budget = Budget::new(4 * page::size());
    let policy = Policy {
        growth: Growth::Pages(window),
        huge_pages: false,
        commit_limit: PageCount::new(commit_limit),
        budget: Some(budget.clone()),
        filter: None,
        monitors: None,
        latencies: None,
    };
    (Arc::new(Core::new(mapping, data, Pager::Protection, policy)), budget)
}

impl Core {
    /// Any region, for models of what only compares them.
    pub(crate) fn for_model() -> Arc<Core> {
        region(1, 1).0
    }
}

/// A touch of a page, as the handler would see it.
fn touch(core: &Core, page: usize) -> Result<Option<PageRange>, Refusal> {
    let fault = Fault {
        region: core,
        address: core.base().addr() + page * page::size(),
        access: FaultAccess::Write,
        code: FaultCode::Exception(0),
        is_page_fault: true,
        is_missing: false,
        cured: Cell::new(None),
    };
    core.commit_around(&fault)
}

/// What the region, its table and its budget say, which must be the same; and how often it committed.
fn account(core: &Core, budget: &Budget) -> (usize, u64) {
    let runs = core.runs().into_iter().filter(|&(_, committed)| committed);
    let committed: usize = runs.map(|(run, _)| run.byte_len()).sum();
    assert_eq!((core.committed_bytes(), budget.committed_bytes()), (committed, committed));
    let commits = core.stats().commits;
    (committed / page::size(), commits)
}

#[test]
fn a_race_for_the_last_page_charges_it_once_and_refuses_nobody() {
    loom::model(|| {
        let (core, budget) = region(1, 1);
        let other = {
            let core = Arc::clone(&core);
            thread::spawn(move || touch(&core, 2).unwrap())
        };
        let mine = touch(&core, 2).unwrap();
        let theirs = other.join().unwrap();
        assert_eq!(mine.is_some() as u32 + theirs.is_some() as u32, 1, "one of them commits it");
        assert_eq!(account(&core, &budget), (1, 1));
        assert_eq!(budget.peak_bytes(), page::size());
    });
}

#[test]
fn the_limit_holds_whoever_comes_first() {
    loom::model(|| {
        let (core, budget) = region(3, 2);
        let other = {
            let core = Arc::clone(&core);
            thread::spawn(move || {
                // A window of two, cut to what is left.
                let run = touch(&core, 0).unwrap();
                assert!(core.committed_bytes() <= 3 * page::size());
                run.unwrap().count().get()
            })
        };
        let mine = touch(&core, 3).unwrap().unwrap().count().get();
        assert!(core.committed_bytes() <= 3 * page::size());
        let theirs = other.join().unwrap();
        assert_eq!((mine + theirs, mine.max(theirs)), (3, 2));
        assert_eq!(account(&core, &budget), (3, 2));
    });
}

#[test]
fn a_decommit_beside_a_touch_leaves_the_account_exact() {
    loom::model(|| {
        let (core, budget) = region(4, 1);
        core.commit(0..2 * page::size()).unwrap();
        let other = {
            let core = Arc::clone(&core);
            thread::spawn(move || core.decommit(0..3 * page::size()).unwrap())
        };
        let committed = touch(&core, 1).unwrap().is_some();
        other.join().unwrap();
        // Committed before, it was committed by the touch only if the decommit came first.
        assert_eq!(account(&core, &budget), (usize::from(committed), 1 + u64::from(committed)));
    });
}

#[test]
fn a_commit_of_a_range_is_whole_beside_another() {
    loom::model(|| {
        let (core, budget) = region(3, 1);
        let other = {
            let core = Arc::clone(&core);
            thread::spawn(move || core.commit(2 * page::size()..4 * page::size()).is_ok())
        };
        let mine = core.commit(0..2 * page::size()).is_ok();
        let theirs = other.join().unwrap();
        assert!(mine != theirs, "there is room for one of them");
        assert_eq!(account(&core, &budget), (2, 1));
        // Nothing but it was ever charged.
        assert_eq!(budget.peak_bytes(), 2 * page::size());
    });
}

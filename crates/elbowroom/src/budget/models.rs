//! Charges and refunds of budgets, in every order of two threads.

use std::sync::atomic::AtomicUsize as Count;

use loom::thread;

use super::*;
use crate::page;

fn pages(count: usize) -> PageCount {
    PageCount::new(count)
}

fn of(count: usize) -> usize {
    count * page::size()
}

#[test]
fn a_charge_that_is_refused_above_blocks_no_other() {
    loom::model(|| {
        let root = Budget::new(of(3));
        // More than its own budget allows, or more than the topmost one has: it is refused either way, and nothing is
        // charged.
        let greedy = root.child(of(9));
        let other = thread::spawn(move || {
            assert_eq!(greedy.charge_pages(pages(4), pages(4)), Err(Steps(1)))
        });
        let modest = root.child(of(3));
        assert_eq!(modest.charge_pages(pages(3), pages(3)), Ok(pages(3)));
        other.join().unwrap();
        assert_eq!((root.committed(), modest.committed()), (pages(3), pages(3)));
        modest.refund_pages(pages(3));
        assert_eq!((root.committed(), root.peak_bytes()), (pages(0), of(3)));
    });
}

#[test]
fn what_two_are_granted_fits_and_is_refunded() {
    loom::model(|| {
        let root = Budget::new(of(3));
        let take = |budget: &Budget| {
            // A window shrinks to the remaining room, which is at least this much here.
            let granted = budget.charge_pages(pages(2), pages(1)).unwrap();
            budget.refund_pages(granted);
            granted
        };
        let tenant = root.child(of(2));
        let other = thread::spawn(move || {
            let granted = take(&tenant);
            assert_eq!(
                (tenant.committed(), tenant.peak_bytes()),
                (pages(0), granted.bytes())
            );
            granted
        });
        let tenant = root.child(of(2));
        let granted = [take(&tenant), other.join().unwrap()];
        assert!(
            granted.iter().any(|&granted| granted == pages(2)),
            "one of them comes first"
        );
        assert_eq!(
            (root.committed(), root.available_bytes()),
            (pages(0), of(3))
        );
        assert!(root.peak_bytes() <= of(3));
    });
}

#[test]
fn a_crossing_is_heard_of_exactly_once() {
    loom::model(|| {
        let heard = Arc::new(Count::new(0));
        let count = Arc::clone(&heard);
        let budget = Budget::builder(of(9))
            .on_reaching(of(2), move |_| {
                count.fetch_add(1, Ordering::Relaxed);
            })
            .build();
        // The charge of the second crosses the threshold only together with that of the first, or the other way round.
        let charge = |budget: &Budget| {
            budget.charge_pages(pages(1), pages(1)).unwrap();
            budget.run_pending_callbacks();
        };
        let other = {
            let budget = budget.clone();
            thread::spawn(move || charge(&budget))
        };
        charge(&budget);
        other.join().unwrap();
        assert_eq!(heard.load(Ordering::Relaxed), 1);
    });
}

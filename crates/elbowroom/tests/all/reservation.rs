//! Reservations: placement, states, contents, and every invalid input.

#![allow(
    unsafe_code,
    reason = "a reservation's memory is reached through plain pointers"
)]

use crate::common::{self, page};

use elbowroom::{
    Access, Budget, Error, Operation, PageState, Reservation, allocation_granularity, page_size,
};
use std::ops::Range;

fn write(block: &Reservation, offset: usize, value: u8) {
    // SAFETY: the caller has committed the byte.
    unsafe { block.as_ptr().wrapping_add(offset).write_volatile(value) };
}

fn read(block: &Reservation, offset: usize) -> u8 {
    // SAFETY: the caller has committed the byte.
    unsafe { block.as_ptr().wrapping_add(offset).read_volatile() }
}

#[test]
fn ranges_are_rounded_outward() {
    let block = Reservation::new(page(10) - 1).unwrap();
    assert_eq!(block.len(), page(10));
    block.commit(page(3) - 1..page(3) + 1).unwrap();
    let spans = block.spans();
    let shape: Vec<_> = spans
        .iter()
        .map(|span| (span.range.clone(), span.state, span.access))
        .collect();
    assert_eq!(
        shape,
        [
            (0..page(2), PageState::Reserved, Access::None),
            (page(2)..page(4), PageState::Committed, Access::ReadWrite),
            (page(4)..page(10), PageState::Reserved, Access::None),
        ]
    );
    block.commit(5..5).unwrap();
    assert_eq!(block.spans(), spans, "an empty range touches no page");
}

#[test]
fn recommitting_keeps_contents_and_decommitting_loses_them() {
    let block = Reservation::new(page(10)).unwrap();
    block.commit(page(1)..page(3)).unwrap();
    assert_eq!(read(&block, page(1)), 0);
    write(&block, page(1), 7);
    write(&block, page(2), 8);
    block.commit(0..page(10)).unwrap();
    assert_eq!((read(&block, page(1)), read(&block, page(2))), (7, 8));
    block.decommit(page(1)..page(1) + 1).unwrap();
    block.decommit(page(1)..page(2)).unwrap();
    block.commit(page(1)..page(2)).unwrap();
    assert_eq!((read(&block, page(1)), read(&block, page(2))), (0, 8));
}

#[test]
fn access_changes_and_contents_stay() {
    let block = Reservation::new(page(10)).unwrap();
    block.commit(0..page(4)).unwrap();
    write(&block, page(1), 9);
    for access in [
        Access::Read,
        Access::ReadExecute,
        Access::None,
        Access::ReadWrite,
    ] {
        block.protect(page(1)..page(2), access).unwrap();
        let span = block
            .spans()
            .into_iter()
            .find(|span| span.range.contains(&page(1)))
            .unwrap();
        assert_eq!((span.state, span.access), (PageState::Committed, access));
        if access != Access::None {
            assert_eq!(read(&block, page(1)), 9);
        }
    }
    assert_eq!(
        block.spans().len(),
        2,
        "equal neighbours are one span again"
    );
    // Committing again does not change the access.
    block.protect(0..page(1), Access::Read).unwrap();
    block.commit(0..page(4)).unwrap();
    assert_eq!(block.spans()[0].access, Access::Read);
    let error = block.protect(page(3)..page(5), Access::Read).unwrap_err();
    assert!(error.is_not_committed(), "{error}");
    assert_eq!(block.spans()[1].range, page(1)..page(4));
}

#[test]
fn vast_reservations_cost_nothing() {
    let block = Reservation::new(common::vast()).unwrap();
    assert_eq!(block.spans().len(), 1);
    let last = block.len() - 1;
    block.commit(last..last + 1).unwrap();
    write(&block, last, 1);
    block.decommit(0..block.len()).unwrap();
    assert_eq!(block.spans().len(), 1);
    block.release().unwrap();
}

#[test]
fn alignment_above_the_page_size() {
    for align in [
        1,
        2,
        page_size(),
        allocation_granularity(),
        1 << 21,
        1 << 30,
    ] {
        let block = Reservation::builder(page(3)).align(align).build().unwrap();
        assert_eq!(block.as_ptr().addr() % align, 0);
        assert_eq!(block.len(), page(3));
        block.commit(0..page(3)).unwrap();
        write(&block, page(3) - 1, 1);
    }
}

#[test]
fn an_exact_address_is_that_address_or_an_error() {
    let free = Reservation::new(page(64)).unwrap();
    let address = free.as_ptr().addr();
    let error = Reservation::builder(page(4))
        .at(address)
        .build()
        .unwrap_err();
    assert!(error.is_address_in_use(), "{error}");
    free.commit(0..1).unwrap();
    write(&free, 0, 1);
    assert_eq!(read(&free, 0), 1, "what was there is untouched");

    // Other tests map memory meanwhile, so the gap may be taken, but not every time.
    free.release().unwrap();
    let block = (0..10).find_map(|_| Reservation::builder(page(4)).at(address).build().ok());
    if let Some(block) = block {
        assert_eq!(block.as_ptr().addr(), address);
        // A reservation near a taken address lies elsewhere.
        let other = Reservation::builder(page(4)).near(address).build().unwrap();
        assert_ne!(other.as_ptr().addr(), address);
    }
    let hint = 0x5000_0000_0000;
    let near = Reservation::builder(page(4))
        .near(hint)
        .align(1 << 21)
        .build()
        .unwrap();
    assert_eq!(near.as_ptr().addr() % (1 << 21), 0);
}

#[test]
fn inputs_without_sense_are_errors() {
    let refused = |result: Result<Reservation, Error>| result.map(drop).unwrap_err();
    for len in [
        0,
        usize::MAX,
        usize::MAX - page_size() + 1,
        isize::MAX as usize + 1,
    ] {
        let error = refused(Reservation::new(len));
        assert!(error.is_invalid_range(), "{len}: {error}");
        assert_eq!(
            (error.operation(), error.range()),
            (Operation::Reserve, 0..len)
        );
    }
    // The size fits into a number, but is larger than the address space of any process.
    let error = refused(Reservation::new(isize::MAX as usize - page_size() + 1));
    assert!(error.os_code().is_some(), "{error}");

    for align in [0, 3, page_size() + 1, usize::MAX] {
        assert!(refused(Reservation::builder(1).align(align).build()).is_invalid_alignment());
    }
    assert!(Reservation::builder(1).align(1 << 63).build().is_err());
    let odd = refused(
        Reservation::builder(1)
            .at(allocation_granularity() + 1)
            .build(),
    );
    assert!(odd.is_invalid_alignment());
    let granule = allocation_granularity();
    for address in [0, usize::MAX - granule + 1] {
        assert!(refused(Reservation::builder(granule).at(address).build()).is_invalid_range());
    }

    let block = Reservation::new(page(10)).unwrap();
    let len = block.len();
    #[expect(clippy::reversed_empty_ranges, reason = "what is tested")]
    let ranges: [Range<usize>; 6] = [
        0..len + 1,
        len + 1..len + 1,
        7..6,
        usize::MAX..usize::MAX,
        usize::MAX..0,
        0..usize::MAX,
    ];
    for range in ranges {
        for result in [
            block.commit(range.clone()),
            block.decommit(range.clone()),
            block.protect(range.clone(), Access::Read),
        ] {
            let error = result.unwrap_err();
            assert!(error.is_invalid_range(), "{range:?}: {error}");
            assert_eq!(error.range(), range);
        }
    }
    assert_eq!(block.spans().len(), 1);
}

#[test]
fn a_shared_reservation_is_committed_from_many_threads() {
    let block = Reservation::new(page(400)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let block = &block;
            scope.spawn(move || {
                for n in (thread..400).step_by(4) {
                    block.commit(page(n)..page(n + 1)).unwrap();
                    write(block, page(n), n as u8);
                }
            });
        }
    });
    assert_eq!(block.spans().len(), 1);
    assert!((0..400).all(|n| read(&block, page(n)) == n as u8));
}

#[test]
fn committed_pages_are_charged_to_a_budget() {
    let top = Budget::new(page(10));
    let budget = Budget::builder(page(4))
        .name("block")
        .child_of(&top)
        .build();
    let block = Reservation::builder(page(16))
        .budget(&budget)
        .build()
        .unwrap();
    block.commit(page(1)..page(3)).unwrap();
    assert_eq!(
        (budget.committed_bytes(), top.committed_bytes()),
        (page(2), page(2))
    );
    // Two of these are committed already.
    block.commit(0..page(4)).unwrap();
    assert_eq!(budget.committed_bytes(), page(4));
    let error = block.commit(page(3)..page(6)).unwrap_err();
    assert!(
        error.is_limit() && error.range() == (page(3)..page(6)),
        "{error}"
    );
    assert_eq!(error.budget().map(Budget::name), Some("block"));
    assert_eq!(
        (block.spans().len(), budget.committed_bytes()),
        (2, page(4))
    );
    // Four of these are committed.
    block.decommit(0..page(9)).unwrap();
    assert_eq!(budget.committed_bytes(), 0);
    block.commit(page(8)..page(9)).unwrap();
    block.release().unwrap();
    assert_eq!((budget.committed_bytes(), top.committed_bytes()), (0, 0));
    let dropped = Reservation::builder(page(4))
        .budget(&budget)
        .build()
        .unwrap();
    dropped.commit(0..page(4)).unwrap();
    drop(dropped);
    assert_eq!(
        (budget.committed_bytes(), budget.peak_bytes()),
        (0, page(4))
    );
}

//! Functions that fail while they fill an `Arena`: by a panic, by an error of their own, or for want of memory.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use elbowroom::{Arena, page_size};

fn arena() -> Arena {
    Arena::with_max_bytes(64 << 20)
}

#[test]
fn a_slice_that_fails_leaves_no_padding_behind() {
    type Failure = fn(&Arena);
    const FAILURES: [(&str, Failure); 5] = [
        ("fill_with", |arena| {
            _ = arena.alloc_slice_fill_with(10, |n| if n == 7 { panic!("seven") } else { n as u64 })
        }),
        ("fill_with, at once", |arena| {
            _ = arena.alloc_slice_fill_with(10, |_| -> u128 { panic!("at once") })
        }),
        ("fill_iter, exact", |arena| {
            _ = arena
                .alloc_slice_fill_iter((0..10u64).map(|n| if n == 7 { panic!("seven") } else { n }))
        }),
        ("fill_iter, unknown", |arena| {
            let numbers = (0..10u64).filter(|_| true);
            _ = arena
                .alloc_slice_fill_iter(numbers.map(|n| if n == 7 { panic!("seven") } else { n }))
        }),
        ("fill_iter, beyond the limit", |arena| {
            _ = arena.alloc_slice_fill_iter((0u64..).filter(|_| true))
        }),
    ];
    for (name, failure) in FAILURES {
        let arena = Arena::builder(1 << 20)
            .commit_limit(2 * page_size())
            .build()
            .unwrap();
        failure_is_felt(&arena, failure);
        assert_eq!(arena.allocated_bytes(), 0, "{name}, first");
        arena.alloc(1u8);
        failure_is_felt(&arena, failure);
        assert_eq!(arena.allocated_bytes(), 1, "{name}");
        arena.alloc(2u8);
        assert_eq!(arena.allocated_bytes(), 2, "{name}");
    }
}

fn failure_is_felt(arena: &Arena, failure: fn(&Arena)) {
    assert!(catch_unwind(AssertUnwindSafe(|| failure(arena))).is_err());
}

#[test]
fn a_slice_that_moved_gives_back_its_last_place_only() {
    let arena = arena();
    arena.alloc(1u8);
    let mut between = None;
    let fails = AssertUnwindSafe(|| {
        let numbers = (0..10u64).filter(|_| true);
        _ = arena.alloc_slice_fill_iter(numbers.inspect(|n| match n {
            // Behind the block of four, which so cannot grow where it is.
            3 => between = Some(arena.alloc(7u8)),
            8 => panic!("eight"),
            _ => {}
        }))
    });
    assert!(catch_unwind(fails).is_err());
    assert_eq!(between, Some(&mut 7));
    // A byte, padding, the block of four, the byte between.
    assert_eq!(arena.allocated_bytes(), 8 + 4 * 8 + 1);
}

#[test]
fn a_slice_that_stays_empty_takes_nothing() {
    let arena = arena();
    arena.alloc(1u8);
    let promised = [1u64, 2, 3].into_iter().map_while(|_| None::<u64>);
    assert!(arena.alloc_slice_fill_iter(promised).is_empty());
    struct Promising;
    impl Iterator for Promising {
        type Item = u64;
        fn next(&mut self) -> Option<u64> {
            None
        }
        fn size_hint(&self) -> (usize, Option<usize>) {
            (10, None)
        }
    }
    assert!(arena.alloc_slice_fill_iter(Promising).is_empty());
    assert_eq!(arena.allocated_bytes(), 1);
}

#[test]
fn a_panic_in_a_drop_gives_the_slice_back_too() {
    struct Fussy<'a>(u64, &'a Cell<u32>);
    impl Drop for Fussy<'_> {
        fn drop(&mut self) {
            self.1.set(self.1.get() + 1);
            if self.0 == 2 {
                panic!("the second");
            }
        }
    }
    let (arena, drops) = (Arena::with_max_bytes(page_size()), Cell::new(0));
    arena.alloc(1u8);
    // Refused, not unwinding, so that the one panic is that of the drop.
    let endless = (0..).filter(|_| true).map(|n| Fussy(n, &drops));
    let refused = AssertUnwindSafe(|| arena.try_alloc_slice_fill_iter(endless).is_err());
    assert!(catch_unwind(refused).is_err());
    assert_eq!(drops.get() as usize, (page_size() - 8) / 16 + 1);
    assert_eq!(arena.allocated_bytes(), 1);
}

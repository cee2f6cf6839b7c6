//! Functions that fail while they fill an `Arena`: by a panic, by an error of their own, or for lack of memory.

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
            // Behind the block of four, which therefore cannot grow in place.
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
    // A refusal instead of a panic, so that the one panic is that of the drop.
    let endless = (0..).filter(|_| true).map(|n| Fussy(n, &drops));
    let refused = AssertUnwindSafe(|| arena.try_alloc_slice_fill_iter(endless).is_err());
    assert!(catch_unwind(refused).is_err());
    assert_eq!(drops.get() as usize, (page_size() - 8) / 16 + 1);
    assert_eq!(arena.allocated_bytes(), 1);
}

/// Counts its drops.
#[derive(Debug)]
struct Counted<'a>(&'a Cell<u32>);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn an_error_of_the_function_is_returned_and_the_room_free_again() {
    let (arena, drops) = (arena(), Cell::new(0));
    arena.alloc(1u8);
    let make = |n| {
        if n == 7 {
            Err("seven")
        } else {
            Ok(Counted(&drops))
        }
    };
    assert_eq!(arena.alloc_try_with(|| make(7)).unwrap_err(), "seven");
    assert_eq!((arena.allocated_bytes(), drops.take()), (1, 0));
    assert_eq!(
        arena.alloc_slice_try_fill_with(10, make).unwrap_err(),
        "seven"
    );
    assert_eq!((arena.allocated_bytes(), drops.take()), (1, 7));
    let exact = arena.alloc_slice_try_fill_iter((0..10).map(make));
    assert_eq!(exact.unwrap_err(), "seven");
    assert_eq!((arena.allocated_bytes(), drops.take()), (1, 7));
    let mut after = 0;
    let unknown = (0..10).filter(|_| true).inspect(|_| after += 1).map(make);
    assert_eq!(
        arena.alloc_slice_try_fill_iter(unknown).unwrap_err(),
        "seven"
    );
    assert_eq!((arena.allocated_bytes(), drops.take()), (1, 7));
    assert_eq!(after, 8, "nothing is taken behind the error");

    let panics = AssertUnwindSafe(|| _ = arena.alloc_try_with(|| -> Result<u64, ()> { panic!() }));
    assert!(catch_unwind(panics).is_err());
    assert_eq!(arena.allocated_bytes(), 1);
    // The block of a value whose maker allocated is lost, and the maker's allocation is not.
    let mut kept = None;
    let failed = arena.alloc_try_with(|| {
        kept = Some(arena.alloc(9u8));
        Err::<u64, ()>(())
    });
    assert!(failed.is_err());
    assert_eq!((kept, arena.allocated_bytes()), (Some(&mut 9), 17));

    assert!(arena.alloc_try_with(|| make(1)).is_ok());
    assert_eq!(
        arena.alloc_slice_try_fill_with(7, make).map(|s| s.len()),
        Ok(7)
    );
    assert_eq!(
        arena
            .alloc_slice_try_fill_iter((0..7).map(make))
            .map(|s| s.len()),
        Ok(7)
    );
    drop(arena);
    assert_eq!(drops.get(), 0);
}

#[test]
fn the_arena_s_error_comes_before_the_function_s() {
    let mut arena = Arena::with_max_bytes(page_size());
    let many = page_size() + 1;
    let never = |_| -> Result<u8, ()> { unreachable!() };
    let refused = arena
        .try_alloc_slice_try_fill_with(many, never)
        .unwrap_err();
    assert!(refused.is_limit());
    let endless = (0u8..=255).cycle().map(Ok::<u8, ()>).filter(|_| true);
    assert!(
        arena
            .try_alloc_slice_try_fill_iter(endless)
            .unwrap_err()
            .is_limit()
    );
    assert_eq!(arena.allocated_bytes(), 0);
    arena.scope(|scope| {
        scope.alloc_slice_fill_default::<u8>(page_size());
        assert!(
            scope
                .try_alloc_try_with(|| never(0))
                .unwrap_err()
                .is_limit()
        );
        // A value without a size needs no room.
        assert!(matches!(
            scope.try_alloc_try_with(|| Ok::<(), ()>(())),
            Ok(Ok(&mut ()))
        ));
        let zeros = scope.alloc_slice_try_fill_with(1000, |_| Ok::<(), ()>(()));
        assert_eq!(zeros.map(|zeros| zeros.len()), Ok(1000));
        assert_eq!(
            scope.alloc_slice_try_fill_with(9, |_| Err::<(), u8>(4)),
            Err(4)
        );
    });
}

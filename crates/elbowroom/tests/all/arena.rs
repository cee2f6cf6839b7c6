//! `Arena` and its scopes, with limits, budgets and drops counted.

use crate::common;

use std::alloc::Layout;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use elbowroom::{Arena, Budget, Growth, page_size};

pub(super) const MAX_BYTES: usize = 64 << 20;

fn arena() -> Arena {
    Arena::with_max_bytes(MAX_BYTES)
}

#[test]
fn an_arena_that_is_not_used_reserves_nothing() {
    let mut arena = Arena::new();
    arena.reset();
    arena.shrink_to_fit();
    assert_eq!(
        arena.scope(|scope| scope.scope(|inner| inner.allocated_bytes())),
        0
    );
    arena.alloc(());
    arena.alloc_str("");
    assert_eq!(
        arena
            .alloc_layout(Layout::from_size_align(0, 1 << 40).unwrap())
            .as_ptr()
            .addr()
            % (1 << 40),
        0
    );
    assert!(arena.alloc_slice_fill_with(5, |_| ()).len() == 5);
    assert!(
        arena
            .alloc_slice_fill_iter([[0u64; 0]; 3].into_iter().filter(|_| true))
            .len()
            == 3
    );
    assert_eq!(arena.stats().reserved_bytes, 0);
    assert!(arena.spans().is_empty() && arena.allocated_bytes() == 0);
}

#[test]
fn a_slice_that_begins_empty_in_an_arena_that_is_not_used() {
    // A block without a size lies where the arena seems to begin as long as it has no memory.
    let arena = arena();
    let bytes = arena.alloc_slice_fill_iter((0..100u8).filter(|n| n % 2 == 0));
    assert!(bytes.iter().copied().eq((0..100).step_by(2)));
    assert_eq!(arena.allocated_bytes(), 50);
}

#[test]
fn values_refer_to_each_other() {
    struct Node<'a> {
        next: Cell<Option<&'a Node<'a>>>,
        number: u32,
    }
    let arena = arena();
    let nodes = arena.alloc_slice_fill_with(1000, |n| Node {
        next: Cell::new(None),
        number: n as u32,
    });
    let nodes = &*nodes;
    for (index, node) in nodes.iter().enumerate() {
        node.next.set(Some(&nodes[(index * 7 + 1) % 1000]));
    }
    let last = std::iter::successors(Some(&nodes[0]), |node| node.next.get())
        .nth(500)
        .unwrap();
    let expected = (0..500).fold(0, |n, _| (n * 7 + 1) % 1000);
    assert_eq!(last.number, expected);
}

#[test]
fn what_was_lent_may_be_written_side_by_side() {
    let arena = arena();
    let mut numbers: Vec<&mut u64> = (0..10_000).map(|n| arena.alloc(n)).collect();
    let text = arena.alloc_str("text");
    numbers.iter_mut().for_each(|number| **number += 1);
    text.make_ascii_uppercase();
    assert!(
        numbers
            .iter()
            .zip(1..)
            .all(|(number, expected)| **number == expected)
    );
    assert_eq!(text, "TEXT");
}

#[test]
fn limits_and_budgets_are_exact() {
    let budget = Budget::new(10 * page_size());
    let arena = Arena::builder(100 * page_size())
        .commit_limit(5 * page_size())
        .growth(Growth::Pages(4))
        .budget(&budget)
        .build()
        .unwrap();
    assert_eq!(arena.stats().committed_bytes, 0);
    arena.alloc(1u8);
    assert_eq!(
        (arena.stats().committed_bytes, budget.committed_bytes()),
        (4 * page_size(), 4 * page_size())
    );
    let error = arena
        .try_alloc_slice_fill_default::<u8>(5 * page_size())
        .unwrap_err();
    assert!(error.is_limit() && error.budget().is_none());
    assert_eq!(error.range(), 4 * page_size()..5 * page_size() + 1);
    assert_eq!(arena.allocated_bytes(), 1);
    arena.alloc_slice_fill_default::<u8>(5 * page_size() - 1);
    assert!(arena.try_alloc(1u8).unwrap_err().is_limit());
    let other = Arena::builder(100 * page_size())
        .budget(&budget)
        .build()
        .unwrap();
    assert_eq!(
        other
            .try_alloc_str(&"a".repeat(6 * page_size()))
            .unwrap_err()
            .budget(),
        Some(&budget)
    );
    other.alloc_str(&"a".repeat(5 * page_size()));
    drop((arena, other));
    assert_eq!(budget.committed_bytes(), 0);
}

#[test]
fn what_is_too_large_is_an_error() {
    let arena = arena();
    assert!(
        arena
            .try_alloc_slice_fill_default::<u64>(usize::MAX / 4)
            .unwrap_err()
            .is_invalid_range()
    );
    assert!(
        arena
            .try_alloc_slice_fill_iter(0u64..)
            .unwrap_err()
            .is_invalid_range(),
        "it says how long it is"
    );
    assert!(
        arena
            .try_alloc_slice_fill_with(isize::MAX as usize, |_| -> u8 { unreachable!() })
            .unwrap_err()
            .is_limit()
    );
    let aligned = |size, align| Layout::from_size_align(size, align).unwrap();
    let half = 1usize << 62;
    for layout in [
        aligned(1, half),
        aligned(half, half),
        aligned(half - 1, 1),
        aligned(isize::MAX as usize, 1),
    ] {
        let error = arena.try_alloc_layout(layout).unwrap_err();
        assert!(error.is_limit(), "{error}");
    }
    assert_eq!(arena.allocated_bytes(), 0);
    let error = Arena::with_max_bytes(0).try_alloc(1).unwrap_err();
    assert!(error.is_limit(), "{error}");
    assert!(Arena::with_max_bytes(0).alloc_str("").is_empty());
    assert!(
        Arena::with_max_bytes(usize::MAX)
            .try_alloc(1)
            .unwrap_err()
            .is_invalid_range()
    );
    assert!(
        Arena::builder(usize::MAX)
            .build()
            .unwrap_err()
            .is_invalid_range()
    );
}

#[test]
fn a_full_arena_panics_with_the_error_s_text() {
    let arena = Arena::with_max_bytes(1);
    let full = |allocate: &dyn Fn(&Arena)| {
        let panic = catch_unwind(AssertUnwindSafe(|| allocate(&arena))).unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(
            text.starts_with("cannot commit ")
                && text.contains(" bytes")
                && text.contains("its maximum of"),
            "{text}"
        );
    };
    let bytes = vec![1u8; page_size() + 1];
    full(&|arena| _ = arena.alloc_slice_copy(&bytes));
    full(&|arena| _ = arena.alloc_slice_clone(&bytes));
    full(&|arena| _ = arena.alloc_slice_fill_default::<u8>(bytes.len()));
    full(&|arena| _ = arena.alloc_slice_fill_iter(bytes.iter().filter(|_| true)));
    full(&|arena| _ = arena.alloc_str(&"a".repeat(bytes.len())));
    full(&|arena| _ = arena.alloc_layout(Layout::for_value(&bytes[..])));
    arena.alloc_slice_copy(&bytes[1..]);
    full(&|arena| _ = arena.alloc(1u8));
    full(&|arena| _ = arena.alloc_with(|| -> u8 { unreachable!() }));
}

#[test]
fn alignments_beyond_a_page() {
    #[repr(align(65_536))]
    struct Wide(u8);

    let arena = arena();
    let mut wides = Vec::new();
    for n in 0..10 {
        arena.alloc(1u8);
        wides.push(arena.alloc_with(|| Wide(n)));
    }
    assert!(
        wides
            .iter()
            .zip(0..)
            .all(|(wide, n)| wide.0 == n && std::ptr::from_ref(*wide).addr() % 65_536 == 0)
    );
}

#[test]
fn a_reset_keeps_the_pages_and_shrinking_gives_them_back() {
    let mut arena = arena();
    arena.alloc_slice_fill_default::<u64>(100_000);
    let stats = arena.stats();
    arena.reset();
    assert_eq!(arena.stats(), stats);
    let first = std::ptr::from_ref(arena.alloc_slice_fill_with(50_000, |n| n)).addr();
    assert_eq!(arena.stats(), stats);
    arena.shrink_to_fit();
    assert_eq!(
        arena.stats().committed_bytes,
        400_000usize.next_multiple_of(page_size())
    );
    assert_eq!(arena.allocated_bytes(), 400_000);
    arena.reset();
    arena.shrink_to_fit();
    assert_eq!(arena.stats().committed_bytes, 0);
    assert_eq!(
        std::ptr::from_ref(arena.alloc_slice_fill_with(50_000, |n| n)).addr(),
        first
    );
}

#[test]
fn a_scope_ends_also_by_a_panic() {
    let mut arena = arena();
    arena.scope(|outer| {
        let kept = outer.alloc_str("kept");
        let before = outer.allocated_bytes();
        let panic = catch_unwind(AssertUnwindSafe(|| {
            outer.scope(|inner| {
                inner.alloc_str("gone");
                panic!("in a scope");
            })
        }));
        assert!(panic.is_err());
        assert_eq!(outer.allocated_bytes(), before);
        assert_eq!(kept, "kept");
    });
    assert_eq!(arena.allocated_bytes(), 0);
}

#[test]
fn the_first_allocation_may_be_in_a_scope() {
    let mut arena = arena();
    for _ in 0..2 {
        let sum: u64 = arena.scope(|outer| {
            outer.scope(|inner| {
                inner
                    .alloc_slice_fill_with(10_000, |n| n as u64)
                    .iter()
                    .sum::<u64>()
            }) + outer
                .alloc_slice_fill_with(10, |n| n as u64)
                .iter()
                .sum::<u64>()
        });
        assert_eq!(sum, 49_995_000 + 45);
        assert_eq!(arena.allocated_bytes(), 0);
    }
    assert_eq!(*arena.alloc(7), 7);
}

#[test]
fn functions_may_allocate_in_the_arena_themselves() {
    let arena = arena();
    let pair = arena.alloc_with(|| (arena.alloc(1), arena.alloc_str("one")));
    let texts = arena.alloc_slice_fill_with(100, |n| arena.alloc_str(&n.to_string()));
    // From an iterator of unknown length: the slice is moved from time to time.
    let yielded = arena.alloc_slice_fill_iter(
        (0..100)
            .filter(|n| n % 3 == 0)
            .map(|n| arena.alloc_str(&n.to_string())),
    );
    assert!(
        texts
            .iter()
            .zip(0..)
            .all(|(text, n): (_, u32)| **text == n.to_string())
    );
    assert!(
        yielded
            .iter()
            .zip((0..).step_by(3))
            .all(|(text, n): (_, u32)| **text == n.to_string())
    );
    assert_eq!(yielded.len(), 34);
    assert_eq!((*pair.0, &*pair.1), (1, "one"));
}

#[test]
fn iterators_that_lie() {
    struct Liar(u32, (usize, Option<usize>));
    impl Iterator for Liar {
        type Item = u32;
        fn next(&mut self) -> Option<u32> {
            self.0 = self.0.checked_sub(1)?;
            Some(self.0)
        }
        fn size_hint(&self) -> (usize, Option<usize>) {
            self.1
        }
    }
    let arena = arena();
    assert_eq!(
        arena.alloc_slice_fill_iter(Liar(3, (1000, Some(1000)))),
        [2, 1, 0]
    );
    assert_eq!(
        arena.allocated_bytes(),
        12,
        "what was not needed is given back"
    );
    assert_eq!(
        arena.alloc_slice_fill_iter(Liar(3, (1, Some(1)))),
        [2, 1, 0]
    );
    assert_eq!(arena.allocated_bytes(), 24);
}

#[test]
fn what_is_made_for_a_slice_is_dropped_only_if_it_fails() {
    #[derive(Debug)]
    struct Counted<'a>(&'a AtomicUsize, usize);
    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    impl Clone for Counted<'_> {
        fn clone(&self) -> Self {
            assert_ne!(self.1, 7, "the seventh");
            Counted(self.0, self.1)
        }
    }
    let drops = AtomicUsize::new(0);
    let dropped = || drops.swap(0, Ordering::Relaxed);
    let fussy = |n| {
        assert_ne!(n, 7, "the seventh");
        Counted(&drops, n)
    };
    let mut arena = Arena::builder(MAX_BYTES)
        .commit_limit(page_size())
        .build()
        .unwrap();
    let failures: [&dyn Fn(&Arena); 3] = [
        &|arena| _ = arena.alloc_slice_fill_with(10, fussy),
        &|arena| _ = arena.alloc_slice_fill_iter((0..10).map(fussy)),
        &|arena| _ = arena.alloc_slice_fill_iter((0..10).filter(|_| true).map(fussy)),
    ];
    for failure in failures {
        assert!(catch_unwind(AssertUnwindSafe(|| failure(&arena))).is_err());
        assert_eq!(dropped(), 7);
        assert_eq!(arena.allocated_bytes(), 0, "and the room is free again");
    }
    let ten: Vec<_> = (0..10).map(|n| Counted(&drops, n)).collect();
    assert!(catch_unwind(AssertUnwindSafe(|| _ = arena.alloc_slice_clone(&ten))).is_err());
    assert_eq!(dropped(), 7);
    drop(ten);
    assert_eq!(dropped(), 10);
    // A refusal drops the elements already made and the current one.
    let fits = page_size() / size_of::<Counted<'_>>();
    let endless = (0..).filter(|_| true).map(|n| Counted(&drops, n));
    assert!(
        arena
            .try_alloc_slice_fill_iter(endless)
            .unwrap_err()
            .is_limit()
    );
    assert_eq!(dropped(), fits + 1);
    assert!(
        arena
            .try_alloc_slice_fill_with(fits + 1, fussy)
            .unwrap_err()
            .is_limit()
    );
    assert_eq!(dropped(), 0, "never made");
    arena.alloc_slice_fill_with(fits, |n| Counted(&drops, n));
    assert!(arena.try_alloc(Counted(&drops, 0)).is_err());
    assert_eq!(dropped(), 1);
    // Values in an arena are never dropped.
    arena.reset();
    arena.alloc(Counted(&drops, 0));
    drop(arena);
    assert_eq!(dropped(), 0);
}

#[test]
fn a_callback_of_the_budget_may_allocate_in_the_arena() {
    thread_local! {
        static ARENA: std::cell::OnceCell<Arena> = const { std::cell::OnceCell::new() };
    }
    let called = Arc::new(AtomicUsize::new(0));
    let calls = Arc::clone(&called);
    let budget = Budget::builder(1000 * page_size())
        .on_reaching(500 * page_size(), move |_| {
            calls.fetch_add(1, Ordering::Relaxed);
            ARENA.with(|arena| {
                _ = arena
                    .get()
                    .unwrap()
                    .alloc_slice_fill_with(300 * page_size(), |_| 9u8)
            });
        })
        .build();
    let arena = Arena::builder(MAX_BYTES.max(2000 * page_size()))
        .budget(&budget)
        .build()
        .unwrap();
    ARENA.with(|cell| {
        let arena = cell.get_or_init(|| arena);
        let numbers = arena.alloc_slice_fill_with(300 * page_size(), |_| 1u8);
        let more =
            arena.alloc_slice_fill_iter((0..210 * page_size()).filter(|_| true).map(|_| 2u8));
        assert_eq!(called.load(Ordering::Relaxed), 1);
        assert!(numbers.iter().all(|&byte| byte == 1));
        assert!(more.iter().all(|&byte| byte == 2));
    });
}

#[test]
fn arenas_are_sent_between_threads() {
    let mut arena = arena();
    for round in 0..4u64 {
        arena = std::thread::spawn(move || {
            let numbers = arena.alloc_slice_fill_with(1000, |n| n as u64 + round);
            assert_eq!(numbers[999], 999 + round);
            arena
        })
        .join()
        .unwrap();
        assert_eq!(arena.allocated_bytes(), 8000 * (round as usize + 1));
    }
}

#[test]
fn small_arenas_take_over_each_other_s_pages() {
    for round in 0..common::times(1000) {
        let arena = Arena::with_max_bytes(1 << 20);
        let numbers = arena.alloc_slice_fill_with(1000, |n| n as u32 ^ round);
        assert!(
            numbers
                .iter()
                .zip(0..)
                .all(|(number, n): (_, u32)| *number == n ^ round)
        );
    }
}

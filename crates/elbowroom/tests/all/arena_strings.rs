//! Text that is formatted into an `Arena`, and memory that is committed ahead for what comes.

use std::fmt;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};

use elbowroom::{Arena, Budget, arena::Scope, page_size};
use proptest::prelude::*;

fn arena() -> Arena {
    Arena::with_max_bytes(64 << 20)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn formats_as_format_does(parts in prop::collection::vec("[a-zäß€]{0,300}", 0..20), width in 0..2000usize) {
        let arena = arena();
        arena.alloc(1u64);
        let plain = arena.alloc_fmt(format_args!("{}", parts.concat()));
        let debug = arena.alloc_fmt(format_args!("{parts:#?}"));
        let padded = arena.alloc_fmt(format_args!("{width:>width$}"));
        prop_assert_eq!(&*plain, parts.concat());
        prop_assert_eq!(&*debug, format!("{parts:#?}"));
        prop_assert_eq!(&*padded, format!("{width:>width$}"));
        prop_assert_eq!(arena.allocated_bytes(), 8 + plain.len() + debug.len() + padded.len());
    }
}

#[test]
fn text_that_does_not_fit_is_refused_whole() {
    let arena = Arena::with_max_bytes(page_size());
    arena.alloc(1u8);
    let most = page_size() - 1;
    // Not a width: that of a format string ends at 65,535, and a page may be as large.
    let (fits, does_not) = ("x".repeat(most), "x".repeat(most + 1));
    let refused = arena.try_alloc_fmt(format_args!("{does_not}{}", 7));
    assert!(refused.unwrap_err().is_limit());
    assert_eq!(arena.allocated_bytes(), 1);
    // All that is left, also if it is more than half as much again.
    assert_eq!(*arena.alloc_fmt(format_args!("{fits}{}", "")), *fits);
    assert_eq!(arena.alloc_fmt(format_args!("")), "");
    assert_eq!(arena.alloc_fmt(format_args!("{}", "")), "");
    let full = AssertUnwindSafe(|| _ = arena.alloc_fmt(format_args!("{}", 7)));
    let panic = catch_unwind(full).unwrap_err();
    assert!(panic.downcast_ref::<String>().unwrap().contains("maximum"));
}

#[test]
fn values_that_are_formatted_may_fail() {
    struct Faulty;
    impl fmt::Display for Faulty {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("some text")?;
            Err(fmt::Error)
        }
    }
    /// Goes on after an error.
    struct Deaf;
    impl fmt::Display for Deaf {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            _ = f.write_str(&"x".repeat(2 * page_size()));
            _ = f.write_str("short");
            Ok(())
        }
    }
    let arena = Arena::with_max_bytes(page_size());
    let faulty = AssertUnwindSafe(|| arena.try_alloc_fmt(format_args!("{Faulty}")).is_ok());
    assert!(catch_unwind(faulty).is_err());
    assert_eq!(arena.allocated_bytes(), 0);
    let deaf = arena.try_alloc_fmt(format_args!("{Deaf}"));
    assert!(deaf.unwrap_err().is_limit());
    assert_eq!(arena.allocated_bytes(), 0);
}

#[test]
fn values_that_are_formatted_may_allocate_in_the_arena() {
    struct Busy<'a>(&'a Arena);
    impl fmt::Display for Busy<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0.alloc_str("inner"))
        }
    }
    let mut arena = arena();
    assert_eq!(
        arena.alloc_fmt(format_args!("[{}, {}]", Busy(&arena), Busy(&arena))),
        "[inner, inner]"
    );
    arena.scope(|scope| assert_eq!(scope.alloc_fmt(format_args!("{}", 7)), "7"));
}

#[test]
fn capacity_is_committed_ahead() {
    let budget = Budget::new(10 * page_size());
    let arena = Arena::builder(100 * page_size())
        .budget(&budget)
        .build()
        .unwrap();
    assert_eq!(arena.remaining_capacity(), 0);
    arena.alloc(1u8);
    arena.reserve(5 * page_size());
    assert!(arena.remaining_capacity() >= 5 * page_size());
    let refused = arena.try_reserve(10 * page_size()).unwrap_err();
    assert_eq!(refused.budget(), Some(&budget));
    assert!(arena.try_reserve(usize::MAX).unwrap_err().is_limit());
    let (commits, remaining) = (arena.stats().commits, arena.remaining_capacity());
    arena.alloc_slice_fill_default::<u8>(remaining);
    assert_eq!(
        (arena.stats().commits, arena.remaining_capacity()),
        (commits, 0)
    );
    arena.reserve(0);
    assert_eq!(arena.stats().commits, commits);

    assert!(
        Arena::with_max_bytes(0)
            .try_reserve(1)
            .unwrap_err()
            .is_limit()
    );
    assert!(Arena::with_max_bytes(0).try_reserve(0).is_ok());
    assert!(
        Arena::with_max_bytes(usize::MAX)
            .try_reserve(1)
            .unwrap_err()
            .is_invalid_range()
    );
}

#[test]
fn an_arena_that_begins_with_a_capacity() {
    if crate::common::emulated() {
        return;
    }
    let arena = Arena::with_capacity(100_000);
    assert!(arena.remaining_capacity() >= 100_000);
    let commits = arena.stats().commits;
    arena.alloc_slice_fill_default::<u8>(100_000);
    assert_eq!(arena.stats().commits, commits);
    assert_eq!(Arena::with_capacity(0).stats().reserved_bytes, 0);
    assert!(Arena::try_with_capacity(usize::MAX).is_err());
}

const _: () = {
    const fn unwinds<T: UnwindSafe + RefUnwindSafe>() {}
    unwinds::<Arena>();
    unwinds::<Scope<'static>>();
};

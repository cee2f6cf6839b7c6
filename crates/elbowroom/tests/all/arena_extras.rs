//! Other features of an `Arena`: formatted text, boxed values, checkpoints, memory committed in advance, a limit that
//! changes, and large alignments.

use std::fmt;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use elbowroom::arena::{ArenaBox, Scope};
use elbowroom::{Arena, Budget, page_size};
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
    // Uses all remaining memory, also if this is more than half as much again.
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
    /// A writer that goes on after an error.
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
fn a_commit_limit_that_changes() {
    let some_pages = |arena: &Arena, pages| {
        let pages = arena.try_alloc_slice_fill_default::<u8>(pages * page_size());
        pages.map(|_| ())
    };
    // Before and after the first allocation, and over the builder's own.
    let built = Arena::builder(100 * page_size()).commit_limit(page_size());
    for mut arena in [arena(), built.build().unwrap()] {
        arena.set_commit_limit(3 * page_size() + 1);
        assert!(some_pages(&arena, 4).unwrap_err().is_limit());
        some_pages(&arena, 3).unwrap();
        assert!(arena.try_alloc(1u8).unwrap_err().is_limit());
        assert_eq!(arena.stats().commit_limit_bytes, 3 * page_size());
        arena.set_commit_limit(5 * page_size());
        some_pages(&arena, 2).unwrap();
        // A limit below the committed memory, which stays committed.
        arena.set_commit_limit(page_size());
        assert!(arena.try_alloc(1u8).unwrap_err().is_limit());
        assert_eq!(arena.stats().committed_bytes, 5 * page_size());
        arena.reset();
        some_pages(&arena, 5).unwrap();
        assert!(arena.try_reserve(1).unwrap_err().is_limit());
        arena.set_commit_limit(usize::MAX);
        some_pages(&arena, 20).unwrap();
    }
}

#[test]
fn what_was_allocated_since_a_checkpoint_is_free_again() {
    let mut arena = arena();
    arena.reset_to(0);
    arena.alloc(1u8);
    arena.alloc(7u64);
    let checkpoint = arena.allocated_bytes();
    for _ in 0..3 {
        let second: *const u64 = arena.alloc(8u64);
        arena.reset_to(checkpoint + 100);
        assert_eq!(arena.allocated_bytes(), checkpoint + 8);
        arena.reset_to(checkpoint);
        assert_eq!(arena.allocated_bytes(), checkpoint);
        assert_eq!(arena.alloc(9u64) as *const u64, second);
        arena.reset_to(checkpoint);
    }
    arena.reset_to(0);
    assert_eq!(arena.allocated_bytes(), 0);
}

#[test]
fn a_boxed_value_is_dropped_where_its_owner_is() {
    struct Counted<'a>(&'a AtomicUsize, u32);
    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let drops = AtomicUsize::new(0);
    let dropped = || drops.load(Ordering::Relaxed);
    let mut arena = Arena::with_max_bytes(page_size());
    let (mut kept, sent) = (
        arena.alloc_box(Counted(&drops, 1)),
        arena.alloc_box(Counted(&drops, 2)),
    );
    std::thread::scope(|scope| _ = scope.spawn(move || drop(sent)));
    assert_eq!(dropped(), 1);
    kept.1 += 1;
    let moved = ArenaBox::into_inner(kept);
    assert_eq!((dropped(), moved.1), (1, 2));
    drop(moved);
    assert_eq!(dropped(), 2);
    arena.alloc_slice_fill_default::<u8>(page_size() - arena.allocated_bytes());
    assert!(arena.try_alloc_box(Counted(&drops, 3)).is_err());
    assert_eq!(dropped(), 3);
    arena.reset();
    arena.scope(|scope| _ = scope.alloc_box(Counted(&drops, 4)));
    assert_eq!((dropped(), arena.allocated_bytes()), (4, 0));
    let (one, two) = (arena.alloc_box("a"), arena.alloc_box("a"));
    assert_eq!(format!("{one} {one:?}"), "a \"a\"");
    assert_eq!(one, two);
}

#[test]
fn an_arena_that_begins_with_a_capacity() {
    if crate::common::is_emulated() {
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

#[cfg(target_os = "linux")]
#[test]
#[allow(unsafe_code, reason = "asks the kernel which pages are in memory")]
fn a_gap_for_an_alignment_stays_out_of_memory() {
    use std::alloc::Layout;
    if crate::common::is_emulated() {
        return;
    }
    const ALIGNMENT: usize = 1 << 30;
    let arena = Arena::with_max_bytes(4 * ALIGNMENT);
    let first: *const u8 = arena.alloc(1u8);
    for _ in 0..2 {
        let block = arena.alloc_layout(Layout::from_size_align(10, ALIGNMENT).unwrap());
        assert_eq!(block.as_ptr().addr() % ALIGNMENT, 0);
        block.fill(std::mem::MaybeUninit::new(7));
    }
    let len = arena.allocated_bytes();
    assert!(len > ALIGNMENT);
    let mut resident = vec![0u8; len.div_ceil(page_size())];
    let base = first.addr() & !(page_size() - 1);
    let base = std::ptr::without_provenance_mut(base);
    // SAFETY: committed pages of the arena, and a byte for each.
    let result = unsafe { libc::mincore(base, len, resident.as_mut_ptr()) };
    assert_eq!(result, 0);
    let resident = resident.iter().filter(|&&byte| byte & 1 == 1).count() * page_size();
    // A window of huge pages at each end.
    assert!(resident <= 8 << 20, "{resident} bytes in memory");
}

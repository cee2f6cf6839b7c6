//! The system refuses each call that an `Arena` makes: the result is an error, the arena is unchanged, and the next try
//! works.

use super::alone;

use elbowroom::inject::{self, Call};
use elbowroom::{Arena, Budget, Error, Growth, page_size};

type Deed = fn(&Arena) -> Result<(), Error>;

/// Each needs more than the committed page.
const DEEDS: &[Deed] = &[
    |arena| {
        arena
            .try_alloc_layout(std::alloc::Layout::from_size_align(page_size(), 64).unwrap())
            .map(drop_slice)
    },
    |arena| arena.try_alloc_str(&"a".repeat(page_size())).map(|_| ()),
    |arena| {
        arena
            .try_alloc_slice_copy(&vec![1u64; page_size()])
            .map(drop_slice)
    },
    |arena| {
        arena
            .try_alloc_slice_clone(&vec![1u8; 3 * page_size()])
            .map(drop_slice)
    },
    |arena| {
        arena
            .try_alloc_slice_fill_with(page_size(), |n| n)
            .map(drop_slice)
    },
    |arena| {
        arena
            .try_alloc_slice_fill_iter(0..2 * page_size())
            .map(drop_slice)
    },
    |arena| {
        arena
            .try_alloc_slice_fill_iter((0..2 * page_size()).filter(|_| true))
            .map(drop_slice)
    },
];

fn drop_slice<T>(_: &mut [T]) {}

#[test]
fn a_refused_commit_leaves_the_arena_as_it_was() {
    let _alone = alone();
    let mut refusals = 0;
    for growth in [Growth::Pages(1), Growth::default()] {
        for deed in DEEDS {
            for nth in 1.. {
                let budget = Budget::new(1000 * page_size());
                // With a name, so that no memory is taken over from a dropped arena or left to the next one.
                let builder = Arena::builder(100 * page_size())
                    .name("injected")
                    .growth(growth)
                    .budget(&budget);
                let arena = builder.build().unwrap();
                let text = arena.alloc_str("kept");
                assert_eq!(budget.committed_bytes(), page_size());
                elbowroom::trim();
                let plan = inject::refuse(Call::Commit, nth);
                let result = deed(&arena);
                let happened = plan.happened();
                drop(plan);
                if let Err(error) = result {
                    assert!(happened && error.is_out_of_memory(), "{error}");
                    // Except for the gap before a slice that was begun.
                    assert!(arena.allocated_bytes() <= 8);
                    assert_eq!(budget.committed_bytes(), arena.stats().committed_bytes);
                    deed(&arena).unwrap();
                    refusals += 1;
                }
                assert_eq!(text, "kept");
                assert_eq!(budget.committed_bytes(), arena.stats().committed_bytes);
                if !happened {
                    break;
                }
            }
        }
    }
    assert!(refusals >= DEEDS.len());
}

#[test]
fn a_refused_reservation_is_tried_again_by_the_next_allocation() {
    let _alone = alone();
    elbowroom::trim();
    let mut arena = Arena::with_max_bytes(1 << 20);
    for call in [Call::Reserve, Call::Commit] {
        let plan = inject::refuse(call, 1);
        let error = arena.try_alloc(1u64).unwrap_err();
        assert!(plan.happened() && error.is_out_of_memory(), "{error}");
        assert_eq!(arena.allocated_bytes(), 0);
        // A scope that is opened now ends at the base of a reservation that is made in it.
        drop(plan);
        if call == Call::Reserve {
            assert_eq!(arena.scope(|scope| *scope.alloc(7u64)), 7);
            assert_eq!(arena.allocated_bytes(), 0);
            arena = Arena::with_max_bytes(1 << 20);
            elbowroom::trim();
        }
    }
    assert_eq!(*arena.alloc(8u64), 8);
    let plan = inject::refuse(Call::Reserve, 1);
    assert!(
        Arena::builder(1 << 20)
            .build()
            .unwrap_err()
            .is_out_of_memory()
    );
    drop(plan);
}

#[test]
fn what_the_system_does_not_take_back_stays_usable() {
    let _alone = alone();
    let mut arena = Arena::builder(1 << 20).name("kept").build().unwrap();
    arena.alloc_slice_fill_default::<u8>(5 * page_size());
    arena.reset();
    let before = arena.stats();
    let plan = inject::refuse(Call::Decommit, 1);
    arena.shrink_to_fit();
    assert!(plan.happened());
    drop(plan);
    assert_eq!(arena.stats(), before);
    let bytes = arena.alloc_slice_fill_with(5 * page_size(), |n| n as u8);
    assert_eq!(bytes[page_size() + 7], 7);
    assert_eq!(arena.stats(), before);
}

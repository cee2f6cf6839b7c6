//! Arenas and scopes as allocators: collections of other crates use them, and the last block grows in place.

#![allow(unsafe_code, reason = "calls the allocator's methods by hand")]

use crate::common;

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use allocator_api2::alloc::Allocator;
use allocator_api2::boxed::Box;
use allocator_api2::vec::Vec;
use elbowroom::{Arena, page_size};
use hashbrown::{DefaultHashBuilder, HashMap};
use proptest::prelude::*;

fn arena() -> Arena {
    Arena::with_max_bytes(64 << 20)
}

#[test]
fn a_vector_that_is_the_last_block_never_moves() {
    let arena = arena();
    let mut vec = Vec::new_in(&arena);
    vec.push(0u32);
    let first = vec.as_ptr();
    for n in 1..500_000 {
        vec.push(n);
        assert_eq!(vec.as_ptr(), first);
    }
    assert!(vec.iter().copied().eq(0..500_000));
    vec.shrink_to_fit();
    assert_eq!(vec.as_ptr(), first);
    assert_eq!(arena.allocated_bytes(), 2_000_000);
    drop(vec);
    assert_eq!(arena.allocated_bytes(), 0, "the last block is free again");
}

#[test]
fn vectors_side_by_side_move_and_keep_what_they_hold() {
    let arena = arena();
    let mut left = Vec::new_in(&arena);
    let mut right = Vec::new_in(&arena);
    for n in 0..10_000u64 {
        left.push(n);
        right.push(!n);
    }
    assert!(left.iter().copied().eq(0..10_000));
    assert!(right.iter().copied().eq((0..10_000).map(|n: u64| !n)));
}

#[test]
fn what_is_owned_in_an_arena_is_dropped() {
    struct Counted<'a>(&'a AtomicUsize);
    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let drops = AtomicUsize::new(0);
    let mut arena = arena();
    arena.scope(|scope| {
        let scope = &*scope;
        let boxed = Box::new_in(Counted(&drops), scope);
        let mut vec = Vec::new_in(scope);
        vec.extend((0..10).map(|_| Counted(&drops)));
        drop(boxed);
        assert_eq!(drops.load(Ordering::Relaxed), 1);
    });
    assert_eq!(drops.load(Ordering::Relaxed), 11);
    assert_eq!(arena.allocated_bytes(), 0);
}

#[test]
fn a_map_in_an_arena() {
    let arena = arena();
    let mut map = HashMap::with_hasher_in(DefaultHashBuilder::default(), &arena);
    for n in 0..20_000u64 {
        map.insert(
            arena.alloc_str(&n.to_string()) as &str,
            Box::new_in(n, &arena),
        );
    }
    for n in (0..20_000u64).step_by(2) {
        assert_eq!(
            map.remove(n.to_string().as_str()).map(|value| *value),
            Some(n)
        );
    }
    assert_eq!(map.len(), 10_000);
    assert!(
        map.iter()
            .all(|(text, number)| text.parse() == Ok(**number) && **number % 2 == 1)
    );
}

#[test]
fn a_map_in_a_scope_beside_what_is_outside() {
    let mut arena = arena();
    let words = arena.scope(|outer| {
        let text = outer.alloc_str("to be or not to be");
        let counts = outer.scope(|inner| {
            let inner = &*inner;
            let mut counts = HashMap::with_hasher_in(DefaultHashBuilder::default(), inner);
            text.split(' ')
                .for_each(|word| *counts.entry(word).or_insert(0) += 1);
            (counts["to"], counts["be"], counts["or"])
        });
        assert_eq!(outer.allocated_bytes(), text.len());
        counts
    });
    assert_eq!(words, (2, 2, 1));
}

#[test]
fn a_full_arena_refuses_and_the_vector_keeps_what_it_holds() {
    let arena = Arena::with_max_bytes(4 * page_size());
    let mut vec = Vec::new_in(&arena);
    vec.extend(0..page_size() as u32);
    assert!(vec.try_reserve(1).is_err());
    assert!(vec.iter().copied().eq(0..page_size() as u32));
    assert!((&arena).allocate(Layout::new::<u8>()).is_err());
    drop(vec);
    assert!((&arena).allocate(Layout::new::<u8>()).is_ok());
}

#[test]
fn blocks_of_no_size_grow() {
    for align in [1, 8] {
        let arena = arena();
        let (none, some) = (
            Layout::from_size_align(0, align).unwrap(),
            Layout::from_size_align(10, align).unwrap(),
        );
        let blocks = [(); 3].map(|()| (&arena).allocate(none).unwrap().cast::<u8>());
        assert_eq!(arena.stats().reserved_bytes, 0);
        let grown = blocks.map(|block| {
            // SAFETY: blocks of the arena's of that layout, used no more.
            let grown = unsafe { (&arena).grow(block, none, some) };
            grown.unwrap().addr().get()
        });
        assert_eq!(
            arena.allocated_bytes(),
            10 + 2 * 10usize.next_multiple_of(align)
        );
        assert!(grown.windows(2).all(|two| two[1] >= two[0] + 10));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Allocate(Layout, bool),
    /// The index of a block, its new layout, and whether the new memory must be zero.
    Change(usize, Layout, bool),
    Deallocate(usize),
}

fn layout() -> impl Strategy<Value = Layout> {
    let size = prop_oneof![3 => 0..300usize, 1 => 0..50_000usize];
    (size, 0..9u32).prop_map(|(size, log)| Layout::from_size_align(size, 1 << log).unwrap())
}

fn step() -> impl Strategy<Value = Step> {
    let block = prop_oneof![any::<usize>(), Just(usize::MAX)];
    prop_oneof![
        (layout(), any::<bool>()).prop_map(|(layout, zeroed)| Step::Allocate(layout, zeroed)),
        (block.clone(), layout(), any::<bool>())
            .prop_map(|(block, layout, zeroed)| Step::Change(block, layout, zeroed)),
        block.prop_map(Step::Deallocate),
    ]
}

/// A block, its contents, and its layout.
struct Block {
    at: NonNull<u8>,
    layout: Layout,
    expected: std::vec::Vec<u8>,
}

impl Block {
    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: a block of the allocator's that this alone refers to, written when it was made.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), self.layout.size()) }
    }

    /// Checks a block from an allocator: its first bytes are as before, and the rest is zero if requested. Then fills
    /// it.
    fn new(given: NonNull<[u8]>, layout: Layout, before: &[u8], zeroed: bool, seed: u8) -> Block {
        assert_eq!(given.len(), layout.size());
        assert_eq!(given.addr().get() % layout.align(), 0);
        let at = given.cast::<u8>();
        if !zeroed {
            // SAFETY: the block is at least as long as its known contents.
            let rest = unsafe { at.add(before.len()) };
            // SAFETY: the bytes from there to the end of the block, which only this function uses.
            unsafe { rest.write_bytes(0, layout.size() - before.len()) };
        }
        let mut block = Block {
            at,
            layout,
            expected: std::vec::Vec::new(),
        };
        let bytes = block.bytes();
        assert_eq!(&bytes[..before.len()], before);
        assert!(bytes[before.len()..].iter().all(|&byte| byte == 0));
        bytes
            .iter_mut()
            .zip(0..)
            .for_each(|(byte, n): (_, usize)| *byte = seed ^ n as u8);
        block.expected = block.bytes().to_vec();
        block
    }
}

/// Removes one of the blocks, or the last one.
fn take(blocks: &mut std::vec::Vec<Block>, which: usize) -> Block {
    let index = if which == usize::MAX {
        blocks.len() - 1
    } else {
        which % blocks.len()
    };
    blocks.remove(index)
}

fn run(allocator: impl Allocator, steps: &[Step]) {
    let mut blocks: std::vec::Vec<Block> = std::vec::Vec::new();
    for (step, seed) in steps.iter().zip((0..=u8::MAX).cycle()) {
        match *step {
            Step::Allocate(layout, zeroed) => {
                let given = if zeroed {
                    allocator.allocate_zeroed(layout)
                } else {
                    allocator.allocate(layout)
                };
                blocks.push(Block::new(given.unwrap(), layout, &[], zeroed, seed));
            }
            Step::Change(block, new, zeroed) if !blocks.is_empty() => {
                let Block {
                    at,
                    layout,
                    expected,
                } = take(&mut blocks, block);
                let kept = new.size().min(layout.size());
                let given = if new.size() < layout.size() {
                    // SAFETY: a block of the allocator's with that layout, forgotten for the new one, which is smaller.
                    unsafe { allocator.shrink(at, layout, new) }
                } else if zeroed {
                    // SAFETY: the allocator's block with that layout, forgotten for the new one, which is no smaller.
                    unsafe { allocator.grow_zeroed(at, layout, new) }
                } else {
                    // SAFETY: the allocator's block with that layout, forgotten for the new one, which is no smaller.
                    unsafe { allocator.grow(at, layout, new) }
                };
                let zeroed = zeroed && new.size() >= layout.size();
                blocks.push(Block::new(
                    given.unwrap(),
                    new,
                    &expected[..kept],
                    zeroed,
                    seed,
                ));
            }
            Step::Deallocate(block) if !blocks.is_empty() => {
                let Block { at, layout, .. } = take(&mut blocks, block);
                // SAFETY: a block of the allocator's with that layout, forgotten.
                unsafe { allocator.deallocate(at, layout) };
            }
            _ => {}
        }
        for block in &mut blocks {
            let expected = std::mem::take(&mut block.expected);
            assert!(block.bytes() == expected, "a block is not what it was");
            block.expected = expected;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(common::times(64)) })]

    #[test]
    fn blocks_are_apart_and_keep_what_they_hold(steps in prop::collection::vec(step(), 1..60)) {
        let mut arena = arena();
        run(&arena, &steps);
        arena.reset();
        // Zeroed memory is zero, whatever was left there before.
        arena.scope(|scope| run(&*scope, &steps));
    }
}

//! `&Arena` and `&Scope` as allocators: blocks do not overlap, keep their bytes when they grow or shrink, and are zero
//! if that was requested. Collections in an arena behave as on the heap.

#![allow(unsafe_code, reason = "calls the allocator itself")]

use std::alloc::Layout;
use std::collections::HashMap;
use std::ptr::NonNull;

use allocator_api2::alloc::Allocator;
use arbitrary::Arbitrary;
use elbowroom::{Arena, page_size};

use crate::element::{self, Boxed, Element};
use crate::refusal::Limits;
use crate::steps::Steps;

/// The fuzzer's input.
#[derive(Arbitrary, Debug)]
pub struct Input {
    max_pages: u8,
    limits: Limits,
    is_in_scope: bool,
    subject: Subject,
}

#[derive(Arbitrary, Debug)]
enum Subject {
    Blocks(Steps<Step>),
    Collections(Steps<Deed>),
}

/// An operation on blocks.
#[derive(Arbitrary, Debug)]
enum Step {
    Allocate(Shape, bool),
    /// Grows or shrinks the block, in size and in alignment.
    Change(u8, Shape, bool),
    Deallocate(u8),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Shape {
    size: u16,
    log_align: u8,
}

impl Shape {
    fn layout(self) -> Layout {
        Layout::from_size_align(self.size.into(), 1 << (self.log_align % 14)).expect("small")
    }
}

/// An operation on collections, which share one arena.
#[derive(Arbitrary, Debug)]
enum Deed {
    Push(u8),
    PushOther(u8),
    Pop,
    ShrinkToFit,
    Insert(u8, u8),
    Remove(u8),
    Box(u8),
}

impl Subject {
    fn behaves(&self, allocator: impl Allocator + Copy) {
        match self {
            Subject::Blocks(steps) => blocks_behave(allocator, &steps.0),
            Subject::Collections(deeds) => collections_behave(allocator, &deeds.0),
        }
    }
}

struct Block {
    at: NonNull<u8>,
    layout: Layout,
    value: u8,
}

impl Block {
    /// Checks an allocator's block and fills it: `kept` bytes must be unchanged, and the rest zero if that was
    /// requested.
    fn new(
        given: NonNull<[u8]>,
        layout: Layout,
        kept: (usize, u8),
        zeroed: bool,
        value: u8,
    ) -> Block {
        assert_eq!(
            (given.len(), given.addr().get() % layout.align()),
            (layout.size(), 0)
        );
        let at = given.cast::<u8>();
        let (kept, before) = kept;
        let known = if zeroed { layout.size() } else { kept };
        // SAFETY: the bytes are the first ones of a live block, and were written earlier or zeroed by the allocator; no
        // other code has a pointer to the block.
        let bytes = unsafe { std::slice::from_raw_parts(at.as_ptr(), known) };
        assert!(
            bytes[..kept].iter().all(|&byte| byte == before),
            "the contents are lost"
        );
        assert!(bytes[kept..].iter().all(|&byte| byte == 0), "not zero");
        // SAFETY: the block has `layout.size()` bytes (asserted above), and no other code has a pointer to it.
        unsafe { at.write_bytes(value, layout.size()) };
        Block { at, layout, value }
    }

    fn check(&self) {
        // SAFETY: all bytes of the block were written when it was made; it is live, and no other code has a pointer to
        // it.
        let bytes = unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.layout.size()) };
        assert!(
            bytes.iter().all(|&byte| byte == self.value),
            "a block has changed"
        );
    }
}

fn blocks_behave(allocator: impl Allocator, steps: &[Step]) {
    let mut blocks: Vec<Block> = Vec::new();
    for (step, value) in steps.iter().zip((1..=u8::MAX).cycle()) {
        match *step {
            Step::Allocate(shape, zeroed) => {
                let layout = shape.layout();
                let given = if zeroed {
                    allocator.allocate_zeroed(layout)
                } else {
                    allocator.allocate(layout)
                };
                blocks.extend(
                    given
                        .ok()
                        .map(|given| Block::new(given, layout, (0, 0), zeroed, value)),
                );
            }
            Step::Change(index, shape, zeroed) if !blocks.is_empty() => {
                let index = usize::from(index) % blocks.len();
                let (
                    Block {
                        at,
                        layout: old,
                        value: before,
                    },
                    new,
                ) = (&blocks[index], shape.layout());
                let (at, old, before) = (*at, *old, *before);
                let given = if new.size() < old.size() {
                    // SAFETY: the block comes from this allocator with the layout `old`, and the new size is less.
                    unsafe { allocator.shrink(at, old, new) }
                } else if zeroed {
                    // SAFETY: the block comes from this allocator with the layout `old`, and the new size is at least
                    // as large.
                    unsafe { allocator.grow_zeroed(at, old, new) }
                } else {
                    // SAFETY: the block comes from this allocator with the layout `old`, and the new size is at least
                    // as large.
                    unsafe { allocator.grow(at, old, new) }
                };
                // If the allocator refused, the block is unchanged.
                if let Ok(given) = given {
                    let is_zeroed = zeroed && new.size() >= old.size();
                    blocks[index] = Block::new(
                        given,
                        new,
                        (old.size().min(new.size()), before),
                        is_zeroed,
                        value,
                    );
                }
            }
            Step::Deallocate(index) if !blocks.is_empty() => {
                let Block { at, layout, .. } =
                    blocks.swap_remove(usize::from(index) % blocks.len());
                // SAFETY: the block comes from this allocator with that layout, and was removed from the list, so it is
                // not used again.
                unsafe { allocator.deallocate(at, layout) };
            }
            Step::Change(..) | Step::Deallocate(_) => {}
        }
        blocks.iter().for_each(Block::check);
        let mut ends = blocks
            .iter()
            .map(|block| (block.at.addr().get(), block.layout.size()))
            .collect::<Vec<_>>();
        ends.retain(|&(_, size)| size > 0);
        ends.sort_unstable();
        assert!(
            ends.windows(2).all(|two| two[0].0 + two[0].1 <= two[1].0),
            "blocks overlap"
        );
    }
}

/// Does operations on two vectors, a map and boxes.
fn collections_behave<A: Allocator + Copy>(allocator: A, deeds: &[Deed]) {
    let mut vec = allocator_api2::vec::Vec::new_in(allocator);
    let mut other = allocator_api2::vec::Vec::new_in(allocator);
    let mut map = hashbrown::HashMap::new_in(allocator);
    let mut boxes = Vec::new();
    let (mut vec_model, mut other_model, mut map_model) = (Vec::new(), Vec::new(), HashMap::new());
    for deed in deeds {
        match *deed {
            Deed::Push(value) => {
                if vec.try_reserve(1).is_ok() {
                    vec.push(Boxed::make(value));
                    vec_model.push(value);
                }
            }
            Deed::PushOther(value) => {
                if other.try_reserve(1).is_ok() {
                    other.push([u64::from(value); 9]);
                    other_model.push([u64::from(value); 9]);
                }
            }
            Deed::Pop => assert_eq!(
                vec.pop().map(|element: Boxed| element.value()),
                vec_model.pop()
            ),
            // Collections abort if they cannot be moved, so only operations without a move are done.
            Deed::ShrinkToFit => vec.shrink_to_fit(),
            Deed::Insert(key, value) => {
                if map.try_reserve(1).is_ok() {
                    let old = map
                        .insert(key, Boxed::make(value))
                        .map(|element| element.value());
                    assert_eq!(old, map_model.insert(key, value));
                }
            }
            Deed::Remove(key) => {
                assert_eq!(
                    map.remove(&key).map(|element| element.value()),
                    map_model.remove(&key)
                );
            }
            Deed::Box(value) => {
                boxes.extend(allocator_api2::boxed::Box::try_new_in([value; 33], allocator).ok());
            }
        }
        assert!(vec.iter().map(Boxed::value).eq(vec_model.iter().copied()));
        assert_eq!(other[..], other_model[..]);
        assert_eq!(map.len(), map_model.len());
        assert!(
            map_model
                .iter()
                .all(|(key, &value)| map.get(key).map(Boxed::value) == Some(value))
        );
        assert!(
            boxes
                .iter()
                .all(|bytes| bytes.iter().all(|&byte| byte == bytes[0]))
        );
        assert_eq!(element::alive() as usize, vec_model.len() + map_model.len());
    }
}

/// Runs the operations of the input, and panics if container and model differ.
pub fn run(input: Input) {
    let budget = input.limits.budget();
    let max_bytes = usize::from(input.max_pages % 80) * page_size();
    let mut arena: Arena = input
        .limits
        .apply(Arena::builder(max_bytes), &budget)
        .build()
        .expect("a small arena");
    if input.is_in_scope {
        arena.scope(|scope| input.subject.behaves(&*scope));
        assert_eq!(arena.allocated_bytes(), 0);
    }
    // Inside or outside a scope, in new memory or in memory that was used before.
    input.subject.behaves(&arena);
    assert_eq!(element::alive(), 0);
    drop(arena);
    assert_eq!(budget.committed_bytes(), 0);
}

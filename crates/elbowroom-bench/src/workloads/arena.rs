//! Arenas: many small values that are freed together.

use std::hint::black_box;

use bumpalo::Bump;
use elbowroom::Arena;

use super::OURS;
use crate::plan::{Comparison, Contender, Scale};
use crate::sample::timed;

pub(crate) const BUMPALO: &str = "bumpalo";

/// A value of the size of a tree's node.
type Value = [u64; 3];

/// An allocator that hands out memory and takes all of it back at once.
trait Allocator: 'static {
    fn new() -> Self;
    fn alloc(&self, value: Value);
    fn reset(&mut self);
}

impl Allocator for Arena {
    fn new() -> Arena {
        Arena::new()
    }

    #[inline(always)]
    fn alloc(&self, value: Value) {
        black_box(Arena::alloc(self, value));
    }

    fn reset(&mut self) {
        Arena::reset(self);
    }
}

impl Allocator for Bump {
    fn new() -> Bump {
        Bump::new()
    }

    #[inline(always)]
    fn alloc(&self, value: Value) {
        black_box(Bump::alloc(self, value));
    }

    fn reset(&mut self) {
        Bump::reset(self);
    }
}

#[inline(never)]
fn fill<A: Allocator>(arena: &A, count: usize) {
    for n in 0..count as u64 {
        arena.alloc([n; 3]);
    }
}

/// Returns a contender that fills and resets one arena repeatedly.
fn again<A: Allocator>(name: &'static str, count: usize, times: usize) -> Contender {
    Contender::new(name, move || {
        let mut arena = A::new();
        // After this, the memory that the arena keeps at a reset is large enough.
        for _ in 0..3 {
            fill(&arena, count);
            arena.reset();
        }
        Ok(Box::new(move || {
            timed(|| {
                for _ in 0..times {
                    fill(&arena, count);
                    arena.reset();
                }
            })
        }))
    })
}

/// Returns a contender that fills and drops new arenas one after the other.
fn anew<A: Allocator>(name: &'static str, count: usize, times: usize) -> Contender {
    Contender::plain(name, move || {
        timed(|| {
            for _ in 0..times {
                fill(&A::new(), count);
            }
        })
    })
}

/// Returns a contender that fills one arena in a new process.
fn once<A: Allocator>(name: &'static str, count: usize) -> Contender {
    Contender::plain(name, move || {
        timed(|| {
            let arena = A::new();
            fill(&arena, count);
            arena
        })
    })
}

/// Returns all comparisons of this module.
pub(crate) fn comparisons(scale: Scale) -> Vec<Comparison> {
    let (count, times) = (1000, scale.of(1000, 2));
    let contenders = vec![
        again::<Arena>(OURS, count, times),
        again::<Bump>(BUMPALO, count, times),
    ];
    let title =
        "1,000 values of 24 bytes allocated in an arena that has been used, which is then reset";
    let again = Comparison::new("arena-again", title, (count * times, "value"), contenders);
    let contenders = vec![
        anew::<Arena>(OURS, count, times),
        anew::<Bump>(BUMPALO, count, times),
    ];
    let title = "1,000 values of 24 bytes allocated in a new arena, which is then dropped";
    let anew = Comparison::new("arena-anew", title, (count * times, "value"), contenders);
    let bytes = scale.of(128 << 20, 1 << 20);
    let count = bytes / size_of::<Value>();
    let contenders = vec![once::<Arena>(OURS, count), once::<Bump>(BUMPALO, count)];
    let title = "values of 24 bytes allocated in an arena from empty to 128 MiB";
    let once = Comparison::new("arena-128m", title, (count, "value"), contenders).data(bytes);
    vec![
        again
            .together()
            .data(1000 * size_of::<Value>())
            .goal(OURS, BUMPALO, 1.0),
        anew.together()
            .data(1000 * size_of::<Value>())
            .goal(OURS, BUMPALO, 1.0),
        once.goal(OURS, BUMPALO, 1.0),
    ]
}

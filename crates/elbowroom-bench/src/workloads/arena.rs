//! Arenas: many small values that go all at once.

use std::hint::black_box;

use bumpalo::Bump;
use elbowroom::Arena;

use super::OURS;
use crate::plan::{Comparison, Contender, Scale};
use crate::sample::timed;

pub(crate) const BUMPALO: &str = "bumpalo";

/// A value as a tree's node might be.
type Value = [u64; 3];

/// What hands out memory and takes it all back.
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

/// The same arena, filled and reset again and again.
fn again<A: Allocator>(name: &'static str, count: usize, times: usize) -> Contender {
    Contender::new(name, move || {
        let mut arena = A::new();
        // Until what it keeps at a reset is large enough.
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

/// New arenas, filled and dropped one after the other.
fn anew<A: Allocator>(name: &'static str, count: usize, times: usize) -> Contender {
    Contender::plain(name, move || {
        timed(|| {
            for _ in 0..times {
                fill(&A::new(), count);
            }
        })
    })
}

/// One arena, filled in a process that has done nothing else.
fn once<A: Allocator>(name: &'static str, count: usize) -> Contender {
    Contender::plain(name, move || {
        timed(|| {
            let arena = A::new();
            fill(&arena, count);
            arena
        })
    })
}

/// All of them.
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

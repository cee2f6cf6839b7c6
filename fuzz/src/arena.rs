//! `Arena`: blocks do not overlap, are aligned, and keep their bytes until their scope ends. Closures and iterators
//! allocate in the arena, announce wrong lengths, or panic. A refused allocation takes no memory.

#![allow(unsafe_code, reason = "reads bytes that it has written itself")]

use std::alloc::Layout;
use std::mem::MaybeUninit;

use arbitrary::Arbitrary;
use elbowroom::arena::Scope;
use elbowroom::{Arena, Budget, Error, page_size};

use crate::element::{self, Boxed, Element, tick, with_fuse};
use crate::refusal::{self, Limits, Refusal};
use crate::steps::{Step, Steps};

/// The fuzzer's input.
#[derive(Arbitrary, Debug)]
pub struct Input {
    max_pages: u8,
    limits: Limits,
    steps: Steps<Step<Deed>>,
}

#[derive(Arbitrary, Debug)]
enum Deed {
    Byte(u8),
    Word(u8),
    Odd(u8),
    Aligned(u8),
    Nothing,
    /// A value whose closure first allocates this number of bytes.
    Nested(u8, u16),
    Copy(u8, u16),
    Text(u8, u16),
    /// Bytes in any layout, with an alignment of up to 2^15.
    Layout(u8, u16, u8),
    /// Slices of counted elements, which are dropped after a check.
    Clone(u8),
    FillWith(u8),
    FillIter {
        count: u8,
        announced: u8,
        /// The number of elements between two allocations by the iterator.
        allocates: u8,
    },
    /// Opens a scope inside the open one.
    Open,
    /// Ends the open scope. All open scopes end after the last step.
    Close,
    /// Outside of scopes: allocates a block of this number of bytes, which stays until the next reset.
    Keep(u16),
    /// Outside of scopes: resets the arena.
    Reset,
    /// Outside of scopes: releases unused memory.
    ShrinkToFit,
}

/// A block from the arena, and the value of its bytes.
struct Lent<'a> {
    bytes: &'a [u8],
    value: u8,
}

impl<'a> Lent<'a> {
    /// Fills a block with a value.
    fn fill(block: &'a mut [MaybeUninit<u8>], value: u8) -> Lent<'a> {
        block.fill(MaybeUninit::new(value));
        let block: &'a [MaybeUninit<u8>] = block;
        // SAFETY: all bytes have just been written; the slice borrows the block exclusively, so no other code has a
        // pointer to it.
        let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr().cast::<u8>(), block.len()) };
        Lent { bytes, value }
    }

    fn check(&self) {
        assert!(
            self.bytes.iter().all(|&byte| byte == self.value),
            "a block has changed"
        );
    }
}

/// Values without padding: bytes with a larger alignment.
#[derive(Clone, Copy)]
#[repr(align(8))]
struct Word([u8; 8]);

#[derive(Clone, Copy)]
#[repr(align(512))]
struct Large([u8; 1024]);

/// An iterator that announces any number of elements.
struct Announcing<I>(I, usize);

impl<I: Iterator> Iterator for Announcing<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        tick();
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.1, None)
    }
}

/// An open scope.
struct Open<'s, 'a> {
    scope: &'s mut Scope<'a>,
    lent: Vec<Lent<'a>>,
    // The address ranges in use, also those of the outer scopes.
    taken: &'s mut Vec<(usize, usize)>,
    budget: &'s Budget,
}

impl<'a> Open<'_, 'a> {
    /// Records a block, and checks that it does not overlap others.
    fn take<T>(&mut self, block: &[T]) {
        let start = block.as_ptr().addr();
        let end = start + size_of_val(block);
        assert_eq!(start % align_of::<T>(), 0);
        if start < end {
            assert!(
                self.taken
                    .iter()
                    .all(|&(first, last)| end <= first || last <= start),
                "handed out twice"
            );
            self.taken.push((start, end));
        }
    }

    fn lend(&mut self, bytes: &'a [u8], value: u8) {
        self.take(bytes);
        self.lent.push(Lent { bytes, value });
        self.lent[self.lent.len() - 1].check();
    }

    /// Checks counted elements and drops them, because the arena does not.
    fn empty(&mut self, elements: &mut [Option<Boxed>], expected: impl Iterator<Item = u8>) {
        self.take(elements);
        assert!(elements.iter().flatten().map(Boxed::value).eq(expected));
        element::disarm();
        elements.fill(None);
    }

    fn bytes(&mut self, layout: Layout, value: u8) -> Result<(), Error> {
        let block = self.scope.try_alloc_layout(layout)?;
        assert_eq!(
            (block.len(), block.as_ptr().addr() % layout.align()),
            (layout.size(), 0)
        );
        let Lent { bytes, value } = Lent::fill(block, value);
        self.lend(bytes, value);
        Ok(())
    }

    fn step(&mut self, deed: &Deed) -> Result<(), Error> {
        let scope = &*self.scope;
        match *deed {
            Deed::Byte(value) => {
                let byte = scope.try_alloc(value)?;
                self.lend(std::slice::from_ref(byte), value);
            }
            Deed::Word(value) => {
                let word = scope.try_alloc(Word([value; 8]))?;
                self.take(std::slice::from_ref(word));
                self.taken.pop();
                self.lend(&word.0, value);
            }
            Deed::Odd(value) => {
                let bytes = scope.try_alloc([value; 3])?;
                self.lend(bytes, value);
            }
            Deed::Aligned(value) => {
                let large = scope.try_alloc_with(|| Large([value; 1024]))?;
                self.take(std::slice::from_ref(large));
                self.taken.pop();
                self.lend(&large.0, value);
            }
            Deed::Nothing => {
                let before = scope.allocated_bytes();
                let nothing = scope.try_alloc([0u64; 0])?;
                assert_eq!(
                    (nothing.as_ptr().addr() % 8, scope.allocated_bytes()),
                    (0, before)
                );
            }
            Deed::Nested(value, size) => {
                let mut inner = None;
                let word = scope.try_alloc_with(|| {
                    // The allocation may be refused.
                    let block =
                        scope.try_alloc_layout(Layout::array::<u8>(size.into()).expect("small"));
                    inner = block.ok().map(|block| Lent::fill(block, !value));
                    tick();
                    Word([value; 8])
                });
                if let Some(Lent { bytes, value }) = inner {
                    self.lend(bytes, value);
                }
                self.lend(&word?.0, value);
            }
            Deed::Copy(value, count) => {
                let bytes = scope
                    .try_alloc_slice_copy(&vec![Word([value; 8]); usize::from(count) % 3000])?;
                self.take(bytes);
                for word in &*bytes {
                    self.lent.push(Lent {
                        bytes: &word.0,
                        value,
                    });
                }
            }
            Deed::Text(value, count) => {
                let text = scope
                    .try_alloc_str(&char::from(value % 128).to_string().repeat(count.into()))?;
                self.lend(text.as_bytes(), value % 128);
            }
            Deed::Layout(value, size, log) => {
                self.bytes(
                    Layout::from_size_align(size.into(), 1 << (log % 16)).expect("small"),
                    value,
                )?;
            }
            Deed::Clone(count) => {
                let values = (0..count)
                    .map(|value| Some(Boxed::make(value)))
                    .collect::<Vec<_>>();
                let elements = scope.try_alloc_slice_clone(&values)?;
                self.empty(elements, 0..count);
            }
            Deed::FillWith(count) => {
                let elements = scope.try_alloc_slice_fill_with(count.into(), |index| {
                    tick();
                    Some(Boxed::make(index as u8))
                })?;
                self.empty(elements, 0..count);
            }
            Deed::FillIter {
                count,
                announced,
                allocates,
            } => {
                let mut inner = Vec::new();
                let values = (0..count).map(|value| {
                    if value % allocates.max(1) == 1 {
                        let block = scope.try_alloc_layout(Layout::new::<[u8; 40]>());
                        inner.extend(block.ok().map(|block| Lent::fill(block, value)));
                    }
                    Some(Boxed::make(value))
                });
                let result = scope.try_alloc_slice_fill_iter(Announcing(values, announced.into()));
                for Lent { bytes, value } in inner {
                    self.lend(bytes, value);
                }
                self.empty(result?, 0..count);
            }
            Deed::Open | Deed::Close | Deed::Keep(_) | Deed::Reset | Deed::ShrinkToFit => {}
        }
        Ok(())
    }

    /// Does steps until the scope is closed or no steps are left.
    fn run<'i>(mut self, steps: &mut impl Iterator<Item = &'i Step<Deed>>) {
        while let Some(Step {
            deed,
            refusal,
            fuse,
        }) = steps.next()
        {
            let before = self.scope.allocated_bytes();
            match deed {
                Deed::Close => break,
                Deed::Open => {
                    let taken = self.taken.len();
                    let budget = self.budget;
                    self.scope.scope(|scope| {
                        Open {
                            scope,
                            lent: Vec::new(),
                            taken: self.taken,
                            budget,
                        }
                        .run(steps)
                    });
                    self.taken.truncate(taken);
                    assert_eq!(self.scope.allocated_bytes(), before);
                    continue;
                }
                _ => {}
            }
            let plan = refusal.map(Refusal::plan);
            match with_fuse(fuse.unwrap_or(0), || self.step(deed)) {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    refusal::check(&error, plan.as_ref());
                    // These two may have allocated before the refusal.
                    let is_kept = matches!(deed, Deed::Nested(..) | Deed::FillIter { .. });
                    assert!(is_kept || self.scope.allocated_bytes() == before);
                }
                None => refusal::keep(self.budget),
            }
            assert_eq!(element::alive(), 0);
        }
        self.lent.iter().for_each(Lent::check);
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
    let mut steps = input.steps.0.iter();
    while let Some(Step { deed, refusal, .. }) = steps.next() {
        let before = arena.allocated_bytes();
        match *deed {
            Deed::Open => {
                let taken = &mut Vec::new();
                arena.scope(|scope| {
                    Open {
                        scope,
                        lent: Vec::new(),
                        taken,
                        budget: &budget,
                    }
                    .run(&mut steps)
                });
                assert_eq!(arena.allocated_bytes(), before);
            }
            Deed::Keep(size) => {
                let plan = refusal.map(Refusal::plan);
                match arena.try_alloc_layout(Layout::array::<u8>(size.into()).expect("small")) {
                    Ok(block) => assert_eq!(Lent::fill(block, 1).bytes.len(), usize::from(size)),
                    Err(error) => refusal::check(&error, plan.as_ref()),
                }
            }
            Deed::Reset => {
                arena.reset();
                assert_eq!(arena.allocated_bytes(), 0);
            }
            Deed::ShrinkToFit => {
                let plan = refusal.map(Refusal::plan);
                arena.shrink_to_fit();
                assert_eq!(arena.allocated_bytes(), before);
                let is_shrunk =
                    arena.stats().committed_bytes == before.next_multiple_of(page_size());
                assert!(is_shrunk || plan.is_some_and(|plan| plan.happened()));
            }
            _ => {}
        }
        let stats = arena.stats();
        assert!(stats.committed_bytes >= arena.allocated_bytes());
        assert!(stats.committed_bytes <= stats.commit_limit_bytes.min(budget.limit_bytes()));
        assert_eq!(stats.committed_bytes, budget.committed_bytes());
    }
    drop(arena);
    assert_eq!(budget.committed_bytes(), 0);
}

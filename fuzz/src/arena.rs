//! `Arena`: what is handed out lies apart, is aligned, and keeps its bytes until its scope ends; closures and iterators
//! that allocate themselves, lie or panic; what is refused takes nothing.

#![allow(unsafe_code, reason = "reads bytes that it has written itself")]

use std::alloc::Layout;
use std::mem::MaybeUninit;

use arbitrary::Arbitrary;
use elbowroom::arena::Scope;
use elbowroom::{Arena, Budget, Error, page_size};

use crate::element::{self, Boxed, Element, tick, with_fuse};
use crate::refusal::{self, Limits, Refusal};
use crate::steps::{Step, Steps};

/// What the fuzzer chooses.
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
    /// A value whose closure allocates so many bytes first.
    Nested(u8, u16),
    Copy(u8, u16),
    Text(u8, u16),
    /// Bytes in any layout, up to so large and to an alignment of 2^15.
    Layout(u8, u16, u8),
    /// What is there for a while and then dropped, as slices of what counts itself.
    Clone(u8),
    FillWith(u8),
    FillIter {
        count: u8,
        announced: u8,
        /// Every so many elements, the iterator allocates itself.
        allocates: u8,
    },
    /// Opens a scope within the one that is open.
    Open,
    /// Ends the scope that is open. At the end all do.
    Close,
    /// Outside of scopes: a block of so many bytes, which stays until the next reset.
    Keep(u16),
    /// Outside of scopes.
    Reset,
    /// Outside of scopes.
    ShrinkToFit,
}

/// A block that was lent, and what is in it.
struct Lent<'a> {
    bytes: &'a [u8],
    value: u8,
}

impl<'a> Lent<'a> {
    /// Writes all of a block.
    fn fill(block: &'a mut [MaybeUninit<u8>], value: u8) -> Lent<'a> {
        block.fill(MaybeUninit::new(value));
        let block: &'a [MaybeUninit<u8>] = block;
        // SAFETY: all of it has just been written, and nobody else has it.
        let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr().cast::<u8>(), block.len()) };
        Lent { bytes, value }
    }

    fn check(&self) {
        assert!(
            self.bytes.iter().all(|&byte| byte == self.value),
            "a block is not what it was"
        );
    }
}

/// Values without padding: bytes, in some alignment.
#[derive(Clone, Copy)]
#[repr(align(8))]
struct Word([u8; 8]);

#[derive(Clone, Copy)]
#[repr(align(512))]
struct Large([u8; 1024]);

/// Announces what it likes.
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

/// A scope that is open.
struct Open<'s, 'a> {
    scope: &'s mut Scope<'a>,
    lent: Vec<Lent<'a>>,
    // The addresses that are in use, of the scopes around it as well.
    taken: &'s mut Vec<(usize, usize)>,
    budget: &'s Budget,
}

impl<'a> Open<'_, 'a> {
    /// Notes that a block is in use, which it was not before.
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

    /// Looks at what counts itself, and drops it, which the arena does not.
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
                    // Refused or not.
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

    /// Does steps until it is closed, or they end.
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
                    // Those two may have allocated before.
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

/// Does what the fuzzer chose.
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

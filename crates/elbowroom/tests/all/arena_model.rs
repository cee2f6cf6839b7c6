//! `Arena` and its scopes against a model.

use crate::common;

use std::alloc::Layout;
use std::cell::Cell;
use std::mem::MaybeUninit;

use elbowroom::arena::Scope;
use elbowroom::{Arena, Budget, Error, Growth, page_size};
use proptest::prelude::*;

use super::arena::MAX_BYTES;

#[derive(Clone, Debug)]
enum Step {
    Byte(u8),
    Word(u64),
    Nothing,
    Layout(Layout),
    Text(String),
    Halves(Vec<u16>),
    /// Cloned, into an element of 12 bytes.
    Owned(Vec<[u32; 3]>),
    Filled(usize, u8),
    /// From an iterator that does not know how many there will be.
    Yielded(Vec<u32>),
    Scope(Vec<Step>),
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![5 => 0..200usize, 1 => 0..100_000usize];
    let layout =
        (size, 0..18u32).prop_map(|(size, log)| Layout::from_size_align(size, 1 << log).unwrap());
    let leaf = prop_oneof![
        any::<u8>().prop_map(Step::Byte),
        any::<u64>().prop_map(Step::Word),
        Just(Step::Nothing),
        layout.prop_map(Step::Layout),
        "[a-zäß]{0,40}".prop_map(Step::Text),
        prop::collection::vec(any::<u16>(), 0..100).prop_map(Step::Halves),
        prop::collection::vec(any::<[u32; 3]>(), 0..20).prop_map(Step::Owned),
        (0..5000usize, any::<u8>()).prop_map(|(len, value)| Step::Filled(len, value)),
        prop::collection::vec(any::<u32>(), 0..100).prop_map(Step::Yielded),
    ];
    leaf.prop_recursive(4, 60, 8, |inner| {
        prop::collection::vec(inner, 0..8).prop_map(Step::Scope)
    })
}

/// Lent memory as bytes, and their expected contents.
struct Lent<'a> {
    bytes: &'a [u8],
    expected: Vec<u8>,
}

impl<'a> Lent<'a> {
    fn new(bytes: &'a [u8]) -> Lent<'a> {
        Lent {
            bytes,
            expected: bytes.to_vec(),
        }
    }

    /// From values without padding.
    fn from_values<T: bytemuck::NoUninit>(values: &'a [T]) -> Lent<'a> {
        Lent::new(bytemuck::cast_slice(values))
    }

    fn check(&self) -> Result<(), TestCaseError> {
        prop_assert!(
            self.bytes == self.expected,
            "{:?} became {:?}",
            self.expected,
            self.bytes
        );
        Ok(())
    }
}

/// The expected place of the next byte, from the base, and the limit of the arena.
struct Model {
    base: usize,
    next: usize,
    limit: usize,
}

impl Model {
    /// Returns the expected place of a block, if there is room for it.
    fn place(&self, layout: Layout) -> Option<usize> {
        let start = (self.base + self.next).next_multiple_of(layout.align()) - self.base;
        (start + layout.size() <= self.limit).then_some(start)
    }

    /// Runs a step in a scope, and adds the memory lent.
    fn run<'a>(
        &mut self,
        scope: &mut Scope<'a>,
        step: &Step,
        lent: &mut Vec<Lent<'a>>,
    ) -> Result<(), TestCaseError> {
        let (layout, result) = match step {
            Step::Byte(value) => {
                let result = scope.try_alloc(*value);
                (
                    Layout::new::<u8>(),
                    result.map(|value| Lent::new(std::slice::from_ref(value))),
                )
            }
            Step::Word(value) => {
                let made = Cell::new(false);
                let result = scope.try_alloc_with(|| {
                    made.set(true);
                    *value
                });
                prop_assert_eq!(result.is_ok(), made.get());
                (
                    Layout::new::<u64>(),
                    result.map(|value| Lent::from_values(std::slice::from_ref(value))),
                )
            }
            Step::Nothing => {
                let result = scope.try_alloc([0u64; 0]);
                (
                    Layout::new::<[u64; 0]>(),
                    result.map(|value| Lent::from_values(value)),
                )
            }
            Step::Layout(layout) => {
                let result = scope.try_alloc_layout(*layout).map(|bytes| {
                    bytes
                        .iter_mut()
                        .zip(0u8..=255)
                        .for_each(|(byte, value)| _ = byte.write(value));
                    bytes
                        .iter_mut()
                        .skip(256)
                        .for_each(|byte| _ = byte.write(7));
                    let bytes: *const [MaybeUninit<u8>] = bytes;
                    #[allow(unsafe_code, reason = "no safe way before Rust 1.93")]
                    // SAFETY: all of them have just been written, and are not borrowed elsewhere.
                    Lent::new(unsafe { &*(bytes as *const [u8]) })
                });
                (*layout, result)
            }
            Step::Text(text) => {
                let result = scope.try_alloc_str(text);
                (
                    Layout::for_value(text.as_str()),
                    result.map(|text| Lent::new(text.as_bytes())),
                )
            }
            Step::Halves(values) => {
                let result = scope.try_alloc_slice_copy(values);
                (
                    Layout::for_value(&values[..]),
                    result.map(|values| Lent::from_values(values)),
                )
            }
            Step::Owned(values) => {
                let result = scope.try_alloc_slice_clone(values);
                (
                    Layout::for_value(&values[..]),
                    result.map(|values| Lent::from_values(values)),
                )
            }
            Step::Filled(len, value) => {
                let result =
                    scope.try_alloc_slice_fill_with(*len, |index| value.wrapping_add(index as u8));
                (
                    Layout::array::<u8>(*len).unwrap(),
                    result.map(|values| Lent::new(values)),
                )
            }
            Step::Yielded(values) => {
                let layout = Layout::for_value(&values[..]);
                let result =
                    scope.try_alloc_slice_fill_iter(values.iter().copied().filter(|_| true));
                if result.is_err() {
                    prop_assert!(self.place(layout).is_none());
                    prop_assert_eq!(scope.allocated_bytes(), self.next);
                    return Ok(());
                }
                (layout, result.map(|values| Lent::from_values(values)))
            }
            Step::Scope(steps) => {
                let before = self.next;
                let done = scope.scope(|inner| {
                    let mut lent = Vec::new();
                    steps
                        .iter()
                        .try_for_each(|step| self.run(inner, step, &mut lent))?;
                    lent.iter().try_for_each(Lent::check)
                });
                done?;
                self.next = before;
                prop_assert_eq!(scope.allocated_bytes(), before);
                // The memory of the outer scope is unchanged.
                return lent.iter().try_for_each(Lent::check);
            }
        };
        self.check(layout, result, lent)?;
        prop_assert_eq!(scope.allocated_bytes(), self.next);
        Ok(())
    }

    fn check<'a>(
        &mut self,
        layout: Layout,
        result: Result<Lent<'a>, Error>,
        lent: &mut Vec<Lent<'a>>,
    ) -> Result<(), TestCaseError> {
        let place = self.place(layout);
        match result {
            Ok(new) => {
                let address = new.bytes.as_ptr().addr();
                prop_assert_eq!(address % layout.align(), 0);
                prop_assert_eq!(new.bytes.len(), layout.size());
                if layout.size() > 0 {
                    prop_assert_eq!(Some(address - self.base), place);
                    self.next = address - self.base + layout.size();
                }
                lent.push(new);
            }
            Err(error) => {
                prop_assert!(error.is_limit(), "{}", error);
                prop_assert_eq!(place, None);
            }
        }
        Ok(())
    }
}

/// A growth policy of any kind, with windows small enough to make a difference.
fn growth() -> impl Strategy<Value = Growth> {
    prop_oneof![
        (0..20usize).prop_map(Growth::Pages),
        (0..20usize).prop_map(|pages| Growth::Adaptive {
            max_bytes: pages * page_size()
        })
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(common::times(64)) })]

    #[test]
    fn behaves_like_a_pointer_that_moves_on(
        rounds in prop::collection::vec(prop::collection::vec(step(), 1..40), 1..4),
        limit in 1..200usize,
        growth in growth(),
    ) {
        let budget = Budget::new(1 << 40);
        let limit = limit * page_size();
        let mut arena = Arena::builder(MAX_BYTES).commit_limit(limit).growth(growth).budget(&budget).build().unwrap();
        let base = std::ptr::from_ref(arena.alloc(0u8)).addr();
        for steps in &rounds {
            arena.reset();
            let mut model = Model { base, next: 0, limit };
            arena.scope(|scope| {
                let mut lent = Vec::new();
                steps.iter().try_for_each(|step| model.run(scope, step, &mut lent))?;
                lent.iter().try_for_each(Lent::check)
            })?;
            prop_assert_eq!(arena.allocated_bytes(), 0);
            prop_assert!(arena.stats().committed_bytes <= limit);
            prop_assert_eq!(arena.stats().committed_bytes, budget.committed_bytes());
            if steps.len() % 2 == 0 {
                arena.shrink_to_fit();
                prop_assert_eq!(budget.committed_bytes(), 0);
            }
        }
        drop(arena);
        prop_assert_eq!(budget.committed_bytes(), 0);
    }
}

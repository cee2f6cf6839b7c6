//! `DemandArray` against a model, with elements of several sizes and alignments.

#![allow(
    unsafe_code,
    reason = "says of the tests' own types that zero is a value"
)]

use crate::common;

use std::ops::Range;

use bytemuck::Zeroable;
use elbowroom::{Backend, DemandArray, Growth, PageState, page_size};
use proptest::prelude::*;

/// An element of any size and alignment, made from a number.
pub(super) trait Element: Zeroable + Copy + PartialEq + std::fmt::Debug {
    fn of(seed: u8) -> Self;
}

impl Element for u8 {
    fn of(seed: u8) -> u8 {
        seed
    }
}

impl Element for u64 {
    fn of(seed: u8) -> u64 {
        u64::from_ne_bytes([seed; 8])
    }
}

/// Sometimes lies on two pages.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Odd([u8; 24]);
// SAFETY: it consists of bytes, for which zero is valid.
unsafe impl Zeroable for Odd {}

impl Element for Odd {
    fn of(seed: u8) -> Odd {
        Odd([seed; 24])
    }
}

/// Lies on several pages if pages are small.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Big([u8; 10_007]);
// SAFETY: it consists of bytes, for which zero is valid.
unsafe impl Zeroable for Big {}

impl Element for Big {
    fn of(seed: u8) -> Big {
        Big([seed; 10_007])
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
#[repr(align(512))]
struct Aligned(u8);
// SAFETY: it consists of a byte and padding, for which zero is valid.
unsafe impl Zeroable for Aligned {}

impl Element for Aligned {
    fn of(seed: u8) -> Aligned {
        Aligned(seed)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Get(usize),
    Touch(usize),
    Set(usize, u8),
    Update(usize, u8),
    Slice(Range<usize>),
    Fill(Range<usize>, u8),
    Clear(Range<usize>),
}

/// Indices are in 64ths of the array; larger values lie beyond the end.
fn step() -> impl Strategy<Value = Step> {
    let at = 0..1030usize;
    let range = (0..1030usize, 0..300usize).prop_map(|(start, len)| start..start + len);
    prop_oneof![
        at.clone().prop_map(Step::Get),
        at.clone().prop_map(Step::Touch),
        (at.clone(), any::<u8>()).prop_map(|(at, seed)| Step::Set(at, seed)),
        (at, any::<u8>()).prop_map(|(at, seed)| Step::Update(at, seed)),
        range.clone().prop_map(Step::Slice),
        (range.clone(), any::<u8>()).prop_map(|(range, seed)| Step::Fill(range, seed)),
        range.prop_map(Step::Clear),
    ]
}

/// The array and its expected state: touching an element commits its pages, one by one.
struct Model<T> {
    array: DemandArray<T>,
    elements: Vec<T>,
    pages: Vec<bool>,
    limit: usize,
}

impl<T: Element> Model<T> {
    const PAGES: usize = 24;

    fn new(limit: usize, backend: Backend) -> Model<T> {
        let len = (Self::PAGES * page_size() / size_of::<T>()).max(1);
        let pages = (len * size_of::<T>()).div_ceil(page_size());
        let array = DemandArray::builder(len)
            .growth(Growth::Pages(1))
            .commit_limit(limit * page_size())
            .backend(backend)
            .build()
            .expect("a small reservation");
        Model {
            array,
            elements: vec![T::zeroed(); len],
            pages: vec![false; pages],
            limit,
        }
    }

    fn pages_of(range: &Range<usize>) -> Range<usize> {
        let bytes = range.start * size_of::<T>()..range.end * size_of::<T>();
        if bytes.is_empty() {
            0..0
        } else {
            bytes.start / page_size()..bytes.end.div_ceil(page_size())
        }
    }

    fn committed(&self) -> usize {
        self.pages.iter().filter(|&&page| page).count()
    }

    /// Commits page by page. Returns false if the limit refuses.
    fn touch(&mut self, index: usize) -> bool {
        Self::pages_of(&(index..index + 1)).all(|page| {
            let fits = self.pages[page] || self.committed() < self.limit;
            self.pages[page] |= fits;
            fits
        })
    }

    /// Commits all or nothing.
    fn commit(&mut self, range: &Range<usize>) -> bool {
        let pages = Self::pages_of(range);
        let missing = self.pages[pages.clone()]
            .iter()
            .filter(|&&page| !page)
            .count();
        let fits = missing <= self.limit - self.committed();
        if fits {
            self.pages[pages].fill(true);
        }
        fits
    }

    /// Converts an index from the step's scale to the array's.
    fn index(&self, at: usize) -> usize {
        at * self.elements.len() / 1024
    }

    fn range(&self, range: &Range<usize>) -> Range<usize> {
        self.index(range.start)..self.index(range.end)
    }

    /// Checks a result, given whether the index or range is inside and whether the commit was refused.
    fn check<R>(
        inside: bool,
        fits: bool,
        at: usize,
        result: &Result<R, elbowroom::Error>,
    ) -> Result<(), TestCaseError> {
        match result {
            Ok(_) => prop_assert!(inside && fits),
            Err(error) => {
                prop_assert_eq!(error.is_invalid_range(), !inside, "{}", error);
                prop_assert_eq!(error.is_limit(), inside && !fits, "{}", error);
                prop_assert_eq!(error.offset() / size_of::<T>(), at, "{}", error);
            }
        }
        Ok(())
    }

    fn element_step(&mut self, index: usize, seed: u8, step: &Step) -> Result<(), TestCaseError> {
        let inside = index < self.elements.len();
        let fits = inside && (matches!(step, Step::Get(_)) || self.touch(index));
        let old = self.elements.get(index).copied();
        match step {
            Step::Get(_) => {
                let got = self.array.get(index);
                Self::check(inside, fits, index, &got)?;
                prop_assert_eq!(got.ok(), old);
            }
            Step::Touch(_) => {
                let lent = self.array.touch(index);
                Self::check(inside, fits, index, &lent)?;
                prop_assert!(lent.is_err() || lent.ok() == old.as_ref());
            }
            Step::Set(..) => {
                let set = self.array.set(index, T::of(seed));
                Self::check(inside, fits, index, &set)?;
            }
            _ => {
                let updated = self
                    .array
                    .update(index, |element| std::mem::replace(element, T::of(seed)));
                Self::check(inside, fits, index, &updated)?;
                prop_assert!(updated.is_err() || updated.ok() == old);
            }
        }
        if fits && matches!(step, Step::Set(..) | Step::Update(..)) {
            self.elements[index] = T::of(seed);
        }
        Ok(())
    }

    fn run(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Get(at) | Step::Touch(at) => self.element_step(self.index(*at), 0, step)?,
            Step::Set(at, seed) | Step::Update(at, seed) => {
                self.element_step(self.index(*at), *seed, step)?
            }
            Step::Slice(range) => {
                let range = self.range(range);
                let inside = range.end <= self.elements.len();
                let fits = inside && self.commit(&range);
                let slice = self.array.slice(range.clone());
                Self::check(inside, fits, range.start, &slice)?;
                if let Ok(slice) = slice {
                    prop_assert_eq!(slice, &self.elements[range]);
                }
            }
            Step::Fill(range, seed) => {
                let range = self.range(range);
                let inside = range.end <= self.elements.len();
                let fits = inside && self.commit(&range);
                let slice = self.array.slice_mut(range.clone());
                Self::check(inside, fits, range.start, &slice)?;
                if let Ok(slice) = slice {
                    slice.fill(T::of(*seed));
                    self.elements[range].fill(T::of(*seed));
                }
            }
            Step::Clear(range) => {
                let range = self.range(range);
                let inside = range.end <= self.elements.len();
                let cleared = self.array.clear_range(range.clone());
                Self::check(inside, true, range.start, &cleared)?;
                if inside {
                    let bytes = range.start * size_of::<T>()..range.end * size_of::<T>();
                    let inner = bytes.start.div_ceil(page_size())..bytes.end / page_size();
                    if inner.start < inner.end {
                        self.pages[inner].fill(false);
                    }
                    self.elements[range].fill(T::zeroed());
                }
            }
        }
        let spans = self.array.spans();
        let committed = |page: usize| {
            spans.iter().any(|span| {
                span.state == PageState::Committed && span.range.contains(&(page * page_size()))
            })
        };
        let pages: Vec<bool> = (0..self.pages.len()).map(committed).collect();
        prop_assert_eq!(&pages, &self.pages);
        prop_assert_eq!(
            self.array.stats().committed_bytes,
            self.committed() * page_size()
        );
        Ok(())
    }

    /// Checks that every element is as expected, and in a run exactly if its pages are committed.
    fn check_all(&self) -> Result<(), TestCaseError> {
        let runs: Vec<_> = self.array.committed_ranges().collect();
        for (index, &expected) in self.elements.iter().enumerate() {
            prop_assert_eq!(self.array.get(index).unwrap(), expected);
            let committed = Self::pages_of(&(index..index + 1)).all(|page| self.pages[page]);
            prop_assert_eq!(
                runs.iter().any(|run| run.contains(&index)),
                committed,
                "{}",
                index
            );
        }
        prop_assert!(runs.windows(2).all(|two| two[0].end < two[1].start));
        Ok(())
    }
}

fn behaves<T: Element>(steps: &[Step], limit: usize) -> Result<(), TestCaseError> {
    [Backend::Protection, Backend::Auto]
        .into_iter()
        .try_for_each(|backend| {
            let mut model = Model::<T>::new(limit, backend);
            steps.iter().try_for_each(|step| model.run(step))?;
            model.check_all()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(common::times(48)) })]

    #[test]
    fn behaves_like_a_vector(steps in prop::collection::vec(step(), 1..30), limit in 1..30usize) {
        behaves::<u64>(&steps, limit)?;
        behaves::<Odd>(&steps, limit)?;
        behaves::<Big>(&steps, limit)?;
        behaves::<Aligned>(&steps, limit)?;
    }
}

#[test]
fn bytes_behave_too() {
    let steps = [
        Step::Set(0, 1),
        Step::Fill(100..300, 7),
        Step::Clear(120..250),
        Step::Get(110),
        Step::Get(200),
    ];
    behaves::<u8>(&steps, 30).unwrap();
}

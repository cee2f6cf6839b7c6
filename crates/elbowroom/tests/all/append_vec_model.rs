//! `AppendVec` against a model.

// loom's models do not include `AppendVec`.
#![cfg(not(loom))]

use crate::common;

use std::panic::{self, AssertUnwindSafe};

use elbowroom::AppendVec;
use proptest::prelude::*;

use super::append_vec::moderate;

#[derive(Clone, Debug)]
enum Step {
    Push(u64),
    PushWith(u64),
    /// Pushes each of these from inside the closure of a `push_with`, which then returns or panics.
    Nested(Vec<u64>, bool),
    Extend(Vec<u64>),
    Reserve(usize),
    Get(usize),
    Negate,
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let values = || prop::collection::vec(any::<u64>(), 0..5);
    prop_oneof![
        4 => any::<u64>().prop_map(Step::Push),
        2 => any::<u64>().prop_map(Step::PushWith),
        3 => (values(), any::<bool>()).prop_map(|(values, panics)| Step::Nested(values, panics)),
        1 => prop::collection::vec(any::<u64>(), 0..3000).prop_map(Step::Extend),
        1 => (0..5000usize).prop_map(Step::Reserve),
        3 => (0..6000usize).prop_map(Step::Get),
        1 => Just(Step::Negate),
        1 => Just(Step::Clear),
    ]
}

/// The elements by index; `None` where a closure panicked and no push has filled the gap. The last one is never `None`.
#[derive(Default)]
struct Model(Vec<Option<u64>>);

impl Model {
    fn claim(&mut self) -> usize {
        // The caller stores the pushed value. A pending claim is stored as a value, not as `None`.
        let hole = self.0.iter().position(Option::is_none);
        let index = hole.unwrap_or(self.0.len());
        if hole.is_none() {
            self.0.push(None);
        }
        self.0[index] = Some(0);
        index
    }

    fn give_back(&mut self, index: usize) {
        self.0[index] = None;
        while self.0.last() == Some(&None) {
            self.0.pop();
        }
    }

    fn push(&mut self, value: u64) -> usize {
        let index = self.claim();
        self.0[index] = Some(value);
        index
    }

    fn slice(&self) -> Vec<u64> {
        self.0.iter().map_while(|element| *element).collect()
    }
}

fn run(vec: &mut AppendVec<u64>, model: &mut Model, step: Step) -> Result<(), TestCaseError> {
    match step {
        Step::Push(value) => {
            let (index, &stored) = vec.push(value);
            prop_assert_eq!((index, stored), (model.push(value), value));
        }
        Step::PushWith(value) => {
            let (index, &stored) = vec.push_with(|index| value.wrapping_add(index as u64));
            prop_assert_eq!(index, model.push(stored));
            prop_assert_eq!(stored, value.wrapping_add(index as u64));
        }
        Step::Nested(values, panics) => {
            let expected = model.claim();
            let inner: Vec<usize> = values.iter().map(|&value| model.push(value)).collect();
            let nested = AssertUnwindSafe(|| {
                vec.push_with(|index| {
                    assert_eq!(index, expected);
                    let got: Vec<usize> = values.iter().map(|&value| vec.push(value).0).collect();
                    assert_eq!(got, inner);
                    assert!(vec.len() <= index, "unfinished, so not shown");
                    if panics {
                        panic::resume_unwind(Box::new("the closure's panic"));
                    }
                    77
                });
            });
            prop_assert_eq!(panic::catch_unwind(nested).is_err(), panics);
            if panics {
                model.give_back(expected)
            } else {
                model.0[expected] = Some(77)
            }
        }
        Step::Extend(values) => {
            vec.extend(values.iter().copied());
            for value in values {
                model.push(value);
            }
        }
        Step::Reserve(additional) => {
            vec.reserve(additional);
            prop_assert!(vec.capacity() >= model.0.len() + additional);
        }
        Step::Get(index) => prop_assert_eq!(
            vec.get(index).copied(),
            model.0.get(index).copied().flatten()
        ),
        Step::Negate => {
            let len = vec.len();
            vec.as_mut_slice()
                .iter_mut()
                .for_each(|element| *element = !*element);
            model.0[..len]
                .iter_mut()
                .flatten()
                .for_each(|element| *element = !*element);
        }
        Step::Clear => {
            let capacity = vec.capacity();
            vec.clear();
            model.0.clear();
            prop_assert_eq!(vec.capacity(), capacity);
        }
    }
    let shown = model.slice();
    prop_assert_eq!(vec.len(), shown.len());
    prop_assert_eq!(vec.is_empty(), shown.is_empty());
    prop_assert_eq!(vec.as_slice(), shown);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(common::times(64)) })]

    #[test]
    fn behaves_like_a_vector(steps in prop::collection::vec(step(), 1..40), from_back: bool) {
        let mut vec = moderate();
        let mut model = Model::default();
        for step in steps {
            run(&mut vec, &mut model, step)?;
        }
        for (index, expected) in model.0.iter().enumerate() {
            prop_assert_eq!(vec.get(index), expected.as_ref());
        }
        let mut all: Vec<u64> = model.0.into_iter().flatten().collect();
        prop_assert_eq!(vec.into_iter().len(), all.len());
        let mut vec = moderate();
        Extend::extend(&mut vec, all.iter().copied());
        if from_back {
            all.reverse();
        }
        let mut rest = vec.into_iter();
        let taken: Vec<u64> = match from_back {
            true => rest.by_ref().rev().take(7).collect(),
            false => rest.by_ref().take(7).collect(),
        };
        prop_assert_eq!(&taken[..], &all[..taken.len()]);
        prop_assert_eq!(rest.len(), all.len().saturating_sub(7));
    }
}

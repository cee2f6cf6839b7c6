//! `AppendVec` on one thread, against a list of the value at each index: with closures that push or panic, and with
//! pushes that are refused.

use arbitrary::Arbitrary;
use elbowroom::{AppendVec, Error};

use crate::element::{self, Element, Kind, with_fuse, with_kind};
use crate::refusal::{self, Limits, Refusal};
use crate::steps::Steps;

/// The fuzzer's input.
#[derive(Arbitrary, Debug)]
pub struct Input {
    kind: Kind,
    max_len: u8,
    limits: Limits,
    rest: Rest,
    steps: Steps<Step>,
}

#[derive(Arbitrary, Debug)]
struct Step {
    deed: Deed,
    /// The system call that fails during the step.
    refusal: Option<Refusal>,
}

#[derive(Arbitrary, Debug)]
enum Deed {
    Push(u8),
    /// Pushes the values from inside a closure, which then returns or panics.
    PushWith {
        inside: Vec<u8>,
        value: Option<u8>,
    },
    Extend(Vec<u8>),
    Reserve(u8),
    Get(u8),
    Fill(u8),
    Clear {
        fuse: u8,
    },
}

/// The way the remaining elements are dropped.
#[derive(Arbitrary, Debug)]
enum Rest {
    Drop,
    IntoIter { front: u8, back: u8 },
}

/// The values by index. `None` if a closure for the index is running, or has panicked and the index was not reused. The
/// last entry is never such a hole.
#[derive(Default)]
struct Model {
    elements: Vec<Option<u8>>,
    // The indices among them that belong to a running closure.
    claimed: Vec<usize>,
}

impl Model {
    fn holes(&self) -> impl Iterator<Item = usize> {
        (0..self.elements.len())
            .filter(|index| self.elements[*index].is_none() && !self.claimed.contains(index))
    }

    /// Returns the index that the next push gets.
    fn next(&self) -> usize {
        self.holes().next().unwrap_or(self.elements.len())
    }

    fn claim(&mut self) -> usize {
        let index = self.next();
        if index == self.elements.len() {
            self.elements.push(None);
        }
        self.claimed.push(index);
        index
    }

    fn finish(&mut self, index: usize, value: Option<u8>) {
        self.claimed.retain(|&claimed| claimed != index);
        self.elements[index] = value;
        while self.elements.last() == Some(&None)
            && !self.claimed.contains(&(self.elements.len() - 1))
        {
            self.elements.pop();
        }
    }

    fn slice(&self) -> Vec<u8> {
        self.elements.iter().map_while(|element| *element).collect()
    }

    fn count(&self) -> usize {
        self.elements.iter().flatten().count()
    }
}

struct Subject<T> {
    vec: AppendVec<T>,
    model: Model,
}

fn push<T: Element>(vec: &AppendVec<T>, model: &mut Model, value: u8) -> Result<(), Error> {
    let pushed = vec.try_push(T::make(value)).map_err(|refused| {
        let (element, error) = refused.into_parts();
        assert_eq!(element.value(), value & T::KEPT);
        error
    });
    let (index, stored) = pushed?;
    assert_eq!((index, stored.value()), (model.next(), value & T::KEPT));
    let index = model.claim();
    model.finish(index, Some(value & T::KEPT));
    Ok(())
}

impl<T: Element> Subject<T> {
    fn step(&mut self, deed: Deed) -> Result<(), Error> {
        let Subject { vec, model } = self;
        match deed {
            Deed::Push(value) => push(vec, model, value)?,
            Deed::PushWith { inside, value } => {
                let mut claimed = None;
                let mut refused = None;
                let pushed = with_fuse(0, || {
                    vec.try_push_with(|index| {
                        let expected = model.claim();
                        assert_eq!(index, expected);
                        claimed = Some(index);
                        for &value in &inside {
                            refused = refused.take().or(push(vec, model, value).err());
                        }
                        assert!(
                            vec.len() <= index && vec.get(index).is_none(),
                            "shown before it is finished"
                        );
                        T::make(value.unwrap_or_else(|| element::blow()))
                    })
                    .map(|(index, _)| index)
                });
                match (pushed, claimed) {
                    (Some(Ok(index)), Some(claimed)) => {
                        assert_eq!(index, claimed);
                        model.finish(index, value.map(|value| value & T::KEPT));
                    }
                    (None, Some(claimed)) => model.finish(claimed, None),
                    (Some(Err(error)), None) => return Err(error),
                    (pushed, claimed) => panic!("{pushed:?} with {claimed:?}"),
                }
                if let Some(error) = refused {
                    return Err(error);
                }
            }
            Deed::Extend(values) => {
                let mut yielded = 0;
                let result = vec.try_extend(values.iter().map(|&value| {
                    yielded += 1;
                    T::make(value)
                }));
                // The last yielded value is the one that was refused.
                for value in &values[..yielded - usize::from(result.is_err())] {
                    let index = model.claim();
                    model.finish(index, Some(value & T::KEPT));
                }
                result?;
            }
            Deed::Reserve(additional) => {
                vec.try_reserve(additional.into())?;
                assert!(vec.capacity() >= model.elements.len() + usize::from(additional));
            }
            Deed::Get(index) => {
                let expected = model.elements.get(usize::from(index)).copied().flatten();
                assert_eq!(vec.get(index.into()).map(T::value), expected);
            }
            Deed::Fill(value) => {
                let shown = vec.as_mut_slice();
                model.elements[..shown.len()].fill(Some(value & T::KEPT));
                shown
                    .iter_mut()
                    .for_each(|element| *element = T::make(value));
            }
            Deed::Clear { fuse } => {
                with_fuse(fuse, || vec.clear());
                model.elements.clear();
            }
        }
        Ok(())
    }

    fn check(&self) {
        let Subject { vec, model } = self;
        let shown = model.slice();
        assert_eq!((vec.len(), vec.is_empty()), (shown.len(), shown.is_empty()));
        assert!(vec.iter().map(T::value).eq(shown));
        for (index, &expected) in model.elements.iter().enumerate() {
            assert_eq!(vec.get(index).map(T::value), expected);
        }
        assert!(vec.get(model.elements.len()).is_none());
        assert!(model.elements.len() <= vec.capacity() && vec.capacity() <= vec.max_len());
        assert_eq!(
            element::alive(),
            if T::IS_COUNTED {
                model.count() as isize
            } else {
                0
            }
        );
    }
}

fn behaves<T: Element>(input: Input) {
    let budget = input.limits.budget();
    let builder = input
        .limits
        .apply(AppendVec::<T>::builder(input.max_len.into()), &budget);
    let mut subject = Subject {
        vec: builder.build().expect("a small vector"),
        model: Model::default(),
    };
    for Step { deed, refusal } in input.steps.0 {
        let plan = refusal.map(Refusal::plan);
        if let Err(error) = subject.step(deed) {
            refusal::check(&error, plan.as_ref());
        }
        drop(plan);
        subject.check();
        let stats = subject.vec.stats();
        assert!(stats.committed_bytes <= stats.commit_limit_bytes.min(budget.limit_bytes()));
        assert_eq!(stats.committed_bytes, budget.committed_bytes());
    }
    let Subject { vec, model } = subject;
    if let Rest::IntoIter { front, back } = input.rest {
        let (mut elements, mut same) = (vec.into_iter(), model.elements.into_iter().flatten());
        for _ in 0..front {
            assert_eq!(elements.next().map(|element| element.value()), same.next());
        }
        for _ in 0..back {
            assert_eq!(
                elements.next_back().map(|element| element.value()),
                same.next_back()
            );
        }
    } else {
        drop(vec);
    }
    assert_eq!((element::alive(), budget.committed_bytes()), (0, 0));
}

/// Runs the operations of the input, and panics if container and model differ.
pub fn run(input: Input) {
    with_kind!(input.kind, behaves(input));
}

//! `ReservedVec` against `Vec`: the same contents after each operation, always at the same address. A refused operation
//! changes nothing, and no panic loses an element or drops it twice.

use std::ops::Range;

use arbitrary::Arbitrary;
use elbowroom::{Error, ReservedVec};

use crate::element::{self, Element, Kind, tick, with_fuse, with_kind};
use crate::refusal::{self, Limits, Refusal};
use crate::steps::{Step, Steps};

/// The fuzzer's input.
#[derive(Arbitrary, Debug)]
pub struct Input {
    kind: Kind,
    max_len: u8,
    limits: Limits,
    steps: Steps<Step<Deed>>,
}

#[derive(Arbitrary, Debug)]
enum Deed {
    Push(u8),
    Pop,
    PopIf(u8),
    Insert(u8, u8),
    Remove(u8),
    SwapRemove(u8),
    Truncate(u8),
    Clear,
    Extend(Yielding),
    ExtendFromSlice(u8, u8),
    ExtendFromWithin(Part),
    Append(u8, u8),
    Drain {
        part: Part,
        front: u8,
        back: u8,
    },
    Splice {
        part: Part,
        new: Yielding,
        taken: u8,
    },
    TrySplice {
        part: Part,
        new: Yielding,
        taken: u8,
    },
    Retain(u8),
    Dedup(u8),
    ExtractIf {
        part: Part,
        below: u8,
        taken: u8,
    },
    SplitOff(u8),
    Resize(u8, u8),
    ResizeWith(u8, u8),
    Reserve(u8),
    ReserveExact(u8),
    ShrinkToFit,
    ShrinkTo(u8),
    Fill(Part, u8),
    Clone,
    CloneFrom(u8, u8),
    IntoIter {
        front: u8,
        back: u8,
    },
    ViaVec,
}

/// A range inside the current length.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Part(u8, u8);

impl Part {
    fn of(self, len: usize) -> Range<usize> {
        let (a, b) = (
            usize::from(self.0) % (len + 1),
            usize::from(self.1) % (len + 1),
        );
        a.min(b)..a.max(b)
    }
}

/// An iterator of elements that announces any number of elements.
#[derive(Arbitrary, Clone, Debug)]
struct Yielding {
    values: Vec<u8>,
    announced: u8,
}

impl Yielding {
    fn elements<T: Element>(self) -> impl Iterator<Item = T> {
        struct Announcing<I>(I, usize);
        impl<I: Iterator> Iterator for Announcing<I> {
            type Item = I::Item;

            fn next(&mut self) -> Option<I::Item> {
                tick();
                self.1 = self.1.saturating_sub(1);
                self.0.next()
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                (self.1, None)
            }
        }
        Announcing(self.values.into_iter().map(T::make), self.announced.into())
    }

    fn kept<T: Element>(self) -> impl Iterator<Item = u8> {
        self.values.into_iter().map(kept::<T>)
    }
}

struct Subject<T> {
    vec: ReservedVec<T>,
    model: Vec<u8>,
}

fn kept<T: Element>(value: u8) -> u8 {
    value & T::KEPT
}

fn some<T: Element>(value: u8, count: u8) -> (Vec<T>, Vec<u8>) {
    let values = (0..count).map(|n| value.wrapping_add(n));
    (
        values.clone().map(T::make).collect(),
        values.map(kept::<T>).collect(),
    )
}

fn values<T: Element>(elements: &[T]) -> Vec<u8> {
    elements.iter().map(T::value).collect()
}

impl<T: Element> Subject<T> {
    /// Does an operation on the vector and the model. The model does not change on an error or a panic.
    fn step(&mut self, deed: Deed) -> Result<(), Error> {
        let (vec, model) = (&mut self.vec, &mut self.model);
        let len = model.len();
        let at = |index: u8| usize::from(index) % (len + 1);
        match deed {
            Deed::Push(value) => {
                vec.try_push(T::make(value)).map_err(|refused| {
                    let (element, error) = refused.into_parts();
                    assert_eq!(element.value(), kept::<T>(value));
                    error
                })?;
                model.push(kept::<T>(value));
            }
            Deed::Pop => assert_eq!(vec.pop().map(|element| element.value()), model.pop()),
            Deed::PopIf(below) => {
                let popped = vec.pop_if(|last| {
                    tick();
                    last.value() < below
                });
                let expected = model.pop_if(|last| *last < below);
                assert_eq!(popped.map(|element| element.value()), expected);
            }
            Deed::Insert(index, value) => {
                vec.try_insert(at(index), T::make(value))?;
                model.insert(at(index), kept::<T>(value));
            }
            Deed::Remove(index) if len > 0 => {
                let index = usize::from(index) % len;
                assert_eq!(vec.remove(index).value(), model.remove(index));
            }
            Deed::SwapRemove(index) if len > 0 => {
                let index = usize::from(index) % len;
                assert_eq!(vec.swap_remove(index).value(), model.swap_remove(index));
            }
            Deed::Remove(_) | Deed::SwapRemove(_) => {}
            Deed::Truncate(to) => {
                vec.truncate(to.into());
                model.truncate(to.into());
            }
            Deed::Clear => {
                vec.clear();
                model.clear();
            }
            Deed::Extend(new) => {
                vec.try_extend(new.clone().elements::<T>())?;
                model.extend(new.kept::<T>());
            }
            Deed::ExtendFromSlice(value, count) => {
                let (elements, new) = some::<T>(value, count);
                vec.try_extend_from_slice(&elements)?;
                model.extend(new);
            }
            Deed::ExtendFromWithin(part) => {
                vec.try_extend_from_within(part.of(len))?;
                model.extend_from_within(part.of(len));
            }
            Deed::Append(value, count) => {
                let (elements, new) = some::<T>(value, count);
                let mut other = ReservedVec::with_max_len(255);
                other.try_extend(elements)?;
                vec.try_append(&mut other)
                    .inspect_err(|_| assert_eq!(values(&other), new))?;
                assert!(other.is_empty());
                model.extend(new);
            }
            Deed::Drain { part, front, back } => {
                let (mut drain, mut same) = (vec.drain(part.of(len)), model.drain(part.of(len)));
                for _ in 0..front.min(same.len() as u8) {
                    assert_eq!(drain.next().map(|element| element.value()), same.next());
                }
                for _ in 0..back.min(same.len() as u8) {
                    assert_eq!(
                        drain.next_back().map(|element| element.value()),
                        same.next_back()
                    );
                }
                assert_eq!(values(drain.as_slice()), same.as_slice());
            }
            Deed::Splice { part, new, taken } => {
                let range = part.of(len);
                // Without this call, a refusal would be a panic.
                vec.try_reserve(new.values.len().max(new.announced.into()))?;
                let mut splice = vec.splice(range.clone(), new.clone().elements::<T>());
                let taken = splice
                    .by_ref()
                    .take(taken.into())
                    .map(|element| element.value())
                    .collect::<Vec<_>>();
                drop(splice);
                let old = model.splice(range, new.kept::<T>()).collect::<Vec<_>>();
                assert!(old.starts_with(&taken));
            }
            Deed::TrySplice { part, new, taken } => {
                let range = part.of(len);
                let mut splice = vec.try_splice(range.clone(), new.clone().elements::<T>())?;
                let taken = splice
                    .by_ref()
                    .take(taken.into())
                    .map(|element| element.value())
                    .collect::<Vec<_>>();
                drop(splice);
                let old = model.splice(range, new.kept::<T>()).collect::<Vec<_>>();
                assert!(old.starts_with(&taken));
            }
            Deed::Retain(below) => {
                vec.retain(|element| {
                    tick();
                    element.value() < below
                });
                model.retain(|&value| value < below);
            }
            Deed::Dedup(by) => {
                let by = by.max(1);
                vec.dedup_by_key(|element| {
                    tick();
                    element.value() / by
                });
                model.dedup_by_key(|value| *value / by);
            }
            Deed::ExtractIf { part, below, taken } => {
                let range = part.of(len);
                let is_wanted = |element: &mut T| {
                    tick();
                    element.value() < below
                };
                let extracted = vec.extract_if(range.clone(), is_wanted).take(taken.into());
                let extracted = extracted.map(|element| element.value()).collect::<Vec<_>>();
                let expected = model
                    .extract_if(range, |value| *value < below)
                    .take(taken.into());
                assert_eq!(extracted, expected.collect::<Vec<_>>());
            }
            Deed::SplitOff(index) => {
                let other = vec.try_split_off(at(index))?;
                assert_eq!(other.max_len(), vec.max_len());
                assert_eq!(values(&other), model.split_off(at(index)));
            }
            Deed::Resize(to, value) => {
                vec.try_resize(to.into(), T::make(value))?;
                model.resize(to.into(), kept::<T>(value));
            }
            Deed::ResizeWith(to, value) => {
                vec.try_resize_with(to.into(), || {
                    tick();
                    T::make(value)
                })?;
                model.resize(to.into(), kept::<T>(value));
            }
            Deed::Reserve(more) => {
                vec.try_reserve(more.into())?;
                assert!(vec.capacity() - len >= more.into());
            }
            Deed::ReserveExact(more) => {
                vec.try_reserve_exact(more.into())?;
                assert!(vec.capacity() - len >= more.into());
            }
            Deed::ShrinkToFit => vec.shrink_to_fit(),
            Deed::ShrinkTo(to) => vec.shrink_to(to.into()),
            Deed::Fill(part, value) => {
                // Writes through a slice, so that the sanitizer checks that all of it is writable.
                vec[part.of(len)]
                    .iter_mut()
                    .for_each(|element| *element = T::make(value));
                model[part.of(len)].fill(kept::<T>(value));
            }
            Deed::Clone => {
                let clone = vec.try_clone()?;
                assert_eq!(values(&clone), *model);
                assert_eq!(clone.max_len(), vec.max_len());
            }
            Deed::CloneFrom(value, count) => {
                let (elements, new) = some::<T>(value, count);
                let mut source = ReservedVec::with_max_len(255);
                source.try_extend(elements)?;
                // Without this call, a refusal would be a panic.
                vec.try_reserve(count.into())?;
                vec.clone_from(&source);
                *model = new;
            }
            Deed::IntoIter { front, back } => {
                let (mut elements, mut same) =
                    (vec.try_clone()?.into_iter(), model.clone().into_iter());
                for _ in 0..front.min(same.len() as u8) {
                    assert_eq!(elements.next().map(|element| element.value()), same.next());
                }
                for _ in 0..back.min(same.len() as u8) {
                    assert_eq!(
                        elements.next_back().map(|element| element.value()),
                        same.next_back()
                    );
                }
                assert_eq!(values(elements.as_slice()), same.as_slice());
            }
            Deed::ViaVec => assert_eq!(values(&Vec::from(vec.try_clone()?)), *model),
        }
        Ok(())
    }
}

fn behaves<T: Element>(input: Input) {
    let budget = input.limits.budget();
    let builder = input
        .limits
        .apply(ReservedVec::<T>::builder(input.max_len.into()), &budget);
    let vec = builder.build().expect("a small vector");
    let base = vec.as_ptr();
    let mut subject = Subject {
        vec,
        model: Vec::new(),
    };
    for Step {
        deed,
        refusal,
        fuse,
    } in input.steps.0
    {
        let plan = refusal.map(Refusal::plan);
        let outcome = with_fuse(fuse.unwrap_or(0), || subject.step(deed));
        match outcome {
            Some(Ok(())) => {}
            Some(Err(error)) => refusal::check(&error, plan.as_ref()),
            // The contents are then unspecified.
            None => {
                subject.model = values(&subject.vec);
                refusal::keep(&budget);
            }
        }
        drop(plan);
        let Subject { vec, model } = &subject;
        assert_eq!(values(vec), *model);
        assert_eq!(vec.as_ptr(), base);
        assert!(vec.len() <= vec.capacity() && vec.capacity() <= vec.max_len());
        let stats = vec.stats();
        assert!(
            stats.committed_bytes <= stats.commit_limit_bytes
                && stats.committed_bytes <= budget.limit_bytes()
        );
        assert_eq!(stats.committed_bytes, budget.committed_bytes());
        assert_eq!(
            element::alive(),
            if T::IS_COUNTED {
                model.len() as isize
            } else {
                0
            }
        );
    }
    drop(subject);
    assert_eq!((element::alive(), budget.committed_bytes()), (0, 0));
}

/// Runs the operations of the input, and panics if container and model differ.
pub fn run(input: Input) {
    with_kind!(input.kind, behaves(input));
}

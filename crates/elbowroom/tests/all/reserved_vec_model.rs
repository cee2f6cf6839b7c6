//! `ReservedVec` against `Vec`: the same contents after the same operations, and no element moved or dropped twice.

use std::cell::Cell;
use std::fmt::Debug;
use std::ops::Range;
use std::rc::Rc;

use elbowroom::{Budget, Error, Growth, ReservedVec, page_size};
use proptest::prelude::*;

/// An element that a test can make from a number and tell from others.
trait Element: Clone + PartialEq + Debug {
    fn make(number: u32, alive: &Rc<Cell<isize>>) -> Self;
    fn number(&self) -> u32;
}

impl Element for u8 {
    fn make(number: u32, _: &Rc<Cell<isize>>) -> u8 {
        number as u8
    }

    fn number(&self) -> u32 {
        u32::from(*self)
    }
}

/// Counts its instances. It is large, so that few of them fill a page.
#[derive(Debug)]
struct Counted {
    number: u32,
    padding: [u32; 100],
    alive: Rc<Cell<isize>>,
}

impl Element for Counted {
    fn make(number: u32, alive: &Rc<Cell<isize>>) -> Counted {
        alive.set(alive.get() + 1);
        Counted {
            number,
            padding: [number; 100],
            alive: Rc::clone(alive),
        }
    }

    fn number(&self) -> u32 {
        assert_eq!(self.padding, [self.number; 100]);
        self.number
    }
}

impl Clone for Counted {
    fn clone(&self) -> Counted {
        Counted::make(self.number, &self.alive)
    }
}

impl PartialEq for Counted {
    fn eq(&self, other: &Counted) -> bool {
        self.number() == other.number()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.alive.set(self.alive.get() - 1);
    }
}

/// Has no size and counts its instances.
#[derive(Debug)]
struct Nothing;

thread_local! {
    static NOTHINGS: Cell<isize> = const { Cell::new(0) };
}

impl Element for Nothing {
    fn make(_: u32, _: &Rc<Cell<isize>>) -> Nothing {
        NOTHINGS.set(NOTHINGS.get() + 1);
        Nothing
    }

    fn number(&self) -> u32 {
        0
    }
}

impl Clone for Nothing {
    fn clone(&self) -> Nothing {
        NOTHINGS.set(NOTHINGS.get() + 1);
        Nothing
    }
}

impl PartialEq for Nothing {
    fn eq(&self, _: &Nothing) -> bool {
        true
    }
}

impl Drop for Nothing {
    fn drop(&mut self) {
        NOTHINGS.set(NOTHINGS.get() - 1);
    }
}

/// Aligned to more than a cache line, and larger than some pages.
#[derive(Clone, Debug, PartialEq)]
#[repr(align(8192))]
struct Aligned(u32);

impl Element for Aligned {
    fn make(number: u32, _: &Rc<Cell<isize>>) -> Aligned {
        Aligned(number)
    }

    fn number(&self) -> u32 {
        assert_eq!((&raw const *self).addr() % 8192, 0);
        self.0
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(u32),
    Pop,
    PopIf(u32),
    Insert(usize, u32),
    Remove(usize),
    SwapRemove(usize),
    Truncate(usize),
    Clear,
    /// The second number is the length that the iterator announces, in percent of the real one.
    Extend(usize, usize),
    ExtendFromSlice(usize),
    ExtendFromWithin(usize, usize),
    Append(usize),
    /// Takes this many elements from the front and from the back.
    Drain(usize, usize, usize, usize),
    Splice(usize, usize, usize, usize),
    TrySplice(usize, usize, usize, usize),
    Retain(u32),
    Dedup(u32),
    ExtractIf(usize, usize, u32, usize),
    SplitOff(usize),
    Resize(usize),
    ResizeWith(usize),
    Reserve(usize),
    ReserveExact(usize),
    ShrinkToFit,
    ShrinkTo(usize),
    Clone,
    CloneFrom(usize),
    IntoIter(usize, usize),
    ViaVec,
}

fn step() -> impl Strategy<Value = Step> {
    let number = || 0..10u32;
    let at = || 0..200usize;
    let few = || 0..60usize;
    prop_oneof![
        number().prop_map(Step::Push),
        Just(Step::Pop),
        number().prop_map(Step::PopIf),
        (at(), number()).prop_map(|(at, n)| Step::Insert(at, n)),
        at().prop_map(Step::Remove),
        at().prop_map(Step::SwapRemove),
        at().prop_map(Step::Truncate),
        Just(Step::Clear),
        (few(), 0..=100usize).prop_map(|(n, hint)| Step::Extend(n, hint)),
        few().prop_map(Step::ExtendFromSlice),
        (at(), at()).prop_map(|(a, b)| Step::ExtendFromWithin(a, b)),
        few().prop_map(Step::Append),
        (at(), at(), few(), few()).prop_map(|(a, b, front, back)| Step::Drain(a, b, front, back)),
        (at(), at(), few(), 0..=100usize).prop_map(|(a, b, n, hint)| Step::Splice(a, b, n, hint)),
        (at(), at(), few(), 0..=100usize)
            .prop_map(|(a, b, n, hint)| Step::TrySplice(a, b, n, hint)),
        number().prop_map(Step::Retain),
        (1..5u32).prop_map(Step::Dedup),
        (at(), at(), number(), few()).prop_map(|(a, b, n, taken)| Step::ExtractIf(a, b, n, taken)),
        at().prop_map(Step::SplitOff),
        at().prop_map(Step::Resize),
        at().prop_map(Step::ResizeWith),
        at().prop_map(Step::Reserve),
        at().prop_map(Step::ReserveExact),
        Just(Step::ShrinkToFit),
        at().prop_map(Step::ShrinkTo),
        Just(Step::Clone),
        few().prop_map(Step::CloneFrom),
        (few(), few()).prop_map(|(front, back)| Step::IntoIter(front, back)),
        Just(Step::ViaVec),
    ]
}

/// Announces fewer elements than it has.
struct Announcing<I>(I, usize);

impl<I: Iterator> Iterator for Announcing<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.1 = self.1.saturating_sub(1);
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.1, None)
    }
}

/// Returns two numbers as a range within a length.
fn range(a: usize, b: usize, len: usize) -> Range<usize> {
    let (a, b) = (a % (len + 1), b % (len + 1));
    a.min(b)..a.max(b)
}

struct Subject<T> {
    vec: ReservedVec<T>,
    model: Vec<T>,
    alive: Rc<Cell<isize>>,
    next: u32,
}

impl<T: Element> Subject<T> {
    /// Returns equal elements for the vector and the model.
    fn some(&mut self, count: usize) -> (Vec<T>, Vec<T>) {
        let first = self.next;
        self.next += count as u32;
        let make = || {
            (first..self.next)
                .map(|n| T::make(n % 10, &self.alive))
                .collect()
        };
        (make(), make())
    }

    fn one(&self, number: u32) -> T {
        T::make(number, &self.alive)
    }

    /// Applies the step to both. On an error, the model stays unchanged.
    fn step(&mut self, step: Step) -> Result<(), Error> {
        let len = self.model.len();
        match step {
            Step::Push(n) => {
                let (element, same) = (self.one(n), self.one(n));
                self.vec.try_push(element)?;
                self.model.push(same);
            }
            Step::Pop => assert_eq!(self.vec.pop(), self.model.pop()),
            Step::PopIf(n) => {
                let popped = self.vec.pop_if(|last| last.number() < n);
                let expected = if self.model.last().is_some_and(|last| last.number() < n) {
                    self.model.pop()
                } else {
                    None
                };
                assert_eq!(popped, expected);
            }
            Step::Insert(at, n) => {
                let (element, same) = (self.one(n), self.one(n));
                self.vec.try_insert(at % (len + 1), element)?;
                self.model.insert(at % (len + 1), same);
            }
            Step::Remove(at) if len > 0 => {
                assert_eq!(self.vec.remove(at % len), self.model.remove(at % len))
            }
            Step::SwapRemove(at) if len > 0 => {
                assert_eq!(
                    self.vec.swap_remove(at % len),
                    self.model.swap_remove(at % len)
                );
            }
            Step::Remove(_) | Step::SwapRemove(_) => {}
            Step::Truncate(at) => {
                self.vec.truncate(at);
                self.model.truncate(at);
            }
            Step::Clear => {
                self.vec.clear();
                self.model.clear();
            }
            Step::Extend(count, hint) => {
                let (elements, same) = self.some(count);
                self.vec
                    .try_extend(Announcing(elements.into_iter(), count * hint / 100))?;
                self.model.extend(same);
            }
            Step::ExtendFromSlice(count) => {
                let (elements, same) = self.some(count);
                self.vec.try_extend_from_slice(&elements)?;
                self.model.extend_from_slice(&same);
            }
            Step::ExtendFromWithin(a, b) => {
                let range = range(a, b, len);
                self.vec.try_extend_from_within(range.clone())?;
                self.model.extend_from_within(range);
            }
            Step::Append(count) => {
                let (elements, mut same) = self.some(count);
                let mut other = ReservedVec::from(elements);
                self.vec
                    .try_append(&mut other)
                    .inspect_err(|_| assert_eq!(other, same))?;
                assert!(other.is_empty());
                self.model.append(&mut same);
            }
            Step::Drain(a, b, front, back) => {
                let range = range(a, b, len);
                let (mut drain, mut same) =
                    (self.vec.drain(range.clone()), self.model.drain(range));
                for _ in 0..front {
                    assert_eq!(drain.next(), same.next());
                }
                for _ in 0..back {
                    assert_eq!(drain.next_back(), same.next_back());
                }
                assert_eq!(drain.len(), same.len());
                assert_eq!(drain.as_slice(), same.as_slice());
            }
            Step::Splice(a, b, count, hint) => {
                let range = range(a, b, len);
                let (elements, same) = self.some(count);
                self.vec.try_reserve(count)?;
                let new = Announcing(elements.into_iter(), count * hint / 100);
                let old: Vec<T> = self.vec.splice(range.clone(), new).collect();
                assert_eq!(old, self.model.splice(range, same).collect::<Vec<T>>());
            }
            Step::TrySplice(a, b, count, hint) => {
                let range = range(a, b, len);
                let (elements, same) = self.some(count);
                let new = Announcing(elements.into_iter(), count * hint / 100);
                let old: Vec<T> = self.vec.try_splice(range.clone(), new)?.collect();
                assert_eq!(old, self.model.splice(range, same).collect::<Vec<T>>());
            }
            Step::Retain(n) => {
                self.vec.retain(|element| element.number() < n);
                self.model.retain(|element| element.number() < n);
            }
            Step::Dedup(n) => {
                self.vec.dedup_by_key(|element| element.number() / n);
                self.model.dedup_by_key(|element| element.number() / n);
            }
            Step::ExtractIf(a, b, n, taken) => {
                let range = range(a, b, len);
                let extracted: Vec<T> = self
                    .vec
                    .extract_if(range.clone(), |element| element.number() < n)
                    .take(taken)
                    .collect();
                let mut expected = Vec::new();
                let mut at = range.start;
                for _ in range {
                    // Takes `count` elements; unlike `take`, it does not ask for one more at the end.
                    if expected.len() == taken {
                        break;
                    }
                    if self.model[at].number() < n {
                        expected.push(self.model.remove(at));
                    } else {
                        at += 1;
                    }
                }
                assert_eq!(extracted, expected);
            }
            Step::SplitOff(at) => {
                let at = at % (len + 1);
                let other = self.vec.try_split_off(at)?;
                assert_eq!(other.max_len(), self.vec.max_len());
                assert_eq!(other, self.model.split_off(at));
            }
            Step::Resize(to) => {
                let (element, same) = (self.one(3), self.one(3));
                self.vec.try_resize(to, element)?;
                self.model.resize(to, same);
            }
            Step::ResizeWith(to) => {
                let alive = Rc::clone(&self.alive);
                self.vec.try_resize_with(to, || T::make(4, &alive))?;
                self.model.resize_with(to, || T::make(4, &alive));
            }
            Step::Reserve(more) => {
                self.vec.try_reserve(more)?;
                assert!(self.vec.capacity() - len >= more);
            }
            Step::ReserveExact(more) => {
                self.vec.try_reserve_exact(more)?;
                assert!(self.vec.capacity() - len >= more);
            }
            Step::ShrinkToFit => self.vec.shrink_to_fit(),
            Step::ShrinkTo(to) => self.vec.shrink_to(to),
            Step::Clone => {
                let clone = self.vec.try_clone()?;
                assert_eq!(clone, self.model);
                assert_eq!(clone.max_len(), self.vec.max_len());
            }
            Step::CloneFrom(count) => {
                let (elements, same) = self.some(count);
                self.vec.try_reserve(count)?;
                self.vec.clone_from(&ReservedVec::from(elements));
                self.model.clone_from(&same);
            }
            Step::IntoIter(front, back) => {
                let clone = self.vec.try_clone()?;
                let (mut elements, mut same) = (clone.into_iter(), self.model.clone().into_iter());
                for _ in 0..front {
                    assert_eq!(elements.next(), same.next());
                }
                for _ in 0..back {
                    assert_eq!(elements.next_back(), same.next_back());
                }
                assert_eq!(elements.len(), same.len());
                assert_eq!(elements.as_slice(), same.as_slice());
            }
            Step::ViaVec => {
                let clone = self.vec.try_clone()?;
                let vec = Vec::from(clone);
                assert_eq!(vec, self.model);
                assert_eq!(ReservedVec::from(vec), self.model);
            }
        }
        Ok(())
    }
}

fn behaves_as_vec<T: Element>(
    steps: Vec<Step>,
    limit_pages: usize,
    window: usize,
) -> Result<(), TestCaseError> {
    let alive = Rc::new(Cell::new(0));
    let budget = Budget::new(3 * limit_pages * page_size());
    let vec = ReservedVec::builder(200)
        .budget(&budget)
        .commit_limit(limit_pages * page_size())
        .growth(Growth::Pages(window))
        .build()
        .unwrap();
    let base = vec.as_ptr();
    let mut subject = Subject::<T> {
        vec,
        model: Vec::new(),
        alive: Rc::clone(&alive),
        next: 0,
    };
    for step in steps {
        let refused = subject.step(step);
        if let Err(error) = refused {
            prop_assert!(error.is_limit(), "{error}");
        }
        prop_assert_eq!(&subject.vec, &subject.model);
        prop_assert_eq!(subject.vec.as_ptr(), base);
        prop_assert!(subject.vec.capacity() >= subject.vec.len());
        prop_assert!(subject.vec.capacity() <= 200);
        let committed = subject.vec.stats().committed_bytes;
        prop_assert!(committed <= limit_pages * page_size());
        prop_assert_eq!(budget.committed_bytes(), committed);
        let both = 2 * subject.model.len() as isize;
        prop_assert!(
            alive.get() == 0 || alive.get() == both,
            "{} alive, not {}",
            alive.get(),
            both
        );
    }
    drop(subject);
    prop_assert_eq!(alive.get(), 0);
    prop_assert_eq!(NOTHINGS.get(), 0);
    prop_assert_eq!(budget.committed_bytes(), 0);
    Ok(())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn bytes(steps in steps()) {
        behaves_as_vec::<u8>(steps, 1, 1)?;
    }

    #[test]
    fn counted_elements(steps in steps(), limit_pages in 1..20usize, window in 1..5usize) {
        behaves_as_vec::<Counted>(steps, limit_pages, window)?;
    }

    #[test]
    fn elements_of_no_size(steps in steps()) {
        behaves_as_vec::<Nothing>(steps, 1, 1)?;
    }

    #[test]
    fn aligned_elements(steps in steps(), limit_pages in 1..300usize) {
        behaves_as_vec::<Aligned>(steps, limit_pages, 3)?;
    }
}

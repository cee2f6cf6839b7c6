//! The methods that `AppendVec` has in common with `Vec`, with holes, panics and drops counted.

#![cfg(not(loom))]

use crate::common;

use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use elbowroom::{AppendVec, Budget, Growth, append_vec, page_size};
use proptest::prelude::*;

fn moderate<T>() -> AppendVec<T> {
    AppendVec::with_max_len(1 << 20)
}

/// Makes a hole, and appends `behind` after it.
fn with_hole<T: RefUnwindSafe>(vec: &AppendVec<T>, behind: impl IntoIterator<Item = T>) {
    let push = AssertUnwindSafe(|| {
        vec.push_with(|_| {
            vec.extend(behind);
            std::panic::resume_unwind(Box::new(()))
        });
    });
    assert!(catch_unwind(push).is_err());
}

#[derive(Clone, Debug)]
enum Step {
    Push(u32),
    Hole(Vec<u32>),
    Extend(Vec<u32>),
    PushSlice(Vec<u32>),
    Set(usize, u32),
    Fill(usize, usize, u32),
    Negate,
    Truncate(usize),
    Pop,
    Clone,
    CloneFrom(Vec<u32>),
    RoundTrip,
}

fn step() -> impl Strategy<Value = Step> {
    let values = || prop::collection::vec(any::<u32>(), 0..40);
    prop_oneof![
        3 => any::<u32>().prop_map(Step::Push),
        2 => prop::collection::vec(any::<u32>(), 1..5).prop_map(Step::Hole),
        2 => values().prop_map(Step::Extend),
        2 => values().prop_map(Step::PushSlice),
        3 => (0..60usize, any::<u32>()).prop_map(|(index, value)| Step::Set(index, value)),
        2 => (0..60usize, 0..60usize, any::<u32>())
            .prop_map(|(start, end, value)| Step::Fill(start, end, value)),
        1 => Just(Step::Negate),
        2 => (0..60usize).prop_map(Step::Truncate),
        3 => Just(Step::Pop),
        1 => Just(Step::Clone),
        1 => values().prop_map(Step::CloneFrom),
        1 => Just(Step::RoundTrip),
    ]
}

/// By index; `None` for a hole, which a later push fills. The last is never `None`.
#[derive(Clone, Default)]
struct Model(Vec<Option<u32>>);

impl Model {
    fn push(&mut self, value: u32) {
        match self.0.iter_mut().find(|element| element.is_none()) {
            Some(hole) => *hole = Some(value),
            None => self.0.push(Some(value)),
        }
    }

    /// Puts the values into the first gap that is long enough, or at the end.
    fn push_slice(&mut self, values: &[u32]) -> usize {
        let is_gap = |gap: &[Option<u32>]| gap.iter().all(Option::is_none);
        let gap = self.0.windows(values.len()).position(is_gap);
        let first = gap.unwrap_or(self.0.len());
        self.0.resize(self.0.len().max(first + values.len()), None);
        self.0[first..][..values.len()]
            .copy_from_slice(&values.iter().copied().map(Some).collect::<Vec<_>>());
        first
    }

    fn hole(&mut self, behind: &[u32]) {
        let hole = self
            .0
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.0.len());
        if hole == self.0.len() {
            self.0.push(None);
        }
        self.0[hole] = Some(0);
        behind.iter().for_each(|&value| self.push(value));
        self.0[hole] = None;
        self.truncate(usize::MAX);
    }

    /// Removes what is behind the last element: holes at the end were never given out.
    fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
        while self.0.last() == Some(&None) {
            self.0.pop();
        }
    }

    fn slice(&self) -> Vec<u32> {
        self.0.iter().map_while(|&element| element).collect()
    }
}

fn run(vec: &mut AppendVec<u32>, model: &mut Model, step: Step) -> Result<(), TestCaseError> {
    match step {
        Step::Push(value) => {
            vec.push(value);
            model.push(value);
        }
        Step::Hole(behind) => {
            with_hole(vec, behind.iter().copied());
            model.hole(&behind);
        }
        Step::Extend(values) => {
            Extend::<&u32>::extend(vec, &values);
            values.iter().for_each(|&value| model.push(value));
        }
        Step::PushSlice(values) => {
            let (first, stored) = vec.push_slice(&values);
            prop_assert_eq!(stored, &values);
            if !values.is_empty() {
                prop_assert_eq!(first, model.push_slice(&values));
            }
        }
        Step::Set(index, value) => {
            let expected = model.0.get_mut(index).and_then(Option::as_mut);
            prop_assert_eq!(vec.get_mut(index).copied(), expected.as_deref().copied());
            match expected {
                Some(element) => {
                    vec[index] = value;
                    *element = value;
                }
                None => {
                    let set = AssertUnwindSafe(|| vec[index] = value);
                    prop_assert!(catch_unwind(set).is_err());
                }
            }
        }
        Step::Fill(a, b, value) => {
            let (start, end) = (a.min(b), a.max(b));
            if end <= vec.len() {
                vec[start..end].fill(value);
                model.0[start..end].fill(Some(value));
            } else {
                let range = AssertUnwindSafe(|| _ = &vec[start..end]);
                prop_assert!(catch_unwind(range).is_err());
            }
        }
        Step::Negate => {
            let len = vec.len();
            vec.iter_mut().for_each(|element| *element = !*element);
            for element in model.0[..len].iter_mut().flatten() {
                *element = !*element;
            }
        }
        Step::Truncate(len) => {
            vec.truncate(len);
            model.truncate(len);
        }
        Step::Pop => {
            prop_assert_eq!(vec.pop(), model.0.pop().flatten());
            model.truncate(usize::MAX);
        }
        Step::Clone => {
            *vec = vec.clone();
            model.0.truncate(model.slice().len());
        }
        Step::CloneFrom(values) => {
            let other = moderate();
            other.extend(values.iter().copied());
            vec.clone_from(&other);
            model.0 = values.into_iter().map(Some).collect();
        }
        Step::RoundTrip => {
            let all = Vec::from(std::mem::replace(vec, moderate()));
            let expected: Vec<u32> = model.0.iter().copied().flatten().collect();
            prop_assert_eq!(&all, &expected);
            vec.extend(all);
            model.0 = expected.into_iter().map(Some).collect();
        }
    }
    let shown = model.slice();
    prop_assert_eq!(&*vec, &shown);
    prop_assert_eq!(&vec[..], &shown[..]);
    prop_assert_eq!((vec.first(), vec.last()), (shown.first(), shown.last()));
    let elements = model.0.iter().enumerate();
    let finished: Vec<(usize, u32)> = elements.filter_map(|(n, e)| Some((n, (*e)?))).collect();
    let found = vec.iter_finished();
    prop_assert!(found.size_hint().0 <= finished.len());
    prop_assert!(found.size_hint().1 >= Some(finished.len()));
    prop_assert!(
        found
            .clone()
            .map(|(n, &e)| (n, e))
            .eq(finished.iter().copied())
    );
    prop_assert!(
        found
            .rev()
            .map(|(n, &e)| (n, e))
            .eq(finished.iter().rev().copied())
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(common::times(64)) })]

    #[test]
    fn behaves_like_a_vector_with_holes(steps in prop::collection::vec(step(), 1..40)) {
        let (mut vec, mut model) = (moderate(), Model::default());
        for step in steps {
            run(&mut vec, &mut model, step)?;
        }
        let all: Vec<u32> = model.0.iter().copied().flatten().collect();
        let mut elements = vec.into_iter();
        prop_assert_eq!(format!("{:?}", elements), format!("{:?}", all.clone().into_iter()));
        let (first, last) = (elements.next(), elements.next_back());
        let mut expected = all.into_iter();
        prop_assert_eq!((first, last), (expected.next(), expected.next_back()));
        prop_assert_eq!(format!("{:?}", elements), format!("{:?}", expected));
    }
}

#[test]
fn equality_is_that_of_slices() {
    let (vec, other) = (moderate(), moderate());
    vec.extend([1, 2, 3]);
    other.extend([1, 2]);
    assert_ne!(vec, other);
    other.push(3);
    assert_eq!(vec, other);
    assert_eq!(vec, [1, 2, 3]);
    assert_eq!([1, 2, 3], vec);
    assert_eq!(vec, &[1, 2, 3]);
    assert_eq!(&mut [1, 2, 3][..], vec);
    assert_eq!(vec, vec![1, 2, 3]);
    assert_eq!(vec![1, 2, 3], vec);
    let texts = moderate();
    texts.push(String::from("text"));
    assert_eq!(texts, ["text"]);
    assert_eq!(
        (&vec[1..], &vec[..=1], &vec[1..=1]),
        (&[2, 3][..], &[1, 2][..], &[2][..])
    );
}

/// Counts its drops and clones, and may panic at a clone.
#[derive(Debug)]
struct Counted<'a> {
    drops: &'a AtomicUsize,
    number: u32,
}

impl Clone for Counted<'_> {
    fn clone(&self) -> Self {
        assert_ne!(self.number, 7, "the seventh");
        Counted { ..*self }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_clone_that_panics_drops_what_was_cloned() {
    let drops = AtomicUsize::new(0);
    let dropped = || drops.swap(0, Ordering::Relaxed);
    let counted = |number| Counted {
        drops: &drops,
        number,
    };
    let vec = moderate();
    vec.extend((0..10).map(counted));
    assert!(catch_unwind(|| vec.clone()).is_err());
    assert_eq!(dropped(), 7);
    let mut target = moderate();
    target.extend((100..103).map(counted));
    assert!(catch_unwind(AssertUnwindSafe(|| target.clone_from(&vec))).is_err());
    assert_eq!(
        (dropped(), target.len()),
        (3, 7),
        "the old ones; the clones stay"
    );
    target.push(counted(8));
    assert_eq!(target[7].number, 8, "no index is lost");
    drop(target);
    assert_eq!(dropped(), 8);

    with_hole(&vec, (0..5).map(counted));
    let all = Vec::from(vec);
    assert_eq!((all.len(), dropped()), (15, 0));
    drop(all);
    assert_eq!(dropped(), 15);
}

#[test]
fn a_slice_whose_clone_panics_leaves_its_indices_to_others() {
    static VEC: AppendVec<Odd> = AppendVec::with_max_len(1 << 20);
    static DROPS: AtomicUsize = AtomicUsize::new(0);

    #[derive(Debug, PartialEq)]
    struct Odd(u32);

    impl Clone for Odd {
        fn clone(&self) -> Self {
            match self.0 {
                // Behind the slice, so that its indices are not just given out again.
                6 => _ = VEC.push(Odd(100)),
                7 => panic!("the seventh"),
                _ => {}
            }
            Odd(self.0)
        }
    }

    impl Drop for Odd {
        fn drop(&mut self) {
            DROPS.fetch_add(1, Ordering::Relaxed);
        }
    }

    let shown = || VEC.iter().map(|odd| odd.0).collect::<Vec<_>>();
    VEC.push(Odd(0));
    let values = [5, 6, 7, 8].map(Odd);
    assert!(catch_unwind(|| VEC.push_slice(&values)).is_err());
    assert_eq!(DROPS.load(Ordering::Relaxed), 2, "the clones");
    assert_eq!((shown(), VEC.get(5)), (vec![0], Some(&Odd(100))));
    // Values that fit into the gap go there; others go to the end.
    assert_eq!(VEC.push_slice(&[1, 2, 3].map(Odd)).0, 1);
    assert_eq!(VEC.push_slice(&[10, 11].map(Odd)).0, 6);
    assert_eq!(shown(), [0, 1, 2, 3]);
    assert_eq!(VEC.push(Odd(4)).0, 4);
    assert_eq!(shown(), [0, 1, 2, 3, 4, 100, 10, 11]);
    // The clones, what was compared with, and the values.
    assert_eq!(DROPS.load(Ordering::Relaxed), 2 + 1 + 3 + 2);
}

#[test]
fn slices_of_many_threads_lie_in_one_piece() {
    const ROUNDS: u32 = 200;
    let vec = moderate();
    let vec = &vec;
    thread::scope(|scope| {
        for thread in 0..4u32 {
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let values: Vec<_> = (0..1 + round % 70).map(|n| (thread, round, n)).collect();
                    let (first, stored) = vec.push_slice(&values);
                    assert_eq!(stored, values);
                    assert_eq!(vec.get(first + values.len() - 1), values.last());
                    vec.push((thread, round, u32::MAX));
                }
            });
        }
    });
    let all: Vec<_> = vec.iter().copied().collect();
    let of_slices = all.iter().filter(|(.., n)| *n != u32::MAX).count() as u32;
    assert_eq!(
        of_slices,
        4 * (0..ROUNDS).map(|round| 1 + round % 70).sum::<u32>()
    );
    for (at, &(thread, round, n)) in all.iter().enumerate() {
        if n != u32::MAX && n < round % 70 {
            assert_eq!(all[at + 1], (thread, round, n + 1));
        }
    }
}

#[test]
fn a_slice_that_does_not_fit_is_refused_whole() {
    let vec = AppendVec::with_max_len(10);
    vec.push_slice(&[1, 2, 3]);
    assert!(vec.try_push_slice(&[0; 8]).unwrap_err().is_limit());
    assert!(vec.try_push_slice(&[0; 11]).unwrap_err().is_limit());
    assert_eq!(vec, [1, 2, 3]);
    assert_eq!(vec.push_slice(&[4; 7]), (3, &[4; 7][..]));
    assert!(vec.try_push(0).is_err());
    assert!(vec.push_slice(&[]).1.is_empty());
    // More elements than there are addresses for the flags of elements without a size.
    let units = AppendVec::with_max_len(usize::MAX);
    assert!(units.try_push_slice(&[(); usize::MAX]).is_err());
    let units = AppendVec::with_max_len(1000);
    units.push_slice(&[(); 600]);
    assert!(units.try_push_slice(&[(); 600]).is_err());
    assert_eq!(units.len(), 600);
}

#[test]
fn a_clone_has_the_same_limits() {
    let budget = Budget::new(1 << 30);
    let vec = AppendVec::<u64>::builder(1 << 20)
        .name("log")
        .growth(Growth::Pages(1))
        .commit_limit(9 * page_size())
        .budget(&budget)
        .build()
        .unwrap();
    let fill = |vec: &AppendVec<u64>| (0..).take_while(|&n| vec.try_push(n).is_ok()).count();
    let empty = vec.clone();
    let count = fill(&vec);
    let full = vec.clone();
    assert_eq!(full, vec);
    assert_eq!(fill(&full), 0);
    assert_eq!(fill(&empty), count);
    assert_eq!((full.name(), full.max_len()), ("log", vec.max_len()));
    let (of_one, of_other) = (vec.stats(), full.stats());
    assert_eq!(of_one.commit_limit_bytes, of_other.commit_limit_bytes);
    assert_eq!(budget.committed_bytes(), 3 * of_one.committed_bytes);
    let tight = Budget::new(2 * page_size());
    let small = AppendVec::<u8>::builder(100)
        .budget(&tight)
        .build()
        .unwrap();
    small.push(1);
    assert_eq!(small.try_clone().unwrap_err().budget(), Some(&tight));
    assert_eq!(tight.committed_bytes(), small.stats().committed_bytes);

    let bounded = AppendVec::with_max_len(3);
    bounded.extend([1, 2, 3]);
    assert!(bounded.clone().try_push(4).unwrap_err().error().is_limit());
}

#[test]
fn elements_of_no_size_are_cloned_and_moved() {
    let mut vec = moderate();
    vec.extend([(); 5000]);
    let clone = vec.clone();
    assert_eq!(vec, clone);
    vec[3] = ();
    assert!(vec.get_mut(4999).is_some() && vec.get_mut(5000).is_none());
    assert_eq!((vec.iter_finished().count(), vec[10..].len()), (5000, 4990));
    assert_eq!(Vec::from(clone).len(), 5000);
}

#[test]
fn finished_elements_are_found_while_others_push() {
    let each = common::times(20_000);
    let vec = moderate();
    thread::scope(|scope| {
        let pushers: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| (0..each).for_each(|n| _ = vec.push_with(|index| (index, n)))))
            .collect();
        let mut seen = 0;
        while pushers.iter().any(|pusher| !pusher.is_finished()) {
            let least = vec.iter_finished().size_hint().0;
            let count = vec
                .iter_finished()
                .inspect(|&(index, e)| assert_eq!(index, e.0))
                .count();
            assert!(count >= seen && count >= least);
            seen = count;
        }
    });
    assert_eq!(vec.iter_finished().count(), 2 * each as usize);
}

const _: () = {
    const fn unwinds<T: UnwindSafe + RefUnwindSafe>() {}
    unwinds::<AppendVec<String>>();
    unwinds::<append_vec::IntoIter<String>>();
    unwinds::<append_vec::Finished<'static, String>>();
};

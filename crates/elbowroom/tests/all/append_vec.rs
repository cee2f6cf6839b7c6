//! `AppendVec` against a model, from many threads, with panics, refusals and drops counted.

// loom's models do not include `AppendVec`.
#![cfg(not(loom))]

use crate::common;

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;

use elbowroom::{AppendVec, Budget, Growth, Region, page_size};
use proptest::prelude::*;

/// A vector of moderate size: an emulator cannot reserve the default of 64 GiB for each.
fn moderate<T>() -> AppendVec<T> {
    AppendVec::with_max_len(1 << 20)
}

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

#[test]
fn holes_are_no_elements() {
    let vec = moderate();
    let panicking = |value: u64| {
        let push = AssertUnwindSafe(|| {
            vec.push_with(|_| {
                vec.push(value);
                panic::resume_unwind(Box::new(()))
            });
        });
        assert!(panic::catch_unwind(push).is_err());
    };
    vec.push(10);
    panicking(12);
    assert_eq!(vec.as_slice(), [10]);
    assert_eq!((vec.get(1), vec[2]), (None, 12));
    // The push inside the closure fills index 1, and the closure's own index then is the hole.
    panicking(14);
    assert_eq!(
        (vec.get(0), vec.get(1), vec.get(2)),
        (Some(&10), None, Some(&12))
    );
    assert_eq!(vec[3], 14);
    let elements = vec.into_iter();
    assert_eq!(elements.len(), 3);
    assert_eq!(elements.collect::<Vec<_>>(), [10, 12, 14]);
}

/// Counts its drops, and checks that it is dropped only once.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>, bool);

impl Counted {
    fn new(drops: &Arc<AtomicUsize>) -> Counted {
        Counted(Arc::clone(drops), false)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        assert!(!std::mem::replace(&mut self.1, true), "dropped twice");
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn elements_are_dropped_once() {
    let drops = Arc::new(AtomicUsize::new(0));
    let dropped = || drops.swap(0, Ordering::Relaxed);
    let mut vec = moderate();
    vec.extend((0..1000).map(|_| Counted::new(&drops)));
    assert_eq!(dropped(), 0);
    vec.clear();
    assert_eq!((dropped(), vec.len()), (1000, 0));

    // A hole, with elements on both sides of it.
    vec.extend((0..10).map(|_| Counted::new(&drops)));
    let push = AssertUnwindSafe(|| {
        vec.push_with(|_| {
            vec.extend((0..5).map(|_| Counted::new(&drops)));
            panic::resume_unwind(Box::new(()))
        });
    });
    assert!(panic::catch_unwind(push).is_err());
    assert_eq!((vec.len(), dropped()), (10, 0));
    let mut elements = vec.into_iter();
    assert_eq!(elements.len(), 15);
    drop(elements.nth(11));
    assert_eq!(dropped(), 12);
    drop(elements);
    assert_eq!(dropped(), 3);

    let vec = AppendVec::with_max_len(3);
    vec.extend((0..3).map(|_| Counted::new(&drops)));
    drop(vec.try_push(Counted::new(&drops)).unwrap_err().into_value());
    assert_eq!(dropped(), 1, "the refused one");
    drop(vec);
    assert_eq!(dropped(), 3);
}

#[test]
fn a_panic_in_a_drop_drops_nothing_twice() {
    struct Fussy(Arc<AtomicUsize>, u32);
    impl Drop for Fussy {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
            if self.1 == 5 {
                panic::resume_unwind(Box::new(()));
            }
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let mut vec = moderate();
    vec.extend((0..10).map(|n| Fussy(Arc::clone(&drops), n)));
    assert!(panic::catch_unwind(AssertUnwindSafe(|| vec.clear())).is_err());
    assert_eq!(drops.load(Ordering::Relaxed), 10);
    assert!(vec.is_empty());
    vec.extend((0..10).map(|n| Fussy(Arc::clone(&drops), n)));
    assert!(panic::catch_unwind(AssertUnwindSafe(|| vec.truncate(3))).is_err());
    assert_eq!((vec.len(), drops.load(Ordering::Relaxed)), (3, 17));
    vec.extend((3..6).map(|n| Fussy(Arc::clone(&drops), n)));
    assert!(panic::catch_unwind(AssertUnwindSafe(|| drop(vec.pop()))).is_err());
    assert_eq!((vec.len(), drops.load(Ordering::Relaxed)), (5, 18));
    drop(vec);
    assert_eq!(drops.load(Ordering::Relaxed), 23);

    // No element is left undropped, wherever it lies behind the one that panics: directly, behind a hole, or further
    // back.
    let ways: [fn(AppendVec<Fussy>); 3] =
        [drop, |mut vec| vec.clear(), |vec| drop(vec.into_iter())];
    for drop_all in ways {
        drops.store(0, Ordering::Relaxed);
        let vec = moderate();
        vec.extend((0..8).map(|n| Fussy(Arc::clone(&drops), n)));
        let push = AssertUnwindSafe(|| {
            vec.push_with(|_| {
                vec.extend((8..12).map(|n| Fussy(Arc::clone(&drops), n)));
                panic::resume_unwind(Box::new(()))
            });
        });
        assert!(panic::catch_unwind(push).is_err());
        assert_eq!(drops.load(Ordering::Relaxed), 0);
        assert!(panic::catch_unwind(AssertUnwindSafe(|| drop_all(vec))).is_err());
        assert_eq!(drops.load(Ordering::Relaxed), 12);
    }
}

/// The pushing thread and the number of the push, with a check sum that a torn element would not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    thread: u32,
    number: u32,
    check: u64,
}

impl Entry {
    fn new(thread: u32, number: u32) -> Entry {
        Entry {
            thread,
            number,
            check: !(u64::from(thread) << 32 | u64::from(number)),
        }
    }

    fn is_whole(&self) -> bool {
        *self == Entry::new(self.thread, self.number)
    }
}

/// Reads slices until told to stop. Elements once seen stay unchanged, and new ones are complete.
fn watch(vec: &AppendVec<Entry>, stop: &AtomicBool) {
    let (mut seen, mut first) = (0, None);
    loop {
        let done = stop.load(Ordering::Acquire);
        let shown = vec.as_slice();
        assert!(shown.len() >= seen, "shrunk from {seen} to {}", shown.len());
        assert!(shown[seen..].iter().all(Entry::is_whole));
        seen = shown.len();
        assert_eq!(
            *first.get_or_insert(shown.as_ptr()),
            shown.as_ptr(),
            "moved"
        );
        if seen > 0 {
            // Now and then checks the first element too: it never changes.
            assert!(shown[0].is_whole() && vec[seen - 1].is_whole() && vec.len() >= seen);
        } else {
            first = None;
        }
        if done {
            return;
        }
        thread::yield_now();
    }
}

/// Checks that the vector contains exactly once every element that these threads pushed.
fn check_complete(vec: AppendVec<Entry>, threads: u32, each: u32) {
    assert_eq!(
        vec.len(),
        (threads * each) as usize,
        "nothing unfinished is left"
    );
    let mut all: Vec<Entry> = vec.into_iter().collect();
    all.sort_unstable();
    let expected =
        (0..threads).flat_map(|thread| (0..each).map(move |number| Entry::new(thread, number)));
    assert!(all.into_iter().eq(expected));
}

#[test]
fn a_reader_sees_whole_elements_in_one_piece_while_others_push() {
    let each = common::times(60_000);
    let vec = AppendVec::builder(1 << 20)
        .growth(Growth::Pages(1))
        .build()
        .unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| watch(&vec, &stop));
        let pushers = common::SetWhenDropped(&stop);
        thread::scope(|scope| {
            for thread in 0..4 {
                let vec = &vec;
                scope.spawn(move || {
                    let mut last = None;
                    for number in 0..each {
                        let entry = Entry::new(thread, number);
                        let (index, stored) = if number % 3 == 0 {
                            vec.push_with(|_| entry)
                        } else {
                            vec.push(entry)
                        };
                        assert_eq!((*stored, vec.get(index)), (entry, Some(stored)));
                        // The elements of one thread are in the order of its pushes.
                        assert!(last < Some(index));
                        last = Some(index);
                    }
                });
            }
        });
        drop(pushers);
    });
    check_complete(vec, 4, each);
}

#[test]
fn a_thread_alone_sees_all_that_it_pushed() {
    let vec = moderate();
    for number in 0..common::times(50_000) as usize {
        assert_eq!(vec.push(number).0, number);
        assert_eq!(vec.len(), number + 1);
    }
    let index = thread::scope(|scope| scope.spawn(|| vec.push(7).0).join().unwrap());
    assert_eq!(vec.as_slice()[index], 7, "it happened before");
}

#[test]
fn a_push_that_is_stopped_blocks_no_other() {
    let vec = moderate();
    vec.push(0);
    let (go, gone) = mpsc::channel::<()>();
    let (started, start) = mpsc::channel();
    thread::scope(|scope| {
        let vec = &vec;
        let slow = scope.spawn(move || {
            vec.push_with(|index| {
                started.send(index).unwrap();
                gone.recv().unwrap();
                index
            })
        });
        assert_eq!(start.recv().unwrap(), 1);
        for number in 2..10_000 {
            assert_eq!(vec.push(number).0, number);
            assert_eq!((vec.len(), vec.get(1), vec[number]), (1, None, number));
        }
        assert_eq!(vec.as_slice(), [0]);
        go.send(()).unwrap();
        slow.join().unwrap();
        assert_eq!(vec.len(), 10_000);
    });
    assert!(
        vec.iter()
            .enumerate()
            .all(|(index, &number)| index == number)
    );
}

#[test]
fn closures_that_panic_on_many_threads_leave_nothing_behind() {
    let each = common::times(5000);
    let vec = AppendVec::with_max_len(1 << 20);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| watch(&vec, &stop));
        let pushers = common::SetWhenDropped(&stop);
        thread::scope(|scope| {
            for thread in 0..4 {
                let vec = &vec;
                scope.spawn(move || {
                    for number in 0..each {
                        if (number + thread) % 4 == 0 {
                            let push = AssertUnwindSafe(|| {
                                vec.push_with(|_| panic::resume_unwind(Box::new(())));
                            });
                            assert!(panic::catch_unwind(push).is_err());
                        }
                        vec.push_with(|_| Entry::new(thread, number));
                    }
                });
            }
        });
        drop(pushers);
    });
    // Each hole was filled by a later push, except for holes without a later push.
    assert!(vec.len() >= (4 * each) as usize - 4);
    let mut all: Vec<Entry> = vec.into_iter().collect();
    all.sort_unstable();
    assert_eq!(all.len(), 4 * each as usize);
    all.dedup();
    assert_eq!(all.len(), 4 * each as usize);
}

#[test]
fn the_maximum_is_exact_for_threads_that_race_for_it() {
    for _ in 0..common::times(200) {
        let max = 100;
        let vec = AppendVec::with_max_len(max);
        let barrier = Barrier::new(4);
        let taken: usize = thread::scope(|scope| {
            let push = || {
                barrier.wait();
                (0..max)
                    .filter(|&number| vec.try_push(number).is_ok())
                    .count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(push)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!((taken, vec.len()), (max, max));
        let refused = vec.try_push(7).unwrap_err();
        assert!(refused.error().is_limit() && refused.into_value() == 7);
        assert_eq!(
            vec.try_push_with(|_| unreachable!()).unwrap_err().offset(),
            max * 8
        );
    }
}

#[test]
fn limits_count_the_flags_and_refuse_for_good() {
    let limit = 10 * page_size();
    let vec = AppendVec::<u64>::builder(1 << 30)
        .growth(Growth::Pages(1))
        .commit_limit(limit)
        .build()
        .unwrap();
    let mut pushed = 0;
    while vec.try_push(pushed).is_ok() {
        pushed += 1;
        assert!(vec.stats().committed_bytes <= limit);
    }
    // About eight pages of elements, and their flags.
    assert!(pushed as usize >= 8 * page_size() / 8);
    for _ in 0..1000 {
        assert!(vec.try_push(0).unwrap_err().error().is_limit());
    }
    assert_eq!(vec.as_slice(), (0..pushed).collect::<Vec<_>>());
    assert!(vec.try_extend(0..5).unwrap_err().is_limit());
    assert!(vec.try_reserve(1).unwrap_err().is_limit());
    assert!(vec.try_reserve(usize::MAX).unwrap_err().is_limit());
    assert_eq!(vec.len() as u64, pushed);
}

#[test]
fn refusals_that_come_and_go_lose_nothing() {
    // A region takes and returns the rest of the budget while threads push.
    let each = common::times(3000);
    let max = 4 * each as usize;
    // Enough for the elements and their flags.
    let pages = max * (size_of::<Entry>() + 1) / page_size() + 2;
    let budget = Budget::new(pages * page_size());
    let vec = AppendVec::<Entry>::builder(max)
        .growth(Growth::Pages(1))
        .budget(&budget)
        .build()
        .unwrap();
    let other = Region::builder(pages * page_size())
        .budget(&budget)
        .build()
        .unwrap();
    let stop = AtomicBool::new(false);
    let refusals = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| watch(&vec, &stop));
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let free = budget.available_bytes() / page_size() * page_size();
                if free > 0 && other.commit(0..free).is_ok() {
                    thread::yield_now();
                }
                other.decommit(0..pages * page_size()).unwrap();
                thread::yield_now();
            }
        });
        let pushers = common::SetWhenDropped(&stop);
        thread::scope(|scope| {
            for thread in 0..4 {
                let (vec, refusals) = (&vec, &refusals);
                scope.spawn(move || {
                    for number in 0..each {
                        while let Err(refused) = vec.try_push(Entry::new(thread, number)) {
                            assert!(refused.error().is_limit(), "{}", refused.error());
                            refusals.fetch_add(1, Ordering::Relaxed);
                            thread::yield_now();
                        }
                    }
                });
            }
        });
        drop(pushers);
    });
    check_complete(vec, 4, each);
}

#[test]
fn reserve_gives_what_was_asked_for_while_others_push() {
    let vec = AppendVec::builder(1 << 24)
        .growth(Growth::Pages(1))
        .build()
        .unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let done = common::SetWhenDropped(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) && vec.len() < 1 << 22 {
                vec.push(1u8);
            }
        });
        for round in 1..common::times(200) as usize {
            let before = vec.len();
            vec.reserve(round * 1000);
            assert!(vec.capacity() >= before + round * 1000);
        }
        drop(done);
    });
}

#[test]
fn elements_of_no_size() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    struct Nothing;
    impl Drop for Nothing {
        fn drop(&mut self) {
            DROPS.fetch_add(1, Ordering::Relaxed);
        }
    }
    let vec = moderate();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| vec.extend((0..5000).map(|_| Nothing)));
        }
    });
    assert_eq!(vec.as_slice().len(), 20_000);
    assert!(vec.get(19_999).is_some() && vec.get(20_000).is_none());
    drop(vec);
    assert_eq!(DROPS.load(Ordering::Relaxed), 20_000);
}

#[test]
fn elements_aligned_to_more_than_a_page() {
    #[derive(Clone, Copy)]
    #[repr(align(8192))]
    struct Wide(usize);

    let vec = moderate();
    for number in 0..20 {
        assert_eq!(
            std::ptr::from_ref(vec.push(Wide(number)).1).addr() % 8192,
            0
        );
    }
    assert!(vec.iter().enumerate().all(|(index, wide)| wide.0 == index));
}

#[test]
fn nothing_is_reserved_before_the_first_element() {
    static SHARED: AppendVec<String> = AppendVec::with_max_len(1 << 20);
    assert_eq!(SHARED.stats().reserved_bytes, 0);
    assert!(SHARED.as_slice().is_empty() && SHARED.get(0).is_none() && SHARED.spans().is_empty());
    SHARED.push("one".to_owned());
    assert_eq!(format!("{SHARED:?}"), r#"["one"]"#);
    assert!(SHARED.stats().committed_bytes > 0 && SHARED.capacity() > 0);
    assert!(SHARED.max_len() * size_of::<String>() <= SHARED.stats().reserved_bytes);

    let none = AppendVec::<u8>::builder(0).build().unwrap();
    assert!(none.try_push(1).unwrap_err().error().is_limit());
    assert!(
        AppendVec::<u64>::builder(usize::MAX)
            .build()
            .unwrap_err()
            .is_invalid_range()
    );
    assert!(
        AppendVec::<u64>::with_max_len(usize::MAX)
            .try_push(1)
            .unwrap_err()
            .error()
            .is_invalid_range()
    );
    assert_eq!(
        AppendVec::<u8>::builder(5)
            .name("log")
            .build()
            .unwrap()
            .name(),
        "log"
    );
}

const _: () = {
    const fn shareable<T: Send + Sync>() {}
    const fn sendable<T: Send>() {}
    shareable::<AppendVec<String>>();
    sendable::<AppendVec<std::cell::Cell<u8>>>();
    shareable::<elbowroom::append_vec::IntoIter<String>>();
};

#[test]
fn a_vector_that_is_told_no_maximum() {
    if common::is_emulated() {
        return;
    }
    let mut vec: AppendVec<u16> = (0..3000).collect();
    assert!(vec.iter().copied().eq(0..3000) && (&vec).into_iter().len() == 3000);
    assert!(vec.max_len() >= 1 << 32);
    Extend::extend(&mut vec, [7]);
    assert_eq!(vec.into_iter().next_back(), Some(7));
    assert_eq!(AppendVec::<()>::default().max_len(), 1 << 36);
    static SHARED: AppendVec<u8> = AppendVec::new();
    assert_eq!(SHARED.push(1), (0, &1));
}

#[test]
fn an_index_without_an_element_panics_with_the_length() {
    let vec = moderate();
    vec.extend(0..3);
    assert_eq!(vec[2], 2);
    let message = panic::catch_unwind(|| vec[3]).unwrap_err();
    assert!(
        message
            .downcast_ref::<String>()
            .unwrap()
            .contains("index 3")
    );
}

#[cfg(feature = "inject")]
mod refused {
    use elbowroom::inject::{self, Call};
    use elbowroom::{PushError, trim};

    use super::*;

    /// Pushes while the nth call of a kind is refused. Returns `None` if the refusal had no effect: there were fewer
    /// calls, the call was for more than was needed, or it was tried again because containers of other tests had left
    /// memory behind.
    fn push_refused(vec: &AppendVec<u64>, call: Call, nth: u64) -> Option<PushError<u64>> {
        trim();
        let plan = inject::refuse(call, nth);
        let refused = vec.try_push(7).err();
        assert!(refused.is_none() || plan.happened());
        refused
    }

    #[test]
    fn a_refused_growth_leaves_the_vector_as_it_was() {
        let full = || {
            // A vector with a name takes over no pages.
            let vec = AppendVec::<u64>::builder(1 << 20)
                .name("full")
                .growth(Growth::Pages(1))
                .build()
                .unwrap();
            // To the end of the flags' first page, and so of the elements' pages too.
            vec.extend(0..page_size() as u64);
            assert_eq!(vec.len(), vec.capacity());
            vec
        };
        let mut felt = 0;
        // There is one call for the flags and one for the elements. Some of the refusals may have no effect.
        for nth in (1..=2).cycle().take(40) {
            let vec = full();
            let (len, committed) = (vec.len(), vec.stats().committed_bytes);
            let Some(refused) = push_refused(&vec, Call::Commit, nth) else {
                continue;
            };
            felt |= nth;
            assert!(refused.error().is_out_of_memory());
            assert_eq!(refused.error().offset(), len * 8);
            assert_eq!(refused.into_value(), 7);
            assert!(
                vec.stats().committed_bytes <= committed + page_size(),
                "no more than a page of flags"
            );
            assert_eq!(vec.as_slice(), (0..len as u64).collect::<Vec<_>>());
            assert_eq!(vec.push(8), (len, &8));
            assert_eq!(vec.len(), len + 1);
        }
        assert_eq!(felt, 3, "each was felt");
    }

    #[test]
    fn whatever_grows_can_be_refused_and_tried_again() {
        type Deed = fn(&AppendVec<u64>) -> Result<(), elbowroom::Error>;
        const DEEDS: [(&str, Deed); 4] = [
            ("try_push", |vec| Ok(vec.try_push(7).map(|_| ())?)),
            ("try_push_with", |vec| vec.try_push_with(|_| 7).map(|_| ())),
            ("try_extend", |vec| {
                vec.try_extend(std::iter::repeat_n(7, 2 * page_size()))
            }),
            ("try_reserve", |vec| vec.try_reserve(2 * page_size())),
        ];
        for (name, deed) in DEEDS {
            let mut felt = 0;
            for nth in (1..=4).cycle().take(common::times(80) as usize) {
                // With a name, so that it takes over no pages, and full to the last element.
                let budget = Budget::new(1 << 30);
                let builder = AppendVec::<u64>::builder(1 << 20)
                    .name("full")
                    .growth(Growth::Pages(1))
                    .budget(&budget);
                let vec = builder.build().unwrap();
                vec.extend(0..page_size() as u64);
                trim();
                let plan = inject::refuse(Call::Commit, nth);
                let result = deed(&vec);
                let has_happened = plan.happened();
                drop(plan);
                if let Err(error) = result {
                    felt += 1;
                    assert!(
                        has_happened && error.is_out_of_memory(),
                        "{name} at {nth}: {error}"
                    );
                    // What was appended before it stays; nothing else does.
                    let (before, more) = vec.as_slice().split_at(page_size());
                    assert!(
                        before.iter().copied().eq(0..page_size() as u64),
                        "{name} at {nth}"
                    );
                    assert!(more.iter().all(|&element| element == 7), "{name} at {nth}");
                    assert!(more.is_empty() || name == "try_extend", "{name} at {nth}");
                    let len = vec.len();
                    deed(&vec).expect("the next try");
                    assert_eq!(vec.push(8).0, vec.len() - 1, "no index is lost");
                    assert!(
                        vec.len() > len
                            && vec.as_slice()[page_size()..vec.len() - 1]
                                .iter()
                                .all(|&element| element == 7)
                    );
                }
                assert_eq!(
                    budget.committed_bytes(),
                    vec.stats().committed_bytes,
                    "{name} at {nth}"
                );
            }
            assert!(felt > 0, "{name}: some were felt");
        }
    }

    #[test]
    fn a_refused_reservation_is_tried_again() {
        let mut felt = 0;
        for nth in (1..=2).cycle().take(40) {
            let vec = AppendVec::with_max_len(1 << 20);
            let Some(refused) = push_refused(&vec, Call::Reserve, nth) else {
                continue;
            };
            felt |= nth;
            assert!(refused.error().is_out_of_memory());
            assert_eq!((vec.len(), vec.stats().reserved_bytes), (0, 0));
            assert_eq!(vec.push(2), (0, &2));
            assert_eq!(vec.as_slice(), [2]);
        }
        assert!(felt & 1 == 1, "the first was felt");
    }
}

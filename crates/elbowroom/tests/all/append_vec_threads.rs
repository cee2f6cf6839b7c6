//! `AppendVec` from many threads, with panics and refusals.

// loom's models do not include `AppendVec`.
#![cfg(not(loom))]

use crate::common;

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, mpsc};
use std::thread;

use elbowroom::{AppendVec, Budget, Growth, Region, page_size};

use super::append_vec::moderate;

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

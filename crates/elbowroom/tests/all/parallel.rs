//! Parallel iterators: equal to those of `Vec`, and every element is dropped once.

// The models of loom do without `AppendVec`.
#![cfg(not(loom))]

use crate::common;

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};

use elbowroom::{AppendVec, Budget, ReservedVec, page_size};
use rayon::prelude::*;

fn vec_of<T>(elements: impl IntoIterator<Item = T>) -> ReservedVec<T> {
    let mut vec = ReservedVec::with_max_len(1 << 20);
    vec.extend(elements);
    vec
}

#[test]
fn borrows_are_iterated_as_slices() {
    let mut vec = vec_of(0..10_000u64);
    assert_eq!(vec.par_iter().sum::<u64>(), (0..10_000).sum::<u64>());
    vec.par_iter_mut().for_each(|element| *element *= 2);
    assert_eq!((&vec).into_par_iter().copied().max(), Some(19_998));
    (&mut vec).into_par_iter().for_each(|element| *element += 1);
    assert!(vec.iter().copied().eq((0..10_000).map(|n| 2 * n + 1)));
    // A function that takes anything that can be iterated.
    fn total<'a, V>(vec: &'a V) -> u64
    where
        &'a V: IntoParallelIterator<Item = &'a u64>,
    {
        vec.into_par_iter().sum()
    }
    assert_eq!(total(&vec), vec.iter().sum::<u64>());
}

#[test]
fn many_threads_push_what_many_threads_make() {
    let vec = AppendVec::with_max_len(1 << 20);
    (0..10_000u64).into_par_iter().for_each(|n| _ = vec.push(n));
    assert_eq!(vec.par_iter().sum::<u64>(), (0..10_000).sum::<u64>());
    assert_eq!((&vec).into_par_iter().len(), 10_000);
    let mut sorted = vec.as_slice().to_vec();
    sorted.par_sort_unstable();
    assert!(sorted.into_iter().eq(0..10_000));
}

/// Counts its drops.
struct Counted<'a>(&'a AtomicUsize, usize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn elements_are_given_out_once_whatever_becomes_of_them() {
    const COUNT: usize = 1000;
    let drops = AtomicUsize::new(0);
    let make = || vec_of((0..COUNT).map(|n| Counted(&drops, n))).into_par_iter();
    let dropped = || drops.swap(0, Ordering::Relaxed);

    // In order, although several threads are involved.
    assert_eq!(make().len(), COUNT);
    assert_eq!(dropped(), COUNT);
    let all = make().collect::<Vec<_>>();
    assert_eq!(dropped(), 0);
    assert!(all.iter().map(|element| element.1).eq(0..COUNT));
    drop(all);
    assert_eq!(dropped(), COUNT);

    // Parts that are not requested.
    let some = make().skip(100).take(50).rev().collect::<Vec<_>>();
    assert!(some.iter().map(|element| element.1).eq((100..150).rev()));
    drop(some);
    assert_eq!(dropped(), COUNT);
    assert!(make().any(|element| element.1 == 500));
    assert_eq!(dropped(), COUNT);

    // From both ends, and in chunks.
    let sum = make()
        .chunks(7)
        .map(|chunk| chunk.iter().map(|element| element.1).sum::<usize>())
        .sum::<usize>();
    assert_eq!((sum, dropped()), (COUNT * (COUNT - 1) / 2, COUNT));
    let zipped = make()
        .zip(make().rev())
        .filter(|(a, b)| a.1 + b.1 == COUNT - 1)
        .count();
    assert_eq!((zipped, dropped()), (COUNT, 2 * COUNT));

    // A panic during the iteration.
    let panicking = || {
        make().for_each(|element| {
            if element.1 == 300 {
                panic::resume_unwind(Box::new(()))
            }
        })
    };
    assert!(panic::catch_unwind(AssertUnwindSafe(panicking)).is_err());
    assert_eq!(dropped(), COUNT);

    // Elements without a size.
    assert_eq!(
        vec_of((0..COUNT).map(|_| ())).into_par_iter().count(),
        COUNT
    );
}

#[test]
fn vectors_are_filled_in_parallel_and_in_order() {
    let squares = || (0..10_000u64).into_par_iter().map(|n| n * n);
    let mut vec = vec_of([7]);
    vec.par_extend(squares());
    vec.par_extend(&[1, 2, 3][..]);
    vec.par_extend(squares().filter(|n| n % 2 == 0));
    let serial = || (0..10_000).map(|n| n * n);
    let expected = [7]
        .into_iter()
        .chain(serial())
        .chain([1, 2, 3])
        .chain(serial().filter(|n| n % 2 == 0));
    assert!(vec.iter().copied().eq(expected));
    // The default maximum is too much for an emulator.
    if !common::is_emulated() {
        assert!(
            squares()
                .collect::<ReservedVec<_>>()
                .into_iter()
                .eq(serial())
        );
    }
}

#[test]
fn what_has_no_room_is_not_appended_at_all() {
    let budget = Budget::new(page_size());
    let mut vec = ReservedVec::builder(1 << 20)
        .budget(&budget)
        .build()
        .unwrap();
    vec.extend([1u64, 2, 3]);
    let extend = AssertUnwindSafe(|| vec.par_extend((0..1 << 17).into_par_iter()));
    assert!(panic::catch_unwind(extend).is_err());
    assert_eq!(vec, [1, 2, 3]);
}

/// An iterator that is wrong about how many elements it has, or panics at one of them.
struct Wrong<I> {
    elements: I,
    says: usize,
}

impl<I: ParallelIterator> ParallelIterator for Wrong<I> {
    type Item = I::Item;

    fn drive_unindexed<C: rayon::iter::plumbing::UnindexedConsumer<I::Item>>(
        self,
        consumer: C,
    ) -> C::Result {
        self.elements.drive_unindexed(consumer)
    }

    fn opt_len(&self) -> Option<usize> {
        Some(self.says)
    }
}

#[test]
fn what_is_made_in_place_is_dropped_once_if_not_all_of_it_is_made() {
    const COUNT: usize = 1000;
    let (made, drops) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let make = |number| {
        made.fetch_add(1, Ordering::Relaxed);
        Counted(&drops, number)
    };
    let counts = || [&made, &drops].map(|count| count.swap(0, Ordering::Relaxed));
    let mut vec = vec_of([make(0)]);
    vec.par_extend((1..COUNT).into_par_iter().map(make));
    assert!(vec.iter().map(|element| element.1).eq(0..COUNT));
    assert_eq!(counts(), [COUNT, 0]);

    type Fails<'a, 'b> = &'a mut dyn FnMut(&mut ReservedVec<Counted<'b>>);
    let panics = |number| {
        if number == 300 {
            panic::resume_unwind(Box::new(()))
        }
        make(number)
    };
    let numbers = |says| Wrong {
        elements: (0..COUNT).into_par_iter(),
        says,
    };
    let fails: [Fails<'_, '_>; 4] = [
        &mut |vec| vec.par_extend((0..COUNT).into_par_iter().map(panics)),
        &mut |vec| {
            vec.par_extend(Wrong {
                elements: numbers(0).elements.map(make),
                says: COUNT - 1,
            })
        },
        &mut |vec| {
            vec.par_extend(Wrong {
                elements: numbers(0).elements.map(make),
                says: COUNT + 1,
            })
        },
        // Splits like an iterator without a length.
        &mut |vec| {
            let some = numbers(0).elements.filter(|number| number % 3 == 0);
            vec.par_extend(Wrong {
                elements: some.map(make),
                says: COUNT,
            });
        },
    ];
    for fail in fails {
        let failed = panic::catch_unwind(AssertUnwindSafe(|| fail(&mut vec)));
        assert!(failed.is_err());
        let [made, dropped] = counts();
        assert_eq!((vec.len(), made), (COUNT, dropped));
    }
    drop(vec);
    assert_eq!(counts(), [0, COUNT]);
}

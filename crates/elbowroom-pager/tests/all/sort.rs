//! Sorting more than memory holds, against a `Vec`.

use std::cmp::Ordering;
use std::io::ErrorKind;
use std::sync::Arc;

use bytemuck::{AnyBitPattern, NoUninit, cast_slice};
use elbowroom::{Budget, page_size};
use elbowroom_pager::{Error, MemoryStore, PagedArray, Sort, Store};
use proptest::prelude::*;

use crate::common::{Failure, Flaky, Random, is_injected};

/// An array of two pages of the system.
fn open<T: AnyBitPattern>(store: impl Store + 'static, is_writable: bool) -> PagedArray<T> {
    let options = PagedArray::options().page_size(page_size()).threads(1);
    let options = options.resident_limit(2 * page_size());
    options.writable(is_writable).open_store(store).unwrap()
}

fn store<T: NoUninit>(elements: &[T]) -> MemoryStore {
    MemoryStore::new(cast_slice(elements).to_vec())
}

/// Returns the elements as a sort orders them.
fn sorted<T: AnyBitPattern + NoUninit + Send + Sync>(
    elements: &[T],
    sort: Sort<'_>,
    order: impl Fn(&T, &T) -> Ordering + Sync,
) -> Result<Vec<T>, Error> {
    let source = open(store(elements), false);
    let zeros = vec![T::zeroed(); elements.len()];
    let mut target = open(store(&zeros), true);
    let mut scratch = open(store(&zeros[..sort.scratch_len::<T>(zeros.len())]), true);
    sort.run(&source, &mut target, &mut scratch, order)?;
    let mut found = Vec::new();
    for chunk in target.scan(..)? {
        found.extend_from_slice(&chunk?);
    }
    Ok(found)
}

/// Compares with a `Vec`, bit by bit.
fn check<T: AnyBitPattern + NoUninit + Send + Sync>(
    bytes: &[u8],
    memory: usize,
    threads: usize,
    order: impl Fn(&T, &T) -> Ordering + Sync,
) {
    let whole = bytes.len() / size_of::<T>() * size_of::<T>();
    let mut elements: Vec<T> = bytemuck::pod_collect_to_vec(&bytes[..whole]);
    let sort = Sort::new((memory * size_of::<T>()).max(3 * size_of::<T>())).threads(threads);
    let found = sorted(&elements, sort, &order).unwrap();
    elements.sort_by(&order);
    assert!(
        cast_slice::<T, u8>(&found) == cast_slice::<T, u8>(&elements),
        "{} with a memory of {memory}, {threads} threads, {} elements",
        std::any::type_name::<T>(),
        elements.len()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// All types of numbers, memory from 3 elements on, and so many passes.
    #[test]
    fn any_elements_are_sorted_as_a_vec(
        seed: u64,
        len in 0..6000usize,
        memory in prop_oneof![3..40usize, 3..2000usize],
        threads in 1..5usize,
        values in prop_oneof![Just(2u64), Just(1000), Just(u64::MAX)],
    ) {
        let mut random = Random::new(seed);
        let bytes: Vec<u8> = (0..len / 8)
            .flat_map(|_| (random.number() % values).to_le_bytes())
            .collect();
        check::<u8>(&bytes, memory, threads, u8::cmp);
        check::<i8>(&bytes, memory, threads, i8::cmp);
        check::<u16>(&bytes, memory, threads, u16::cmp);
        check::<i16>(&bytes, memory, threads, i16::cmp);
        check::<u32>(&bytes, memory, threads, u32::cmp);
        check::<i32>(&bytes, memory, threads, i32::cmp);
        check::<u64>(&bytes, memory, threads, u64::cmp);
        check::<i64>(&bytes, memory, threads, i64::cmp);
        check::<f32>(&bytes, memory, threads, f32::total_cmp);
        check::<f64>(&bytes, memory, threads, f64::total_cmp);
    }
}

/// Enough memory for each of several threads to merge in its part.
#[test]
fn several_threads_merge() {
    let mut random = Random::new(11);
    for values in [1, 3, u64::MAX] {
        let bytes: Vec<u8> = (0..50_000)
            .flat_map(|_| (random.number() % values).to_le_bytes())
            .collect();
        for threads in [2, 3] {
            check::<u64>(&bytes, 16 << 10, threads, u64::cmp);
            check::<[u8; 5]>(&bytes, 50_000, threads, <[u8; 5]>::cmp);
        }
    }
}

#[test]
fn a_failure_in_one_of_several_threads_that_merge() {
    let count = 1 << 14;
    let mut numbers: Vec<u64> = (0..count).map(|number| number * 7919 % count).collect();
    let stores = [(); 2].map(|()| Flaky::new(vec![0; numbers.len() * 8]));
    let source = open::<u64>(store(&numbers), false);
    numbers.sort_unstable();
    for broken in &stores {
        for call in (0..).step_by(5) {
            let [mut target, mut scratch] =
                [0, 1].map(|store: usize| open::<u64>(Arc::clone(&stores[store]), true));
            broken.fail(call, 1, Failure::HalfWay);
            let sort = Sort::new(64 << 10).threads(2);
            let sorted = sort.run(&source, &mut target, &mut scratch, u64::cmp);
            if broken.is_healthy() {
                let error = sorted.unwrap_err();
                assert!(is_injected(&error), "{error}");
                continue;
            }
            broken.heal();
            sorted.unwrap();
            assert!(stores[0].memory.to_vec() == cast_slice::<u64, u8>(&numbers));
            assert!(call > 5);
            break;
        }
    }
}

#[test]
fn nan_is_last_and_negative_nan_first() {
    let elements = [
        f64::NAN,
        1.0,
        -f64::NAN,
        f64::INFINITY,
        -0.0,
        0.0,
        f64::NEG_INFINITY,
    ];
    let found = sorted(&elements, Sort::new(24), f64::total_cmp).unwrap();
    let bits: Vec<u64> = found.iter().map(|element| element.to_bits()).collect();
    let expected = [
        -f64::NAN,
        f64::NEG_INFINITY,
        -0.0,
        0.0,
        1.0,
        f64::INFINITY,
        f64::NAN,
    ];
    assert_eq!(bits, expected.map(f64::to_bits));
}

/// 64 times the memory and the source's limit, with pages of 4 KiB; both are kept.
#[test]
fn the_limit_is_kept() {
    let memory = 8 * page_size();
    let mut random = Random::new(1);
    let numbers: Vec<u64> = (0..(64 << 12) * 10 / 8).map(|_| random.number()).collect();
    let budget = Budget::new(memory + 2 * page_size());
    let options = PagedArray::<u64>::options()
        .page_size(page_size())
        .threads(2);
    let options = options.budget(&budget).resident_limit(2 * page_size());
    let source = options.open_store(store(&numbers)).unwrap();
    let mut target = open(store(&vec![0u64; numbers.len()]), true);
    let mut scratch = open(store(&vec![0u64; numbers.len()]), true);
    let sort = Sort::new(memory).budget(&budget).threads(3);
    let mut last = (0, 0);
    let sort = sort.observe(|done, all| {
        assert!(done > last.0 && done <= all);
        last = (done, all);
        true
    });
    sort.run(&source, &mut target, &mut scratch, u64::cmp)
        .unwrap();
    assert!(last.0 == last.1 && last.1 >= 2 * numbers.len(), "{last:?}");
    assert!(budget.peak_bytes() <= budget.limit_bytes() && budget.peak_bytes() > memory);
    assert_eq!(
        target.stats().bytes_resident_max + scratch.stats().bytes_resident_max,
        0
    );
    drop(source);
    assert_eq!(budget.committed_bytes(), 0);
    let mut before = 0;
    for chunk in target.scan(..).unwrap() {
        for &number in &*chunk.unwrap() {
            assert!(number >= before);
            before = number;
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let source = open::<u64>(store(&[3u64, 1, 2, 5]), false);
    let mut target = open(store(&[0u64; 4]), true);
    let mut scratch = open(store(&[0u64; 4]), true);
    let mut short = open(store(&[0u64; 3]), true);
    let mut fixed = open(store(&[0u64; 4]), false);
    let error = Sort::new(23)
        .run(&source, &mut target, &mut scratch, u64::cmp)
        .unwrap_err();
    assert!(
        error.is_invalid() && error.to_string().starts_with("cannot sort the store: "),
        "{error}"
    );
    let error = Sort::new(24)
        .run(&source, &mut short, &mut scratch, u64::cmp)
        .unwrap_err();
    assert!(error.is_invalid(), "{error}");
    let error = Sort::new(24)
        .run(&source, &mut target, &mut short, u64::cmp)
        .unwrap_err();
    assert!(error.is_invalid(), "{error}");
    let error = Sort::new(24)
        .run(&source, &mut fixed, &mut scratch, u64::cmp)
        .unwrap_err();
    assert!(error.is_read_only(), "{error}");
    let small = Budget::new(8);
    let sort = Sort::new(24).budget(&small);
    let error = sort
        .run(&source, &mut target, &mut scratch, u64::cmp)
        .unwrap_err();
    assert!(error.is_limit(), "{error}");
    let sort = Sort::new(24).observe(|done, _| done < 6);
    let error = sort
        .run(&source, &mut target, &mut scratch, u64::cmp)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
    std::mem::forget(target.slice(..).unwrap());
    let error = Sort::new(24)
        .run(&source, &mut target, &mut scratch, u64::cmp)
        .unwrap_err();
    assert!(error.is_pinned(), "{error}");
    assert!(source.slice(..).unwrap()[..] == [3, 1, 2, 5]);
}

/// What was resident in the target, changed or not, is not what is read afterwards.
#[test]
fn pages_of_the_target_are_forgotten() {
    let source = open::<u64>(store(&[3u64, 1, 2]), false);
    let mut target = open(store(&[0u64; 3]), true);
    target.set(1, 9).unwrap();
    assert_eq!(target.stats().bytes_dirty, page_size());
    let mut scratch = open(store::<u64>(&[]), true);
    Sort::new(24)
        .run(&source, &mut target, &mut scratch, u64::cmp)
        .unwrap();
    assert_eq!(target.slice(..).unwrap()[..], [1, 2, 3]);
    assert_eq!(target.stats().bytes_dirty, 0);
}

/// A failure at every call of every store is an error, and the next sort is right.
#[test]
fn a_failure_at_every_call() {
    // Four pages, and memory for one.
    let count = page_size();
    let numbers: Vec<u32> = (0..count as u32)
        .map(|number: u32| number.wrapping_mul(0x9e37_79b9))
        .collect();
    let mut expected = numbers.clone();
    expected.sort_unstable();
    for broken in 0..3 {
        let stores: Vec<Arc<Flaky>> = [numbers.clone(), vec![0; count], vec![0; count]]
            .iter()
            .map(|elements| Flaky::new(cast_slice(elements).to_vec()))
            .collect();
        for threads in [1, 3] {
            // Not each of them with large pages, which an emulator has.
            for call in (0..).step_by(page_size() >> 12) {
                let source = open::<u32>(Arc::clone(&stores[0]), false);
                let mut target = open(Arc::clone(&stores[1]), true);
                let mut scratch = open(Arc::clone(&stores[2]), true);
                stores[broken].fail(call, 1, Failure::HalfWay);
                let sort = Sort::new(page_size()).threads(threads);
                let sorted = sort.run(&source, &mut target, &mut scratch, u32::cmp);
                if stores[broken].is_healthy() {
                    match sorted {
                        // The failure of a read ahead is not one of the sort.
                        Ok(()) => assert_eq!(broken, 0),
                        Err(error) => assert!(is_injected(&error), "{error}"),
                    }
                } else {
                    stores[broken].heal();
                    sorted.unwrap();
                    assert!(target.slice(..count / 2).unwrap()[..] == expected[..count / 2]);
                    assert!(call > 2);
                    break;
                }
            }
        }
    }
}

//! A failure at every call of the store: an error, nothing lost, and the array works again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use elbowroom::page_size;
use elbowroom_pager::{Error, Operation, PagedArray};

use crate::common::{Failure, Flaky, is_emulated, is_injected};

const PAGES: usize = 12;

fn open(flaky: &Arc<Flaky>, threads: usize) -> PagedArray<u64> {
    PagedArray::options()
        .writable(true)
        .page_size(page_size())
        .resident_limit(4 * page_size())
        .read_ahead(2 * page_size())
        .threads(threads)
        .open_store(Arc::clone(flaky))
        .unwrap()
}

/// Touches every page in several ways. Stops at the first failure. Returns how many elements it has written.
fn script(array: &mut PagedArray<u64>, written: &mut Vec<usize>) -> Result<(), Error> {
    let step = page_size() / 8;
    for page in 0..PAGES {
        array.set(page * step + page, 1000 + page as u64)?;
        written.push(page);
    }
    let mut sum = 0;
    for chunk in array.scan(..)? {
        sum += chunk?.iter().sum::<u64>();
    }
    assert_eq!(sum, (0..PAGES as u64).map(|page| 1000 + page).sum::<u64>());
    let indices: Vec<usize> = (0..PAGES).rev().map(|page| page * step + page).collect();
    assert_eq!(array.gather(&indices)?[0], 1000 + PAGES as u64 - 1);
    let _ = array.slice(step - 2..step * 2 + 2)?;
    array.flush()
}

#[test]
fn a_failure_at_every_call_loses_nothing() {
    for failure in [Failure::Refused, Failure::HalfWay] {
        for count in if is_emulated() { 1..2 } else { 1..4 } {
            let mut call = 0;
            loop {
                let flaky = Flaky::new(vec![0; PAGES * page_size()]);
                let mut array = open(&flaky, 0);
                flaky.fail(call, count, failure);
                let mut written = Vec::new();
                let result = script(&mut array, &mut written);
                if flaky.failed.load(Ordering::Relaxed) == 0 {
                    result.unwrap();
                    break;
                }
                if let Err(error) = result {
                    assert!(is_injected(&error), "call {call}: {error}");
                }
                flaky.heal();
                let step = page_size() / 8;
                for &page in &written {
                    let value = array.get(page * step + page).unwrap();
                    assert_eq!(value, 1000 + page as u64, "call {call}");
                }
                // The whole of it works now.
                script(&mut array, &mut Vec::new()).unwrap();
                let stored = flaky.memory.to_vec();
                for page in 0..PAGES {
                    let place = (page * step + page) * 8;
                    assert_eq!(stored[place..place + 8], (1000 + page as u64).to_ne_bytes());
                }
                call += 1;
            }
            assert!(call > 20, "{call} calls");
        }
    }
}

#[test]
fn a_failed_read_ahead_is_not_the_failure_of_the_page_that_is_needed() {
    let flaky = Flaky::new(vec![7; 64 * page_size()]);
    let array = PagedArray::<u8>::options()
        .page_size(page_size())
        .resident_limit(16 * page_size())
        .read_ahead(4 * page_size())
        .threads(0)
        .open_store(Arc::clone(&flaky))
        .unwrap();
    array.get(0).unwrap();
    // The next miss reads two pages in one call. That fails, and the page alone is read.
    flaky.fail(0, 1, Failure::Refused);
    assert_eq!(array.get(page_size()).unwrap(), 7);
    assert!(flaky.is_healthy());
    assert_eq!(array.stats().failures, 1);
}

#[test]
fn a_flush_that_fails_says_so_and_succeeds_later() {
    let flaky = Flaky::new(vec![0; PAGES * page_size()]);
    let mut array = open(&flaky, 0);
    array.set(3, 9).unwrap();
    flaky.fail(0, 1, Failure::HalfWay);
    let error = array.flush().unwrap_err();
    assert_eq!(error.operation(), Operation::WriteBack);
    assert_eq!(error.range(), 0..page_size() as u64);
    let text = error.to_string();
    assert!(text.contains("the next flush tries again"), "{text}");
    assert_eq!(array.stats().bytes_dirty, page_size());
    assert_eq!(array.get(3).unwrap(), 9);
    array.flush().unwrap();
    assert_eq!(array.stats().bytes_dirty, 0);
    assert_eq!(flaky.memory.to_vec()[24], 9);
}

#[test]
fn what_is_resident_is_usable_while_the_store_is_not() {
    let flaky = Flaky::new(vec![5; PAGES * page_size()]);
    let array = open(&flaky, 0);
    let resident = array.get(0).unwrap();
    flaky.fail(0, usize::MAX, Failure::Refused);
    assert!(is_injected(&array.get(page_size()).unwrap_err()));
    assert_eq!(array.get(0).unwrap(), resident);
    flaky.heal();
    assert_eq!(array.get(page_size()).unwrap(), resident);
}

#[test]
fn a_store_that_panics_leaves_the_array_usable() {
    let flaky = Flaky::new(vec![1; PAGES * page_size()]);
    let mut array = open(&flaky, 2);
    flaky.fail(0, 1, Failure::Panic);
    let read = catch_unwind(AssertUnwindSafe(|| array.get(0)));
    assert!(read.is_err());
    assert_eq!(array.get(0).unwrap(), u64::from_ne_bytes([1; 8]));
    array.set(0, 2).unwrap();
    flaky.fail(0, 1, Failure::Panic);
    assert!(catch_unwind(AssertUnwindSafe(|| array.flush())).is_err());
    array.flush().unwrap();
    assert_eq!(flaky.memory.to_vec()[..8], 2u64.to_ne_bytes());
}

#[test]
fn dropping_writes_what_can_be_written() {
    let flaky = Flaky::new(vec![0; PAGES * page_size()]);
    let mut array = open(&flaky, 1);
    array.set(5, 6).unwrap();
    drop(array);
    assert_eq!(flaky.memory.to_vec()[40], 6);
}

/// While the disk is full, writing behind is tried ever more rarely, and again when there is room.
#[test]
fn writing_behind_slows_down_on_a_full_disk() {
    let store = Flaky::new(vec![0; 64 * page_size()]);
    let options = PagedArray::<u8>::options()
        .writable(true)
        .page_size(page_size());
    let options = options.resident_limit(64 * page_size()).threads(1);
    let mut array = options.open_store(Arc::clone(&store)).unwrap();
    for page in 0..64 {
        array.get(page * page_size()).unwrap();
    }
    store.fail(0, usize::MAX, Failure::Refused);
    let mut sets = 0;
    while store.failed.load(Ordering::Relaxed) < 4 {
        array.set(sets % 64 * page_size(), 1).unwrap();
        sets += 1;
    }
    for _ in 0..100_000 {
        array.set(sets % 64 * page_size(), 1).unwrap();
        sets += 1;
    }
    // One try for each doubling, and one that was under way.
    let tries = store.failed.load(Ordering::Relaxed) as u32;
    assert!(tries <= 2 * usize::BITS, "{tries} tries in {sets} changes");
    assert!(array.stats().bytes_dirty > 32 * page_size());
    store.heal();
    array.flush().unwrap();
    assert_eq!(array.stats().bytes_dirty, 0);
    let writes = array.stats().writes;
    while array.stats().writes == writes {
        array.set(sets % 64 * page_size(), 2).unwrap();
        sets += 1;
    }
}

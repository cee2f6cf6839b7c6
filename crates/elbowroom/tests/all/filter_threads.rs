//! Regions whose filter runs on separate threads.

use crate::common;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use elbowroom::{Growth, Region, RegionBuilder, Verdict, page_size};

fn builder(pages: usize) -> RegionBuilder {
    Region::builder(pages * page_size()).growth(Growth::Pages(1))
}

#[test]
fn the_filter_runs_on_another_thread_and_its_verdict_counts() {
    let seen = Arc::new(Mutex::new(HashSet::<ThreadId>::new()));
    let log = Arc::clone(&seen);
    let region = builder(20)
        .filter(move |fault| {
            log.lock().unwrap().insert(thread::current().id());
            if fault.offset() < 10 * page_size() {
                Verdict::Commit
            } else {
                Verdict::Decline
            }
        })
        .filter_threads(1)
        .build()
        .unwrap();
    for n in 0..10 {
        region.try_write(n * page_size(), n).unwrap();
    }
    assert!(
        region
            .try_write(10 * page_size(), 1u8)
            .unwrap_err()
            .is_declined()
    );
    assert_eq!(region.stats().committed_bytes, 10 * page_size());
    let seen = seen.lock().unwrap();
    assert!(seen.len() == 1 && !seen.contains(&thread::current().id()));
}

#[test]
fn many_threads_wait_at_once_each_for_its_own_verdict() {
    let region = builder(400)
        .filter(|fault| {
            thread::sleep(Duration::from_micros(200));
            match (fault.offset() / page_size()) % 4 {
                0 => Verdict::Decline,
                1 => {
                    assert_eq!(fault.commit().unwrap().len(), page_size());
                    Verdict::Commit
                }
                _ => Verdict::Commit,
            }
        })
        .filter_threads(2)
        .build()
        .unwrap();
    thread::scope(|scope| {
        for worker in 0..8 {
            let region = &region;
            scope.spawn(move || {
                for page in (worker * 50..).take(common::times(50) as usize) {
                    let result = region.try_write(page * page_size(), page);
                    assert_eq!(
                        result.err().map(|error| error.is_declined()),
                        (page % 4 == 0).then_some(true)
                    );
                }
            });
        }
    });
}

#[test]
fn a_slow_fault_does_not_hold_up_another() {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let in_filter = Arc::clone(&gate);
    let region = builder(10)
        .filter(move |fault| {
            if fault.offset() == 0 {
                let open = in_filter.0.lock().unwrap();
                drop(in_filter.1.wait_while(open, |open| !*open).unwrap());
            }
            Verdict::Commit
        })
        .filter_threads(2)
        .build()
        .unwrap();
    thread::scope(|scope| {
        let slow = scope.spawn(|| region.try_write(0, 1u8));
        // Whether or not the slow fault is in the filter yet, these are resolved while it waits.
        for n in 1..10 {
            region.try_write(n * page_size(), 1u8).unwrap();
        }
        assert!(!slow.is_finished());
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
        slow.join().unwrap().unwrap();
    });
}

#[test]
fn a_filter_thread_that_panics_declines_every_touch() {
    let panicked = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&panicked);
    let region = builder(100)
        .filter(move |fault| {
            // Long enough for the others to queue up.
            thread::sleep(Duration::from_millis(20));
            if fault.offset() >= 50 * page_size() {
                flag.store(true, Ordering::Relaxed);
                panic!("a filter that panics, on purpose");
            }
            Verdict::Commit
        })
        .filter_threads(1)
        .build()
        .unwrap();
    region.try_write(0, 1u8).unwrap();
    thread::scope(|scope| {
        for n in 50..56 {
            let region = &region;
            scope.spawn(move || {
                let error = region.try_write(n * page_size(), 1u8).unwrap_err();
                assert!(
                    error.is_declined() && error.to_string().contains("filter thread"),
                    "{error}"
                );
            });
        }
    });
    assert!(panicked.load(Ordering::Relaxed));
    // From now on the filter is not asked, and no touch hangs. Committed pages still work.
    assert!(
        region
            .try_write(page_size(), 1u8)
            .unwrap_err()
            .is_declined()
    );
    assert_eq!(region.try_read::<u8>(0).unwrap(), 1);
    region.commit(page_size()..2 * page_size()).unwrap();
    region.release().unwrap();
}

#[test]
fn a_filter_that_touches_its_own_region_is_declined() {
    let own: Arc<Mutex<Option<Arc<Region>>>> = Arc::default();
    let mine = Arc::clone(&own);
    let region = builder(10)
        .filter(move |fault| {
            let region = mine.lock().unwrap().clone().unwrap();
            let error = region.try_write(fault.offset(), 1u8).unwrap_err();
            assert!(error.to_string().contains("own filter"), "{error}");
            Verdict::Commit
        })
        .filter_threads(1)
        .build()
        .unwrap();
    let region = Arc::new(region);
    *own.lock().unwrap() = Some(Arc::clone(&region));
    region.try_write(3 * page_size(), 1u8).unwrap();
    *own.lock().unwrap() = None;
}

#[test]
fn monitors_touch_each_others_regions() {
    let inner = builder(100)
        .filter(|_| Verdict::Commit)
        .filter_threads(1)
        .build()
        .unwrap();
    let middle = builder(100)
        .filter(move |fault| match inner.try_write(fault.offset(), 1u8) {
            Ok(()) => Verdict::Commit,
            Err(_) => Verdict::Decline,
        })
        .build()
        .unwrap();
    let outer = builder(100)
        .filter(move |fault| match middle.try_write(fault.offset(), 1u8) {
            Ok(()) => Verdict::Commit,
            Err(_) => Verdict::Decline,
        })
        .filter_threads(3)
        .name("outer \0 region")
        .build()
        .unwrap();
    for n in 0..100 {
        outer.try_write(n * page_size(), 1u8).unwrap();
    }
}

#[test]
fn monitors_end_with_their_region() {
    struct CountDrop(Arc<AtomicUsize>);
    impl Drop for CountDrop {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let rounds = common::times(200) as usize;
    for n in 0..rounds {
        let held = CountDrop(Arc::clone(&dropped));
        let filter = move |_: &elbowroom::Fault<'_>| {
            let _held = &held;
            Verdict::Commit
        };
        let region = builder(3)
            .filter(filter)
            .filter_threads(1 + n % 3)
            .build()
            .unwrap();
        if n % 2 == 0 {
            region.try_write(0, 1u8).unwrap();
        }
        drop(region);
        assert_eq!(
            dropped.load(Ordering::Relaxed),
            n + 1,
            "the filter is gone, so its threads are"
        );
    }
    // Without a filter, filter threads have no effect.
    builder(3)
        .filter_threads(1)
        .build()
        .unwrap()
        .try_write(0, 1u8)
        .unwrap();
}

#[test]
fn a_monitor_whose_panic_panics_again_still_answers() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped, on purpose");
        }
    }
    let region = builder(3)
        .filter(|_| std::panic::panic_any(Bomb))
        .filter_threads(1)
        .build()
        .unwrap();
    for _ in 0..2 {
        assert!(region.try_write(0, 1u8).unwrap_err().is_declined());
    }
}

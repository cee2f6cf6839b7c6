//! Many threads: on the same page, on the last page of the limit, with regions that come and go, with filters at once.

#![allow(
    unsafe_code,
    reason = "plain pointers and wild ones are part of what is tested"
)]

use crate::common;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use common::{SetWhenDropped, times};
use elbowroom::{Growth, PageState, Region, Verdict, page_size};

const THREADS: usize = 4;

/// Runs `deed(thread)` on all threads at once.
fn together(deed: impl Fn(usize) + Sync) {
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (barrier, deed) = (&barrier, &deed);
            scope.spawn(move || {
                barrier.wait();
                deed(thread);
            });
        }
    });
}

#[test]
fn a_race_for_a_page_charges_it_once() {
    for _ in 0..common::times(300) {
        let region = Region::builder(4 * page_size())
            .growth(Growth::Pages(1))
            .build()
            .unwrap();
        together(|thread| region.try_write(thread, thread as u8 + 1).unwrap());
        assert_eq!(region.stats().committed_bytes, page_size());
        assert_eq!(region.stats().commits, 1);
        assert!(
            (0..THREADS).all(|thread| region.try_read::<u8>(thread).unwrap() == thread as u8 + 1)
        );
    }
}

#[test]
fn a_race_for_the_last_page_of_the_limit_refuses_no_thread() {
    for _ in 0..common::times(300) {
        let region = Region::builder(4 * page_size())
            .commit_limit(page_size())
            .build()
            .unwrap();
        together(|thread| region.try_write(thread * 8, 1u64).unwrap());
        assert_eq!(region.stats().refused, 0);
        assert_eq!(region.stats().committed_bytes, page_size());
    }
}

#[test]
fn the_limit_holds_at_every_moment() {
    let limit = 20 * page_size();
    let pages = 200;
    let region = Region::builder(pages * page_size())
        .commit_limit(limit)
        .growth(Growth::Pages(3))
        .build()
        .unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert!(region.stats().committed_bytes <= limit);
                let committed = region
                    .spans()
                    .into_iter()
                    .filter(|span| span.state == PageState::Committed);
                assert!(committed.map(|span| span.range.len()).sum::<usize>() <= limit);
            }
        });
        let _done = SetWhenDropped(&done);
        together(|thread| {
            for round in 0..common::times(500) as usize {
                let page = (round * 7 + thread * 31) % pages;
                match region.try_write(page * page_size(), 1u8) {
                    Ok(()) => {}
                    Err(error) => assert!(error.is_limit(), "{error}"),
                }
                if round % 3 == 0 {
                    region
                        .decommit(page * page_size()..(page + 9).min(pages) * page_size())
                        .unwrap();
                }
                if round % 5 == 0 {
                    let _ = region.commit(page * page_size()..page * page_size() + 1);
                }
            }
        });
    });
    region.decommit(0..region.len()).unwrap();
    assert_eq!(region.stats().committed_bytes, 0);
}

#[test]
fn regions_come_and_go_while_others_fault() {
    let done = AtomicBool::new(false);
    let steady = Region::builder(1 << 30)
        .growth(Growth::Pages(1))
        .build()
        .unwrap();
    thread::scope(|scope| {
        for thread in 0..2 {
            let (done, steady) = (&done, &steady);
            scope.spawn(move || {
                // Each thread uses its own half, which it gives back from time to time.
                let half = steady.len() / 2;
                let base = thread * half;
                for step in (0..1000).cycle() {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    let offset = base + step * 7 * page_size() % half;
                    steady.try_write(offset, step).unwrap();
                    assert_eq!(steady.try_read::<usize>(offset).unwrap(), step);
                    if step == 999 {
                        steady.decommit(base..base + half).unwrap();
                    }
                }
            });
        }
        let _done = SetWhenDropped(&done);
        together(|thread| {
            for round in 0..common::times(200) as usize {
                let size = [1, 5, 40, 1000, 70_000][round % 5] * page_size();
                let regions: Vec<_> = (0..3).map(|_| Region::new(size).unwrap()).collect();
                for (n, region) in regions.iter().enumerate() {
                    let at = (round * 7919 + n) * page_size() % size;
                    region
                        .try_write(at, [thread as u64, round as u64, n as u64])
                        .unwrap();
                    let read: [u64; 3] = region.try_read(at).unwrap();
                    assert_eq!(read, [thread as u64, round as u64, n as u64]);
                }
            }
        });
    });
}

#[test]
fn a_filter_may_use_64_kib_of_stack_on_any_thread() {
    #[inline(never)]
    fn deep(seed: u8) -> u8 {
        let mut bytes = [seed; 64 << 10];
        std::hint::black_box(&mut bytes);
        bytes.iter().fold(0, |sum, byte| sum ^ byte)
    }
    let region = Region::builder(10 * page_size())
        .growth(Growth::Pages(1))
        .filter(|_| {
            if deep(7) == 0 {
                Verdict::Commit
            } else {
                Verdict::Decline
            }
        })
        .build()
        .unwrap();
    region.try_write(0, 1u8).unwrap();
    thread::scope(|scope| {
        for n in 1..5 {
            let region = &region;
            let small = thread::Builder::new().stack_size(256 << 10);
            small
                .spawn_scoped(scope, move || {
                    region.try_write(n * page_size(), 1u8).unwrap()
                })
                .unwrap();
        }
    });
    assert_eq!(region.stats().committed_bytes, 5 * page_size());
}

#[test]
fn filters_nest_until_there_are_too_many() {
    let mut chain = Region::builder(1)
        .filter(|_| Verdict::Commit)
        .build()
        .unwrap();
    let depth = 1100;
    for _ in 0..depth {
        let inner = chain;
        chain = Region::builder(1)
            .filter(move |_| match inner.try_write(0, 1u8) {
                Ok(()) => Verdict::Commit,
                Err(_) => Verdict::Decline,
            })
            .build()
            .unwrap();
        // On Windows filters nest on the thread's own stack.
        if common::is_emulated() || cfg!(windows) {
            break;
        }
    }
    // The innermost filter is refused, so every filter up to the outermost declines. The next try finds no page
    // committed and ends in the same way. No thread waits for a frame that only it could give back.
    assert_eq!(
        chain.try_write(0, 1u8).is_err(),
        !(common::is_emulated() || cfg!(windows))
    );
}

#[test]
fn a_long_chain_of_regions_ends_on_a_small_stack() {
    let depth = times(5000);
    let ended = Arc::new(AtomicU32::new(0));
    struct Count(Arc<AtomicU32>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let make = |inner: Option<Region>| {
        let owned = (inner, Count(Arc::clone(&ended)));
        Region::builder(1)
            .filter(move |_| {
                let _ = &owned;
                Verdict::Commit
            })
            .build()
            .unwrap()
    };
    let chain = (0..depth).fold(make(None), |inner, _| make(Some(inner)));
    let small = std::thread::Builder::new().stack_size(128 << 10);
    small.spawn(move || drop(chain)).unwrap().join().unwrap();
    assert_eq!(ended.load(Ordering::Relaxed), depth + 1);
}

#[test]
fn a_filter_is_ordinary_rust() {
    // Allocates, locks, prints, and touches other regions, whose filters do the same.
    let log = Arc::new(Mutex::new(Vec::new()));
    let make = |name: &'static str, inner: Option<Region>| {
        let log = Arc::clone(&log);
        Region::builder(4 * page_size())
            .growth(Growth::Pages(1))
            .filter(move |fault| {
                if let Some(inner) = &inner {
                    inner.try_write(fault.offset(), 1u8).unwrap();
                    // A refusal comes out as an error here too, inside a filter.
                    assert!(
                        inner
                            .try_write(usize::MAX, 1u8)
                            .unwrap_err()
                            .is_invalid_range()
                    );
                }
                log.lock()
                    .unwrap()
                    .push(format!("{name} {}", fault.offset()));
                eprintln!("{name}: {fault:?}");
                Verdict::Commit
            })
            .build()
            .unwrap()
    };
    let first = make("first", None);
    let second = make("second", Some(first));
    let third = make("third", Some(second));
    third.try_write(5, 1u8).unwrap();
    assert_eq!(*log.lock().unwrap(), ["first 5", "second 5", "third 5"]);
}

#[test]
fn a_filter_that_touches_its_own_region_is_declined() {
    let own: Arc<Mutex<Option<Arc<Region>>>> = Arc::default();
    let errors = Arc::new(AtomicUsize::new(0));
    let (mine, count) = (Arc::clone(&own), Arc::clone(&errors));
    let region = Region::builder(10 * page_size())
        .growth(Growth::Pages(1))
        .filter(move |fault| {
            let region = mine.lock().unwrap().clone().unwrap();
            // A committed page may be touched; an uncommitted one is refused, whichever it is.
            assert_eq!(region.try_read::<u8>(0).unwrap(), 3);
            for offset in [fault.offset(), 9 * page_size()] {
                let error = region.try_write(offset, 1u8).unwrap_err();
                assert!(error.to_string().contains("own filter"), "{error}");
                count.fetch_add(1, Ordering::Relaxed);
            }
            // But it may be committed by a call.
            region.commit(8 * page_size()..9 * page_size()).unwrap();
            Verdict::Commit
        })
        .build()
        .unwrap();
    let region = Arc::new(region);
    *own.lock().unwrap() = Some(Arc::clone(&region));
    region.commit(0..1).unwrap();
    region.try_write(0, 3u8).unwrap();
    region.try_write(5 * page_size(), 7u8).unwrap();
    assert_eq!(errors.load(Ordering::Relaxed), 2);
    assert_eq!(region.stats().committed_bytes, 3 * page_size());
    *own.lock().unwrap() = None;
}

#[test]
fn a_filter_may_use_its_own_region() {
    static REGION: std::sync::OnceLock<Region> = std::sync::OnceLock::new();
    let region = Region::builder(16 * page_size())
        .growth(Growth::Pages(1))
        .filter(|fault| {
            let Some(region) = REGION.get() else {
                return Verdict::Decline;
            };
            // A header beside each page: committed and written by the filter itself.
            let header = fault.offset() / page_size() % 8 + 8;
            let range = header * page_size()..(header + 1) * page_size();
            let before = region.stats().committed_bytes;
            if region.commit(range.clone()).is_err() {
                return Verdict::Decline;
            }
            region.try_write(range.start, fault.offset()).unwrap();
            assert_eq!(
                region.try_read::<usize>(range.start).unwrap(),
                fault.offset()
            );
            assert!(
                region
                    .spans()
                    .iter()
                    .any(|span| span.state == PageState::Committed)
            );
            if fault.offset() >= 4 * page_size() {
                region.decommit(range).unwrap();
                assert_eq!(region.stats().committed_bytes, before);
            }
            Verdict::Commit
        })
        .build()
        .unwrap();
    let region = REGION.get_or_init(|| region);
    for page in 0..8 {
        region.try_write(page * page_size(), 1u8).unwrap();
    }
    // Eight pages, and the four headers that were kept.
    assert_eq!(region.stats().committed_bytes, 12 * page_size());
}

#[test]
fn a_region_released_in_its_own_filter_is_an_error_and_stays_valid() {
    let own: Arc<Mutex<Option<Region>>> = Arc::default();
    let mine = Arc::clone(&own);
    let region = Region::builder(10 * page_size())
        .filter(move |_| {
            let region = mine.lock().unwrap().take().unwrap();
            let error = region.release().unwrap_err();
            assert!(error.to_string().contains("own filter"), "{error}");
            Verdict::Commit
        })
        .build()
        .unwrap();
    let address = region.as_ptr();
    *own.lock().unwrap() = Some(region);
    // SAFETY: inside the region, which commits on touch; released in its filter, it is leaked and so still there.
    unsafe { address.write_volatile(1) };
    // SAFETY: inside the region, which is leaked and so still there; written just now.
    assert_eq!(unsafe { address.read_volatile() }, 1);
}

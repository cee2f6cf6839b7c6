//! Chunks of an array for the threads of rayon.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use elbowroom::page_size;
use elbowroom_pager::{MemoryStore, PagedArray, PagedOptions};
use proptest::prelude::*;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::common::{Failure, Flaky, is_injected};

fn pool(threads: usize) -> ThreadPool {
    let builder = ThreadPoolBuilder::new().num_threads(threads);
    builder.build().unwrap()
}

fn options<T: bytemuck::AnyBitPattern>(limit_pages: usize) -> PagedOptions<T> {
    PagedArray::options()
        .writable(true)
        .page_size(page_size())
        .resident_limit(limit_pages * page_size())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every element is seen once and in its place, with any limit and any number of threads, and none is refused.
    #[test]
    fn any_part_is_seen_once(
        limit in 3..40usize,
        threads in 1..9usize,
        read_ahead in 0..5usize,
        pages in 0..30usize,
        part in (any::<u16>(), any::<u16>()),
    ) {
        type Element = [u8; 3];
        let len = pages * page_size() / 3;
        let array = options::<Element>(limit).read_ahead(read_ahead * page_size());
        let mut array = array.len(len).open_store(MemoryStore::new(vec![0; len * 3])).unwrap();
        let place = |at: u16| (at as usize * (len + 1)) >> 16;
        let range = place(part.0).min(place(part.1))..place(part.0).max(place(part.1));
        pool(threads).install(|| {
            let (_, rest) = array.writer().unwrap().split_at(range.start);
            let (writer, _) = rest.split_at(range.len());
            let base = writer.slice(..0).unwrap().as_ptr().addr();
            writer
                .into_par_iter()
                .try_for_each(|chunk| {
                    let mut chunk = chunk?;
                    let start = (chunk.as_ptr().addr() - base) / 3;
                    for (element, at) in chunk.iter_mut().zip(start as u32..) {
                        assert_eq!(*element, [0; 3], "no element twice");
                        *element = [at as u8, (at >> 8) as u8, (at >> 16) as u8 + 1];
                    }
                    Ok::<(), elbowroom_pager::Error>(())
                })
                .unwrap();
            let chunks = array.scan(..).unwrap().into_par_iter();
            let found: Result<Vec<Vec<Element>>, _> = chunks.map(|chunk| chunk.map(|chunk| chunk.to_vec())).collect();
            let found = found.unwrap().concat();
            assert_eq!(found.len(), len);
            for (at, &element) in found.iter().enumerate() {
                let expected = match at.checked_sub(range.start).filter(|_| at < range.end) {
                    Some(at) => [at as u8, (at >> 8) as u8, (at >> 16) as u8 + 1],
                    None => [0; 3],
                };
                assert_eq!(element, expected, "element {at}");
            }
        });
        assert!(array.stats().bytes_resident_max <= limit * page_size());
    }
}

#[test]
fn one_page_of_room_is_enough() {
    let array = options::<u8>(1);
    let array = array.open_store(MemoryStore::new(vec![1; 20 * page_size()]));
    let array = array.unwrap();
    let sum = pool(8).install(|| {
        let chunks = array.scan(3..).unwrap().into_par_iter();
        let sums = chunks.map(|chunk| chunk.map(|chunk| chunk.len()));
        sums.try_reduce(|| 0, |a, b| Ok(a + b))
    });
    assert_eq!(sum.unwrap(), 20 * page_size() - 3);
}

/// The first two chunks wait for each other, so two threads have one at a time.
#[test]
fn several_threads_work_at_once() {
    let array = options::<u8>(64).open_store(MemoryStore::new(vec![1; 64 * page_size()]));
    let array = array.unwrap();
    let (taken, barrier) = (AtomicUsize::new(0), Barrier::new(2));
    pool(2).install(|| {
        let chunks = array.scan(..).unwrap().into_par_iter();
        chunks.for_each(|chunk| {
            let chunk = chunk.unwrap();
            if taken.fetch_add(1, Ordering::Relaxed) < 2 {
                barrier.wait();
            }
            assert!(chunk.iter().all(|&byte| byte == 1));
        });
    });
    assert!(taken.into_inner() >= 2);
}

#[test]
fn a_failure_ends_it_and_the_next_pass_is_right() {
    let store = Flaky::new(vec![1; 40 * page_size()]);
    let array = options::<u8>(8).open_store(Arc::clone(&store)).unwrap();
    let sum = || {
        pool(3).install(|| {
            let chunks = array.scan(..).unwrap().into_par_iter();
            let sums = chunks.map(|chunk| chunk.map(|chunk| chunk.len()));
            sums.try_reduce(|| 0, |a, b| Ok(a + b))
        })
    };
    store.fail(5, usize::MAX, Failure::HalfWay);
    assert!(is_injected(&sum().unwrap_err()));
    store.heal();
    assert_eq!(sum().unwrap(), 40 * page_size());
}

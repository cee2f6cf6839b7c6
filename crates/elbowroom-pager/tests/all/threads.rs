//! Many threads at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use elbowroom::page_size;
use elbowroom_pager::{MemoryStore, PagedArray, Slice, SliceMut, Store, StoreError, Writer};

use crate::common::Random;

fn assert_send<T: Send>() {}
fn assert_sync<T: Sync>() {}

#[test]
fn arrays_and_guards_go_between_threads() {
    assert_send::<PagedArray<u8>>();
    assert_sync::<PagedArray<u8>>();
    assert_send::<Slice<'_, u8>>();
    assert_sync::<Slice<'_, u8>>();
    assert_send::<SliceMut<'_, u8>>();
    assert_send::<Writer<'_, u8>>();
}

/// A store whose reads take a while.
struct Slow {
    memory: MemoryStore,
    reads: AtomicUsize,
}

impl Store for Slow {
    fn len(&self) -> Result<u64, StoreError> {
        self.memory.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(30));
        self.memory.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<(), StoreError> {
        self.memory.write_at(offset, buffer)
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn is_writable(&self) -> bool {
        false
    }

    fn version(&self) -> Option<String> {
        None
    }
}

#[test]
fn a_page_is_loaded_once_for_many_threads() {
    let store = Arc::new(Slow {
        memory: MemoryStore::new(vec![3; 4 * page_size()]),
        reads: AtomicUsize::new(0),
    });
    let array = PagedArray::<u8>::options()
        .open_store(Arc::clone(&store))
        .unwrap();
    let barrier = Barrier::new(8);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                barrier.wait();
                assert_eq!(array.get(0).unwrap(), 3);
            });
        }
    });
    assert_eq!(store.reads.load(Ordering::Relaxed), 1);
    // Each thread has waited, or came when the page was there.
    let stats = array.stats();
    assert_eq!((stats.misses, stats.hits, stats.bytes_asked), (1, 7, 8));
    assert!((1..=8).contains(&stats.stalls.count()));
    assert!(stats.stalls.percentile(1.0) >= Duration::from_millis(30));
    let resident = stats.stalls.count();
    array.get(1).unwrap();
    assert_eq!(array.stats().stalls.count(), resident);
}

/// What is loaded is counted while it is loaded, and for as long as that.
#[test]
fn bytes_that_are_being_loaded() {
    struct Gate(MemoryStore, Barrier);
    impl Store for Gate {
        fn len(&self) -> Result<u64, StoreError> {
            self.0.len()
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
            self.1.wait();
            self.1.wait();
            self.0.read_at(offset, buffer)
        }
        fn write_at(&self, _: u64, _: &[u8]) -> Result<(), StoreError> {
            unreachable!("it is read-only")
        }
        fn flush(&self) -> Result<(), StoreError> {
            Ok(())
        }
        fn is_writable(&self) -> bool {
            false
        }
        fn version(&self) -> Option<String> {
            None
        }
    }
    let memory = MemoryStore::new(vec![0; 4 * page_size()]);
    let store = Arc::new(Gate(memory, Barrier::new(2)));
    let options = PagedArray::<u8>::options().page_size(page_size());
    let array = options.open_store(Arc::clone(&store)).unwrap();
    thread::scope(|scope| {
        let reader = scope.spawn(|| array.slice(..2 * page_size()).map(|slice| slice.len()));
        store.1.wait();
        assert_eq!(array.stats().bytes_loading, 2 * page_size());
        assert_eq!(array.stats().stalls.count(), 0);
        store.1.wait();
        assert_eq!(reader.join().unwrap().unwrap(), 2 * page_size());
    });
    let stats = array.stats();
    assert_eq!((stats.bytes_loading, stats.stalls.count()), (0, 1));
    assert_eq!(stats.amplification(), Some(1.0));
}

#[test]
fn one_page_of_room_is_enough_for_many_threads_that_copy_elements() {
    let bytes: Vec<u8> = (0..16 * page_size())
        .map(|byte| (byte / page_size()) as u8)
        .collect();
    let array = PagedArray::<u8>::options()
        .page_size(page_size())
        .resident_limit(page_size())
        .threads(2)
        .open_store(MemoryStore::new(bytes))
        .unwrap();
    thread::scope(|scope| {
        for seed in 0..4 {
            let array = &array;
            scope.spawn(move || {
                let mut random = Random::new(seed);
                for _ in 0..2000 {
                    let index = random.below(array.len());
                    assert_eq!(array.get(index).unwrap(), (index / page_size()) as u8);
                }
            });
        }
    });
    assert_eq!(array.stats().bytes_resident_max, page_size());
}

#[test]
fn writers_in_threads_share_pages_and_lose_nothing() {
    const THREADS: usize = 4;
    // Parts that end in the middle of pages.
    let len = 30 * page_size() / 8 + 5;
    let store = Arc::new(MemoryStore::new(vec![0; len * 8]));
    let mut array = PagedArray::<u64>::options()
        .writable(true)
        .page_size(page_size())
        .resident_limit(10 * page_size())
        .read_ahead(2 * page_size())
        .open_store(Arc::clone(&store))
        .unwrap();
    let mut rest = array.writer().unwrap();
    let mut writers = Vec::new();
    for _ in 1..THREADS {
        let (writer, others) = rest.split_at(len / THREADS);
        writers.push(writer);
        rest = others;
    }
    writers.push(rest);
    thread::scope(|scope| {
        for (seed, mut writer) in writers.into_iter().enumerate() {
            scope.spawn(move || {
                let mut random = Random::new(seed as u64 + 1);
                let mut model = vec![0u64; writer.len()];
                for _ in 0..3000 {
                    let index = random.below(model.len());
                    match random.below(4) {
                        0 => {
                            let end = (index + random.below(100)).min(model.len());
                            let value = random.number();
                            writer.slice_mut(index..end).unwrap().fill(value);
                            model[index..end].fill(value);
                        }
                        1 => {
                            let end = (index + random.below(100)).min(model.len());
                            assert_eq!(writer.slice(index..end).unwrap()[..], model[index..end]);
                        }
                        2 => {
                            model[index] = random.number();
                            writer.set(index, model[index]).unwrap();
                        }
                        _ => assert_eq!(writer.get(index).unwrap(), model[index]),
                    }
                }
                assert_eq!(writer.slice(..10).unwrap()[..], model[..10]);
                let last = model.len() - 1;
                assert_eq!(writer.get(last).unwrap(), model[last]);
            });
        }
    });
    array.flush().unwrap();
    let stored = store.to_vec();
    let mut index = 0;
    for chunk in array.scan(..).unwrap() {
        for &value in chunk.unwrap().iter() {
            assert_eq!(stored[index * 8..index * 8 + 8], value.to_ne_bytes());
            index += 1;
        }
    }
    assert!(array.stats().bytes_resident_max <= 10 * page_size());
}

#[test]
fn threads_that_hold_guards_and_ask_for_more_are_refused_and_none_hangs() {
    let array = PagedArray::<u8>::options()
        .page_size(page_size())
        .resident_limit(4 * page_size())
        .open_store(MemoryStore::new(vec![9; 64 * page_size()]))
        .unwrap();
    let (served, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for seed in 0..4 {
            let (array, served, refused) = (&array, &served, &refused);
            scope.spawn(move || {
                let mut random = Random::new(seed);
                for _ in 0..500 {
                    let first = random.below(62) * page_size();
                    match array.slice(first..first + 2 * page_size()) {
                        Ok(slice) => {
                            let more = array.slice(..random.below(2) * page_size() + 1);
                            assert!(slice.iter().all(|&byte| byte == 9));
                            match more {
                                Ok(more) => assert_eq!(more[0], 9),
                                Err(error) => assert!(error.is_limit(), "{error}"),
                            }
                            served.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => {
                            assert!(error.is_limit(), "{error}");
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    assert!(served.load(Ordering::Relaxed) > 0);
    assert_eq!(array.slice(..4 * page_size()).unwrap()[0], 9);
}

#[test]
fn much_dirt_is_written_behind() {
    let mut array = PagedArray::<u8>::options()
        .writable(true)
        .page_size(page_size())
        .resident_limit(16 * page_size())
        .open_store(MemoryStore::new(vec![0; 64 * page_size()]))
        .unwrap();
    for page in 0..12 {
        array.set(page * page_size(), 1).unwrap();
    }
    // Nothing asks for room here.
    for _ in 0..500 {
        if array.stats().bytes_dirty <= 8 * page_size() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    assert!(array.stats().writes > 0);
    assert_eq!(array.stats().evictions, 0);
}

#[test]
fn prefetched_pages_are_hits() {
    let array = PagedArray::<u8>::options()
        .page_size(page_size())
        .resident_limit(16 * page_size())
        .open_store(MemoryStore::new(vec![0; 64 * page_size()]))
        .unwrap();
    array
        .prefetch([0..page_size(), 10 * page_size()..12 * page_size()])
        .unwrap();
    for _ in 0..500 {
        if array.stats().bytes_resident == 3 * page_size() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    let _ = array.slice(10 * page_size()..12 * page_size()).unwrap();
    array.get(0).unwrap();
    let stats = array.stats();
    assert_eq!((stats.hits, stats.misses, stats.reads), (3, 0, 2));
    // No more than half of the limit.
    array
        .prefetch(std::iter::once(16 * page_size()..64 * page_size()))
        .unwrap();
    thread::sleep(Duration::from_millis(50));
    assert!(array.stats().bytes_resident <= 11 * page_size());
}

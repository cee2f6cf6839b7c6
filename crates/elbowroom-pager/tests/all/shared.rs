//! Several arrays with one budget, which evict from each other.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use elbowroom::{Budget, page_size};
use elbowroom_pager::{MemoryStore, PagedArray, PagedOptions, Slice, Store, StoreError};
use proptest::prelude::*;

use crate::common::{Failure, Flaky, Random, is_emulated, is_injected};

/// Options of an array without threads and read-ahead, with pages of the system.
fn options(budget: &Budget) -> PagedOptions<u8> {
    let options = PagedArray::options().page_size(page_size()).threads(0);
    options.read_ahead(0).writable(true).budget(budget)
}

/// A store whose bytes are the numbers of their pages.
fn pages(count: usize) -> MemoryStore {
    let bytes = 0..count * page_size();
    MemoryStore::new(bytes.map(|byte| (byte / page_size()) as u8).collect())
}

#[test]
fn a_budget_is_shared_and_refunded() {
    let budget = Budget::builder(4 * page_size()).name("process").build();
    let open = || options(&budget).open_store(pages(10)).unwrap();
    let (one, other) = (open(), open());
    let guard = one.slice(..3 * page_size()).unwrap();
    assert_eq!(other.get(0).unwrap(), 0);
    assert_eq!(budget.committed_bytes(), 4 * page_size());
    assert_eq!(other.get(5 * page_size()).unwrap(), 5);
    // What is lent stays.
    let error = other.slice(..2 * page_size()).unwrap_err();
    assert!(error.is_limit());
    assert_eq!(error.memory_error().unwrap().budget(), Some(&budget));
    assert!(
        guard
            .iter()
            .zip(0..)
            .all(|(&byte, at)| byte == (at / page_size()) as u8)
    );
    drop(guard);
    assert_eq!(
        other.slice(..4 * page_size()).unwrap().len(),
        4 * page_size()
    );
    assert_eq!(one.stats().evictions, 3);
    assert_eq!(one.stats().bytes_resident, 0);
    assert_eq!(one.get(0).unwrap(), 0);
    drop(one);
    assert_eq!(budget.committed_bytes(), 3 * page_size());
    drop(other);
    assert_eq!(budget.committed_bytes(), 0);
}

#[test]
fn what_was_not_used_lately_goes_first_whichever_array_has_it() {
    let budget = Budget::new(8 * page_size());
    let open = || options(&budget).open_store(pages(100)).unwrap();
    let (cold, hot, passing) = (open(), open(), open());
    drop(cold.slice(..5 * page_size()).unwrap());
    for page in 0..90 {
        assert_eq!(hot.get(0).unwrap(), 0);
        assert_eq!(hot.get(page_size()).unwrap(), 1);
        assert_eq!(passing.get(page * page_size()).unwrap(), page as u8);
    }
    assert_eq!((cold.stats().bytes_resident, hot.stats().misses), (0, 2));
}

#[test]
fn a_limit_of_its_own_is_kept_by_its_own_pages() {
    let budget = Budget::new(10 * page_size());
    let limited = options(&budget).resident_limit(2 * page_size());
    let limited = limited.open_store(pages(9)).unwrap();
    let other = options(&budget).open_store(pages(9)).unwrap();
    drop(other.slice(..8 * page_size()).unwrap());
    for page in 0..9 {
        assert_eq!(limited.get(page * page_size()).unwrap(), page as u8);
    }
    assert_eq!((limited.stats().evictions, other.stats().evictions), (7, 0));
    // Budgets of another root have nothing to give.
    let foreign = Budget::new(page_size());
    let foreign = options(&foreign).open_store(pages(2)).unwrap();
    assert!(foreign.slice(..).unwrap_err().is_limit());
    assert_eq!(other.stats().bytes_resident, 8 * page_size());
}

#[test]
fn pages_of_several_sizes_make_room_for_each_other() {
    let budget = Budget::new(8 * page_size());
    let small = options(&budget).open_store(pages(8)).unwrap();
    let large = options(&budget).page_size(4 * page_size());
    let large = large.open_store(pages(16)).unwrap();
    for _ in 0..3 {
        drop(small.slice(..).unwrap());
        assert_eq!(large.get(9 * page_size()).unwrap(), 9);
        assert_eq!(small.stats().bytes_resident, 4 * page_size());
        drop(large.slice(4 * page_size()..12 * page_size()).unwrap());
        assert_eq!(small.stats().bytes_resident, 0);
    }
}

#[test]
fn a_dirty_page_of_another_array_is_written_to_its_store() {
    let budget = Budget::new(2 * page_size());
    let stores = [(); 2].map(|()| Flaky::new(vec![0; 4 * page_size()]));
    let open = |store: &Arc<Flaky>| options(&budget).open_store(Arc::clone(store)).unwrap();
    let (mut one, mut other) = (open(&stores[0]), open(&stores[1]));
    one.slice_mut(..2 * page_size()).unwrap().fill(1);
    assert_eq!(other.get(0).unwrap(), 0);
    assert!(
        stores[0]
            .memory
            .to_vec()
            .starts_with(&vec![1; 2 * page_size()])
    );
    assert_eq!(one.stats().bytes_dirty, 0);

    // A store that fails keeps its pages, and is no failure of another array.
    one.slice_mut(..2 * page_size()).unwrap().fill(2);
    stores[0].fail(0, usize::MAX, Failure::HalfWay);
    let error = other.get(page_size()).unwrap_err();
    assert!(error.is_limit() && !is_injected(&error), "{error}");
    assert!(is_injected(&one.flush().unwrap_err()));
    assert_eq!(one.stats().bytes_dirty, 2 * page_size());
    stores[0].heal();
    other.set(page_size(), 3).unwrap();
    assert_eq!(other.get(page_size()).unwrap(), 3);
    assert!(
        one.slice(..2 * page_size())
            .unwrap()
            .iter()
            .all(|&byte| byte == 2)
    );
    drop((one, other));
    assert_eq!(stores[1].memory.to_vec()[page_size()], 3);
    assert_eq!(budget.committed_bytes(), 0);
}

#[test]
fn own_pages_go_while_another_store_fails() {
    let budget = Budget::new(2 * page_size());
    let store = Flaky::new(vec![0; page_size()]);
    let mut failing = options(&budget).open_store(Arc::clone(&store)).unwrap();
    let mut array = options(&budget).open_store(pages(20)).unwrap();
    failing.set(0, 1).unwrap();
    store.fail(0, usize::MAX, Failure::Refused);
    for page in 0..20 {
        array.set(page * page_size(), 0xaa).unwrap();
    }
    assert_eq!(failing.stats().bytes_dirty, page_size());
    store.heal();
    failing.flush().unwrap();
    assert_eq!(store.memory.to_vec()[0], 1);
}

#[test]
fn one_page_of_room_is_enough_for_the_threads_of_many_arrays() {
    const ARRAYS: usize = 4;
    let budget = Budget::new(page_size());
    let operations = if is_emulated() { 200 } else { 1500 };
    let arrays = [(); ARRAYS].map(|()| {
        let threads = PagedArray::options().page_size(page_size()).threads(1);
        let threads = threads.writable(true).budget(&budget);
        threads
            .open_store(MemoryStore::new(vec![0; 8 * page_size()]))
            .unwrap()
    });
    thread::scope(|scope| {
        for (seed, mut array) in arrays.into_iter().enumerate() {
            scope.spawn(move || {
                let mut model = vec![0u8; array.len()];
                let mut parts = model.chunks_mut(4 * page_size());
                let writers = array.writers(2).unwrap();
                thread::scope(|scope| {
                    for (half, mut writer) in writers.into_iter().enumerate() {
                        let model = parts.next().unwrap();
                        scope.spawn(move || {
                            let mut random = Random::new((2 * seed + half) as u64);
                            for _ in 0..operations {
                                let at = random.below(model.len());
                                if random.below(3) == 0 {
                                    model[at] = random.number() as u8;
                                    writer.set(at, model[at]).unwrap();
                                } else {
                                    assert_eq!(writer.get(at).unwrap(), model[at]);
                                }
                            }
                        });
                    }
                });
                array.flush().unwrap();
                for (at, &value) in model.iter().enumerate().step_by(97) {
                    assert_eq!(array.get(at).unwrap(), value);
                }
            });
        }
    });
    assert_eq!(
        (budget.committed_bytes(), budget.peak_bytes()),
        (0, page_size())
    );
}

/// A store whose writes take a moment, in which threads begin to wait for the page.
struct Slow(MemoryStore);

impl Store for Slow {
    fn len(&self) -> Result<u64, StoreError> {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        self.0.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<(), StoreError> {
        thread::sleep(Duration::from_micros(100));
        self.0.write_at(offset, buffer)
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn version(&self) -> Option<String> {
        None
    }
}

/// Arrays come and go while threads of others take their pages, write them back, and wait for that.
/// A store whose writes wait until the gate is open.
struct Gated {
    memory: MemoryStore,
    is_writing: AtomicBool,
    is_open: AtomicBool,
}

impl Store for Gated {
    fn len(&self) -> Result<u64, StoreError> {
        self.memory.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        self.memory.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<(), StoreError> {
        self.is_writing.store(true, Ordering::Relaxed);
        while !self.is_open.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        self.memory.write_at(offset, buffer)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.memory.flush()
    }

    fn set_len(&self, len: u64) -> Result<(), StoreError> {
        self.memory.set_len(len)
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn version(&self) -> Option<String> {
        None
    }
}

#[test]
fn an_array_is_resized_after_another_has_written_its_pages() {
    let len = 2 * page_size();
    let budget = Budget::new(len);
    let store = Arc::new(Gated {
        memory: MemoryStore::new(vec![0; len]),
        is_writing: AtomicBool::new(false),
        is_open: AtomicBool::new(false),
    });
    let mut resized = options(&budget).open_store(Arc::clone(&store)).unwrap();
    resized.slice_mut(..).unwrap().fill(7);
    let other = options(&budget).open_store(pages(2)).unwrap();
    thread::scope(|scope| {
        let reader = scope.spawn(|| other.get(page_size()).unwrap());
        while !store.is_writing.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        let resizer = scope.spawn(|| {
            resized.resize(0).unwrap();
            resized.resize(len).unwrap();
        });
        // Time in which the array must not be resized.
        thread::sleep(Duration::from_millis(50));
        store.is_open.store(true, Ordering::Relaxed);
        resizer.join().unwrap();
        assert_eq!(reader.join().unwrap(), 1);
    });
    assert!((0..len).all(|index| resized.get(index).unwrap() == 0));
    resized.flush().unwrap();
    assert_eq!(store.memory.to_vec(), vec![0; len]);
}

#[test]
fn a_callback_of_a_budget_uses_arrays_of_the_budget() {
    static ARRAYS: OnceLock<[PagedArray<u8>; 2]> = OnceLock::new();
    static SUM: AtomicUsize = AtomicUsize::new(0);
    let budget = Budget::builder(4 * page_size());
    let budget = budget.on_reaching(2 * page_size(), |_| {
        for array in ARRAYS.get().into_iter().flatten() {
            let byte = array.get(3 * page_size()).unwrap();
            assert!(array.resident_ranges().count() > 0);
            SUM.fetch_add(byte.into(), Ordering::Relaxed);
        }
    });
    let budget = budget.build();
    let arrays = [(); 2].map(|()| options(&budget).open_store(pages(9)).unwrap());
    let [one, other] = ARRAYS.get_or_init(|| arrays);
    assert_eq!(one.get(0).unwrap(), 0);
    assert_eq!(SUM.load(Ordering::Relaxed), 0);
    assert_eq!(other.get(3 * page_size()).unwrap(), 3);
    assert_eq!(SUM.load(Ordering::Relaxed), 6);
}

#[test]
fn arrays_come_and_go_beside_others() {
    const LIMIT: usize = 2;
    let budget = Budget::new(LIMIT * page_size());
    let is_over = AtomicBool::new(false);
    let rounds = if is_emulated() { 5 } else { 25 };
    thread::scope(|scope| {
        for seed in 0..4 {
            let (budget, is_over) = (&budget, &is_over);
            scope.spawn(move || {
                let array = options(budget).open_store(pages(30)).unwrap();
                let mut random = Random::new(seed + 40);
                while !is_over.load(Ordering::Relaxed) {
                    let at = random.below(array.len());
                    assert_eq!(array.get(at).unwrap(), (at / page_size()) as u8);
                }
            });
        }
        let comers: Vec<_> = (0..2)
            .map(|seed| {
                let budget = &budget;
                scope.spawn(move || {
                    let mut random = Random::new(seed);
                    for round in 0..rounds {
                        let store = Arc::new(Slow(pages(5)));
                        let mut array = options(budget).open_store(Arc::clone(&store)).unwrap();
                        for page in 0..5 {
                            let at = page * page_size() + random.below(page_size());
                            array.set(at, round as u8).unwrap();
                        }
                        drop(array);
                        // The array was the last to use the store, and everything is stored.
                        let bytes = Arc::into_inner(store).unwrap().0.to_vec();
                        let found = bytes.chunks(page_size());
                        assert!(found.into_iter().all(|page| page.contains(&(round as u8))));
                    }
                })
            })
            .collect();
        let ends: Vec<_> = comers.into_iter().map(|comer| comer.join()).collect();
        is_over.store(true, Ordering::Relaxed);
        assert!(ends.iter().all(Result::is_ok));
    });
    assert_eq!(budget.committed_bytes(), 0);
    assert!(budget.peak_bytes() <= LIMIT * page_size());
}

/// A range of an array: which array, where, and how long.
type Part = (u8, u16, u16);

#[derive(Clone, Debug)]
enum Step {
    Get(u8, u16),
    Set(u8, u16, u8),
    Fill(Part, u8),
    Scan(Part),
    /// Guards of other arrays, and then a range that is filled.
    Hold(Vec<Part>, Part, u8),
    Flush(u8),
    Reopen(u8),
    Fail(u8),
    Heal(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let array = any::<u8>;
    let part = || {
        (
            any::<u8>(),
            any::<u16>(),
            prop_oneof![0..9000u16, any::<u16>()],
        )
    };
    let held = prop::collection::vec(part(), 0..5);
    prop_oneof![
        6 => (array(), any::<u16>()).prop_map(|(array, at)| Step::Get(array, at)),
        6 => (array(), any::<u16>(), any::<u8>()).prop_map(|(array, at, value)| Step::Set(array, at, value)),
        4 => (part(), any::<u8>()).prop_map(|(part, value)| Step::Fill(part, value)),
        2 => part().prop_map(Step::Scan),
        6 => (held, part(), any::<u8>()).prop_map(|(held, part, value)| Step::Hold(held, part, value)),
        1 => array().prop_map(Step::Flush),
        1 => array().prop_map(Step::Reopen),
        1 => array().prop_map(Step::Fail),
        2 => array().prop_map(Step::Heal),
    ]
}

/// An array, what it should have, and its own limit in pages.
struct Subject {
    array: PagedArray<u8>,
    store: Arc<Flaky>,
    model: Vec<u8>,
    limit: usize,
}

impl Subject {
    fn new(budget: &Budget, pages: usize, limit: Option<usize>, read_ahead: usize) -> Subject {
        let model: Vec<u8> = (0..pages * page_size() - 7)
            .map(|byte| byte as u8)
            .collect();
        let store = Flaky::new(model.clone());
        Subject {
            array: open(budget, limit, read_ahead, &store),
            store,
            model,
            limit: limit.unwrap_or(usize::MAX),
        }
    }

    fn range(&self, &(_, at, len): &Part) -> std::ops::Range<usize> {
        // Anywhere, whatever the size of a page is.
        let start = (at as usize * (self.model.len() + 1)) >> 16;
        start..(start + len as usize * page_size() / 4096).min(self.model.len())
    }
}

fn open(
    budget: &Budget,
    limit: Option<usize>,
    read_ahead: usize,
    store: &Arc<Flaky>,
) -> PagedArray<u8> {
    let mut options = options(budget).read_ahead(read_ahead * page_size());
    if let Some(limit) = limit {
        options = options.resident_limit(limit * page_size());
    }
    options.open_store(Arc::clone(store)).unwrap()
}

fn pages_of(range: &std::ops::Range<usize>) -> usize {
    if range.is_empty() {
        return 0;
    }
    range.end.div_ceil(page_size()) - range.start / page_size()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// An access fails if and only if guards leave no room for it; or for a store that fails: its own, or one whose
    /// dirty pages have the room.
    #[test]
    fn several_arrays_as_vecs(
        limit in 1..7usize,
        arrays in prop::collection::vec((1..9usize, prop::option::of(1..4usize)), 1..5),
        read_ahead in 0..3usize,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let budget = Budget::new(limit * page_size());
        let mut subjects: Vec<Subject> = arrays
            .iter()
            .map(|&(pages, own)| Subject::new(&budget, pages, own, read_ahead))
            .collect();
        let count = subjects.len();
        for step in steps {
            let fails = subjects.iter().any(|subject| !subject.store.is_healthy());
            // Whether an error is right, with so many pages pinned by others.
            let judge = |error: &elbowroom_pager::Error, subject: &Subject, pages: usize, pinned: usize| {
                let exceeds = pages > subject.limit || pages + pinned > limit;
                let is_own = is_injected(error) && !subject.store.is_healthy();
                assert!(error.is_limit() && (exceeds || fails) || is_own, "{error}");
            };
            match step {
                Step::Get(at, place) => {
                    let subject = &subjects[at as usize % count];
                    let place = (place as usize * subject.model.len()) >> 16;
                    match subject.array.get(place) {
                        Ok(value) => assert_eq!(value, subject.model[place]),
                        Err(error) => judge(&error, subject, 1, 0),
                    }
                }
                Step::Set(at, place, value) => {
                    let subject = &mut subjects[at as usize % count];
                    let place = (place as usize * subject.model.len()) >> 16;
                    match subject.array.set(place, value) {
                        Ok(()) => subject.model[place] = value,
                        Err(error) => judge(&error, subject, 1, 0),
                    }
                }
                Step::Fill(part, value) => {
                    let subject = &mut subjects[part.0 as usize % count];
                    let range = subject.range(&part);
                    let filled = subject.array.slice_mut(range.clone()).map(|mut slice| slice.fill(value));
                    match filled {
                        Ok(()) => {
                            assert!(pages_of(&range) <= limit.min(subject.limit));
                            subject.model[range].fill(value);
                        }
                        Err(error) => judge(&error, subject, pages_of(&range), 0),
                    }
                }
                Step::Scan(part) => {
                    let subject = &subjects[part.0 as usize % count];
                    let mut range = subject.range(&part);
                    for chunk in subject.array.scan(range.clone()).unwrap() {
                        match chunk {
                            Ok(chunk) => {
                                assert_eq!(chunk[..], subject.model[range.start..][..chunk.len()]);
                                range.start += chunk.len();
                            }
                            Err(error) => judge(&error, subject, 1, 0),
                        }
                    }
                }
                Step::Hold(held, part, value) => {
                    let at = part.0 as usize % count;
                    let (before, rest) = subjects.split_at_mut(at);
                    let (subject, after) = rest.split_first_mut().unwrap();
                    let others: Vec<&Subject> = before.iter().chain(after.iter()).collect();
                    let mut guards: Vec<(&Subject, usize, Slice<'_, u8>)> = Vec::new();
                    let mut pinned = std::collections::BTreeSet::new();
                    for part in &held {
                        let Some(name) = (part.0 as usize).checked_rem(others.len()) else { continue };
                        let (other, range) = (others[name], others[name].range(part));
                        let first = range.start / page_size();
                        let pages = (first..first + pages_of(&range)).map(|page| (name, page));
                        match other.array.slice(range.clone()) {
                            Ok(slice) => {
                                pinned.extend(pages);
                                guards.push((other, range.start, slice));
                            }
                            Err(error) => {
                                let wanted = pages.collect::<std::collections::BTreeSet<_>>();
                                let own = pinned.union(&wanted).filter(|(of, _)| *of == name).count();
                                let all = pinned.union(&wanted).count();
                                let exceeds = own > other.limit || all > limit;
                                let is_own = is_injected(&error) && !other.store.is_healthy();
                                assert!(error.is_limit() && (exceeds || fails) || is_own, "{error}");
                            }
                        }
                    }
                    let range = subject.range(&part);
                    match subject.array.slice_mut(range.clone()).map(|mut slice| slice.fill(value)) {
                        Ok(()) => {
                            assert!(pages_of(&range) + pinned.len() <= limit);
                            subject.model[range].fill(value);
                        }
                        Err(error) => judge(&error, subject, pages_of(&range), pinned.len()),
                    }
                    for (other, start, slice) in guards {
                        assert_eq!(slice[..], other.model[start..][..slice.len()]);
                    }
                }
                Step::Flush(at) => {
                    let subject = &subjects[at as usize % count];
                    match subject.array.flush() {
                        Ok(()) => assert_eq!(subject.store.memory.to_vec(), subject.model),
                        Err(error) => judge(&error, subject, 0, 0),
                    }
                }
                Step::Reopen(at) => {
                    let at = at as usize % count;
                    let mut subject = subjects.swap_remove(at);
                    // What is dirty would be lost.
                    subject.store.heal();
                    let own = Some(subject.limit).filter(|&limit| limit < usize::MAX);
                    drop(subject.array);
                    assert_eq!(subject.store.memory.to_vec(), subject.model);
                    subject.array = open(&budget, own, read_ahead, &subject.store);
                    subjects.push(subject);
                }
                Step::Fail(at) => subjects[at as usize % count].store.fail(0, usize::MAX, Failure::HalfWay),
                Step::Heal(at) => subjects[at as usize % count].store.heal(),
            }
            let resident = subjects.iter().map(|subject| subject.array.stats().bytes_resident);
            assert_eq!(resident.sum::<usize>(), budget.committed_bytes());
            assert!(budget.peak_bytes() <= budget.limit_bytes());
        }
        for subject in subjects {
            subject.store.heal();
            drop(subject.array);
            assert_eq!(subject.store.memory.to_vec(), subject.model);
        }
        assert_eq!(budget.committed_bytes(), 0);
    }
}

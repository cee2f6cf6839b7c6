//! The limit is exact, and refusals say what refused.

use std::mem;

use elbowroom::{Budget, page_size};
use elbowroom_pager::{MemoryStore, PagedArray, PagedOptions};

fn options(limit_pages: usize) -> PagedOptions<u8> {
    PagedArray::options()
        .page_size(page_size())
        .resident_limit(limit_pages * page_size())
        .threads(0)
}

fn pages(count: usize) -> MemoryStore {
    MemoryStore::new(
        (0..count * page_size())
            .map(|byte| (byte / page_size()) as u8)
            .collect(),
    )
}

#[test]
fn guards_that_pin_everything_are_an_error_until_one_is_dropped() {
    let array = options(3).open_store(pages(10)).unwrap();
    let page = |page: usize| array.slice(page * page_size()..page * page_size() + 1);
    let guards = [page(0).unwrap(), page(4).unwrap(), page(9).unwrap()];
    let error = page(5).unwrap_err();
    assert!(error.is_limit() && !error.is_out_of_memory());
    assert_eq!(
        error.memory_error().unwrap().budget().unwrap().name(),
        "resident limit"
    );
    let text = error.to_string();
    assert!(
        text.contains("guards") && text.contains("raise the limit"),
        "{text}"
    );
    // Resident pages can be lent again.
    assert_eq!(page(4).unwrap()[0], 4);
    assert_eq!([guards[0][0], guards[1][0], guards[2][0]], [0, 4, 9]);
    drop(guards);
    assert_eq!(page(5).unwrap()[0], 5);
    assert_eq!(array.stats().bytes_resident_max, 3 * page_size());
}

#[test]
fn a_range_larger_than_the_limit_is_an_error_and_leaves_nothing_pinned() {
    let array = options(3).open_store(pages(10)).unwrap();
    assert!(array.slice(..).unwrap_err().is_limit());
    assert!(array.slice(..3 * page_size() + 1).unwrap_err().is_limit());
    assert_eq!(
        array.slice(..3 * page_size()).unwrap().len(),
        3 * page_size()
    );
    assert_eq!(array.slice(7 * page_size()..).unwrap()[0], 7);
}

#[test]
fn a_limit_within_a_budget() {
    let budget = Budget::new(100 * page_size());
    let array = options(2).budget(&budget).open_store(pages(10)).unwrap();
    for page in 0..10 {
        array.get(page * page_size()).unwrap();
    }
    assert_eq!(budget.peak_bytes(), 2 * page_size());
    assert_eq!(array.stats().evictions, 8);
}

#[test]
fn a_page_that_is_touched_again_and_again_stays() {
    let array = options(4).read_ahead(0).open_store(pages(40)).unwrap();
    for page in 1..40 {
        assert_eq!(array.get(0).unwrap(), 0);
        assert_eq!(array.get(page * page_size()).unwrap(), page as u8);
    }
    let stats = array.stats();
    assert_eq!((stats.misses, stats.hits), (40, 38));
}

#[test]
fn clean_pages_go_before_dirty_ones() {
    let mut array = options(4)
        .writable(true)
        .read_ahead(0)
        .open_store(pages(40))
        .unwrap();
    array.set(0, 1).unwrap();
    array.set(page_size(), 1).unwrap();
    for page in 2..40 {
        array.get(page * page_size()).unwrap();
    }
    let stats = array.stats();
    assert_eq!((stats.writes, stats.bytes_dirty), (0, 2 * page_size()));
}

#[test]
fn adjacent_dirty_pages_are_written_together() {
    let mut array = options(8).writable(true).open_store(pages(8)).unwrap();
    array.slice_mut(..).unwrap().fill(1);
    array.flush().unwrap();
    let stats = array.stats();
    assert_eq!(
        (stats.writes, stats.bytes_written),
        (1, 8 * page_size() as u64)
    );
}

/// Elements of 12 bytes: an element on two pages is resident if both are.
#[test]
fn resident_ranges_are_whole_elements_of_resident_pages() {
    let len = 10 * page_size() / 12;
    let array = PagedArray::<[u8; 12]>::options()
        .page_size(page_size())
        .resident_limit(4 * page_size())
        .read_ahead(0)
        .threads(0)
        .len(len)
        .open_store(pages(10))
        .unwrap();
    let ranges = || array.resident_ranges().collect::<Vec<_>>();
    assert_eq!(ranges(), []);
    // The whole elements of page 9, then also those on pages 2 and 3.
    array.get(len - 1).unwrap();
    let last = (9 * page_size()).div_ceil(12)..len;
    assert!(ranges().iter().eq([&last]));
    array.get(3 * page_size() / 12 - 1).unwrap();
    array.get(3 * page_size() / 12 + 1).unwrap();
    let middle = (2 * page_size()).div_ceil(12)..4 * page_size() / 12;
    assert_eq!(ranges(), [middle, last]);
    for index in (0..len).step_by(7) {
        array.get(index).unwrap();
        let ranges = ranges();
        assert!(ranges.iter().any(|range| range.contains(&index)), "{index}");
        let elements: usize = ranges.iter().map(|range| range.len()).sum();
        assert!(elements * 12 <= array.stats().bytes_resident, "{index}");
        assert!(ranges.is_sorted_by(|a, b| a.end < b.start), "{ranges:?}");
    }
}

#[test]
fn sequential_access_is_read_ahead_and_merged() {
    let array = options(64)
        .read_ahead(16 * page_size())
        .open_store(pages(100))
        .unwrap();
    for byte in (0..array.len()).step_by(page_size() / 4) {
        array.get(byte).unwrap();
    }
    let stats = array.stats();
    // Windows of 1, 2, 4, 8 and then 16 pages.
    assert_eq!(stats.reads, 10);
    assert_eq!(stats.bytes_read, 100 * page_size() as u64);
}

#[test]
fn what_was_asked_for_is_counted() {
    let mut array = options(4)
        .writable(true)
        .read_ahead(0)
        .open_store(pages(8))
        .unwrap();
    assert_eq!(array.stats().amplification(), None);
    array.get(0).unwrap();
    array.get(1).unwrap();
    array.set(2, 9).unwrap();
    drop(array.slice(5..10).unwrap());
    assert!(array.get(8 * page_size()).is_err());
    let stats = array.stats();
    assert_eq!((stats.bytes_asked, stats.stalls.count()), (8, 1));
    assert_eq!(stats.amplification(), Some(page_size() as f64 / 8.0));
    array.flush().unwrap();
    let moved = 2 * page_size();
    assert_eq!(array.stats().amplification(), Some(moved as f64 / 8.0));

    // An element on two pages.
    let options = PagedArray::<[u8; 3]>::options().page_size(page_size());
    let array = options
        .open_store(MemoryStore::new(vec![0; 3 * page_size()]))
        .unwrap();
    array.get(page_size() / 3).unwrap();
    array.get(0).unwrap();
    let stats = array.stats();
    assert_eq!((stats.bytes_asked, stats.misses, stats.hits), (6, 2, 1));
}

#[test]
fn a_page_has_so_many_guards_and_no_more() {
    let array = options(1).open_store(pages(1)).unwrap();
    let guards: Vec<_> = (0..65535).map(|_| array.slice(..1).unwrap()).collect();
    assert!(array.slice(..1).unwrap_err().is_limit());
    assert_eq!(array.get(0).unwrap(), 0);
    drop(guards);
    assert_eq!(array.slice(..1).unwrap()[0], 0);
}

#[test]
fn leaked_guards_keep_their_pages_and_are_told_of() {
    let mut array = options(2).writable(true).open_store(pages(4)).unwrap();
    mem::forget(array.slice_mut(..1).unwrap());
    assert!(array.flush().unwrap_err().is_pinned());
    assert!(array.slice(..2 * page_size()).is_ok());
    assert!(
        array
            .slice(page_size()..3 * page_size())
            .unwrap_err()
            .is_limit()
    );
    mem::forget(array.slice(3 * page_size()..).unwrap());
    assert!(array.resize(1).unwrap_err().is_pinned());
}

#[test]
fn options_that_make_no_sense_are_errors() {
    let invalid = |options: PagedOptions<u32>, store: MemoryStore| {
        let error = options.open_store(store).unwrap_err();
        assert!(error.is_invalid(), "{error}");
        error.to_string()
    };
    let options = PagedArray::<u32>::options;
    let text = invalid(options(), MemoryStore::new(vec![0; 7]));
    assert!(
        text.contains("not a whole number of elements of 4 bytes"),
        "{text}"
    );
    invalid(options().offset(8), MemoryStore::new(vec![0; 7]));
    invalid(options().len(3), MemoryStore::new(vec![0; 11]));
    invalid(options().len(usize::MAX), MemoryStore::new(vec![0; 11]));
    invalid(options().max_len(usize::MAX), MemoryStore::new(vec![0; 12]));
    invalid(options().page_size(5000), MemoryStore::new(vec![0; 12]));
    invalid(options().resident_limit(1), MemoryStore::new(vec![0; 12]));
    assert_eq!(
        options()
            .len(1)
            .offset(5)
            .open_store(MemoryStore::new(vec![0; 11]))
            .unwrap()
            .len(),
        1
    );
    let error = PagedArray::<()>::options()
        .open_store(MemoryStore::default())
        .unwrap_err();
    assert!(error.is_invalid());
    assert!(
        PagedArray::<u8>::open("memory://")
            .unwrap_err()
            .is_invalid()
    );
    // With the feature, it would be looked for.
    #[cfg(not(feature = "remote"))]
    assert!(
        PagedArray::<u8>::open("s3://bucket/key")
            .unwrap_err()
            .is_unsupported()
    );
    assert_eq!(
        PagedArray::<u8>::options()
            .len(9)
            .open("memory://")
            .unwrap()
            .get(8)
            .unwrap(),
        0
    );
}

#[test]
fn an_empty_array() {
    let array = PagedArray::<u64>::options()
        .open_store(MemoryStore::default())
        .unwrap();
    assert!(array.is_empty());
    assert_eq!(array.slice(..).unwrap().len(), 0);
    assert_eq!(array.scan(..).unwrap().count(), 0);
    assert_eq!(array.gather(&[]).unwrap(), [0; 0]);
    assert!(array.get(0).unwrap_err().is_out_of_range());
    array.flush().unwrap();
}

#[test]
#[expect(clippy::reversed_empty_ranges, reason = "that is what is tested")]
fn ranges_outside_the_array_are_errors() {
    let array = options(2).open_store(pages(1)).unwrap();
    let len = array.len();
    assert!(array.slice(5..4).unwrap_err().is_out_of_range());
    assert!(array.slice(0..=usize::MAX).unwrap_err().is_out_of_range());
    assert!(array.slice(len + 1..).unwrap_err().is_out_of_range());
    assert!(array.scan(..=len).is_err());
    assert!(
        array
            .gather(&[0, usize::MAX])
            .unwrap_err()
            .is_out_of_range()
    );
    assert!(array.prefetch(std::iter::once(0..len + 1)).is_err());
    let text = array.get(len).unwrap_err().to_string();
    assert!(
        text.contains(&format!(
            "elements {len}..{} are not inside the {len}",
            len + 1
        )),
        "{text}"
    );
    let mut array = array;
    assert!(array.set(0, 1).unwrap_err().is_read_only());
    assert!(array.writers(2).unwrap_err().is_read_only());
    assert!(array.resize(0).unwrap_err().is_read_only());
}

//! A whole array as one plain slice.

#![allow(unsafe_code, reason = "the bytes of the stores here do not change")]

use std::process::Command;
use std::sync::Arc;

use elbowroom::{Budget, page_size};
use elbowroom_pager::{MemoryStore, PagedArray, PagedOptions, PagedSlice};

use crate::common::{Failure, Flaky, Random, TempFile, is_emulated};

fn numbers(count: usize) -> Vec<u8> {
    let number = |index: usize| (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..count)
        .flat_map(|index| number(index).to_ne_bytes())
        .collect()
}

fn number(index: usize) -> u64 {
    (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn options() -> PagedOptions<u64> {
    PagedArray::options()
        .page_size(4 * page_size())
        .resident_limit(64 * page_size())
        .threads(2)
}

/// Opens a slice over these bytes. `None` where there is no userfaultfd.
fn slice_of(options: PagedOptions<u64>, bytes: Vec<u8>) -> Option<PagedSlice<u64>> {
    // SAFETY: nothing else has the store.
    match unsafe { options.open_slice_of_store(MemoryStore::new(bytes)) } {
        Ok(slice) => Some(slice),
        Err(error) => {
            assert!(error.memory_error().is_some(), "{error}");
            assert!(!error.is_limit(), "{error}");
            eprintln!("not tried: {error}");
            None
        }
    }
}

#[test]
fn every_element_is_that_of_the_store_within_the_limit() {
    // Sixteen times the limit, and no whole number of pages.
    let count = 16 * 64 * page_size() / 8 + 3;
    let Some(slice) = slice_of(options(), numbers(count)) else {
        return;
    };
    assert_eq!(slice.len(), count);
    for (index, &element) in slice.iter().enumerate() {
        assert_eq!(element, number(index));
    }
    let stats = slice.stats();
    assert!(stats.bytes_resident <= 64 * page_size(), "{stats:?}");
    assert!(stats.evictions > 0 && stats.misses >= 256, "{stats:?}");
    assert_eq!(stats.bytes_written, 0);
    // From the end, and by a method of slices.
    assert!(
        slice.iter().rev().take(1000).eq((count - 1000..count)
            .rev()
            .map(number)
            .collect::<Vec<_>>()
            .iter())
    );
    assert_eq!(
        slice.iter().rposition(|&element| element == number(17)),
        Some(17)
    );
}

/// Lets 4 threads read this many elements each, anywhere.
fn read_at_random(slice: &[u64], times: usize) {
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || {
                let mut random = Random::new(seed);
                for _ in 0..times {
                    let index = random.below(slice.len());
                    assert_eq!(slice[index], number(index));
                }
            });
        }
    });
}

#[test]
fn threads_read_at_random_while_pages_are_thrown_out() {
    let count = 8 * 64 * page_size() / 8;
    let limit = 64 * page_size();
    let budget = Budget::new(limit);
    let options = PagedArray::<u64>::options()
        .budget(&budget)
        .page_size(page_size())
        .threads(2);
    let Some(slice) = slice_of(options, numbers(count)) else {
        return;
    };
    read_at_random(&slice, 2000);
    assert!(budget.peak_bytes() <= limit);
    drop(slice);
    assert_eq!(budget.committed_bytes(), 0);
}

/// Room for fewer pages than threads that fill: none is refused because another has the room for a moment.
#[test]
fn threads_that_fill_wait_for_room() {
    let count = 64 * page_size() / 8;
    let options = PagedArray::<u64>::options()
        .page_size(page_size())
        // Each thread has a buffer of a page, and a page to align it with.
        .resident_limit((4 * 2 + 2) * page_size())
        .threads(4);
    let Some(slice) = slice_of(options, numbers(count)) else {
        return;
    };
    read_at_random(&slice, 500);
}

#[test]
fn an_offset_and_a_length_choose_a_part() {
    let mut bytes = vec![0xff; 24];
    bytes.extend(numbers(100));
    let Some(slice) = slice_of(options().offset(24).len(10), bytes) else {
        return;
    };
    assert!(slice.iter().copied().eq((0..10).map(number)));
    let Some(empty) = slice_of(options(), Vec::new()) else {
        return;
    };
    assert!(empty.is_empty());
}

#[test]
fn a_file_is_a_slice_as_well() {
    let file = TempFile::with("slice", &numbers(5000));
    // SAFETY: nothing else writes to the file.
    let Ok(slice) = (unsafe { options().open_slice(&file) }) else {
        return;
    };
    assert_eq!(slice[4999], number(4999));
    assert!(slice.version().is_some());
    let text = format!("{slice:?}");
    assert!(text.contains("len: 5000"), "{text}");
}

#[test]
fn what_makes_no_slice_is_an_error() {
    // SAFETY: nothing else has the store.
    let open = |options: PagedOptions<u64>, bytes| unsafe {
        options
            .open_slice_of_store(MemoryStore::new(bytes))
            .map(drop)
    };
    assert!(open(options(), vec![0; 9]).unwrap_err().is_invalid());
    assert!(
        open(options().writable(true), vec![0; 8])
            .unwrap_err()
            .is_unsupported()
    );
    assert!(
        open(options().resident_limit(1), vec![0; 8])
            .unwrap_err()
            .is_invalid()
    );
    // Buffers for the threads take more than the limit.
    let error = open(options().threads(40), vec![0; 8]).unwrap_err();
    assert!(error.is_limit(), "{error}");
    // SAFETY: there is no such file.
    let error = unsafe { options().open_slice("/no/such/file") }.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}

/// The kernel reads from the slice, if the process may serve its touches.
#[cfg(unix)]
#[test]
fn system_calls_read_from_it() {
    use std::io::{Read, Write};

    let Some(slice) = slice_of(options(), numbers(10_000)) else {
        return;
    };
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let bytes: &[u8] = bytemuck::cast_slice(&slice[7000..7100]);
    let written = writer.write(bytes);
    if !slice.serves_system_calls() {
        assert_eq!(written.unwrap_err().raw_os_error(), Some(libc::EFAULT));
        return;
    }
    assert_eq!(written.unwrap(), 800);
    let mut read = [0; 800];
    reader.read_exact(&mut read).unwrap();
    assert!(read == numbers(7100)[7000 * 8..]);
}

/// A store that fails ends the process, which says what the store said.
#[test]
fn a_failure_of_the_store_is_reported_and_ends_the_process() {
    if is_emulated() {
        return eprintln!("the system cannot start this program by itself");
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "all::paged_slice::a_failure_alone",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .output()
        .unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    if stdout.contains("no userfaultfd") {
        return;
    }
    assert!(
        stdout.contains("the first page is there"),
        "{stdout}{stderr}"
    );
    assert!(!stdout.contains("went on"), "{stdout}{stderr}");
    assert!(!output.status.success());
    assert!(stderr.contains("elbowroom-pager: cannot read"), "{stderr}");
}

#[test]
#[ignore = "run by a_failure_of_the_store_is_reported_and_ends_the_process in a process of its own"]
fn a_failure_alone() {
    let store = Flaky::new(numbers(100_000));
    // SAFETY: nothing else has the store.
    let Ok(slice) = (unsafe { options().open_slice_of_store(Arc::clone(&store)) }) else {
        println!("no userfaultfd");
        return;
    };
    assert_eq!(slice[0], number(0));
    println!("the first page is there");
    store.fail(0, usize::MAX, Failure::Refused);
    assert_eq!(slice[90_000], number(90_000));
    println!("went on");
}

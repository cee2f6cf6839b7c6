//! Reservations whose decommitted pages stay accessible.
#![cfg(target_os = "linux")]
#![allow(
    unsafe_code,
    reason = "touches committed pages, and sets limits of the process"
)]

use std::fs;
use std::ops::Range;

use elbowroom::{Access, Budget, Reservation, page_size};

use crate::common::{self, page};

fn keeping(len: usize) -> Reservation {
    let builder = Reservation::builder(len).name("keeping");
    builder.keep_access(true).build().unwrap()
}

fn place(index: usize) -> Range<usize> {
    page(index)..page(index + 1)
}

fn write(block: &Reservation, offset: usize, value: u8) {
    // SAFETY: the caller has committed the page, and no other thread uses it.
    unsafe { block.as_ptr().wrapping_add(offset).write_volatile(value) };
}

fn read(block: &Reservation, offset: usize) -> u8 {
    // SAFETY: the caller has committed the page, and no other thread uses it.
    unsafe { block.as_ptr().wrapping_add(offset).read_volatile() }
}

/// Returns the address range and the pages in memory of each mapping that overlaps the reservation.
fn mappings(block: &Reservation) -> Vec<(Range<usize>, usize)> {
    let (start, end) = (block.as_ptr().addr(), block.as_ptr().addr() + block.len());
    let mut found: Vec<(Range<usize>, usize)> = Vec::new();
    for line in fs::read_to_string("/proc/self/smaps").unwrap().lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap();
        if let Some((from, to)) = first.split_once('-') {
            let number = |text| usize::from_str_radix(text, 16).unwrap();
            found.push((number(from)..number(to), 0));
        } else if first == "Rss:" {
            let kibibytes: usize = words.next().unwrap().parse().unwrap();
            found.last_mut().unwrap().1 = kibibytes * 1024 / page_size();
        }
    }
    found.retain(|(range, _)| range.start < end && start < range.end);
    found
}

#[test]
fn scattered_pages_take_no_mappings_of_their_own() {
    if common::is_emulated() {
        return;
    }
    const COUNT: usize = 1000;
    let budget = Budget::new(page(COUNT));
    let block = Reservation::builder(1 << 40).budget(&budget);
    let block = block.keep_access(true).build().unwrap();
    for index in 0..COUNT {
        block.commit(place(3 * index)).unwrap();
        write(&block, page(3 * index), 7);
    }
    assert_eq!(budget.committed_bytes(), page(COUNT));
    assert!(block.commit(place(1)).unwrap_err().is_limit());
    let found = mappings(&block);
    assert!(found.len() <= 3, "{found:?}");
    let in_memory = || mappings(&block).iter().map(|found| found.1).sum::<usize>();
    assert_eq!(in_memory(), COUNT);
    for index in 0..COUNT {
        block.decommit(place(3 * index)).unwrap();
    }
    assert_eq!(in_memory(), 0);
    assert_eq!(budget.committed_bytes(), 0);
    block.commit(place(3)).unwrap();
    assert_eq!(read(&block, page(3)), 0);
}

#[test]
fn blocks_end_with_the_reservation() {
    let pages = (4 << 20) / page_size() + 3;
    let block = keeping(page(pages));
    let last = pages - 1;
    for index in [last, 0, last / 2] {
        block.commit(place(index)).unwrap();
        write(&block, page(index), 1);
    }
    block.decommit(0..block.len()).unwrap();
    block.commit(0..block.len()).unwrap();
    assert!((0..pages).all(|index| read(&block, page(index)) == 0));
}

#[test]
fn a_page_whose_access_was_changed_is_writable_when_it_is_committed_again() {
    let block = keeping(page(8));
    block.commit(page(1)..page(5)).unwrap();
    write(&block, page(2), 3);
    block.protect(place(2), Access::Read).unwrap();
    block.decommit(page(0)..page(8)).unwrap();
    block.commit(page(0)..page(8)).unwrap();
    for index in 0..8 {
        assert_eq!(read(&block, page(index)), 0);
        write(&block, page(index), 5);
    }
}

#[test]
fn locked_pages_are_decommitted_all_the_same() {
    let block = keeping(page(8));
    block.commit(page(0)..page(8)).unwrap();
    write(&block, page(3), 3);
    // SAFETY: committed pages; their contents do not change (mlock(2)).
    let locked = unsafe { libc::mlock(block.as_ptr().cast(), page(8)) };
    if locked != 0 {
        println!("this user may not lock {} bytes", page(8));
        return;
    }
    block.decommit(place(3)).unwrap();
    block.commit(place(3)).unwrap();
    assert_eq!(read(&block, page(3)), 0);
    write(&block, page(3), 1);
}

#[test]
fn a_block_in_locked_memory_is_not_made_resident() {
    if common::is_emulated() {
        return;
    }
    let half = 4 << 20;
    let block = keeping(2 * half);
    let first = half / page_size();
    // The pages are not accessible yet, so they cannot be made resident, and the call fails. They are locked all the
    // same, as by mlockall(2).
    // SAFETY: pages of the reservation; their contents and access do not change (mlock(2)).
    unsafe { libc::mlock(block.as_ptr().wrapping_add(half).cast(), half) };
    block.commit(place(first)).unwrap();
    write(&block, page(first), 1);
    let resident: usize = mappings(&block).iter().map(|found| found.1).sum();
    assert_eq!(resident, 1);
    block.decommit(place(first)).unwrap();
    block.commit(place(first)).unwrap();
    assert_eq!(read(&block, page(first)), 0);
}

#[test]
fn where_accessible_pages_are_counted_only_committed_ones_are_accessible() {
    if common::is_emulated() {
        return;
    }
    let name = "all::keep_access::with_a_limit_on_data";
    let output = common::run_alone(name);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{output:?}"
    );
}

#[test]
#[ignore = "run by where_accessible_pages_are_counted_only_committed_ones_are_accessible in a process of its own"]
fn with_a_limit_on_data() {
    let limit = libc::rlimit {
        rlim_cur: 1 << 40,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: `limit` is live (setrlimit(2)).
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_DATA, &limit) }, 0);
    let block = keeping(16 << 20);
    block.commit(page(3)..page(5)).unwrap();
    let middle = block.as_ptr().addr() + page(3);
    let found = mappings(&block);
    let own = found
        .iter()
        .find(|(range, _)| range.contains(&middle))
        .unwrap();
    assert_eq!(own.0, middle..middle + page(2), "{found:?}");
    block.decommit(0..block.len()).unwrap();
    let found = mappings(&block);
    assert_eq!(found.len(), 1, "{found:?}");
}

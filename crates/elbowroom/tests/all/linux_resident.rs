//! What Linux reports about the memory that a region takes: huge pages, pages brought in ahead, page tables.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "asks the kernel")]

use crate::common;

use std::fs;

use elbowroom::{Growth, Region, RegionBuilder, page_size};

use super::linux::{charged, skip, smaps};

/// The sum of a field of smaps over the mappings that overlap `len` bytes at `address`, in bytes.
fn smaps_bytes(field: &str, address: usize, len: usize) -> usize {
    let mappings = smaps(address, len);
    let values = mappings
        .iter()
        .flatten()
        .filter_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    values
        .map(|value| {
            value
                .trim()
                .strip_suffix(" kB")
                .unwrap()
                .parse::<usize>()
                .unwrap()
                << 10
        })
        .sum()
}

/// Returns when the system gives huge pages: the word in brackets of "always [madvise] never".
fn huge_page_setting() -> Option<String> {
    let setting = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok()?;
    Some(setting.split_once('[')?.1.split_once(']')?.0.to_owned())
}

/// Fills the first `bytes` of a region. Returns the region and the number of bytes on huge pages.
fn filled(builder: RegionBuilder, bytes: usize) -> (Region, usize) {
    let region = builder.build().unwrap();
    region.try_fill(0..bytes, 1).unwrap();
    let huge = smaps_bytes("AnonHugePages", region.as_ptr().addr(), region.len());
    (region, huge)
}

#[test]
fn large_windows_are_of_huge_pages_unless_that_is_off() {
    let len = 32 << 20;
    let setting = huge_page_setting();
    if skip() || page_size() != 4096 || !matches!(setting.as_deref(), Some("madvise" | "always")) {
        return eprintln!("skipped: the system gives no huge pages ({setting:?})");
    }
    let (region, huge) = filled(Region::builder(len), len);
    // The run begins with small windows, and the ends of the region need not lie at a boundary. A system with
    // fragmented memory may give fewer huge pages, but not none of 12.
    assert!(huge >= 2 << 20, "{huge}");
    assert!(huge <= len - (2 << 20));
    // Pages that were decommitted and touched again have their contents and charge, whatever their size.
    region.decommit(8 << 20..24 << 20).unwrap();
    assert_eq!(charged(region.as_ptr().addr(), len), 16 << 20);
    region.try_fill(8 << 20..24 << 20, 2).unwrap();
    assert_eq!(
        [(8 << 20) - 1, 8 << 20, (24 << 20) - 1, 24 << 20]
            .map(|at| region.try_read::<u8>(at).unwrap()),
        [1, 2, 2, 1]
    );

    if setting.as_deref() == Some("madvise") {
        assert_eq!(
            filled(Region::builder(len).huge_pages(false), len).1,
            0,
            "off"
        );
        assert_eq!(
            filled(
                Region::builder(len).growth(Growth::Adaptive { max_bytes: 1 << 20 }),
                len
            )
            .1,
            0,
            "small windows"
        );
        assert_eq!(
            filled(Region::builder(len).growth(Growth::Pages(4096)), len).1,
            0,
            "fixed windows"
        );
        assert_eq!(
            filled(Region::builder(1 << 20), 1 << 20).1,
            0,
            "a small region"
        );
        assert_eq!(
            filled(Region::builder(len), 1 << 20).1,
            0,
            "little of it used"
        );
    } else {
        eprintln!("not shown: that regions may have none; the system gives them to all memory");
    }
}

#[test]
fn what_a_write_commits_ahead_is_resident_and_what_a_read_commits_is_not() {
    let resident = |region: &Region| smaps_bytes("Rss", region.as_ptr().addr(), region.len());
    // SAFETY: advice of this kind for page 0, where nothing is, changes nothing.
    let populates =
        unsafe { libc::madvise(std::ptr::null_mut(), page_size(), libc::MADV_POPULATE_WRITE) } != 0
            && std::io::Error::last_os_error().raw_os_error() == Some(libc::ENOMEM);
    if skip() || !populates {
        return eprintln!("skipped: this kernel does not populate (Linux 5.14)");
    }
    let pages = 300;
    let region = Region::new(1000 * page_size()).unwrap();
    (0..pages).for_each(|n| region.try_write(n * page_size(), 1u8).unwrap());
    assert_eq!(resident(&region), region.stats().committed_bytes);
    assert!(region.stats().committed_bytes > pages * page_size());

    let region = Region::new(1000 * page_size()).unwrap();
    (0..pages).for_each(|n| assert_eq!(region.try_read::<u8>(n * page_size()).unwrap(), 0));
    assert!(region.stats().committed_bytes > pages * page_size());
    assert_eq!(resident(&region), 0, "zeros need no memory");

    // A fixed window commits memory ahead of use without bringing it in.
    let region = Region::builder(1000 * page_size())
        .growth(Growth::Pages(64))
        .build()
        .unwrap();
    region.try_write(0, 1u8).unwrap();
    assert_eq!(resident(&region), page_size());
}

/// The bytes of this process's page tables.
fn page_tables() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPTE:"));
    let kibibytes = line.unwrap().split_whitespace().next().unwrap();
    kibibytes.parse::<usize>().unwrap() * 1024
}

#[test]
fn page_tables_go_with_the_last_page_in_them() {
    if skip() {
        return;
    }
    let output = common::run_alone("all::linux_resident::where_page_tables_come_and_go");
    assert!(output.status.success(), "{output:?}");
}

#[test]
#[ignore = "run by page_tables_go_with_the_last_page_in_them in a process of its own"]
fn where_page_tables_come_and_go() {
    const STEP: usize = 16 << 20;
    const COUNT: usize = 4096;
    let region = Region::builder(STEP * COUNT)
        .growth(Growth::Pages(1))
        .build()
        .unwrap();
    let before = page_tables();
    for n in 0..COUNT {
        region.try_write(n * STEP + 5 * page_size(), 1u8).unwrap();
        assert!(region.page_table_bytes() <= 2 * page_size());
        region
            .decommit(n * STEP + 5 * page_size()..n * STEP + 6 * page_size())
            .unwrap();
    }
    // Each page would have left a table behind.
    let left = page_tables() - before;
    assert!(
        left < COUNT * page_size() / 8,
        "{left} bytes of page tables"
    );

    // The first byte of a table, wherever the region lies. A table holds as many entries of 8 bytes as fit in a page.
    let table_bytes = page_size() / 8 * page_size();
    let first = region.as_ptr().addr().wrapping_neg() % table_bytes;
    for n in 0..64 {
        region.try_write(first + n * STEP, 1u8).unwrap();
        region
            .try_write(first + n * STEP + 7 * page_size(), 1u8)
            .unwrap();
    }
    assert_eq!(region.page_table_bytes(), 64 * page_size());
    assert!(page_tables() >= before + 64 * page_size());
    // A committed neighbour in the same table is unaffected.
    region.decommit(first..first + page_size()).unwrap();
    assert_eq!(region.try_read::<u8>(first + 7 * page_size()).unwrap(), 1);
    region.decommit(0..region.len()).unwrap();
    assert_eq!(region.page_table_bytes(), 0);
    assert!(page_tables() < before + 64 * page_size());
}

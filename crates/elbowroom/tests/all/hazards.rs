//! Pitfalls of memory that commits on touch which no other file covers. See docs/PITFALLS.md for the whole list.

use std::sync::{Arc, Mutex};

use elbowroom::{Growth, Region, Verdict, page_size};

#[test]
fn refusals_in_a_row_come_with_their_addresses_in_the_order_of_the_touches() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let regions: Vec<Region> = (0..3)
        .map(|n| {
            let log = Arc::clone(&log);
            let filter = move |fault: &elbowroom::Fault<'_>| {
                log.lock().unwrap().push((n, fault.address()));
                if fault.offset() % 2 == 0 {
                    Verdict::Decline
                } else {
                    Verdict::Commit
                }
            };
            Region::builder(8 * page_size())
                .growth(Growth::Pages(1))
                .filter(filter)
                .build()
                .unwrap()
        })
        .collect();
    let mut expected = Vec::new();
    for round in 0..4 {
        for n in [2, 0, 1] {
            let offset = round * page_size() + 2 * n;
            // Twice in a row: the first refusal must not affect the second.
            for _ in 0..2 {
                let error = regions[n].try_write(offset, 1u8).unwrap_err();
                assert!(
                    error.is_declined() && error.range() == (offset..offset + 1),
                    "{error}"
                );
                expected.push((n, regions[n].as_ptr().addr() + offset));
            }
            regions[n].try_write(offset + 1, 1u8).unwrap();
            expected.push((n, regions[n].as_ptr().addr() + offset + 1));
        }
    }
    assert_eq!(*log.lock().unwrap(), expected);
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "asks the kernel for limits, guards and a crash")]
mod linux {
    use crate::common;
    use std::fs;

    use super::*;

    /// Runs an ignored test of this file in a separate process.
    fn apart(test: &str) -> std::process::Output {
        common::run_alone(test)
    }

    #[test]
    fn a_commit_beyond_all_memory_is_refused_by_name() {
        // Mode 1 grants everything; the others refuse one commit of more than memory and swap.
        let mode = fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap_or_default();
        if common::is_emulated() || mode.trim() == "1" {
            return;
        }
        let kib = |text: &str| {
            text.split_whitespace()
                .nth(1)
                .and_then(|number| number.parse::<usize>().ok())
        };
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
        let of = |field| {
            meminfo
                .lines()
                .find(|line| line.starts_with(field))
                .and_then(kib)
                .unwrap_or(0)
                << 10
        };
        let len = of("MemTotal:") + of("SwapTotal:") + (1 << 30);
        let region = Region::builder(len).build().unwrap();
        let error = region.commit(0..len).unwrap_err();
        assert!(error.is_out_of_memory() && !error.is_limit(), "{error}");
        assert!(
            error.to_string().contains("vm.overcommit_memory"),
            "{error}"
        );
        assert_eq!(region.stats().committed_bytes, 0);
        region.try_write(len / 2, 1u8).unwrap();
    }

    #[test]
    fn a_data_limit_is_a_named_error() {
        if common::is_emulated() {
            return;
        }
        let output = apart("all::hazards::linux::with_a_data_limit");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("RLIMIT_DATA"),
            "{output:?}"
        );
    }

    #[test]
    #[ignore = "run by a_data_limit_is_a_named_error in a process of its own"]
    fn with_a_data_limit() {
        let limit = libc::rlimit {
            rlim_cur: 64 << 20,
            rlim_max: 64 << 20,
        };
        // SAFETY: lowers a limit of this process.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_DATA, &limit) }, 0);
        let region = Region::new(256 << 20).unwrap();
        let error = region.try_fill(0..256 << 20, 1).unwrap_err();
        assert!(
            error.is_out_of_memory() && error.offset() < 64 << 20,
            "{error}"
        );
        println!("{error}");
        // Given back, it can be used again.
        region.decommit(0..region.len()).unwrap();
        region.try_fill(128 << 20..129 << 20, 2).unwrap();
    }

    #[test]
    fn a_guard_region_of_the_kernels_is_not_committed_away() {
        const MADV_GUARD_INSTALL: i32 = 102;
        const MADV_GUARD_REMOVE: i32 = 103;
        let region = Region::builder(4 * page_size())
            .growth(Growth::Pages(4))
            .build()
            .unwrap();
        region.try_fill(0..4 * page_size(), 7).unwrap();
        let page = region.as_ptr().wrapping_add(2 * page_size());
        let advise = |advice| {
            // SAFETY: a page of the region, which nothing refers to.
            unsafe { libc::madvise(page.cast(), page_size(), advice) }
        };
        if common::is_emulated() || advise(MADV_GUARD_INSTALL) != 0 {
            eprintln!("this kernel has no guard regions (Linux 6.13)");
            return;
        }
        for result in [
            region.try_write(2 * page_size(), 1u8),
            region.try_read::<u8>(2 * page_size()).map(drop),
        ] {
            assert!(result.unwrap_err().is_protected());
        }
        let error = region.try_fill(0..4 * page_size(), 9).unwrap_err();
        assert!(
            error.is_protected() && error.offset() == 2 * page_size(),
            "{error}"
        );
        assert_eq!(region.stats().committed_bytes, 4 * page_size());
        assert_eq!(advise(MADV_GUARD_REMOVE), 0);
        // Installing the guard page has dropped the contents.
        assert_eq!(region.try_read::<u8>(2 * page_size()).unwrap(), 0);
        assert_eq!(region.try_read::<u8>(3 * page_size()).unwrap(), 7);
    }

    /// On x86-64, an address that no page can have raises a fault that the kernel reports without an address.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_fault_without_an_address_crashes_as_before() {
        let ends = [
            "all::hazards::linux::without_a_region",
            "all::hazards::linux::beside_a_region",
        ]
        .map(|test| {
            let output = apart(test);
            assert!(
                !String::from_utf8_lossy(&output.stderr).contains("elbowroom:"),
                "not ours to report: {output:?}"
            );
            std::os::unix::process::ExitStatusExt::signal(&output.status)
        });
        assert_eq!(ends, [Some(libc::SIGSEGV); 2]);
    }

    #[cfg(target_arch = "x86_64")]
    fn touch_no_address() {
        let address = std::hint::black_box(std::ptr::without_provenance_mut::<u8>(
            0x8000_0000_0000_0000,
        ));
        // SAFETY: none; the test expects a crash.
        unsafe { address.write_volatile(1) };
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    #[ignore = "run by a_fault_without_an_address_crashes_as_before in a process of its own"]
    fn without_a_region() {
        touch_no_address();
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    #[ignore = "run by a_fault_without_an_address_crashes_as_before in a process of its own"]
    fn beside_a_region() {
        let region = Region::new(1).unwrap();
        region.try_write(0, 1u8).unwrap();
        touch_no_address();
    }
}

/// Linux lets programs use the top byte of a pointer on arm64 (tagged-address-abi), and reports faults without it.
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
#[allow(unsafe_code, reason = "touches a region through a pointer with a tag")]
#[test]
fn a_pointer_with_a_tag_touches_its_region() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let region = Region::builder(10 * page_size())
        .growth(Growth::Pages(1))
        .filter(move |fault| {
            log.lock().unwrap().push((fault.address(), fault.offset()));
            Verdict::Commit
        })
        .build()
        .unwrap();
    let plain = region.as_ptr().wrapping_add(3 * page_size() + 5);
    let tagged = plain.map_addr(|address| address | 0x2a << 56);
    // SAFETY: in the region, which commits it; the processor takes no notice of the tag.
    unsafe { tagged.write_volatile(7) };
    assert_eq!(*seen.lock().unwrap(), [(plain.addr(), 3 * page_size() + 5)]);
    assert_eq!(region.try_read::<u8>(3 * page_size() + 5).unwrap(), 7);
}

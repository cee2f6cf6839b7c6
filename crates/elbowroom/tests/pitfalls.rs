//! The pitfalls of memory that commits on touch, and which test looks at each; those that had none are here.
//!
//! - A wild pointer crashes as it would without the library, on any thread, a null call and a fault with no address
//!   too: `crash.rs` and here. A stack overflow keeps its message: `crash.rs`.
//! - A signal that is sent leaves regions armed: `signals.rs`.
//! - Handlers before ours and after it, chaining or not, each get what is theirs; which is in front can be asked:
//!   `signals.rs`, and `windows.rs` for vectored ones.
//! - Installing and removing from many threads leaves nothing behind: `signals.rs`.
//! - Alternate stacks, none, small ones, filters that need 64 KiB: `signals.rs`, `threads.rs`.
//! - Filters that touch other regions, their own, or too many: `threads.rs`, `monitor.rs`.
//! - Regions that come and go while others fault: `threads.rs`, and in every order the models in `src/fault`.
//! - Races for a page and for the last page of a limit: `threads.rs`, and the models in `src/region`.
//! - Every system call refused once: `injected.rs`.
//! - Limits of the system are errors with a name: address space, mappings, control groups: `linux.rs`; data and
//!   overcommit: here; the commit limit of a job: `windows.rs`.
//! - A forked child commits for itself: `signals.rs`.
//! - Decommitted pages are zero when they come back, and their charge is refunded: `model.rs`, `linux.rs`.
//! - Bus errors and guard-page exceptions are no page faults: `signals.rs`, `windows.rs`.
//! - The tag byte of arm64's pointers is no part of the address: here.
//! - Read, write and execute are told apart, and protected pages are not committed away: `region.rs`, `signals.rs`,
//!   `crash.rs`, `windows.rs`; guard regions of the kernel: here.
//! - Ranges without sense are errors: `reservation.rs`, `region.rs`.
//! - System calls on uncommitted memory fail and do not fault: `region.rs`.
//! - Refusals in a row, in several regions, each with the exact address, in the order of the touches: here.

mod common;

use std::sync::{Arc, Mutex};

use elbowroom::{Growth, Region, Verdict, page_size};

/// The text of a test file, and tests that the list above counts on.
const COVERED: &[(&str, &[&str])] = &[
    (
        include_str!("crash.rs"),
        &[
            "a_wild_pointer_crashes_as_before",
            "a_wild_pointer_on_a_thread_crashes_as_before",
            "a_null_call_crashes_as_before",
            "a_stack_overflow_on_main_keeps_its_message",
            "a_stack_overflow_on_a_thread_keeps_its_message",
            "a_touch_after_release_is_a_wild_pointer",
            "running_data_is_reported_and_crashes",
        ],
    ),
    (
        include_str!("signals.rs"),
        &[
            "raise_leaves_us_armed",
            "raise_reaches_the_earlier_handler",
            "earlier_handler_gets_what_is_not_ours",
            "later_handler_that_chains_works",
            "later_handler_that_does_not_chain_is_overtaken_by_the_next_region",
            "handlers_between_regions_each_get_a_signal_once",
            "chained_handler_sees_its_own_mask",
            "no_region_left_means_nothing_changed",
            "install_and_remove_across_threads",
            "a_thread_without_alternate_stack",
            "the_handler_fits_on_an_alternate_stack_of_8_kib",
            "a_forked_child_commits_for_itself",
            "forks_in_the_middle_of_commits",
            "a_bus_error_reaches_the_filter",
            "protected_pages_are_not_committed_away",
        ],
    ),
    (
        include_str!("threads.rs"),
        &[
            "a_filter_may_use_64_kib_of_stack_on_any_thread",
            "a_filter_is_ordinary_rust",
            "a_filter_that_touches_its_own_region_is_declined",
            "filters_nest_until_there_are_too_many",
            "regions_come_and_go_while_others_fault",
            "a_race_for_a_page_charges_it_once",
            "a_race_for_the_last_page_of_the_limit_declines_nobody",
            "the_limit_holds_at_every_moment",
        ],
    ),
    (
        include_str!("monitor.rs"),
        &["monitors_touch_each_others_regions", "a_filter_that_touches_its_own_region_is_declined"],
    ),
    (include_str!("injected.rs"), &["a_touch_is_refused_with_the_systems_code_and_works_next_time"]),
    (
        include_str!("linux.rs"),
        &[
            "an_address_space_limit_is_a_named_error",
            "running_out_of_mappings_is_an_error_and_the_region_lives_on",
            "the_budget_of_a_process_is_the_tightest_limit",
            "commit_is_charged_and_decommit_refunds",
        ],
    ),
    (
        include_str!("windows.rs"),
        &[
            "handlers_before_and_after_ours_get_what_is_not_ours",
            "a_guard_page_exception_reaches_the_filter_and_is_no_page_fault",
            "a_read_only_page_is_not_committed_away",
        ],
    ),
    (include_str!("model.rs"), &["a_region_behaves_like_its_model", "a_reservation_behaves_like_its_model"]),
    (include_str!("reservation.rs"), &["inputs_without_sense_are_errors"]),
    (
        include_str!("region.rs"),
        &[
            "a_filter_sees_the_fault_and_decides",
            "the_guard_page_reaches_the_filter_and_is_refused",
            "the_kernel_fails_where_a_store_commits_and_prepared_memory_helps",
        ],
    ),
];

#[test]
fn every_pitfall_has_its_tests() {
    for (text, tests) in COVERED {
        for test in *tests {
            assert!(text.contains(&format!("fn {test}(")) || text.contains(&format!("\"{test}\"")), "{test}");
        }
    }
}

#[test]
fn refusals_in_a_row_come_with_their_addresses_in_the_order_of_the_touches() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let regions: Vec<Region> = (0..3)
        .map(|n| {
            let log = Arc::clone(&log);
            let filter = move |fault: &elbowroom::Fault<'_>| {
                log.lock().unwrap().push((n, fault.address()));
                if fault.offset() % 2 == 0 { Verdict::Decline } else { Verdict::Commit }
            };
            Region::builder(8 * page_size()).growth(Growth::Pages(1)).filter(filter).build().unwrap()
        })
        .collect();
    let mut expected = Vec::new();
    for round in 0..4 {
        for n in [2, 0, 1] {
            let offset = round * page_size() + 2 * n;
            // Twice in a row: the first refusal leaves nothing behind that the second could trip over.
            for _ in 0..2 {
                let error = regions[n].try_write(offset, 1u8).unwrap_err();
                assert!(error.is_declined() && error.range() == (offset..offset + 1), "{error}");
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
    use std::fs;
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    /// Runs an ignored test of this file in a process of its own.
    fn apart(test: &str) -> std::process::Output {
        common::child("").args([test, "--exact", "--ignored", "--nocapture"]).output().expect("the child starts")
    }

    #[test]
    fn a_commit_beyond_all_memory_is_refused_by_name() {
        // Mode 1 grants everything; the others refuse one commit of more than memory and swap.
        let mode = fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap_or_default();
        if common::emulated() || mode.trim() == "1" {
            return;
        }
        let kib = |text: &str| text.split_whitespace().nth(1).and_then(|number| number.parse::<usize>().ok());
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
        let of = |field| meminfo.lines().find(|line| line.starts_with(field)).and_then(kib).unwrap_or(0) << 10;
        let len = of("MemTotal:") + of("SwapTotal:") + (1 << 30);
        let region = Region::builder(len).build().unwrap();
        let error = region.commit(0..len).unwrap_err();
        assert!(error.is_out_of_memory() && !error.is_limit(), "{error}");
        assert!(error.to_string().contains("vm.overcommit_memory"), "{error}");
        assert_eq!(region.stats().committed_bytes, 0);
        region.try_write(len / 2, 1u8).unwrap();
    }

    #[test]
    fn a_data_limit_is_a_named_error() {
        if common::emulated() {
            return;
        }
        let output = apart("linux::with_a_data_limit");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("RLIMIT_DATA"), "{output:?}");
    }

    #[test]
    #[ignore = "run by a_data_limit_is_a_named_error in a process of its own"]
    fn with_a_data_limit() {
        let limit = libc::rlimit { rlim_cur: 64 << 20, rlim_max: 64 << 20 };
        // SAFETY: lowers a limit of this process.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_DATA, &limit) }, 0);
        let region = Region::new(256 << 20).unwrap();
        let error = region.try_fill(0..256 << 20, 1).unwrap_err();
        assert!(error.is_out_of_memory() && error.offset() < 64 << 20, "{error}");
        println!("{error}");
        // Given back, it can be used again.
        region.decommit(0..region.len()).unwrap();
        region.try_fill(128 << 20..129 << 20, 2).unwrap();
    }

    #[test]
    fn a_guard_region_of_the_kernels_is_not_committed_away() {
        const MADV_GUARD_INSTALL: i32 = 102;
        const MADV_GUARD_REMOVE: i32 = 103;
        let region = Region::builder(4 * page_size()).growth(Growth::Pages(4)).build().unwrap();
        region.try_fill(0..4 * page_size(), 7).unwrap();
        let page = region.as_ptr().wrapping_add(2 * page_size());
        let advise = |advice| {
            // SAFETY: a page of the region, which nothing refers to.
            unsafe { libc::madvise(page.cast(), page_size(), advice) }
        };
        if common::emulated() || advise(MADV_GUARD_INSTALL) != 0 {
            eprintln!("this kernel has no guard regions (Linux 6.13)");
            return;
        }
        for result in [region.try_write(2 * page_size(), 1u8), region.try_read::<u8>(2 * page_size()).map(drop)] {
            assert!(result.unwrap_err().is_protected());
        }
        let error = region.try_fill(0..4 * page_size(), 9).unwrap_err();
        assert!(error.is_protected() && error.offset() == 2 * page_size(), "{error}");
        assert_eq!(region.stats().committed_bytes, 4 * page_size());
        assert_eq!(advise(MADV_GUARD_REMOVE), 0);
        // Installing it has dropped what was there.
        assert_eq!(region.try_read::<u8>(2 * page_size()).unwrap(), 0);
        assert_eq!(region.try_read::<u8>(3 * page_size()).unwrap(), 7);
    }

    /// On x86-64, an address that no page can have raises a fault that the kernel reports without an address.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_fault_without_an_address_crashes_as_before() {
        let ends = ["linux::without_a_region", "linux::beside_a_region"].map(|test| {
            let output = apart(test);
            assert!(!String::from_utf8_lossy(&output.stderr).contains("elbowroom:"), "not ours to report: {output:?}");
            output.status.signal()
        });
        assert_eq!(ends, [Some(libc::SIGSEGV); 2]);
    }

    #[cfg(target_arch = "x86_64")]
    fn touch_no_address() {
        let address = std::hint::black_box(std::ptr::without_provenance_mut::<u8>(0x8000_0000_0000_0000));
        // SAFETY: none; the crash is what is tested.
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

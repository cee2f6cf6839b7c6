//! What Linux reports about a region or reservation: names, charge, limits.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "asks the kernel")]

use crate::common;

use std::fs;

use elbowroom::{Backend, Budget, Growth, Region, RegionBuilder, Reservation, page_size};
use elbowroom_testing::ControlGroup;

/// The lines of /proc/self/smaps for the mappings that overlap `len` bytes at `address`.
pub(super) fn smaps(address: usize, len: usize) -> Vec<Vec<String>> {
    let mut mappings: Vec<Vec<String>> = Vec::new();
    for line in fs::read_to_string("/proc/self/smaps").unwrap().lines() {
        let is_header = line
            .split(' ')
            .next()
            .is_some_and(|word| word.contains('-'));
        if is_header {
            mappings.push(Vec::new());
        }
        mappings.last_mut().unwrap().push(line.to_owned());
    }
    mappings.retain(|lines| {
        let (start, end) = lines[0].split(' ').next().unwrap().split_once('-').unwrap();
        let number = |text| usize::from_str_radix(text, 16).unwrap();
        number(start) < address + len && address < number(end)
    });
    mappings
}

/// The bytes at `address` that the kernel charges to its commit limit: mappings with the flag "ac".
pub(super) fn charged(address: usize, len: usize) -> usize {
    let mut sum = 0;
    for lines in smaps(address, len) {
        let flags = lines
            .iter()
            .find(|line| line.starts_with("VmFlags:"))
            .unwrap();
        if flags.split(' ').any(|flag| flag == "ac") {
            let (start, end) = lines[0].split(' ').next().unwrap().split_once('-').unwrap();
            let number = |text| usize::from_str_radix(text, 16).unwrap();
            sum += number(end).min(address + len) - number(start).max(address);
        }
    }
    sum
}

/// Under an emulator, smaps shows the emulator's own view.
pub(super) fn skip() -> bool {
    common::is_emulated()
}

#[test]
fn commit_is_charged_and_decommit_refunds() {
    if skip() {
        return;
    }
    let block = Reservation::new(64 << 20).unwrap();
    let address = block.as_ptr().addr();
    assert_eq!(charged(address, block.len()), 0);
    block.commit(1 << 20..3 << 20).unwrap();
    assert_eq!(charged(address, block.len()), 2 << 20);
    // Touched pages are refunded too.
    for offset in (1 << 20..3 << 20).step_by(page_size()) {
        // SAFETY: the byte is in a committed page, and nothing refers to it.
        unsafe { block.as_ptr().wrapping_add(offset).write_volatile(1) };
    }
    block.decommit(2 << 20..3 << 20).unwrap();
    assert_eq!(charged(address, block.len()), 1 << 20);

    let region = Region::builder(64 << 20)
        .growth(Growth::Pages(1))
        .build()
        .unwrap();
    let address = region.as_ptr().addr();
    region.try_fill(0..10 * page_size(), 1).unwrap();
    assert_eq!(charged(address, region.len()), 10 * page_size());
    region.decommit(0..4 * page_size()).unwrap();
    assert_eq!(charged(address, region.len()), 6 * page_size());
}

#[test]
fn a_name_shows_where_the_kernel_has_names() {
    if skip() {
        return;
    }
    let name = "tenant [7] of a very long name that goes on and on until it is longer than the eighty bytes there are";
    let block = Reservation::builder(1 << 20).name(name).build().unwrap();
    assert_eq!(block.name(), name);
    block.commit(0..1).unwrap();
    // Checks whether this kernel has names, by naming a mapping.
    let probe = Reservation::new(1).unwrap();
    let (page, label) = (probe.as_ptr(), c"probe".as_ptr());
    // SAFETY: names a mapping of this test's own.
    let known = unsafe {
        libc::prctl(
            libc::PR_SET_VMA,
            libc::PR_SET_VMA_ANON_NAME,
            page,
            page_size(),
            label,
        )
    } == 0;
    let check = || {
        let shown = smaps(block.as_ptr().addr(), block.len());
        assert!(
            shown
                .iter()
                .all(|lines| lines[0].contains("[anon:tenant _7_ of a very long name")),
            "{shown:?}"
        );
    };
    if known {
        check();
        block.decommit(0..block.len()).unwrap();
        check();
    } else {
        eprintln!("this kernel has no names for private mappings (CONFIG_ANON_VMA_NAME)");
    }
}

#[test]
fn an_address_space_limit_is_a_named_error() {
    if skip() {
        return;
    }
    let output = common::run_alone("all::linux::with_an_address_space_limit");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("RLIMIT_AS"),
        "{output:?}"
    );
}

#[test]
#[ignore = "run by an_address_space_limit_is_a_named_error in a process of its own"]
fn with_an_address_space_limit() {
    let limit = libc::rlimit {
        rlim_cur: 4 << 30,
        rlim_max: 4 << 30,
    };
    // SAFETY: lowers a limit of this process.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
    let error = Reservation::new(1 << 40).map(drop).unwrap_err();
    assert!(error.is_out_of_memory() && !error.is_limit());
    assert_eq!(error.os_code(), Some(libc::ENOMEM));
    println!("{error}");
    // What fits still works.
    Region::new(1 << 20).unwrap().try_write(0, 1u8).unwrap();
}

#[test]
fn running_out_of_mappings_is_an_error_and_the_region_lives_on() {
    if skip() {
        return;
    }
    let output = common::run_alone("all::linux::where_mappings_run_out");
    assert!(output.status.success(), "{output:?}");
}

#[test]
#[ignore = "run by running_out_of_mappings_is_an_error_and_the_region_lives_on in a process of its own"]
fn where_mappings_run_out() {
    let limit = fs::read_to_string("/proc/sys/vm/max_map_count")
        .ok()
        .and_then(|text| text.trim().parse().ok());
    let limit: usize = limit.unwrap_or(usize::MAX);
    if limit > 200_000 {
        return;
    }
    // Every other page is a mapping of its own, twice over.
    let region = Region::builder(2 * limit * page_size())
        .growth(Growth::Pages(1))
        .build()
        .unwrap();
    let error = (0..limit)
        .find_map(|n| region.try_write(2 * n * page_size(), 1u8).err())
        .expect("an error");
    assert!(
        error.is_out_of_mappings() && error.is_out_of_memory(),
        "{error}"
    );
    assert_eq!(error.os_code(), Some(libc::ENOMEM));
    assert!(error.to_string().contains("vm.max_map_count"), "{error}");
    assert!(error.to_string().contains("Backend::Userfault"), "{error}");
    // A commit by hand fails in the same way.
    let by_hand = region.commit(error.range()).unwrap_err();
    assert!(by_hand.is_out_of_mappings(), "{by_hand}");
    // Filling a gap needs no new mapping.
    region.try_write(page_size(), 1u8).unwrap();
    // A failed decommit changes nothing; a decommit of the whole region frees all mappings.
    region.decommit(0..region.len()).unwrap();
    assert_eq!(region.stats().committed_bytes, 0);
    region.try_write(error.offset(), 1u8).unwrap();
}

#[test]
fn the_budget_of_a_process_is_the_tightest_limit() {
    if skip() {
        return;
    }
    for (limit, name) in [
        ("as", "RLIMIT_AS"),
        ("data", "RLIMIT_DATA"),
        ("cgroup", "cgroup memory."),
    ] {
        let output = common::child("")
            .args([
                "all::linux::with_a_tight_limit",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env("LIMIT", limit)
            .output()
            .expect("the child starts");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{limit}: {output:?}");
        assert!(
            text.contains(name) || text.contains("no control group can be made"),
            "{limit}: {text}"
        );
    }
}

#[test]
#[ignore = "run by the_budget_of_a_process_is_the_tightest_limit in processes of its own"]
fn with_a_tight_limit() {
    let limit: usize = 256 << 20;
    let set = |resource, bytes: usize| {
        let limit = libc::rlimit {
            rlim_cur: bytes as u64,
            rlim_max: bytes as u64,
        };
        // SAFETY: lowers a limit of this process.
        assert_eq!(unsafe { libc::setrlimit(resource, &limit) }, 0);
    };
    let group = match std::env::var("LIMIT").unwrap_or_default().as_str() {
        "as" => {
            set(libc::RLIMIT_AS, limit);
            None
        }
        "data" => {
            set(libc::RLIMIT_DATA, limit);
            None
        }
        _ => match ControlGroup::enter(&format!("elbowroom-{}", std::process::id()), limit) {
            Ok(group) => Some(group),
            Err(why) => return println!("no control group can be made: {why}"),
        },
    };
    if group.is_some() {
        // The group is charged for the cache of this file, which the kernel reclaims when memory is needed.
        let path = std::env::temp_dir().join(format!("elbowroom-cache-{}", std::process::id()));
        let mut file = fs::File::create(&path).unwrap();
        for _ in 0..160 {
            std::io::Write::write_all(&mut file, &[1; 1 << 20]).unwrap();
        }
        file.sync_all().unwrap();
        fs::remove_file(path).unwrap();
        // While the file is open, it keeps its cache.
        std::mem::forget(file);
    }
    let budget = Budget::for_process();
    println!("{budget:?}");
    assert!(
        budget.limit_bytes() <= limit && budget.limit_bytes() >= limit / 2,
        "{budget:?}"
    );
    // The system provides what the budget allows, and the rest is an error.
    let region = Region::builder(1 << 26).budget(&budget).build().unwrap();
    region.try_fill(0..1 << 26, 1).unwrap();
    let tight = Region::builder(1 << 26)
        .budget(&budget.child(1 << 20))
        .build()
        .unwrap();
    assert!(tight.try_fill(0..1 << 26, 1).unwrap_err().is_limit());
    drop((region, tight, group));
}

#[test]
fn a_refused_commit_leaves_no_tables_behind() {
    if skip() {
        return;
    }
    let budget = Budget::new(1 << 20);
    let region = Region::builder(16 << 40).budget(&budget).build().unwrap();
    let address = region.as_ptr().addr();
    // The data, the guard page, and a bit for each page.
    let with_tables = region.len() + page_size() + region.len() / (8 * page_size());
    assert!(region.commit(0..region.len()).unwrap_err().is_limit());
    assert_eq!(charged(address, with_tables), 0);
    region.try_write(1 << 40, 1u8).unwrap();
    assert!(charged(address, with_tables) > 0);
    region.decommit(0..region.len()).unwrap();
    assert_eq!(
        charged(address, with_tables),
        0,
        "the tables are given back too"
    );
    assert_eq!(budget.committed_bytes(), 0);
}

/// Returns the VmFlags line of each mapping into which the kernel has split the addresses.
fn flags(address: usize, len: usize) -> Vec<String> {
    let mappings = smaps(address, len).into_iter();
    mappings
        .map(|lines| {
            lines
                .into_iter()
                .find_map(|line| Some(line.strip_prefix("VmFlags:")?.to_owned()))
                .unwrap()
        })
        .collect()
}

fn is_dumped(flags: &str) -> bool {
    flags.split(' ').all(|flag| flag != "dd")
}

#[test]
fn a_refused_commit_keeps_what_the_program_advised() {
    if skip() {
        return;
    }
    let output = common::run_alone("all::linux::where_data_is_limited");
    assert!(output.status.success(), "{output:?}");
}

#[test]
#[ignore = "run by a_refused_commit_keeps_what_the_program_advised in a process of its own"]
fn where_data_is_limited() {
    const LEN: usize = 1 << 30;
    let region = Region::new(LEN).unwrap();
    let block = Reservation::new(LEN).unwrap();
    for base in [region.as_ptr(), block.as_ptr()] {
        for advice in [libc::MADV_DONTDUMP, libc::MADV_DONTFORK] {
            // SAFETY: addresses of this test's own; changes no contents.
            assert_eq!(unsafe { libc::madvise(base.cast(), LEN, advice) }, 0);
        }
    }
    // Committed pages in the middle, so that a commit of everything has two parts, of which the first works.
    region.commit(LEN / 8..LEN / 8 + 1).unwrap();
    block.commit(LEN / 8..LEN / 8 + 1).unwrap();
    let limit = libc::rlimit {
        rlim_cur: 400 << 20,
        rlim_max: 400 << 20,
    };
    // SAFETY: setrlimit(2) reads a live rlimit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_DATA, &limit) }, 0);
    let errors = [
        region.commit(0..LEN).unwrap_err(),
        block.commit(0..LEN).unwrap_err(),
    ];
    for error in errors {
        assert!(error.is_out_of_memory(), "{error}");
        assert!(!error.is_out_of_mappings(), "{error}");
    }
    for base in [region.as_ptr(), block.as_ptr()] {
        for flags in flags(base.addr(), LEN) {
            let has = |flag| flags.split(' ').any(|other| other == flag);
            assert!(has("dd") && has("dc"), "{flags}");
        }
    }
    assert_eq!(region.stats().committed_bytes, page_size());
    region.commit(LEN - page_size()..LEN).unwrap();
    assert_eq!(region.try_read::<u8>(LEN - 1).unwrap(), 0);
}

#[test]
fn core_dumps_have_what_was_asked_for() {
    if skip() {
        return;
    }
    // Returns whether the first page (committed), the second (decommitted) and the rest are dumped.
    let dumped = |builder: RegionBuilder| {
        let region = builder.growth(Growth::Pages(1)).build().ok()?;
        region.try_write(0, 1u8).unwrap();
        region.try_write(page_size(), 1u8).unwrap();
        region.decommit(page_size()..2 * page_size()).unwrap();
        let base = region.as_ptr().addr();
        Some([0, 1, 2].map(|page| {
            let flags = flags(base + page * page_size(), 1);
            // Without access, and never touched, a page is not dumped either (core(5)).
            is_dumped(&flags[0]) && flags[0].split(' ').any(|flag| flag == "rd")
        }))
    };
    let builder = || Region::builder(1 << 30);
    let asked = || builder().core_dumps(true);
    let protection = [
        (builder(), [true, false, false]),
        (asked(), [true, false, false]),
        (builder().core_dumps(false), [false; 3]),
    ];
    for (builder, expected) in protection {
        assert_eq!(dumped(builder), Some(expected));
    }
    for backend in [Backend::Userfault, Backend::UserfaultMonitor] {
        // Only if the system has the backend.
        assert!(dumped(builder().backend(backend)).is_none_or(|dumped| dumped == [false; 3]));
        assert!(
            dumped(asked().backend(backend)).is_none_or(|dumped| dumped == [true, false, false])
        );
    }
}

//! What Linux says of a region or reservation: names, charge, limits.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "asks the kernel")]

mod common;

use std::fs;

use elbowroom::{Budget, Growth, Region, RegionBuilder, Reservation, page_size};

/// The lines of /proc/self/smaps for the mappings that overlap `len` bytes at `address`.
fn smaps(address: usize, len: usize) -> Vec<Vec<String>> {
    let mut mappings: Vec<Vec<String>> = Vec::new();
    for line in fs::read_to_string("/proc/self/smaps").unwrap().lines() {
        let is_header = line.split(' ').next().is_some_and(|word| word.contains('-'));
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
fn charged(address: usize, len: usize) -> usize {
    let mut sum = 0;
    for lines in smaps(address, len) {
        let flags = lines.iter().find(|line| line.starts_with("VmFlags:")).unwrap();
        if flags.split(' ').any(|flag| flag == "ac") {
            let (start, end) = lines[0].split(' ').next().unwrap().split_once('-').unwrap();
            let number = |text| usize::from_str_radix(text, 16).unwrap();
            sum += number(end).min(address + len) - number(start).max(address);
        }
    }
    sum
}

/// Under an emulator, smaps shows the emulator's own view.
fn skip() -> bool {
    common::emulated()
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
        // SAFETY: committed.
        unsafe { block.as_ptr().wrapping_add(offset).write_volatile(1) };
    }
    block.decommit(2 << 20..3 << 20).unwrap();
    assert_eq!(charged(address, block.len()), 1 << 20);

    let region = Region::builder(64 << 20).growth(Growth::Pages(1)).build().unwrap();
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
    let block = Reservation::builder(1 << 20).name(name).reserve().unwrap();
    assert_eq!(block.name(), name);
    block.commit(0..1).unwrap();
    // Whether this kernel has them: name a mapping of our own.
    let probe = Reservation::new(1).unwrap();
    let (page, label) = (probe.as_ptr(), c"probe".as_ptr());
    // SAFETY: names a mapping of this test's own.
    let known = unsafe { libc::prctl(libc::PR_SET_VMA, libc::PR_SET_VMA_ANON_NAME, page, page_size(), label) } == 0;
    let check = || {
        let shown = smaps(block.as_ptr().addr(), block.len());
        assert!(shown.iter().all(|lines| lines[0].contains("[anon:tenant _7_ of a very long name")), "{shown:?}");
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
    let output = common::child("")
        .args(["with_an_address_space_limit", "--exact", "--ignored", "--nocapture"])
        .output()
        .expect("the child starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("RLIMIT_AS"), "{output:?}");
}

#[test]
#[ignore = "run by an_address_space_limit_is_a_named_error in a process of its own"]
fn with_an_address_space_limit() {
    let limit = libc::rlimit { rlim_cur: 4 << 30, rlim_max: 4 << 30 };
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
    let output = common::child("")
        .args(["where_mappings_run_out", "--exact", "--ignored", "--nocapture"])
        .output()
        .expect("the child starts");
    assert!(output.status.success(), "{output:?}");
}

#[test]
#[ignore = "run by running_out_of_mappings_is_an_error_and_the_region_lives_on in a process of its own"]
fn where_mappings_run_out() {
    let limit = fs::read_to_string("/proc/sys/vm/max_map_count").ok().and_then(|text| text.trim().parse().ok());
    let limit: usize = limit.unwrap_or(usize::MAX);
    if limit > 200_000 {
        return;
    }
    // Every other page is a mapping of its own, twice over.
    let region = Region::builder(2 * limit * page_size()).growth(Growth::Pages(1)).build().unwrap();
    let error = (0..limit).find_map(|n| region.try_write(2 * n * page_size(), 1u8).err()).expect("an error");
    assert!(error.is_out_of_mappings() && error.is_out_of_memory(), "{error}");
    assert_eq!(error.os_code(), Some(libc::ENOMEM));
    assert!(error.to_string().contains("vm.max_map_count"), "{error}");
    assert!(error.to_string().contains("Backend::Userfault"), "{error}");
    // So it is when they are committed by hand.
    let by_hand = region.commit(error.range()).unwrap_err();
    assert!(by_hand.is_out_of_mappings(), "{by_hand}");
    // Filling a gap needs no new mapping.
    region.try_write(page_size(), 1u8).unwrap();
    // A failed decommit changes nothing, a whole one frees them all.
    region.decommit(0..region.len()).unwrap();
    assert_eq!(region.stats().committed_bytes, 0);
    region.try_write(error.offset(), 1u8).unwrap();
}

#[test]
fn the_budget_of_a_process_is_the_tightest_limit() {
    if skip() {
        return;
    }
    for (limit, name) in [("as", "RLIMIT_AS"), ("data", "RLIMIT_DATA"), ("cgroup", "cgroup memory.")] {
        let output = common::child("")
            .args(["with_a_tight_limit", "--exact", "--ignored", "--nocapture"])
            .env("LIMIT", limit)
            .output()
            .expect("the child starts");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{limit}: {output:?}");
        assert!(text.contains(name) || text.contains("no control group can be made"), "{limit}: {text}");
    }
}

#[test]
#[ignore = "run by the_budget_of_a_process_is_the_tightest_limit in processes of its own"]
fn with_a_tight_limit() {
    let limit: usize = 256 << 20;
    let set = |resource, bytes: usize| {
        let limit = libc::rlimit { rlim_cur: bytes as u64, rlim_max: bytes as u64 };
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
        _ => match control_group(limit) {
            Some(group) => Some(group),
            None => return println!("no control group can be made here"),
        },
    };
    let budget = Budget::for_process();
    println!("{budget:?}");
    assert!(budget.limit_bytes() <= limit && budget.limit_bytes() >= limit / 4, "{budget:?}");
    // What it allows, the system gives; what it does not, is an error.
    let region = Region::builder(1 << 26).budget(&budget).build().unwrap();
    region.try_fill(0..1 << 26, 1).unwrap();
    let tight = Region::builder(1 << 26).budget(&budget.child(1 << 20)).build().unwrap();
    assert!(tight.try_fill(0..1 << 26, 1).unwrap_err().is_limit());
    drop((region, tight));
    if let Some((group, home)) = group {
        // A group that is in use cannot be removed.
        fs::write(home.join("cgroup.procs"), std::process::id().to_string()).unwrap();
        fs::remove_dir(group).unwrap();
    }
}

/// Puts this process into a control group of its own with that much memory, where it may. The group, and the one that
/// it came from.
fn control_group(limit: usize) -> Option<(std::path::PathBuf, std::path::PathBuf)> {
    for (root, file) in [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")] {
        let home = std::path::PathBuf::from(root);
        let group = home.join(format!("elbowroom-test-{}", std::process::id()));
        if fs::create_dir(&group).is_err() {
            continue;
        }
        let put = fs::write(group.join(file), limit.to_string())
            .and_then(|()| fs::write(group.join("cgroup.procs"), std::process::id().to_string()));
        match put {
            Ok(()) => return Some((group, home)),
            Err(_) => drop(fs::remove_dir(&group)),
        }
    }
    None
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
    assert_eq!(charged(address, with_tables), 0, "the tables are given back too");
    assert_eq!(budget.committed_bytes(), 0);
}

/// The sum of a field of smaps over the mappings that overlap `len` bytes at `address`, in bytes.
fn smaps_bytes(field: &str, address: usize, len: usize) -> usize {
    let mappings = smaps(address, len);
    let values = mappings.iter().flatten().filter_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    values.map(|value| value.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10).sum()
}

/// When the system gives huge pages: the word in brackets of "always [madvise] never".
fn huge_page_setting() -> Option<String> {
    let setting = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok()?;
    Some(setting.split_once('[')?.1.split_once(']')?.0.to_owned())
}

/// As many bytes are filled, from the start, as make a dozen huge pages.
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
    // The run begins with small windows, and neither end of the region need lie at a boundary. A system that is short
    // of memory in one piece may give fewer, but not none of 12.
    assert!(huge >= 2 << 20, "{huge}");
    assert!(huge <= len - (2 << 20));
    // What was decommitted and touched again has its contents and its charge, of whatever pages.
    region.decommit(8 << 20..24 << 20).unwrap();
    assert_eq!(charged(region.as_ptr().addr(), len), 16 << 20);
    region.try_fill(8 << 20..24 << 20, 2).unwrap();
    assert_eq!(
        [(8 << 20) - 1, 8 << 20, (24 << 20) - 1, 24 << 20].map(|at| region.try_read::<u8>(at).unwrap()),
        [1, 2, 2, 1]
    );

    if setting.as_deref() == Some("madvise") {
        assert_eq!(filled(Region::builder(len).huge_pages(false), len).1, 0, "off");
        assert_eq!(
            filled(Region::builder(len).growth(Growth::Adaptive { max_bytes: 1 << 20 }), len).1,
            0,
            "small windows"
        );
        assert_eq!(filled(Region::builder(len).growth(Growth::Pages(4096)), len).1, 0, "fixed windows");
        assert_eq!(filled(Region::builder(1 << 20), 1 << 20).1, 0, "a small region");
        assert_eq!(filled(Region::builder(len), 1 << 20).1, 0, "little of it used");
    } else {
        eprintln!("not shown: that regions may have none; the system gives them to all memory");
    }
}

#[test]
fn what_a_write_commits_ahead_is_resident_and_what_a_read_commits_is_not() {
    let resident = |region: &Region| smaps_bytes("Rss", region.as_ptr().addr(), region.len());
    // SAFETY: advice of this kind for page 0, where nothing is, changes nothing.
    let populates = unsafe { libc::madvise(std::ptr::null_mut(), page_size(), libc::MADV_POPULATE_WRITE) } != 0
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

    // Nor is what a fixed window commits ahead of use.
    let region = Region::builder(1000 * page_size()).growth(Growth::Pages(64)).build().unwrap();
    region.try_write(0, 1u8).unwrap();
    assert_eq!(resident(&region), page_size());
}

//! `elbowroom compare`: both ways work where there is memory, and on touch where there is not.

use crate::common::run;
use elbowroom::page_size;
use elbowroom_testing::is_emulated;

#[test]
fn small_sizes_work_both_ways() {
    let outcome = run("compare --reserve 4MiB --touch 1MiB --growth 4 --json");
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    let json = outcome.json();
    assert_eq!(json["reserve_bytes"], 4 << 20);
    assert_eq!(json["touch_bytes"], 1 << 20);
    assert_eq!(json["page_size_bytes"], page_size());
    for way in ["up_front", "on_touch"] {
        assert!(json[way]["error"].is_null(), "{json}");
        assert_eq!(json[way]["cost"]["reserved_bytes"], 4 << 20, "{json}");
        assert!(
            json[way]["cost"]["elapsed_ns"].as_u64().unwrap() > 0,
            "{json}"
        );
    }
    assert_eq!(json["up_front"]["cost"]["library_faults"], 0);
    assert_eq!(
        json["on_touch"]["cost"]["library_faults"],
        (1 << 20) / (4 * page_size())
    );
}

/// The claim of Microsoft's page, without arguments: committing up front fails if the system limits commits.
#[test]
fn without_sizes_it_takes_more_than_can_be_committed() {
    if is_emulated() {
        return;
    }
    let json = run("compare --json").json();
    let size = |name: &str| json[name].as_u64().unwrap();
    assert!(json["on_touch"]["error"].is_null(), "{json}");
    assert!(size("touch_bytes") <= 64 << 20, "{json}");
    #[cfg(target_os = "linux")]
    if memory_kib() < size("reserve_bytes") >> 10 && json["commit_is_limited"] == true {
        assert_eq!(json["up_front"]["error"]["os_code"], 12, "{json}");
    }
    // One of the sizes alone is enough.
    let small = run("compare --reserve 1MiB --json").json();
    assert_eq!(small["touch_bytes"], 1 << 20, "{small}");
    let touched = run("compare --touch 8KiB --json").json();
    assert_eq!(touched["reserve_bytes"], size("reserve_bytes"), "{touched}");
}

/// Linux alone, whose figures are exact; an emulator's own memory would be in them.
#[cfg(target_os = "linux")]
#[test]
fn the_figures_are_those_of_each_way() {
    if is_emulated() {
        return;
    }
    let json = run("compare --reserve 32MiB --touch 8MiB --growth 16 --json").json();
    let near = |way: &str, figure: &str, mib: i64| {
        let bytes = json[way]["cost"][figure].as_i64().unwrap();
        // The other memory of the program may change a little.
        assert!(
            (bytes - (mib << 20)).abs() < 1 << 20,
            "{way} {figure}: {bytes}"
        );
    };
    near("up_front", "process_commit_growth_bytes", 32);
    near("on_touch", "process_commit_growth_bytes", 8);
    near("on_touch", "resident_growth_bytes", 8);
    // Huge pages, where the system is set so, take more than what is touched.
    let resident = json["up_front"]["cost"]["resident_growth_bytes"]
        .as_i64()
        .unwrap();
    assert!((8 << 20..34 << 20).contains(&resident), "{json}");
}

#[test]
fn the_table_is_aligned() {
    let outcome = run("compare --reserve 1MiB --touch 64KiB");
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines[0], "64 KiB of 1 MiB touched, one write a page");
    let table = &lines[2..11];
    assert!(table[0].ends_with("on touch"), "{outcome:?}");
    assert!(
        table[1].starts_with("outcome ") && table[1].ends_with(" succeeded"),
        "{outcome:?}"
    );
    assert!(
        table.iter().all(|line| line.len() == table[0].len()),
        "{outcome:?}"
    );
}

#[test]
fn a_size_too_large_up_front_is_committed_on_touch() {
    // An emulator takes long for the bookkeeping of 1 TiB.
    let reserve: u64 = if is_emulated() { 1 << 30 } else { 1 << 40 };
    let outcome = run(&format!("compare --reserve {reserve} --touch 2MiB --json"));
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let json = outcome.json();
    assert!(json["on_touch"]["error"].is_null(), "{json}");
    assert_eq!(json["on_touch"]["cost"]["reserved_bytes"], reserve);
    assert!(
        json["up_front"]["cost"].is_null() != json["up_front"]["error"].is_null(),
        "{json}"
    );
    let told = outcome
        .stderr
        .starts_with("elbowroom: up front: cannot commit 1 ")
        && outcome.stderr.contains(&format!("iB ({reserve} bytes): "));
    assert_eq!(told, !json["up_front"]["error"].is_null(), "{outcome:?}");

    if !is_emulated() && refuses_a_tebibyte() {
        assert_eq!(json["up_front"]["error"]["os_code"], 12, "{json}");
    }
}

/// Returns the size of all memory and swap.
#[cfg(target_os = "linux")]
fn memory_kib() -> u64 {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let kib = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
    meminfo
        .lines()
        .filter(|line| line.starts_with("MemTotal:") || line.starts_with("SwapTotal:"))
        .filter_map(kib)
        .sum()
}

/// Returns whether this system has less than 1 TiB of memory and limits commits.
#[cfg(target_os = "linux")]
fn refuses_a_tebibyte() -> bool {
    let accounting = std::fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap();
    memory_kib() < 1 << 30 && accounting.trim() != "1"
}

/// Returns false, because it is not known. Wine, for example, grants every commit.
#[cfg(not(target_os = "linux"))]
fn refuses_a_tebibyte() -> bool {
    false
}

//! A program that looks at itself sees what it did, and what the system's own listing says.

use elbowroom::{Growth, Region, page_size};
use elbowroom_map::{Kind, Snapshot, State, Wanted};

/// Whether this platform's address spaces can be read here: an emulator's /proc is the host's in part.
fn is_known_here() -> bool {
    let runner = std::env::var("ELBOWROOM_TEST_RUNNER").unwrap_or_default();
    runner.trim().is_empty() && cfg!(any(target_os = "linux", windows))
}

/// 64 pages: 8 touched, 4 more committed, reserved ones at both ends.
fn region(name: &str) -> Region {
    let page = page_size();
    let region = Region::builder(64 * page).growth(Growth::Pages(1)).name(name).build().unwrap();
    region.try_fill(16 * page..24 * page, 1).unwrap();
    region.commit(24 * page..28 * page).unwrap();
    region
}

#[test]
fn a_region_is_seen_to_the_page() {
    if !is_known_here() {
        return;
    }
    let region = region("seen");
    let snapshot = Snapshot::of_self().unwrap();
    let page = page_size() as u64;
    let start = region.as_ptr().addr() as u64;
    let seen = snapshot.find(&Wanted::Name("seen".to_owned())).unwrap();
    assert_eq!((seen.kind, seen.start, seen.end), (Kind::Named, start, start + 64 * page));
    assert_eq!(seen.figures.reserved_bytes, 64 * page);
    assert_eq!(seen.figures.committed_bytes, region.stats().committed_bytes as u64);
    assert_eq!(seen.figures.charged_bytes, Some(12 * page));
    assert_eq!(seen.figures.resident_bytes, Some(8 * page));

    let pages = snapshot.pages(seen).unwrap();
    let runs: Vec<(u64, State)> = pages.runs.iter().map(|run| ((run.end - run.start) / page, run.state)).collect();
    assert_eq!(runs, [(16, State::Reserved), (8, State::Resident), (4, State::Committed), (36, State::Reserved)]);
    let cells = format!("{}{}{}{}", "░".repeat(16), "█".repeat(8), "▒".repeat(4), "░".repeat(36));
    let text = pages.to_string();
    assert!(text.contains(&format!("{start:x}  {cells}\n")), "{text}");
    assert!(text.contains("\nseen (named): ") && text.ends_with(&format!(" {page_kib} KiB.\n", page_kib = page >> 10)));
}

#[test]
fn regions_that_are_gone_are_not_seen() {
    if !is_known_here() {
        return;
    }
    drop(region("gone"));
    let snapshot = Snapshot::of_self().unwrap();
    assert!(snapshot.find(&Wanted::Name("gone".to_owned())).is_err());
}

#[test]
fn the_text_is_that_of_the_snapshot() {
    if !is_known_here() {
        return;
    }
    let _region = region("shown");
    let snapshot = Snapshot::of_self().unwrap();
    let (text, all) = (snapshot.to_string(), format!("{snapshot:#}"));
    assert!(text.starts_with(&format!("process {} ", std::process::id())), "{text}");
    for kind in snapshot.kinds() {
        assert!(text.contains(&format!("\n{:<12}{:>8} ", kind.0.word(), kind.1)), "{text}");
    }
    assert!(all.lines().any(|line| line.starts_with("named") && line.ends_with("  shown")), "{all}");
    // Beside a row for each name and each kind: the process, 7 bars, two heads, the sum, and three lines of nothing.
    assert_eq!(all.lines().count(), snapshot.rows().len() + snapshot.kinds().len() + 14, "{all}");
}

/// The sums are those of the system's own.
#[test]
#[cfg(target_os = "linux")]
fn smaps_rollup_says_the_same() {
    if !is_known_here() {
        return;
    }
    let _region = region("rolled up");
    // Other tests of this program go on beside: what does not change between two looks is compared.
    for _ in 0..100 {
        let rollup = || std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
        let before = rollup();
        let total = Snapshot::of_self().unwrap().total();
        if before != rollup() {
            continue;
        }
        let kibibytes = |name: &str| -> u64 {
            let line = before.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
        };
        assert_eq!(total.resident_bytes, Some(kibibytes("Rss:")));
        assert_eq!(total.dirty_bytes, Some(kibibytes("Shared_Dirty:") + kibibytes("Private_Dirty:")));
        assert_eq!(total.swapped_bytes, Some(kibibytes("Swap:")));
        return;
    }
    panic!("it never stood still");
}

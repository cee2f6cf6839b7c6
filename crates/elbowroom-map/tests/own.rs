//! A program that looks at itself sees what it did, and what the system's own listing says.

#![allow(unsafe_code, reason = "a guard page, which the library has no call for")]

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

/// Pages of a huge page are told as such, as many as the mappings' figures have.
#[test]
#[cfg(target_os = "linux")]
fn huge_pages_are_seen() {
    let scans = |pagemap| elbowroom_map::scan_is_known(&pagemap).is_ok();
    if !is_known_here() || !std::fs::File::open("/proc/self/pagemap").is_ok_and(scans) {
        return;
    }
    // Windows grow until they have the size of a huge page; what is brought in then is one, if the system has such.
    let region = Region::builder(32 << 20).name("huge").build().unwrap();
    region.try_fill(0..16 << 20, 1).unwrap();
    let snapshot = Snapshot::of_self().unwrap();
    let seen = snapshot.find(&Wanted::Name("huge".to_owned())).unwrap();
    let told = seen.figures;
    let pages = snapshot.pages(seen).unwrap();
    let of = |state| pages.runs.iter().filter(|run| run.state == state).map(|run| run.end - run.start).sum::<u64>();
    assert_eq!(told.huge_bytes, Some(of(State::Huge)));
    assert_eq!(told.resident_bytes, Some(of(State::Huge) + of(State::Resident)));
    assert!(told.resident_bytes >= Some(16 << 20), "{told:?}");
}

/// A guard page inside committed ones (MADV_GUARD_INSTALL), where the kernel has such and tells.
#[test]
#[cfg(target_os = "linux")]
fn guard_pages_are_seen() {
    const MADV_GUARD_INSTALL: i32 = 102;
    let page = page_size();
    let reservation = elbowroom::Reservation::builder(8 * page).name("guarded").reserve().unwrap();
    reservation.commit(0..8 * page).unwrap();
    let guard = reservation.as_ptr().wrapping_add(3 * page);
    // SAFETY: a page of a reservation of this test's, into which nothing points.
    let installed = unsafe { libc::madvise(guard.cast(), page, MADV_GUARD_INSTALL) };
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|char: char| !char.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    let version = (numbers.next(), numbers.next());
    if !is_known_here() || installed != 0 || version < (Some(6), Some(15)) {
        return;
    }
    let snapshot = Snapshot::of_self().unwrap();
    let region = snapshot.find(&Wanted::Address(guard.addr() as u64)).unwrap();
    let pages = snapshot.pages(region).unwrap();
    let guards: Vec<u64> = pages.runs.iter().filter(|run| run.state == State::Guard).map(|run| run.start).collect();
    assert_eq!(guards, [guard.addr() as u64]);
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

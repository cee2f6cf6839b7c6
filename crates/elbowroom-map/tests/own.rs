//! Snapshots of this process agree with its own regions and with the system's listing.

#![allow(
    unsafe_code,
    reason = "a guard page, which the library has no call for"
)]

#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(target_os = "linux")]
use std::thread;

use elbowroom::{Growth, Region, page_size};
use elbowroom_map::{Kind, Snapshot, State, Wanted};

/// Returns whether address spaces can be read on this platform. An emulator's /proc shows parts of the host's.
fn is_known_here() -> bool {
    !elbowroom_testing::is_emulated() && cfg!(any(target_os = "linux", windows))
}

/// Returns a region of 64 pages: 8 touched, 4 more committed, and reserved ones at both ends.
fn region(name: &str) -> Region {
    let page = page_size();
    let region = Region::builder(64 * page)
        .growth(Growth::Pages(1))
        .name(name)
        .build()
        .unwrap();
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
    assert_eq!(
        (seen.kind, seen.start, seen.end),
        (Kind::Named, start, start + 64 * page)
    );
    assert_eq!(seen.figures.reserved_bytes, 64 * page);
    assert_eq!(
        seen.figures.committed_bytes,
        region.stats().committed_bytes as u64
    );
    assert_eq!(seen.figures.charged_bytes, Some(12 * page));
    assert_eq!(seen.figures.resident_bytes, Some(8 * page));

    let pages = snapshot.pages(seen).unwrap();
    let runs: Vec<(u64, State)> = pages
        .runs
        .iter()
        .map(|run| ((run.end - run.start) / page, run.state))
        .collect();
    assert_eq!(
        runs,
        [
            (16, State::Reserved),
            (8, State::Resident),
            (4, State::Committed),
            (36, State::Reserved)
        ]
    );
    let cells = format!(
        "{}{}{}{}",
        "░".repeat(16),
        "█".repeat(8),
        "▒".repeat(4),
        "░".repeat(36)
    );
    let text = pages.to_string();
    assert!(text.contains(&format!("{start:x}  {cells}\n")), "{text}");
    assert!(
        text.contains("\nseen (named): ")
            && text.ends_with(&format!(" {page_kib} KiB.\n", page_kib = page >> 10))
    );
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
    assert!(
        text.starts_with(&format!("process {} ", std::process::id())),
        "{text}"
    );
    for kind in snapshot.kinds() {
        assert!(
            text.contains(&format!("\n{:<12}{:>8} ", kind.0.word(), kind.1)),
            "{text}"
        );
    }
    assert!(
        all.lines()
            .any(|line| line.starts_with("named") && line.ends_with("  shown")),
        "{all}"
    );
    // Beside a row for each name and each kind: the process, 7 bars, two heads, the sum, and three lines of nothing.
    // A note says so if a bar is cut off.
    let notes = usize::from(all.contains("\n▶ "));
    assert_eq!(
        all.lines().count(),
        snapshot.rows().len() + snapshot.kinds().len() + 14 + notes,
        "{all}"
    );
}

#[cfg(target_os = "linux")]
fn kernel_version() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release
        .split(|char: char| !char.is_ascii_digit())
        .map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The pages of huge pages are reported as huge, as many as the figures of the mappings count.
#[test]
#[cfg(target_os = "linux")]
fn huge_pages_are_seen() {
    // Older kernels do not report which pages are huge.
    if !is_known_here() || kernel_version() < (6, 7) {
        return;
    }
    // Windows grow to the size of a huge page; the kernel then brings in huge pages, if it has them.
    let region = Region::builder(32 << 20).name("huge").build().unwrap();
    region.try_fill(0..16 << 20, 1).unwrap();
    let snapshot = Snapshot::of_self().unwrap();
    let seen = snapshot.find(&Wanted::Name("huge".to_owned())).unwrap();
    let told = seen.figures;
    let pages = snapshot.pages(seen).unwrap();
    let of = |state| {
        pages
            .runs
            .iter()
            .filter(|run| run.state == state)
            .map(|run| run.end - run.start)
            .sum::<u64>()
    };
    assert_eq!(told.huge_bytes, Some(of(State::Huge)));
    assert_eq!(
        told.resident_bytes,
        Some(of(State::Huge) + of(State::Resident))
    );
    assert!(told.resident_bytes >= Some(16 << 20), "{told:?}");
}

/// A guard page inside committed ones (MADV_GUARD_INSTALL) is reported, if the kernel has them and reports them.
#[test]
#[cfg(target_os = "linux")]
fn guard_pages_are_seen() {
    const MADV_GUARD_INSTALL: i32 = 102;
    let page = page_size();
    let reservation = elbowroom::Reservation::builder(8 * page)
        .name("guarded")
        .build()
        .unwrap();
    reservation.commit(0..8 * page).unwrap();
    let guard = reservation.as_ptr().wrapping_add(3 * page);
    // SAFETY: the page belongs to this test's reservation, and no pointer into it is used.
    let installed = unsafe { libc::madvise(guard.cast(), page, MADV_GUARD_INSTALL) };
    if !is_known_here() || installed != 0 || kernel_version() < (6, 15) {
        return;
    }
    let snapshot = Snapshot::of_self().unwrap();
    let region = snapshot
        .find(&Wanted::Address(guard.addr() as u64))
        .unwrap();
    let pages = snapshot.pages(region).unwrap();
    let guards: Vec<u64> = pages
        .runs
        .iter()
        .filter(|run| run.state == State::Guard)
        .map(|run| run.start)
        .collect();
    assert_eq!(guards, [guard.addr() as u64]);
}

/// The sums agree with the system's own.
#[test]
#[cfg(target_os = "linux")]
fn smaps_rollup_says_the_same() {
    if !is_known_here() {
        return;
    }
    let _region = region("rolled up");
    // Other tests of this program run beside, and a snapshot takes memory itself: the sums must agree once.
    let mut last = None;
    for _ in 0..100 {
        let total = Snapshot::of_self().unwrap().total();
        let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
        let kibibytes = |name: &str| -> u64 {
            let mut lines = rollup.lines();
            let line = lines.find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
        };
        let ours = [total.resident_bytes, total.dirty_bytes, total.swapped_bytes];
        let dirty = kibibytes("Shared_Dirty:") + kibibytes("Private_Dirty:");
        let theirs = [kibibytes("Rss:"), dirty, kibibytes("Swap:")].map(Some);
        if ours == theirs {
            return;
        }
        last = Some((ours, theirs));
    }
    panic!("they differ: {last:?}");
}

/// A process whose first thread has ended goes on, and so do its figures.
#[test]
#[cfg(target_os = "linux")]
fn a_process_whose_first_thread_has_ended_is_seen() {
    if !is_known_here() {
        return;
    }
    let region = region("survivor");
    // SAFETY: the child starts a thread and ends the one that it has; it takes no lock that another thread of this
    // program may hold, except the allocator's, which the C library releases in a child.
    let child = unsafe { libc::fork() };
    if child == 0 {
        thread::spawn(|| thread::sleep(std::time::Duration::from_secs(60)));
        // SAFETY: ends this thread alone; nothing of its stack is used by the other.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    }
    assert!(child > 0);
    let state = || std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap();
    while !state().contains(") Z ") {
        thread::yield_now();
    }
    let snapshot = Snapshot::of_process(child as u32);
    let seen = snapshot.and_then(|snapshot| {
        let region = snapshot.find(&Wanted::Address(region.as_ptr().addr() as u64))?;
        let pages = snapshot.pages(region)?.runs;
        Ok((snapshot.program.clone(), pages))
    });
    // SAFETY: a child of this process, which is waited for once.
    unsafe { libc::kill(child, libc::SIGKILL) };
    // SAFETY: a child of this process, which is waited for here alone; a null pointer asks for no status.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    let (program, pages) = seen.unwrap();
    assert_eq!(program, std::env::current_exe().unwrap().to_string_lossy());
    assert!(
        pages.iter().any(|run| run.state == State::Resident),
        "{pages:?}"
    );
}

/// While another thread commits and decommits, each snapshot has every address once, and the region is one.
#[test]
#[cfg(target_os = "linux")]
fn a_region_that_changes_is_one_region() {
    if !is_known_here() {
        return;
    }
    let page = page_size();
    // Many, so that the kernel pauses in the midst of some.
    let region = || Region::builder(1 << 40).name("changing").build().unwrap();
    let regions: Vec<Region> = (0..24).map(|_| region()).collect();
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                for region in &regions {
                    region.commit(0..3 * page).unwrap();
                }
                for region in &regions {
                    region.decommit(0..3 * page).unwrap();
                }
            }
        });
        let torn = (0..100).find_map(|_| {
            let snapshot = Snapshot::of_process(std::process::id()).unwrap();
            let mut pairs = snapshot.mappings.windows(2);
            if let Some(pair) = pairs.find(|pair| pair[0].end > pair[1].start) {
                return Some(format!("{pair:#x?}"));
            }
            let seen = |region: &Region| {
                let start = region.as_ptr().addr() as u64;
                let seen = snapshot.find(&Wanted::Address(start)).unwrap();
                (seen.end < start + (1 << 40)).then_some(format!("{seen:#x?}"))
            };
            regions.iter().find_map(seen)
        });
        is_done.store(true, Ordering::Relaxed);
        assert!(torn.is_none(), "{}", torn.unwrap());
    });
}

/// Memory of MAP_HUGETLB does not count as a file, and its resident part is reported, if the system has such pages.
#[test]
#[cfg(target_os = "linux")]
fn hugetlb_is_told_as_what_it_is() {
    let len = 4 << 20;
    let map = |more| {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB | more;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses replaces no existing memory.
        unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) }
    };
    // Without a pool, addresses can still be had.
    let (mut memory, mut is_touched) = (map(0), true);
    if memory == libc::MAP_FAILED {
        (memory, is_touched) = (map(libc::MAP_NORESERVE), false);
    }
    if !is_known_here() || memory == libc::MAP_FAILED {
        return;
    }
    if is_touched {
        // SAFETY: the first byte of the new mapping, for which a page is set aside.
        unsafe { memory.cast::<u8>().write_volatile(1) };
    }
    let snapshot = Snapshot::of_self().unwrap();
    let region = snapshot
        .find(&Wanted::Address(memory.addr() as u64))
        .unwrap();
    assert_eq!(region.kind, Kind::Anonymous, "{region:?}");
    assert_eq!(
        region.figures.resident_bytes > Some(0),
        is_touched,
        "{region:?}"
    );
    assert_eq!(region.figures.huge_bytes, region.figures.resident_bytes);
    let runs = snapshot.pages(region).unwrap().runs;
    assert_eq!(
        runs.iter().any(|run| run.state == State::Huge),
        is_touched,
        "{runs:?}"
    );
    // SAFETY: the mapping belongs to this test, and no pointer into it is used any more.
    unsafe { libc::munmap(memory, len) };
}

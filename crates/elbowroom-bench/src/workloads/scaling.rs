//! Faults while many regions live, and in many threads at once.

#![allow(
    unsafe_code,
    reason = "touches regions through plain pointers, as programs do"
)]

use std::thread;

use elbowroom::{Growth, Region, page_size};
use elbowroom_measure::Pages;

use super::touch::UP_FRONT;
use crate::os::Block;
use crate::plan::{Comparison, Contender, Scale};
use crate::sample::timed;

/// The numbers of live regions that are compared.
pub(crate) const LIVE: [(&str, usize); 6] = [
    ("1", 1),
    ("10", 10),
    ("100", 100),
    ("1,000", 1000),
    ("10,000", 10_000),
    ("100,000", 100_000),
];

/// The numbers of threads that are compared.
pub(crate) const THREADS: [usize; 4] = [1, 2, 4, 8];

/// The ways of committing that are compared by threads.
pub(crate) const WAYS: [&str; 3] = ["elbowroom", "elbowroom, a page a fault", UP_FRONT];

pub(crate) fn with_threads(way: &str, threads: usize) -> String {
    format!("{way}, threads: {threads}")
}

/// Writes a word to each page.
///
/// # Safety
/// `len` bytes from `base` on are writable, or are committed when they are touched; no other code accesses them.
#[inline(never)]
unsafe fn touch(base: *mut u8, len: usize) {
    for offset in (0..len).step_by(page_size()) {
        // SAFETY: the word is inside the range that is writable or becomes so (contract), and aligned.
        unsafe { base.wrapping_add(offset).cast::<u64>().write_volatile(1) };
    }
}

fn one_page_a_fault(len: usize) -> Result<Region, String> {
    Region::builder(len)
        .growth(Growth::Pages(1))
        .build()
        .map_err(|error| error.to_string())
}

/// Returns a contender that faults in one region while others exist, each with a page in use.
fn faults_among(name: &'static str, live: usize, len: usize) -> Contender {
    const OTHER_BYTES: usize = 64 << 10;
    Contender::new(name, move || {
        // Half of the other regions are made before the measured one, and half after it, so that addresses are on both
        // sides.
        let half = |count| {
            (0..count)
                .map(|_| one_page_a_fault(OTHER_BYTES))
                .collect::<Result<Vec<_>, _>>()
        };
        let before = half((live - 1) / 2)?;
        let region = one_page_a_fault(len)?;
        let after = half(live - 1 - before.len())?;
        Ok(Box::new(move || {
            let _others = (&before, &after);
            region.decommit(0..len).expect("its own pages");
            timed(|| {
                // SAFETY: the region has `len` bytes and commits on touch; no other code accesses it.
                unsafe { touch(region.as_ptr(), len) };
            })
        }))
    })
}

/// Returns a contender in which threads fault at once, each in its own memory.
fn faults_in_threads(way: &'static str, threads: usize, len: usize) -> Contender {
    Contender::new(with_threads(way, threads), move || {
        // Fails early if the system has no such pages.
        if way == UP_FRONT {
            Block::new(page_size(), Pages::Demand)?;
        }
        Ok(Box::new(move || {
            let len = len / threads;
            timed(|| {
                thread::scope(|scope| {
                    for _ in 0..threads {
                        scope.spawn(move || {
                            if way == UP_FRONT {
                                let block = Block::new(len, Pages::Demand)
                                    .expect("it could be made just before");
                                // SAFETY: the block has `len` committed bytes; only this thread has a pointer to it.
                                unsafe { touch(block.base(), len) };
                            } else {
                                let region = if way == WAYS[0] {
                                    Region::new(len).ok()
                                } else {
                                    one_page_a_fault(len).ok()
                                };
                                let region = region.expect("a small region");
                                // SAFETY: the region has `len` bytes and commits on touch; only this thread has a
                                // pointer to it.
                                unsafe { touch(region.as_ptr(), len) };
                            }
                        });
                    }
                });
            })
        }))
    })
}

/// Returns all comparisons of this module.
pub(crate) fn comparisons(scale: Scale) -> Vec<Comparison> {
    let len = scale.of(16 << 20, 256 << 10);
    let live =
        LIVE.map(|(name, live)| faults_among(name, live.min(scale.of(usize::MAX, 100)), len));
    let title = "a fault in a region, one page each, by the number of live regions";
    let regions = Comparison::new(
        "live-regions",
        title,
        (len / page_size(), "fault"),
        live.into(),
    )
    .data(len)
    .goal("100,000", "1", 1.10);

    let len = scale.of(64 << 20, 1 << 20);
    let contenders = WAYS
        .iter()
        .flat_map(|way| THREADS.map(|threads| faults_in_threads(way, threads, len)));
    let title = format!(
        "{} MiB touched by several threads, each in memory of its own",
        len >> 20
    );
    let threads = Comparison::new(
        "threads",
        title,
        (len / page_size(), "page"),
        contenders.collect(),
    );
    vec![regions, threads.data(len).by_wall_clock()]
}

//! Accessors against plain accesses, and reservations against the bare system calls.

#![allow(
    unsafe_code,
    reason = "what accessors are compared with are accesses through plain pointers"
)]

use std::hint::black_box;
use std::ptr;
use std::sync::Arc;

use elbowroom::{Cells, Region, Reservation, page_size};

use super::OURS;
use crate::os::{self, bare_access};
use crate::plan::{Comparison, Contender, Sampler, Scale};
use crate::sample::timed;

pub(crate) const HELD: &str = "held cells";
pub(crate) const VOLATILE: &str = "volatile";
pub(crate) const BARE: &str = "one instruction in assembly";
pub(crate) const MEMCPY: &str = "memcpy";
pub(crate) const SYSTEM_CALLS: &str = "bare system calls";

/// A size that fits into the first-level cache, so that only the accesses themselves are measured.
const WORDS_BYTES: usize = 16 << 10;

/// Returns a region of `len` bytes, all committed.
fn committed(len: usize) -> Result<Arc<Region>, String> {
    let region = Region::new(len).map_err(|error| error.to_string())?;
    region
        .try_fill(0..len, 1)
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(region))
}

/// Returns a contender that works on a committed region, `times` times per sample.
fn with_region(name: &'static str, len: usize, times: usize, work: fn(&Region)) -> Contender {
    Contender::new(name, move || {
        let region = committed(len)?;
        Ok(Box::new(move || {
            timed(|| {
                for _ in 0..times {
                    work(black_box(&region));
                }
            })
        }))
    })
}

/// Returns a contender that works on the words of a region while they are held, `times` times per sample.
fn with_held(times: usize, work: fn(Cells<u64>)) -> Contender {
    Contender::new(HELD, move || {
        let region = committed(WORDS_BYTES)?;
        Ok(Box::new(move || {
            timed(|| {
                let held = region.hold(0..WORDS_BYTES).expect("committed");
                let cells = held.cells().expect("aligned");
                for _ in 0..times {
                    work(black_box(cells));
                }
            })
        }))
    })
}

#[inline(never)]
fn write_words(region: &Region) {
    for offset in (0..WORDS_BYTES).step_by(size_of::<u64>()) {
        region.try_write(offset, offset as u64).expect("committed");
    }
}

#[inline(never)]
fn write_words_held(cells: Cells<u64>) {
    cells.fill_with(|index| (index * size_of::<u64>()) as u64);
}

#[inline(never)]
fn write_words_volatile(region: &Region) {
    let base = region.as_ptr();
    for offset in (0..WORDS_BYTES).step_by(size_of::<u64>()) {
        // SAFETY: the word is inside the region, committed and aligned; only this thread uses the region.
        unsafe {
            base.wrapping_add(offset)
                .cast::<u64>()
                .write_volatile(offset as u64)
        };
    }
}

#[inline(never)]
fn write_words_bare(region: &Region) {
    let base = region.as_ptr();
    for offset in (0..WORDS_BYTES).step_by(size_of::<u64>()) {
        // SAFETY: the word is inside the region, committed and aligned; only this thread uses the region.
        unsafe { bare_access::store(base.wrapping_add(offset).cast(), offset as u64) };
    }
}

#[inline(never)]
fn read_words(region: &Region) {
    let mut sum = 0u64;
    for offset in (0..WORDS_BYTES).step_by(size_of::<u64>()) {
        sum = sum.wrapping_add(region.try_read::<u64>(offset).expect("committed"));
    }
    black_box(sum);
}

#[inline(never)]
fn read_words_held(cells: Cells<u64>) {
    black_box(cells.iter().fold(0, u64::wrapping_add));
}

#[inline(never)]
fn read_words_volatile(region: &Region) {
    let base = region.as_ptr();
    let mut sum = 0u64;
    for offset in (0..WORDS_BYTES).step_by(size_of::<u64>()) {
        // SAFETY: the word is inside the region, committed and aligned; only this thread uses the region.
        sum = sum.wrapping_add(unsafe { base.wrapping_add(offset).cast::<u64>().read_volatile() });
    }
    black_box(sum);
}

#[inline(never)]
fn read_words_bare(region: &Region) {
    let base = region.as_ptr();
    let mut sum = 0u64;
    for offset in (0..WORDS_BYTES).step_by(size_of::<u64>()) {
        // SAFETY: the word is inside the region, committed and aligned; only this thread uses the region.
        sum = sum.wrapping_add(unsafe { bare_access::load(base.wrapping_add(offset).cast()) });
    }
    black_box(sum);
}

/// Returns the offsets of words in an order that neither the processor nor the compiler can predict: a linear
/// congruential generator with Knuth's constants.
#[inline(always)]
fn wandering_offsets() -> impl Iterator<Item = usize> {
    let mut state = 0u64;
    (0..WORDS_BYTES / size_of::<u64>()).map(move |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as usize % WORDS_BYTES) & !(size_of::<u64>() - 1)
    })
}

#[inline(never)]
fn write_wandering(region: &Region) {
    for offset in wandering_offsets() {
        region.try_write(offset, offset as u64).expect("committed");
    }
}

#[inline(never)]
fn write_wandering_held(cells: Cells<u64>) {
    for offset in wandering_offsets() {
        cells.set(offset / size_of::<u64>(), offset as u64);
    }
}

#[inline(never)]
fn write_wandering_volatile(region: &Region) {
    let base = region.as_ptr();
    for offset in wandering_offsets() {
        // SAFETY: the word is inside the region, committed and aligned; only this thread uses the region.
        unsafe {
            base.wrapping_add(offset)
                .cast::<u64>()
                .write_volatile(offset as u64)
        };
    }
}

#[inline(never)]
fn read_wandering(region: &Region) {
    let mut sum = 0u64;
    for offset in wandering_offsets() {
        sum = sum.wrapping_add(region.try_read::<u64>(offset).expect("committed"));
    }
    black_box(sum);
}

#[inline(never)]
fn read_wandering_held(cells: Cells<u64>) {
    let mut sum = 0u64;
    for offset in wandering_offsets() {
        sum = sum.wrapping_add(cells.get(offset / size_of::<u64>()));
    }
    black_box(sum);
}

#[inline(never)]
fn read_wandering_volatile(region: &Region) {
    let base = region.as_ptr();
    let mut sum = 0u64;
    for offset in wandering_offsets() {
        // SAFETY: the word is inside the region, committed and aligned; only this thread uses the region.
        sum = sum.wrapping_add(unsafe { base.wrapping_add(offset).cast::<u64>().read_volatile() });
    }
    black_box(sum);
}

/// Returns a contender that copies into or out of a region. `copy` gets the region and a buffer of the same length.
fn copies(name: &'static str, len: usize, times: usize, copy: fn(&Region, &mut [u8])) -> Contender {
    Contender::new(name, move || {
        let region = committed(len)?;
        // The buffer starts at a page, as the region does: the offset in a cache line can change the time by a factor
        // of four.
        let mut storage = vec![2; len + page_size()];
        let start = storage.as_ptr().align_offset(page_size());
        let sampler: Sampler = Box::new(move || {
            timed(|| {
                for _ in 0..times {
                    copy(
                        black_box(&region),
                        black_box(&mut storage[start..start + len]),
                    );
                }
            })
        });
        Ok(sampler)
    })
}

fn copy_in(region: &Region, buffer: &mut [u8]) {
    region.try_copy_from_slice(0, buffer).expect("committed");
}

fn copy_in_by_memcpy(region: &Region, buffer: &mut [u8]) {
    // SAFETY: the region is committed and as long as the buffer, does not overlap it, and only this thread uses it.
    unsafe { ptr::copy_nonoverlapping(buffer.as_ptr(), region.as_ptr(), buffer.len()) };
}

fn copy_out(region: &Region, buffer: &mut [u8]) {
    region.try_copy_to_slice(0, buffer).expect("committed");
}

fn copy_out_by_memcpy(region: &Region, buffer: &mut [u8]) {
    // SAFETY: the region is committed and as long as the buffer, does not overlap it, and only this thread uses it.
    unsafe { ptr::copy_nonoverlapping(region.as_ptr(), buffer.as_mut_ptr(), buffer.len()) };
}

/// Returns a contender that makes and drops a value, `times` times per sample.
fn made_and_dropped(
    name: &'static str,
    times: usize,
    make: impl Fn() -> Result<(), String> + Clone + 'static,
) -> Contender {
    Contender::new(name, move || {
        make()?;
        let make = make.clone();
        Ok(Box::new(move || {
            timed(|| {
                for _ in 0..times {
                    make().expect("it could be made just before");
                }
            })
        }))
    })
}

/// Returns all comparisons of this module.
pub(crate) fn comparisons(scale: Scale) -> Vec<Comparison> {
    let mut all = Vec::new();
    let times = scale.of(500, 2);
    let words = times * WORDS_BYTES / size_of::<u64>();
    let work = |name, work| with_region(name, WORDS_BYTES, times, work);
    type Work = fn(&Region);
    type HeldWork = fn(Cells<u64>);
    let accesses: [(_, _, [Work; 2], HeldWork, Option<Work>); 4] = [
        (
            "access-write",
            "written, one after the other",
            [write_words, write_words_volatile],
            write_words_held,
            Some(write_words_bare),
        ),
        (
            "access-read",
            "read, one after the other",
            [read_words, read_words_volatile],
            read_words_held,
            Some(read_words_bare),
        ),
        (
            "access-write-wandering",
            "written, in no order",
            [write_wandering, write_wandering_volatile],
            write_wandering_held,
            None,
        ),
        (
            "access-read-wandering",
            "read, in no order",
            [read_wandering, read_wandering_volatile],
            read_wandering_held,
            None,
        ),
    ];
    for (name, how, [ours, theirs], held, least) in accesses {
        let title = format!("u64 of committed memory in the first-level cache {how}");
        let contenders = vec![
            work(OURS, ours),
            with_held(times, held),
            work(VOLATILE, theirs),
        ];
        let comparison = Comparison::new(name, title, (words, "access"), contenders).together();
        let comparison = comparison.data(WORDS_BYTES);
        let comparison = comparison
            .goal(OURS, VOLATILE, 1.2)
            .goal(HELD, VOLATILE, 1.05);
        all.push(match least {
            Some(least) => comparison.limit(BARE, work(BARE, least)),
            None => comparison,
        });
    }
    type Copy = fn(&Region, &mut [u8]);
    let (inward, outward): ([Copy; 2], [Copy; 2]) =
        ([copy_in, copy_in_by_memcpy], [copy_out, copy_out_by_memcpy]);
    for (name, title, len, [ours, theirs]) in [
        ("copy-in-4k", "4 KiB copied into a region", 4 << 10, inward),
        (
            "copy-out-4k",
            "4 KiB copied out of a region",
            4 << 10,
            outward,
        ),
        ("copy-in-1m", "1 MiB copied into a region", 1 << 20, inward),
        (
            "copy-out-1m",
            "1 MiB copied out of a region",
            1 << 20,
            outward,
        ),
    ] {
        let times = scale.of((64 << 20) / len, 2);
        let contenders = vec![
            copies(OURS, len, times, ours),
            copies(MEMCPY, len, times, theirs),
        ];
        // The goal is at least 0.95 of its throughput.
        let comparison = Comparison::new(name, title, ((len * times) >> 10, "KiB"), contenders);
        // Above the size of the first-level cache, the time depends on the physical pages, which stay the same in a
        // process.
        let comparison = if len > WORDS_BYTES {
            comparison
        } else {
            comparison.together()
        };
        all.push(comparison.data(len).goal(OURS, MEMCPY, 1.0 / 0.95));
    }
    let (len, times) = (scale.of(1 << 40, 1 << 30), scale.of(500, 2));
    let reservation = move || {
        Reservation::new(len)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    let region = move || {
        Region::new(len)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    let contenders = vec![
        made_and_dropped("Reservation", times, reservation),
        made_and_dropped("Region", times, region),
        made_and_dropped(SYSTEM_CALLS, times, move || os::reserve_and_release(len)),
    ];
    all.push(
        Comparison::new(
            "reserve-1t",
            "1 TiB reserved and released",
            (times, "reservation"),
            contenders,
        )
        .together()
        .goal("Reservation", SYSTEM_CALLS, 1.1),
    );
    all
}

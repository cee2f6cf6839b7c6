//! The memory cost of growth ahead of need.

#![allow(
    unsafe_code,
    reason = "touches a region through a plain pointer, as programs do"
)]

use elbowroom::{Region, ReservedVec, Size};

use super::vectors::{VEC, VIRTUAL_BUFFER};
use crate::plan::{Comparison, Contender, Scale};
use crate::sample::{Sample, timed};

/// The names of the comparisons, with their sizes.
pub(crate) const SIZES: [(&str, usize); 7] = [
    ("memory-1k", 1 << 10),
    ("memory-16k", 16 << 10),
    ("memory-256k", 256 << 10),
    ("memory-1m", 1 << 20),
    ("memory-16m", 16 << 20),
    // Not a power of two, which would suit containers that double.
    ("memory-100m", 100 << 20),
    ("memory-1g", 1 << 30),
];

pub(crate) const CONTENDERS: [&str; 4] = [VEC, VIRTUAL_BUFFER, "ReservedVec", "Region"];

/// Returns the number of containers that are kept at once: a single one of less than a page would not be visible.
pub(crate) fn count(bytes: usize) -> usize {
    ((4 << 20) / bytes).clamp(1, 256)
}

/// Returns a contender that fills `count` containers with `bytes` each and keeps them.
fn keeps<C: 'static>(
    name: &'static str,
    bytes: usize,
    make: impl Fn(usize) -> C + Clone + 'static,
) -> Contender {
    let sample =
        move || -> Sample { timed(|| (0..count(bytes)).map(|_| make(bytes)).collect::<Vec<C>>()) };
    Contender::plain(name, sample)
}

macro_rules! pushed {
    ($vec:expr, $bytes:expr) => {{
        let mut vec = $vec;
        for value in 0..($bytes / size_of::<u64>()) as u64 {
            vec.push(value);
        }
        vec
    }};
}

fn touched_region(bytes: usize, room: usize) -> Region {
    let region = Region::new(room).expect("addresses");
    for offset in (0..bytes).step_by(size_of::<u64>()) {
        // SAFETY: the word is inside the region, which commits on touch, and aligned; no other code has a pointer to
        // it.
        unsafe {
            region
                .as_ptr()
                .wrapping_add(offset)
                .cast::<u64>()
                .write_volatile(1)
        };
    }
    region
}

/// Returns all comparisons of this module.
pub(crate) fn comparisons(scale: Scale) -> Vec<Comparison> {
    let comparison = |(name, full): (&'static str, usize)| {
        let bytes = scale.of(full, full.min(256 << 10));
        // A reservation as in a program that does not know how much it will store.
        let room = scale.of(64 << 30, 1 << 20);
        let words = room / size_of::<u64>();
        let contenders = vec![
            keeps(CONTENDERS[0], bytes, |bytes| pushed!(Vec::new(), bytes)),
            keeps(CONTENDERS[1], bytes, move |bytes| {
                pushed!(virtual_buffer::vec::Vec::new(words), bytes)
            }),
            keeps(CONTENDERS[2], bytes, move |bytes| {
                pushed!(ReservedVec::with_max_len(words), bytes)
            }),
            keeps(CONTENDERS[3], bytes, move |bytes| {
                touched_region(bytes, room)
            }),
        ];
        let words = count(bytes) * bytes / size_of::<u64>();
        let title = format!(
            "{} of u64 kept in each of {}",
            Size(bytes as u64),
            count(bytes)
        );
        Comparison::new(name, title, (words, "word"), contenders)
            .data(count(bytes) * bytes)
            .rounds(1)
    };
    SIZES.map(comparison).into()
}

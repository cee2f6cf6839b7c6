//! Vectors that several threads append to.

#![allow(
    unsafe_code,
    reason = "what vectors are compared with is an array without any bookkeeping"
)]

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use elbowroom::AppendVec;
use elbowroom_measure::Pages;

use super::OURS;
use super::vectors::VIRTUAL_BUFFER;
use crate::os::Block;
use crate::plan::{Comparison, Contender, Scale};
use crate::sample::{Sample, timed};

pub(crate) const BOXCAR: &str = "boxcar";
pub(crate) const APPEND_ONLY_VEC: &str = "append-only-vec";
pub(crate) const BARE: &str = "a counter and an array";
pub(crate) const SLICE: &str = "a plain slice";
pub(crate) const ORX: &str = "orx-concurrent-vec";

/// The number of elements in one push of a slice.
const SLICE_LEN: usize = 64;

/// A vector to which several threads push at once.
trait Shared: Sync + 'static {
    fn new(max_len: usize) -> Self;
    fn push(&self, value: u64);
    /// Pushes several values, in one operation if the vector has one.
    #[inline(always)]
    fn push_slice(&self, values: &[u64]) {
        values.iter().for_each(|&value| self.push(value));
    }
    /// Returns the sum of the elements, the way a reader computes it.
    fn sum(&self) -> u64;
}

impl Shared for AppendVec<u64> {
    // The default maximum, as in a program that does not know how much it will store.
    fn new(_: usize) -> Self {
        AppendVec::new()
    }

    #[inline(always)]
    fn push(&self, value: u64) {
        AppendVec::push(self, value);
    }

    #[inline(always)]
    fn push_slice(&self, values: &[u64]) {
        AppendVec::push_slice(self, values);
    }

    #[inline(never)]
    fn sum(&self) -> u64 {
        sum(self.as_slice())
    }
}

/// A plain vector, for reading.
struct Plain(Vec<u64>);

impl Plain {
    #[inline(never)]
    fn sum(&self) -> u64 {
        sum(&self.0)
    }
}

#[inline(always)]
fn sum(elements: &[u64]) -> u64 {
    elements
        .iter()
        .fold(0, |sum, value| sum.wrapping_add(*value))
}

impl Shared for virtual_buffer::concurrent::vec::Vec<u64> {
    fn new(max_len: usize) -> Self {
        virtual_buffer::concurrent::vec::Vec::new(max_len)
    }

    #[inline(always)]
    fn push(&self, value: u64) {
        virtual_buffer::concurrent::vec::Vec::push(self, value);
    }

    #[inline(never)]
    fn sum(&self) -> u64 {
        self.iter().fold(0, |sum, value| sum.wrapping_add(*value))
    }
}

impl Shared for boxcar::Vec<u64> {
    fn new(_: usize) -> Self {
        boxcar::Vec::new()
    }

    #[inline(always)]
    fn push(&self, value: u64) {
        boxcar::Vec::push(self, value);
    }

    #[inline(never)]
    fn sum(&self) -> u64 {
        self.iter()
            .fold(0, |sum, (_, value)| sum.wrapping_add(*value))
    }
}

impl Shared for append_only_vec::AppendOnlyVec<u64> {
    fn new(_: usize) -> Self {
        append_only_vec::AppendOnlyVec::new()
    }

    #[inline(always)]
    fn push(&self, value: u64) {
        append_only_vec::AppendOnlyVec::push(self, value);
    }

    #[inline(never)]
    fn sum(&self) -> u64 {
        self.iter().fold(0, |sum, value| sum.wrapping_add(*value))
    }
}

impl Shared for orx_concurrent_vec::ConcurrentVec<u64> {
    fn new(_: usize) -> Self {
        orx_concurrent_vec::ConcurrentVec::new()
    }

    #[inline(always)]
    fn push(&self, value: u64) {
        orx_concurrent_vec::ConcurrentVec::push(self, value);
    }

    #[inline(never)]
    fn sum(&self) -> u64 {
        self.iter()
            .fold(0, |sum, element| sum.wrapping_add(element.copied()))
    }
}

/// The smallest possible push of several threads to one array: a counter assigns the places, and the memory is present
/// already. It does not record which elements are finished.
struct Bare {
    next: AtomicUsize,
    memory: Block,
}

// SAFETY: the counter gives each place to one thread, the only one that writes there, and no code reads the places.
unsafe impl Sync for Bare {}

impl Bare {
    fn new(len: usize) -> Result<Bare, String> {
        Ok(Bare {
            next: AtomicUsize::new(0),
            memory: Block::new(len * size_of::<u64>(), Pages::HugePopulated)?,
        })
    }
}

impl Shared for Bare {
    fn new(len: usize) -> Bare {
        Bare::new(len).expect("it could be made just before")
    }

    #[inline(always)]
    fn push(&self, value: u64) {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let place = self.memory.base().cast::<u64>().wrapping_add(index);
        // SAFETY: the place is inside the array, because there are no more pushes than places; the counter gave it to
        // this thread alone.
        unsafe { place.write(value) };
    }

    fn sum(&self) -> u64 {
        0
    }
}

/// Returns a workload in which threads push `len` elements in all into a new vector.
fn pushes<V: Shared>(len: usize, threads: usize) -> impl Fn() -> Sample + Clone {
    shared_out(len, threads, push_all::<V>)
}

/// Returns a workload in which threads push [`SLICE_LEN`] elements at a time.
fn slice_pushes<V: Shared>(len: usize, threads: usize) -> impl Fn() -> Sample + Clone {
    shared_out(len, threads, push_slices::<V>)
}

fn shared_out<V: Shared>(
    len: usize,
    threads: usize,
    push: fn(&V, usize, usize),
) -> impl Fn() -> Sample + Clone {
    move || {
        timed(|| {
            let vec = V::new(len);
            let start = Barrier::new(threads);
            thread::scope(|scope| {
                for thread in 0..threads {
                    let (vec, start) = (&vec, &start);
                    let work = move || {
                        start.wait();
                        push(vec, thread * len / threads, (thread + 1) * len / threads);
                    };
                    // A single thread is the calling one, which avoids the start of a thread.
                    if threads == 1 {
                        work()
                    } else {
                        drop(scope.spawn(work))
                    }
                }
            });
            vec
        })
    }
}

#[inline(never)]
fn push_all<V: Shared>(vec: &V, from: usize, to: usize) {
    for value in from..to {
        vec.push(value as u64);
    }
}

#[inline(never)]
fn push_slices<V: Shared>(vec: &V, from: usize, to: usize) {
    for first in (from..to).step_by(SLICE_LEN) {
        let values: [u64; SLICE_LEN] = std::array::from_fn(|n| (first + n) as u64);
        vec.push_slice(black_box(&values));
    }
}

/// Returns a contender that reads all elements repeatedly.
fn reads<V: Shared>(name: &'static str, len: usize, times: usize) -> Contender {
    Contender::new(name, move || {
        let vec = V::new(len);
        push_all(&vec, 0, len);
        Ok(Box::new(move || {
            timed(|| {
                for _ in 0..times {
                    black_box(black_box(&vec).sum());
                }
            })
        }))
    })
}

fn plain_reads(len: usize, times: usize) -> Contender {
    Contender::new(SLICE, move || {
        let vec = Plain((0..len as u64).collect());
        Ok(Box::new(move || {
            timed(|| {
                for _ in 0..times {
                    black_box(black_box(&vec).sum());
                }
            })
        }))
    })
}

/// Returns all comparisons of this module.
pub(crate) fn comparisons(scale: Scale) -> Vec<Comparison> {
    let mut all = Vec::new();
    let len = scale.of(4 << 20, 16 << 10);
    for (name, threads) in [("append-1", 1), ("append-2", 2)] {
        let contenders = vec![
            Contender::plain(OURS, pushes::<AppendVec<u64>>(len, threads)),
            Contender::plain(
                VIRTUAL_BUFFER,
                pushes::<virtual_buffer::concurrent::vec::Vec<u64>>(len, threads),
            ),
            Contender::plain(BOXCAR, pushes::<boxcar::Vec<u64>>(len, threads)),
            Contender::plain(
                APPEND_ONLY_VEC,
                pushes::<append_only_vec::AppendOnlyVec<u64>>(len, threads),
            ),
            Contender::plain(
                ORX,
                pushes::<orx_concurrent_vec::ConcurrentVec<u64>>(len, threads),
            ),
        ];
        let bare = Contender::new(BARE, move || {
            drop(Bare::new(len)?);
            Ok(Box::new(pushes::<Bare>(len, threads)))
        });
        let title =
            format!("u64 pushed into a shared vector from empty to 32 MiB, threads: {threads}");
        all.push(
            Comparison::new(name, title, (len, "push"), contenders)
                .data(len * size_of::<u64>())
                .limit(BARE, bare)
                .goal(OURS, VIRTUAL_BUFFER, 0.52)
                .goal(OURS, BOXCAR, 0.4)
                .goal(OURS, APPEND_ONLY_VEC, 0.4),
        );
    }
    let contenders = vec![
        Contender::plain(OURS, slice_pushes::<AppendVec<u64>>(len, 2)),
        Contender::plain(
            VIRTUAL_BUFFER,
            slice_pushes::<virtual_buffer::concurrent::vec::Vec<u64>>(len, 2),
        ),
        Contender::plain(BOXCAR, slice_pushes::<boxcar::Vec<u64>>(len, 2)),
    ];
    let title = format!(
        "u64 pushed into a shared vector from empty to 32 MiB, {SLICE_LEN} at a time where it can, threads: 2"
    );
    all.push(
        Comparison::new("append-slices-2", title, (len, "element"), contenders)
            .data(len * size_of::<u64>())
            .goal(OURS, VIRTUAL_BUFFER, 0.5)
            .goal(OURS, BOXCAR, 0.5),
    );
    let (len, times) = (scale.of(4096, 512), scale.of(500, 1));
    let contenders = vec![
        reads::<AppendVec<u64>>(OURS, len, times),
        plain_reads(len, times),
        reads::<virtual_buffer::concurrent::vec::Vec<u64>>(VIRTUAL_BUFFER, len, times),
        reads::<boxcar::Vec<u64>>(BOXCAR, len, times),
        reads::<append_only_vec::AppendOnlyVec<u64>>(APPEND_ONLY_VEC, len, times),
        reads::<orx_concurrent_vec::ConcurrentVec<u64>>(ORX, len, times),
    ];
    let title = format!("the sum of the {len} u64 in a shared vector");
    all.push(
        Comparison::new("append-read", title, (len * times, "element"), contenders)
            .together()
            .data(len * size_of::<u64>())
            .goal(OURS, SLICE, 1.05),
    );
    all
}

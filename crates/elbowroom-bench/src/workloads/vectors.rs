//! Pushes to vectors.

use std::hint::black_box;
use std::time::Instant;

use elbowroom::{Growth, ReservedVec};
use elbowroom_measure::{Times, nanoseconds, thread_cpu_time};
use hdrhistogram::Histogram;

use super::{OURS, touch};
use crate::plan::{Comparison, Contender, Scale};
use crate::sample::{Sample, Step, timed};

pub(crate) const VEC: &str = "Vec";
pub(crate) const VIRTUAL_BUFFER: &str = "virtual-buffer";
pub(crate) const CALM: &str = "elbowroom, 64 KiB at a time";

/// A vector that one thread uses.
trait Vector: 'static {
    /// Returns a vector that can grow to `max_len` elements. Nothing is committed yet.
    fn new(max_len: usize) -> Self;
    fn push(&mut self, value: u64);
}

impl Vector for Vec<u64> {
    fn new(_: usize) -> Vec<u64> {
        Vec::new()
    }

    #[inline(always)]
    fn push(&mut self, value: u64) {
        Vec::push(self, value);
    }
}

impl Vector for ReservedVec<u64> {
    // The default maximum, as in a program that does not know how much it will store.
    fn new(_: usize) -> ReservedVec<u64> {
        ReservedVec::new()
    }

    #[inline(always)]
    fn push(&mut self, value: u64) {
        ReservedVec::push(self, value);
    }
}

/// A vector with short pauses instead of the highest throughput: it grows by at most 64 KiB at a time.
struct Calm(ReservedVec<u64>);

impl Vector for Calm {
    fn new(max_len: usize) -> Calm {
        let builder = ReservedVec::builder(max_len).growth(Growth::Adaptive {
            max_bytes: 64 << 10,
        });
        Calm(builder.build().expect("addresses"))
    }

    #[inline(always)]
    fn push(&mut self, value: u64) {
        self.0.push(value);
    }
}

impl Vector for virtual_buffer::vec::Vec<u64> {
    fn new(max_len: usize) -> virtual_buffer::vec::Vec<u64> {
        virtual_buffer::vec::Vec::new(max_len)
    }

    #[inline(always)]
    fn push(&mut self, value: u64) {
        virtual_buffer::vec::Vec::push(self, value);
    }
}

/// Returns a new vector with `len` elements.
#[inline(never)]
fn filled<V: Vector>(len: usize) -> V {
    let mut vec = V::new(len);
    for value in 0..len as u64 {
        vec.push(value);
    }
    black_box(vec)
}

/// Returns a workload that fills one vector.
fn fills<V: Vector>(len: usize) -> impl Fn() -> Sample + Clone {
    move || timed(|| filled::<V>(len))
}

/// Returns a workload that fills and drops vectors one after the other.
fn comes_and_goes<V: Vector>(len: usize, times: usize) -> impl Fn() -> Sample + Clone {
    move || {
        timed(|| {
            for _ in 0..times {
                drop(filled::<V>(len));
            }
        })
    }
}

/// The number of pushes between two readings of the clock: elements for 4 KiB. Reading the clock takes longer than a
/// push.
const BATCH: usize = 512;

/// Returns a workload that gives the longest time of a batch of pushes, by the thread's processor time. It is an upper
/// bound of the slowest single push, and other programs on the machine do not raise it.
fn worst_batch<V: Vector>(len: usize) -> impl Fn() -> Sample + Clone {
    move || {
        let mut worst = 0;
        let mut worst_by_wall_clock = 0;
        let mut sample = timed(|| {
            let mut vec = V::new(len);
            for batch in 0..len / BATCH {
                let (cpu, wall) = (thread_cpu_time(), Instant::now());
                for n in 0..BATCH {
                    vec.push((batch * BATCH + n) as u64);
                }
                let wall = wall.elapsed();
                let cpu = cpu
                    .and_then(|start| thread_cpu_time()?.checked_sub(start))
                    .unwrap_or(wall);
                worst = worst.max(nanoseconds(cpu));
                worst_by_wall_clock = worst_by_wall_clock.max(nanoseconds(wall));
            }
            black_box(vec)
        });
        sample.times = Times {
            wall_ns: worst_by_wall_clock,
            cpu_ns: Some(worst),
        };
        sample
    }
}

/// The shares of pushes for which the longest time is given.
pub(crate) const SHARES: [f64; 9] = [
    0.5,
    0.9,
    0.99,
    0.999,
    0.9999,
    0.999_99,
    0.999_999,
    0.999_999_9,
    1.0,
];

/// One minute in nanoseconds, an upper bound for a push.
const A_MINUTE: u64 = 60_000_000_000;

/// Returns a workload that times every push, by the thread's processor time if the system has a clock for it.
fn each_push<V: Vector>(len: usize) -> impl Fn() -> Sample + Clone {
    move || {
        let mut times =
            Histogram::<u64>::new_with_max(A_MINUTE, 3).expect("three digits are possible");
        let mut sample = timed(|| {
            let start = Instant::now();
            let now = || thread_cpu_time().unwrap_or_else(|| start.elapsed());
            let mut vec = V::new(len);
            let mut before = now();
            for value in 0..len as u64 {
                vec.push(value);
                let after = now();
                times.saturating_record(after.saturating_sub(before).as_nanos() as u64);
                before = after;
            }
            black_box(vec)
        });
        // Every figure includes the time of reading the clock.
        let step = |&share: &f64| Step {
            share,
            ns: times.value_at_quantile(share),
        };
        sample.extra.steps = SHARES.iter().map(step).collect();
        sample
    }
}

/// Lists the contenders of the three vectors, with the same workload.
macro_rules! contenders {
    ($workload:ident($($argument:expr),*)) => {
        vec![
            Contender::plain(OURS, $workload::<ReservedVec<u64>>($($argument),*)),
            Contender::plain(VEC, $workload::<Vec<u64>>($($argument),*)),
            Contender::plain(VIRTUAL_BUFFER, $workload::<virtual_buffer::vec::Vec<u64>>($($argument),*)),
        ]
    };
}

/// Returns a contender that pushes into existing capacity, in memory that was written before.
fn push_reserved(name: &'static str, len: usize, times: usize) -> Contender {
    Contender::new(name, move || {
        Ok(if name == VEC {
            let mut vec: Vec<u64> = filled(len);
            Box::new(move || {
                timed(|| {
                    for _ in 0..times {
                        vec.clear();
                        fill_again(&mut vec, len);
                    }
                })
            })
        } else {
            let mut vec: ReservedVec<u64> = filled(len);
            Box::new(move || {
                timed(|| {
                    for _ in 0..times {
                        vec.clear();
                        fill_again(&mut vec, len);
                    }
                })
            })
        })
    })
}

#[inline(never)]
fn fill_again<V: Vector>(vec: &mut V, len: usize) {
    for value in 0..len as u64 {
        vec.push(value);
    }
    black_box(vec);
}

/// Returns all comparisons of this module.
pub(crate) fn comparisons(scale: Scale) -> Vec<Comparison> {
    let mut all = Vec::new();
    let len = scale.of(16 << 20, 64 << 10);
    all.push(
        Comparison::new(
            "push-128m",
            "u64 pushed from empty to 128 MiB",
            (len, "push"),
            contenders!(fills(len)),
        )
        .data(len * size_of::<u64>())
        .limit(touch::HUGE, touch::words_up_front(len * size_of::<u64>()))
        .goal(OURS, VEC, 0.35)
        .goal(OURS, VIRTUAL_BUFFER, 0.35)
        .goal(OURS, touch::HUGE, 1.10),
    );
    let (len, times) = (100_000, scale.of(20, 1));
    let title = "100,000 u64 pushed into a new vector, which is then dropped, again and again";
    all.push(
        Comparison::new(
            "push-100k",
            title,
            (len * times, "push"),
            contenders!(comes_and_goes(len, times)),
        )
        .together()
        .data(len * size_of::<u64>())
        .goal(OURS, VEC, 1.2),
    );
    let title = "100,000 u64 pushed into the first vector of a process";
    all.push(
        Comparison::new(
            "push-100k-first",
            title,
            (len, "push"),
            contenders!(fills(len)),
        )
        .data(len * size_of::<u64>())
        .rounds(15),
    );
    let (len, times) = (scale.of(4096, 1024), scale.of(500, 2));
    let contenders = vec![
        push_reserved(OURS, len, times),
        push_reserved(VEC, len, times),
    ];
    let title = format!("{len} u64 pushed into capacity that is there already");
    all.push(
        Comparison::new("push-reserved", title, (len * times, "push"), contenders)
            .together()
            .data(len * size_of::<u64>())
            .goal(OURS, VEC, 1.02),
    );
    for (name, title, bytes) in [
        (
            "come-and-go-8",
            "vectors of one u64 that are filled and dropped",
            size_of::<u64>(),
        ),
        (
            "come-and-go-1k",
            "vectors of 1 KiB that are filled and dropped",
            1 << 10,
        ),
        (
            "come-and-go-64k",
            "vectors of 64 KiB that are filled and dropped",
            64 << 10,
        ),
        (
            "come-and-go-1m",
            "vectors of 1 MiB that are filled and dropped",
            1 << 20,
        ),
    ] {
        let len = bytes / size_of::<u64>();
        let times = scale.of((8 << 20) / bytes, 2);
        let contenders = contenders!(comes_and_goes(len, times));
        all.push(
            Comparison::new(name, title, (len * times, "push"), contenders)
                .together()
                .data(bytes),
        );
    }
    let len = scale.of(128 << 20, 64 << 10);
    let title = "the worst 512 pushes of u64 that follow each other, from empty to 1 GiB";
    let worst = |name, title: String| {
        let mut contenders = contenders!(worst_batch(len));
        contenders.push(Contender::plain(CALM, worst_batch::<Calm>(len)));
        Comparison::new(name, title, (1, "worst case"), contenders)
            .data(len * size_of::<u64>())
            .goal(OURS, VEC, 0.25)
            .goal(CALM, VEC, 0.25)
    };
    all.push(worst("worst-push-1g", title.to_owned()));
    all.push(worst("worst-push-1g-mimalloc", format!("{title}, with mimalloc")).with_mimalloc());
    let len = scale.of(4 << 20, 64 << 10);
    let title = "each push of u64 by itself, from empty to 32 MiB";
    let mut contenders = contenders!(each_push(len));
    contenders.push(Contender::plain(CALM, each_push::<Calm>(len)));
    let latency = Comparison::new("push-latency", title, (len, "push"), contenders).rounds(5);
    all.push(latency.data(len * size_of::<u64>()));
    all
}

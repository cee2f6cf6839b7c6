//! Single operations, timed by criterion: `cargo bench -p elbowroom-bench`.
//!
//! Each operation is repeated so often that the cost of the clock does not matter, on memory that is present already.
//! The report measures whole workloads and the memory that they take.

use std::hint::black_box;

use bumpalo::Bump;
use criterion::{Criterion, Throughput};
use elbowroom::{AppendVec, Arena, Budget, DemandArray, Growth, Region, ReservedVec, page_size};

/// The number of operations in one measured turn.
const COUNT: usize = 1000;

fn push(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("push into capacity");
    group.throughput(Throughput::Elements(COUNT as u64));
    let mut vec = ReservedVec::new();
    vec.reserve(COUNT);
    group.bench_function("ReservedVec", |bencher| {
        bencher.iter(|| {
            vec.clear();
            (0..COUNT).for_each(|n| black_box(&mut vec).push(n));
        });
    });
    let mut vec = Vec::with_capacity(COUNT);
    group.bench_function("Vec", |bencher| {
        bencher.iter(|| {
            vec.clear();
            (0..COUNT).for_each(|n| black_box(&mut vec).push(n));
        });
    });
    let mut vec = AppendVec::new();
    vec.reserve(COUNT);
    group.bench_function("AppendVec", |bencher| {
        bencher.iter(|| {
            vec.clear();
            for n in 0..COUNT {
                black_box(black_box(&vec).push(n));
            }
        });
    });
}

fn come_and_go(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("made with one element and dropped");
    group.bench_function("ReservedVec", |bencher| {
        bencher.iter(|| {
            let mut vec = ReservedVec::new();
            vec.push(black_box(1));
            vec
        });
    });
    group.bench_function("Vec", |bencher| {
        bencher.iter(|| vec![black_box(1)]);
    });
}

fn arena(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("24 bytes allocated");
    group.throughput(Throughput::Elements(COUNT as u64));
    let mut arena = Arena::new();
    group.bench_function("Arena", |bencher| {
        bencher.iter(|| {
            arena.reset();
            for n in 0..COUNT {
                black_box(black_box(&arena).alloc([n; 3]));
            }
        });
    });
    let mut bump = Bump::new();
    group.bench_function("bumpalo", |bencher| {
        bencher.iter(|| {
            bump.reset();
            for n in 0..COUNT {
                black_box(black_box(&bump).alloc([n; 3]));
            }
        });
    });
}

fn access(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a committed word");
    group.throughput(Throughput::Elements(COUNT as u64));
    let region = Region::new(COUNT * size_of::<usize>()).expect("a small region");
    region.commit(0..region.len()).expect("little memory");
    group.bench_function("Region::try_write", |bencher| {
        bencher.iter(|| {
            for n in 0..COUNT {
                black_box(&region)
                    .try_write(n * size_of::<usize>(), n)
                    .expect("committed");
            }
        });
    });
    group.bench_function("Region::try_read", |bencher| {
        bencher.iter(|| {
            (0..COUNT)
                .map(|n| {
                    black_box(&region)
                        .try_read::<usize>(n * size_of::<usize>())
                        .expect("committed")
                })
                .fold(0, usize::wrapping_add)
        });
    });
    let mut array = DemandArray::new(COUNT).expect("a small array");
    group.bench_function("DemandArray::set", |bencher| {
        bencher
            .iter(|| (0..COUNT).for_each(|n| black_box(&mut array).set(n, n).expect("committed")));
    });
    group.bench_function("DemandArray::get", |bencher| {
        bencher.iter(|| {
            (0..COUNT)
                .map(|n| black_box(&array).get(n).expect("committed"))
                .fold(0, usize::wrapping_add)
        });
    });
}

/// Measures a page that is committed by a touch, or by a call, and then decommitted.
fn fault(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a page committed and decommitted");
    let builder = || Region::builder(4 * page_size()).growth(Growth::Pages(1));
    let plain = builder().build().expect("a small region");
    let budget = Budget::new(1 << 30);
    let charged = builder().budget(&budget).build().expect("a small region");
    for (name, region) in [
        ("by a touch", &plain),
        ("by a touch, with a budget", &charged),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                region.try_write(0, 1u8).expect("committed by this");
                region.decommit(0..page_size()).expect("committed");
            });
        });
    }
    group.bench_function("by hand", |bencher| {
        bencher.iter(|| {
            plain.commit(0..page_size()).expect("little memory");
            plain.decommit(0..page_size()).expect("committed");
        });
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for operations in [push, come_and_go, arena, access, fault] {
        operations(&mut criterion);
    }
    criterion.final_summary();
}

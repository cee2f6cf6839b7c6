//! Access to data that is in memory already.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use elbowroom::Size;
use elbowroom_pager::{MemoryStore, PagedArray};

use super::super::OURS;
use super::data;
use crate::plan::{Comparison, Contender, Scale};
use crate::sample::timed;

const PLAIN: &str = "a plain slice";
const ATOMIC: &str = "an atomic addition and subtraction";
const SLICE: &str = "elbowroom, slice";
/// The numbers of a slice.
const RECORD: usize = 512;

/// Returns an array that is in memory as a whole.
fn resident(bytes: usize) -> Result<PagedArray<u64>, String> {
    let contents: Vec<u64> = data::numbers(bytes).collect();
    let store = MemoryStore::new(bytemuck::cast_slice(&contents).to_vec());
    // A limit that also permits guards over everything.
    let options = PagedArray::<u64>::options().resident_limit(2 * bytes);
    let array = options
        .open_store(store)
        .map_err(|error| error.to_string())?;
    drop(array.slice(..).map_err(|error| error.to_string())?);
    Ok(array)
}

pub(super) fn comparisons(scale: Scale) -> Vec<Comparison> {
    let len = scale.of(32 << 20, 1 << 20);
    let ours = Contender::new(OURS, move || {
        let array = resident(len)?;
        let misses = array.stats().misses;
        Ok(Box::new(move || {
            let sample = timed(|| {
                let chunks = array.scan(..).expect("all of it");
                chunks.fold(0_u64, |sum, chunk| {
                    sum.wrapping_add(data::sum(&chunk.expect("it is resident")))
                })
            });
            assert_eq!(array.stats().misses, misses, "all is resident");
            sample
        }))
    });
    let plain = Contender::new(PLAIN, move || {
        let numbers: Vec<u64> = data::numbers(len).collect();
        Ok(Box::new(move || timed(|| data::sum(black_box(&numbers)))))
    });
    let title = format!(
        "the sum of {} of numbers that are resident",
        Size(len as u64)
    );
    let scan = Comparison::new(
        "paged-resident",
        title,
        (len >> 20, "MiB"),
        vec![ours, plain],
    )
    .together()
    .without_memory()
    .goal(OURS, PLAIN, 1.05);
    vec![scan, lends(scale)]
}

/// Returns the comparison of single calls.
fn lends(scale: Scale) -> Comparison {
    let times = scale.of(100_000, 1000);
    let len = 1 << 20;
    let slice = Contender::new(SLICE, move || {
        let array = resident(len)?;
        Ok(Box::new(move || {
            timed(|| {
                for n in 0..times {
                    let start = n % (len / 8 / RECORD) * RECORD;
                    let _ = black_box(array.slice(start..start + RECORD).expect("it is resident"));
                }
            })
        }))
    });
    let get = Contender::new("elbowroom, get", move || {
        let array = resident(len)?;
        Ok(Box::new(move || {
            timed(|| {
                for n in 0..times {
                    black_box(array.get(n % (len / 8)).expect("it is resident"));
                }
            })
        }))
    });
    let atomic = Contender::plain(ATOMIC, move || {
        let word = AtomicU64::new(0);
        timed(|| {
            for _ in 0..times {
                black_box(&word).fetch_add(1, Ordering::Acquire);
                black_box(&word).fetch_sub(1, Ordering::Release);
            }
        })
    });
    let title = "a loan of 512 numbers within a resident page, and its end";
    Comparison::new("paged-lend", title, (times, "call"), vec![slice, get])
        .together()
        .without_memory()
        .limit(ATOMIC, atomic)
}

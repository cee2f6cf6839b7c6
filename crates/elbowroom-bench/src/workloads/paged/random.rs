//! Reads of 4 KiB from all over a file.

use std::fs::File;
use std::path::Path;
use std::thread;

use elbowroom::Size;
use elbowroom_measure::shuffled;
use elbowroom_pager::PagedArray;

use super::bounded::{Bounds, Done, ROOM, always, reader};
use super::data;
use crate::os::{self, Advice};
use crate::plan::{Comparison, Contender, Scale};

const OURS: &str = "elbowroom, 8 threads";
const PREFETCH: &str = "elbowroom, 1 thread with prefetch";
const GATHER: &str = "elbowroom, 1 thread with gather, one number of each";
const RANDOM: &str = "memmap2, MADV_RANDOM, 8 threads";
const RANDOM_ONE: &str = "memmap2, MADV_RANDOM, 1 thread";
const READS: &str = "positional reads, 8 threads";
/// The program reads the second thousand of records while the third is loaded, and so on.
const BATCH: usize = 1000;
const THREADS: usize = 8;
const RECORD_BYTES: usize = 4096;
const RECORD: usize = RECORD_BYTES / 8;

/// Returns the indices of the records to read, in order: an eighth of all.
fn records(bounds: Bounds) -> Vec<usize> {
    let mut all = shuffled(bounds.data / RECORD_BYTES);
    all.truncate(all.len() / 8);
    all
}

pub(super) fn comparison(scale: Scale) -> Comparison {
    let bounds = Bounds::new(scale, 64 << 20);
    let contenders = vec![
        of_records(OURS, bounds, always, move |path| ours(path, bounds)),
        of_records(PREFETCH, bounds, always, move |path| prefetch(path, bounds)),
        gather(bounds),
        mapped(RANDOM, bounds, Advice::Random, THREADS),
        mapped(RANDOM_ONE, bounds, Advice::Random, 1),
    ];
    let count = bounds.data / RECORD_BYTES / 8;
    let title = format!(
        "{count} reads of 4 KiB in random order from a file of {}, with a limit of {} and {} for the program",
        Size(bounds.data as u64),
        Size(bounds.limit as u64),
        Size(ROOM as u64)
    );
    let check = |path: &Path| {
        let file = File::open(path).map_err(|error| error.to_string())?;
        os::read_exact_at(&file, &mut [0; 8], 0)
    };
    let limit = of_records(READS, bounds, check, move |path| reads(path, bounds));
    Comparison::new("paged-random", title, (count, "read"), contenders)
        .rounds(5)
        .by_wall_clock()
        .without_memory()
        .limit(READS, limit)
        .goal(OURS, RANDOM, 1.0)
        .goal(PREFETCH, RANDOM_ONE, 0.33)
        .goal(PREFETCH, RANDOM, 0.83)
        .goal(GATHER, RANDOM_ONE, 0.33)
        .goal(GATHER, RANDOM, 0.83)
}

/// Returns a contender that adds up all numbers of the records.
fn of_records(
    name: &'static str,
    bounds: Bounds,
    check: impl Fn(&Path) -> Result<(), String> + 'static,
    work: impl Fn(&Path) -> Result<Done, String> + 'static,
) -> Contender {
    let expected = move || {
        let records = records(bounds).into_iter();
        let indices = records.flat_map(|record| record * RECORD..(record + 1) * RECORD);
        sum_at(indices)
    };
    reader(name, bounds, expected, check, work)
}

/// Returns the sum of the numbers at some indices.
fn sum_at(indices: impl IntoIterator<Item = usize>) -> u64 {
    let numbers = indices.into_iter().map(|index| data::number(index as u64));
    numbers.fold(0, u64::wrapping_add)
}

/// Reads the records in threads, by a function that returns the sum of one.
fn in_threads(
    records: &[usize],
    threads: usize,
    read: impl Fn(usize) -> Result<u64, String> + Sync,
) -> Result<u64, String> {
    let run = |records: &[usize]| {
        records.iter().try_fold(0_u64, |sum, &record| {
            read(record).map(|one| sum.wrapping_add(one))
        })
    };
    let parts = records.chunks(records.len().div_ceil(threads));
    thread::scope(|scope| {
        let threads: Vec<_> = parts.map(|part| scope.spawn(move || run(part))).collect();
        let mut sums = threads.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err("a thread panicked".to_owned()))
        });
        sums.try_fold(0_u64, |sum, part| part.map(|part| sum.wrapping_add(part)))
    })
}

fn open(path: &Path, bounds: Bounds) -> Result<PagedArray<u64>, String> {
    let options = PagedArray::<u64>::options()
        .page_size(RECORD_BYTES)
        .threads(THREADS)
        .resident_limit(bounds.limit);
    options.open(path).map_err(|error| error.to_string())
}

fn record_of(array: &PagedArray<u64>, record: usize) -> Result<u64, String> {
    let slice = array.slice(record * RECORD..(record + 1) * RECORD);
    slice
        .map(|slice| data::sum(&slice))
        .map_err(|error| error.to_string())
}

fn done(sum: u64, array: &PagedArray<u64>, records: &[usize]) -> Done {
    Done::of_array(sum, array, records.len() * RECORD_BYTES)
}

fn ours(path: &Path, bounds: Bounds) -> Result<Done, String> {
    let (array, records) = (open(path, bounds)?, records(bounds));
    let sum = in_threads(&records, THREADS, |record| record_of(&array, record))?;
    Ok(done(sum, &array, &records))
}

fn prefetch(path: &Path, bounds: Bounds) -> Result<Done, String> {
    let (array, records) = (open(path, bounds)?, records(bounds));
    let ahead = |batch: &[usize]| {
        let ranges = batch
            .iter()
            .map(|&record| record * RECORD..(record + 1) * RECORD);
        array
            .prefetch(ranges)
            .map_err(|error: elbowroom_pager::Error| error.to_string())
    };
    let mut batches = records.chunks(BATCH);
    let mut next = batches.next();
    next.map_or(Ok(()), ahead)?;
    let mut sum = 0_u64;
    while let Some(batch) = next {
        next = batches.next();
        next.map_or(Ok(()), ahead)?;
        for &record in batch {
            sum = sum.wrapping_add(record_of(&array, record)?);
        }
    }
    Ok(done(sum, &array, &records))
}

/// Returns the contender that gets the first number of each record.
fn gather(bounds: Bounds) -> Contender {
    let indices = move || -> Vec<usize> {
        let records = records(bounds).into_iter();
        records.map(|record| record * RECORD).collect()
    };
    let expected = move || sum_at(indices());
    reader(GATHER, bounds, expected, always, move |path| {
        let (array, indices) = (open(path, bounds)?, indices());
        let numbers = array.gather(&indices).map_err(|error| error.to_string())?;
        let bytes = indices.len() * RECORD_BYTES;
        Ok(Done::of_array(data::sum(&numbers), &array, bytes))
    })
}

fn mapped(name: &'static str, bounds: Bounds, advice: Advice, threads: usize) -> Contender {
    let check = move |path: &Path| os::map(path, advice).map(drop);
    of_records(name, bounds, check, move |path| {
        let map = os::map(path, advice)?;
        let numbers: &[u64] = bytemuck::cast_slice(&map);
        let sum = in_threads(&records(bounds), threads, |record| {
            Ok(data::sum(&numbers[record * RECORD..(record + 1) * RECORD]))
        })?;
        Ok(Done::sum(sum))
    })
}

fn reads(path: &Path, bounds: Bounds) -> Result<Done, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let sum = in_threads(&records(bounds), THREADS, |record| {
        let mut numbers = [0_u64; RECORD];
        let offset = (record * RECORD_BYTES) as u64;
        os::read_exact_at(&file, bytemuck::cast_slice_mut(&mut numbers), offset)?;
        Ok(data::sum(&numbers))
    })?;
    Ok(Done::sum(sum))
}

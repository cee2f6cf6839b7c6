//! A merge by several threads: all runs are cut at the same elements, and a thread merges the pieces between two cuts.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use bytemuck::{AnyBitPattern, NoUninit};

use super::merge::merge;
use super::plan::BLOCK_BYTES_MIN;
use super::work::{Work, read, runs_of};
use crate::error::Error;
use crate::store::Source;

/// The number of samples from each run for each piece. More samples make the pieces more nearly equal.
const SAMPLES: usize = 8;

/// Merges the runs of length `run` in a range to one run in the same place of another store, by at most this many
/// threads. The memory holds one element more than there are runs, or more.
pub(super) fn merge_runs<T: AnyBitPattern + NoUninit + Send + Sync>(
    (from, to): (&Source, &Source),
    range: Range<usize>,
    run: usize,
    memory: &mut [T],
    threads: usize,
    compare: &(impl Fn(&T, &T) -> Ordering + Sync),
    work: &Work<'_>,
) -> Result<(), Error> {
    let start = range.start;
    let runs: Vec<_> = runs_of(range, run).collect();
    let block = (BLOCK_BYTES_MIN / size_of::<T>()).max(1);
    let threads = threads.min(memory.len() / (block * (runs.len() + 1)));
    let pieces = pieces(from, runs, start, threads.max(1), compare)?;
    let part = memory.len() / pieces.len();
    let (pieces, is_over) = (Mutex::new(pieces.into_iter()), AtomicBool::new(false));
    let failure = Mutex::new(None);
    let merge_pieces = |part: &mut [T]| {
        loop {
            let piece = lock(&pieces).next();
            let Some((runs, start)) = piece else { return };
            let merged = merge((from, to), runs, start, part, compare, work, &is_over);
            if let Err(error) = merged {
                is_over.store(true, Relaxed);
                lock(&failure).get_or_insert(error);
            }
        }
    };
    let mut parts = memory.chunks_exact_mut(part);
    let own = parts.next();
    thread::scope(|scope| {
        for part in parts.take(threads.saturating_sub(1)) {
            // Without this thread, the others do its work.
            let _ = thread::Builder::new().spawn_scoped(scope, || merge_pieces(part));
        }
        own.into_iter().for_each(&merge_pieces);
    });
    let failure = failure.into_inner();
    failure
        .unwrap_or_else(PoisonError::into_inner)
        .map_or(Ok(()), Err)
}

/// A part of each run, and where the merged elements start.
type Piece = (Vec<Range<usize>>, usize);

/// Cuts runs into pieces of similar length.
fn pieces<T: AnyBitPattern + NoUninit>(
    from: &Source,
    mut runs: Vec<Range<usize>>,
    mut start: usize,
    count: usize,
    compare: &impl Fn(&T, &T) -> Ordering,
) -> Result<Vec<Piece>, Error> {
    let mut samples = Vec::new();
    if count > 1 {
        for (run, range) in runs.iter().enumerate() {
            let each = range.len() / (SAMPLES * count + 1);
            for at in range.clone().step_by(each.max(1)).skip(1) {
                samples.push(Pivot {
                    element: element(from, at)?,
                    run,
                    at,
                });
            }
        }
        samples.sort_unstable_by(|a, b| {
            let order = compare(&a.element, &b.element);
            order.then((a.run, a.at).cmp(&(b.run, b.at)))
        });
    }
    let mut pieces = Vec::with_capacity(count);
    for piece in 1..count {
        let Some(pivot) = samples.get(samples.len() * piece / count) else {
            break;
        };
        let mut before = Vec::with_capacity(runs.len());
        for (run, rest) in runs.iter_mut().enumerate() {
            let cut = pivot.cut(from, run, rest.clone(), compare)?;
            before.push(rest.start..cut);
            rest.start = cut;
        }
        let len: usize = before.iter().map(Range::len).sum();
        pieces.push((before, start));
        start += len;
    }
    pieces.push((runs, start));
    Ok(pieces)
}

/// An element of a run. Equal elements of several runs are in the order of the runs, and those of one run in their own,
/// so that many equal elements do not all go to one piece.
struct Pivot<T> {
    element: T,
    run: usize,
    at: usize,
}

impl<T: AnyBitPattern + NoUninit> Pivot<T> {
    /// Returns the first place in a part of a run whose element is not before the pivot.
    fn cut(
        &self,
        from: &Source,
        run: usize,
        part: Range<usize>,
        compare: &impl Fn(&T, &T) -> Ordering,
    ) -> Result<usize, Error> {
        if run == self.run {
            return Ok(self.at.clamp(part.start, part.end));
        }
        let Range { mut start, mut end } = part;
        while start < end {
            let middle = start + (end - start) / 2;
            let order = compare(&element(from, middle)?, &self.element);
            if order.then(run.cmp(&self.run)).is_lt() {
                start = middle + 1;
            } else {
                end = middle;
            }
        }
        Ok(start)
    }
}

fn element<T: AnyBitPattern + NoUninit>(from: &Source, at: usize) -> Result<T, Error> {
    let mut element = T::zeroed();
    read(from, at, std::slice::from_mut(&mut element))?;
    Ok(element)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryStore, Turns};

    fn cut(elements: &[u32], run: usize, count: usize) -> Vec<Piece> {
        let store = MemoryStore::new(bytemuck::cast_slice(elements).to_vec());
        let source = Source::new(Box::new(store), "a test", 0, Turns::new(None));
        let runs = runs_of(0..elements.len(), run).collect();
        pieces(&source, runs, 0, count, &u32::cmp).unwrap()
    }

    #[test]
    fn pieces_are_in_order_whole_and_similar() {
        let run = 1000;
        for values in [1, 2, 1_000_000] {
            let mut elements: Vec<u32> = (0..7500_u32)
                .map(|at| at.wrapping_mul(0x9e37_79b9) >> 7)
                .map(|number| number % values)
                .collect();
            for run in elements.chunks_mut(run) {
                run.sort_unstable();
            }
            for count in 1..9 {
                let found = cut(&elements, run, count);
                assert_eq!(found.len(), count);
                let (mut next, mut least) = (0, 0);
                for (parts, start) in &found {
                    assert_eq!(*start, next);
                    let len: usize = parts.iter().map(Range::len).sum();
                    assert!(
                        len.abs_diff(7500 / count) < 7500 / 4,
                        "{values}, {count}: {len}"
                    );
                    let part = parts.iter().flat_map(|part| &elements[part.clone()]);
                    assert!(part.clone().all(|&element| element >= least));
                    least = part.copied().max().unwrap();
                    next += len;
                }
                assert_eq!(next, elements.len());
                for number in 0..elements.len().div_ceil(run) {
                    let parts = found.iter().map(|(parts, _)| parts[number].clone());
                    let ends = parts.fold(number * run, |end, part| {
                        assert_eq!(part.start, end);
                        part.end
                    });
                    assert_eq!(ends, elements.len().min((number + 1) * run));
                }
            }
        }
    }

    #[test]
    fn short_runs_make_fewer_pieces() {
        assert_eq!(cut(&[3, 1, 2], 1, 4).len(), 1);
        assert!(cut(&[1, 2, 0, 5, 4], 2, 4).len() <= 4);
    }
}

//! The first pass: sorted runs.

use std::cmp::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use bytemuck::{AnyBitPattern, NoUninit};

use super::plan::Plan;
use super::{PagedArray, Work, write as write_run};
use crate::error::Error;
use crate::store::Source;

/// The first element that no thread has taken, or the failure that ended the work.
type Next = Mutex<Result<usize, Error>>;

/// Writes sorted runs of the elements. Each thread has a part of the memory; one at a time reads, which is in order.
pub(super) fn write<T>(
    source: &PagedArray<T>,
    to: &Source,
    memory: &mut [T],
    plan: &Plan,
    threads: usize,
    compare: &(impl Fn(&T, &T) -> Ordering + Sync),
    work: &Work<'_>,
) -> Result<(), Error>
where
    T: AnyBitPattern + NoUninit + Send + Sync,
{
    let next: Next = Mutex::new(Ok(0));
    let write_all = |part: &mut [T]| {
        let mut write_one = || {
            let Some((start, run)) = take(source, &next, part)? else {
                return Ok(false);
            };
            run.sort_unstable_by(compare);
            write_run(to, start, run)?;
            work.add(run.len()).map(|()| true)
        };
        loop {
            match write_one() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    let mut next = lock(&next);
                    if next.is_ok() {
                        *next = Err(error);
                    }
                    return;
                }
            }
        }
    };
    let mut parts = memory.chunks_mut(plan.run).take(threads);
    let own = parts.next();
    thread::scope(|scope| {
        for part in parts {
            // Without this thread, the others do its work.
            let _ = thread::Builder::new().spawn_scoped(scope, || write_all(part));
        }
        own.into_iter().for_each(&write_all);
    });
    next.into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .map(|_| ())
}

/// Copies the next elements to the part, and returns their place. `None` at the end, or after a failure of another
/// thread.
fn take<'a, T: AnyBitPattern>(
    source: &PagedArray<T>,
    next: &Next,
    part: &'a mut [T],
) -> Result<Option<(usize, &'a mut [T])>, Error> {
    let mut next = lock(next);
    let start = match &*next {
        Ok(start) if *start < source.len() => *start,
        _ => return Ok(None),
    };
    let end = source.len().min(start + part.len());
    let run = &mut part[..end - start];
    let mut filled = 0;
    for chunk in source.scan(start..end)? {
        let chunk = chunk?;
        run[filled..filled + chunk.len()].copy_from_slice(&chunk);
        filled += chunk.len();
    }
    *next = Ok(end);
    Ok(Some((start, run)))
}

fn lock(next: &Next) -> MutexGuard<'_, Result<usize, Error>> {
    next.lock().unwrap_or_else(PoisonError::into_inner)
}

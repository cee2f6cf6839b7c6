//! Elements from anywhere: sorted by page, with the pages loaded ahead.

use std::ops::Range;

use bytemuck::AnyBitPattern;

use super::elements::{bytes_of, copy_out};
use crate::error::Error;
use crate::fetch::Fetch;

/// Copies elements that are inside the array.
pub(super) fn gather<T: AnyBitPattern>(fetch: &Fetch, indices: &[usize]) -> Result<Vec<T>, Error> {
    let mut order: Vec<usize> = (0..indices.len()).collect();
    order.sort_unstable_by_key(|&position| indices[position]);
    let pages = |position: usize| {
        let index = indices[position];
        fetch
            .pool
            .frames
            .pages_of(bytes_of::<T>(&(index..index + 1)))
    };
    let mut values = vec![T::zeroed(); indices.len()];
    // Two batches are in memory: one that is copied, and one that is loaded.
    let batch_pages = (fetch.pool.frames.pages_max() / 4).max(1);
    let batch = |rest: &[usize]| {
        let mut runs: Vec<Range<usize>> = Vec::new();
        let mut count = 0;
        for (taken, &position) in rest.iter().enumerate() {
            let next = pages(position);
            match runs.last_mut() {
                Some(run) if next.start <= run.end => {
                    count += next.end.saturating_sub(run.end);
                    run.end = run.end.max(next.end);
                }
                _ => {
                    count += next.len();
                    runs.push(next);
                }
            }
            if count > batch_pages && taken > 0 {
                return (taken, runs);
            }
        }
        (rest.len(), runs)
    };
    let (mut taken, runs) = batch(&order);
    let mut loading = fetch.load_ahead(runs);
    let mut rest = &order[..];
    while !rest.is_empty() {
        // This thread loads as well, and so waits for few of the pages.
        fetch.help(loading);
        let (now, later) = rest.split_at(taken);
        let (next_taken, runs) = batch(later);
        loading = fetch.load_ahead(runs);
        for &position in now {
            values[position] = copy_out(fetch, indices[position])?;
        }
        (taken, rest) = (next_taken, later);
    }
    Ok(values)
}

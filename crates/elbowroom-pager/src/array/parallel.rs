//! Chunks of an array for many threads (rayon).

use std::fmt;
use std::ops::Range;

use ::rayon::iter::plumbing::{Folder, UnindexedConsumer, UnindexedProducer, bridge_unindexed};
use ::rayon::iter::{IntoParallelIterator, ParallelIterator};
use bytemuck::{AnyBitPattern, NoUninit};

use super::guards::{Slice, SliceMut};
use super::scan::Scan;
use super::writer::Writer;
use crate::error::Error;
use crate::fetch::Fetch;

/// Chunks of an array that threads of rayon load and work on at once: [`Slice`]s of a [`Scan`], or [`SliceMut`]s of a
/// [`Writer`]. Made by `into_par_iter()`.
///
/// A chunk is at most as long as the [read-ahead](crate::PagedOptions::read_ahead), and so short that the chunks of all
/// threads take at most half of the limit. If the limit is too small for that, fewer threads work. Each chunk may fail
/// as [`PagedArray::slice`](crate::PagedArray::slice) does; `try_for_each` and `try_reduce` end at the first failure.
///
/// Drop each chunk before the next: collecting the chunks themselves keeps all of them in memory, which the limit may
/// refuse. A closure that starts parallel work of its own may hold several chunks in one thread.
///
/// ```
/// use elbowroom_pager::{MemoryStore, PagedArray};
/// use rayon::prelude::*;
///
/// let store = MemoryStore::new(vec![0; 8 << 20]);
/// let options = PagedArray::<u64>::options().writable(true).resident_limit(1 << 20);
/// let mut array = options.open_store(store)?;
/// array.writer()?.into_par_iter().try_for_each(|chunk| chunk.map(|mut chunk| chunk.fill(3)))?;
///
/// let sums = array.scan(..)?.into_par_iter().map(|chunk| chunk.map(|chunk| chunk.iter().sum()));
/// let sum: u64 = sums.try_reduce(|| 0, |a: u64, b| Ok(a + b))?;
/// assert_eq!(sum, 3 << 20);
/// # Ok::<(), elbowroom_pager::Error>(())
/// ```
#[must_use = "a parallel iterator does nothing until it is driven"]
pub struct ParChunks<'a, L> {
    fetch: &'a Fetch,
    // Invariant: inside the array, and borrowed by this as `lend` demands.
    rest: Range<usize>,
    element_bytes: usize,
    lend: fn(&'a Fetch, Range<usize>) -> Result<L, Error>,
}

impl<'a, T: AnyBitPattern + Sync> IntoParallelIterator for Scan<'a, T> {
    type Item = Result<Slice<'a, T>, Error>;
    type Iter = ParChunks<'a, Slice<'a, T>>;

    fn into_par_iter(self) -> ParChunks<'a, Slice<'a, T>> {
        ParChunks {
            fetch: self.fetch,
            rest: self.rest,
            element_bytes: size_of::<T>(),
            lend: Slice::new,
        }
    }
}

impl<'a, T: AnyBitPattern + NoUninit + Send> IntoParallelIterator for Writer<'a, T> {
    type Item = Result<SliceMut<'a, T>, Error>;
    type Iter = ParChunks<'a, SliceMut<'a, T>>;

    fn into_par_iter(self) -> ParChunks<'a, SliceMut<'a, T>> {
        ParChunks {
            fetch: self.fetch,
            rest: self.elements,
            element_bytes: size_of::<T>(),
            // No two chunks have an element in common, and the writer, which is gone, was the only one of all of them.
            lend: SliceMut::new,
        }
    }
}

impl<L: Send> ParallelIterator for ParChunks<'_, L> {
    type Item = Result<L, Error>;

    fn drive_unindexed<C: UnindexedConsumer<Self::Item>>(self, consumer: C) -> C::Result {
        let frames = &self.fetch.pool.frames;
        let room = (frames.pages_max() / 2).max(1);
        // An element on the border belongs to the chunk where it starts, and makes it longer.
        let border = match frames.page_bytes() % self.element_bytes {
            0 => 0,
            _ => (self.element_bytes - 1).div_ceil(frames.page_bytes()),
        };
        let share = room / ::rayon::current_num_threads();
        let chunk_pages = share.saturating_sub(border);
        let chunk_pages = chunk_pages.clamp(1, self.fetch.chunk_pages());
        let part = Part {
            chunk_bytes: chunk_pages * frames.page_bytes(),
            parts_max: (room / (chunk_pages + border)).max(1),
            chunks: self,
        };
        bridge_unindexed(part, consumer)
    }
}

/// Chunks that one thread works on, one after the other.
struct Part<'a, L> {
    chunks: ParChunks<'a, L>,
    chunk_bytes: usize,
    // How many parts this may be split into, so that their chunks fit in memory.
    parts_max: usize,
}

impl<L> Part<'_, L> {
    /// Returns the first element that starts in this chunk of the array, or later.
    fn start_of(&self, chunk: usize) -> usize {
        (chunk * self.chunk_bytes).div_ceil(self.chunks.element_bytes)
    }

    /// Returns the chunk of the array where an element starts.
    fn chunk_of(&self, element: usize) -> usize {
        element * self.chunks.element_bytes / self.chunk_bytes
    }
}

impl<L: Send> UnindexedProducer for Part<'_, L> {
    type Item = Result<L, Error>;

    fn split(mut self) -> (Self, Option<Self>) {
        let rest = &self.chunks.rest;
        let Some(last) = rest.end.checked_sub(1).filter(|last| *last > rest.start) else {
            return (self, None);
        };
        let (first, last) = (self.chunk_of(rest.start), self.chunk_of(last));
        let middle = self.start_of(first + (last - first).div_ceil(2));
        if self.parts_max < 2 || !(rest.start + 1..rest.end).contains(&middle) {
            return (self, None);
        }
        let other = Part {
            chunks: ParChunks {
                rest: middle..rest.end,
                ..self.chunks
            },
            parts_max: self.parts_max / 2,
            ..self
        };
        self.chunks.rest.end = middle;
        self.parts_max -= other.parts_max;
        (self, Some(other))
    }

    fn fold_with<F: Folder<Self::Item>>(mut self, mut folder: F) -> F {
        while !self.chunks.rest.is_empty() && !folder.full() {
            let Range { start, end } = self.chunks.rest;
            let chunk_end = self.start_of(self.chunk_of(start) + 1).min(end);
            let chunk = (self.chunks.lend)(self.chunks.fetch, start..chunk_end);
            // A failure ends the chunks of this thread, as it ends a scan.
            self.chunks.rest.start = if chunk.is_ok() { chunk_end } else { end };
            folder = folder.consume(chunk);
        }
        folder
    }
}

impl<L> fmt::Debug for ParChunks<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParChunks")
            .field("rest", &self.rest)
            .finish_non_exhaustive()
    }
}

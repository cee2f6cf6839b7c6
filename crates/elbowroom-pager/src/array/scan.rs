//! Elements in order, in chunks.

use std::fmt;
use std::iter;
use std::marker::PhantomData;
use std::ops::Range;

use bytemuck::AnyBitPattern;

use super::elements::bytes_of;
use super::guards::Slice;
use crate::error::Error;
use crate::fetch::Fetch;

/// Chunks of an array, in order. Returned by [`PagedArray::scan`](crate::PagedArray::scan).
pub struct Scan<'a, T> {
    pub(super) fetch: &'a Fetch,
    // Invariant: inside the array.
    pub(super) rest: Range<usize>,
    // The first page that no thread was asked to load.
    ahead: usize,
    borrow: PhantomData<&'a [T]>,
}

impl<'a, T> Scan<'a, T> {
    /// Returns a scan of elements that are inside the array, which the caller borrows for `'a`.
    pub(super) fn new(fetch: &'a Fetch, elements: Range<usize>) -> Scan<'a, T> {
        Scan {
            fetch,
            rest: elements,
            ahead: 0,
            borrow: PhantomData,
        }
    }

    /// Returns the elements of the rest that start in the same chunk of the array as the first.
    fn chunk(&self) -> Range<usize> {
        let Range { start, end } = self.rest;
        let chunk_bytes = self.fetch.chunk_pages() * self.fetch.pool.frames.page_bytes();
        let chunk_end = (start * size_of::<T>() / chunk_bytes + 1) * chunk_bytes;
        // The element on the border belongs to the chunk where it starts.
        start..chunk_end.div_ceil(size_of::<T>()).min(end)
    }

    /// Lets threads of the array load what comes after this chunk.
    fn load_ahead(&mut self, chunk: &Range<usize>) {
        let frames = &self.fetch.pool.frames;
        let next = frames.pages_of(bytes_of::<T>(chunk)).end;
        let end = frames.pages_of(bytes_of::<T>(&self.rest)).end;
        let start = self.ahead.max(next);
        self.ahead = end.min(next + self.fetch.ahead_pages()).max(start);
        self.fetch.load_ahead(iter::once(start..self.ahead));
    }
}

impl<'a, T: AnyBitPattern> Iterator for Scan<'a, T> {
    type Item = Result<Slice<'a, T>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let chunk = self.chunk();
        self.rest.start = chunk.end;
        self.load_ahead(&chunk);
        let slice = Slice::new(self.fetch, chunk);
        if slice.is_err() {
            self.rest.start = self.rest.end;
        }
        Some(slice)
    }
}

impl<T: AnyBitPattern> std::iter::FusedIterator for Scan<'_, T> {}

impl<T> fmt::Debug for Scan<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan")
            .field("rest", &self.rest)
            .finish_non_exhaustive()
    }
}

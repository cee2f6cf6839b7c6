//! The public array: a thin typed shell around [`Fetch`].

use std::ffi::OsStr;
use std::fmt;
use std::iter;
use std::marker::PhantomData;
use std::ops::{Range, RangeBounds};
use std::sync::Arc;
use std::thread::JoinHandle;

use bytemuck::{AnyBitPattern, NoUninit};

use crate::error::{Cause, Error, Operation};
use crate::fetch::Fetch;
use crate::stats::Stats;

mod elements;
mod gather;
mod guards;
mod location;
mod npy;
mod options;
mod paged_slice;
#[cfg(feature = "rayon")]
mod parallel;
mod resident;
mod resize;
mod scan;
mod sort;
mod writer;

use elements::{bytes_of, check, copy_out, resolve};
pub use guards::{Slice, SliceMut};
pub use npy::Npy;
pub use options::PagedOptions;
pub use paged_slice::PagedSlice;
#[cfg(feature = "rayon")]
pub use parallel::ParChunks;
pub use scan::Scan;
pub use sort::Sort;
pub use writer::Writer;

/// A typed array in a file or another [store](crate::Store), of which no more than a limit is in memory.
///
/// Elements keep their addresses for the life of the array. [`slice`](PagedArray::slice) loads a range and lends it
/// as `&[T]`; while the guard lives, the range stays in memory. Elements are in the byte order of the machine.
///
/// Any number of threads may read. Writing takes `&mut`, or [`Writer`]s, which split the array into parts for threads.
///
/// Dropping a writable array writes its changed pages to the store, but cannot tell of a failure: call
/// [`flush`](PagedArray::flush) before. After a kill or a crash, each page that was written since the last flush is old
/// or new in the store, or, if the crash hit during its write-back, a mixture of both.
///
/// ```
/// use elbowroom_pager::{MemoryStore, PagedArray};
///
/// let store = MemoryStore::new(vec![0; 8 << 20]);
/// let mut array = PagedArray::<u64>::options()
///     .writable(true)
///     .resident_limit(1 << 20)
///     .open_store(store)?;
///
/// assert_eq!(array.len(), 1 << 20);
/// array.set(1_000_000, 7)?;
/// array.slice_mut(10..13)?.copy_from_slice(&[1, 2, 3]);
/// assert_eq!(array.slice(10..13)?[..], [1, 2, 3]);
/// assert_eq!(array.get(1_000_000)?, 7);
/// array.flush()?;
///
/// let error = array.slice(..).unwrap_err(); // 8 MiB at once
/// assert!(error.is_limit());
/// assert!(array.stats().bytes_resident_max <= 1 << 20);
/// # Ok::<(), elbowroom_pager::Error>(())
/// ```
pub struct PagedArray<T> {
    fetch: Arc<Fetch>,
    threads: Vec<JoinHandle<()>>,
    // Invariant: the number of elements in the bytes in use of the frames.
    len: usize,
    max_len: usize,
    is_writable: bool,
    // A header in the store says the length.
    is_fixed: bool,
    elements: PhantomData<T>,
}

impl<T: AnyBitPattern> PagedArray<T> {
    /// Opens a file or another location for reading, with default [options](PagedOptions).
    ///
    /// # Errors
    /// As [`PagedOptions::open`].
    pub fn open(location: impl AsRef<OsStr>) -> Result<PagedArray<T>, Error> {
        PagedArray::options().open(location)
    }

    /// Returns options to open an array with.
    pub fn options() -> PagedOptions<T> {
        PagedOptions::new()
    }

    /// Returns the element at `index`.
    ///
    /// # Errors
    /// `is_out_of_range()`; otherwise as [`slice`](PagedArray::slice).
    pub fn get(&self, index: usize) -> Result<T, Error> {
        self.check(Operation::Read, index..index.saturating_add(1))?;
        copy_out(&self.fetch, index)
    }

    /// Brings the elements of `range` into memory and lends them. They stay there until the guard is dropped.
    ///
    /// # Errors
    /// `is_out_of_range()`; `is_limit()` if there is no room because guards pin too much, or because the range alone
    /// takes more than the limit; `is_changed()` if the store shows that its contents are others; otherwise the failure
    /// of the store. Making room can fail with that of a write-back to the array's own store.
    ///
    /// Threads that hold guards while they ask for more can leave no room for each other, also in other arrays with the
    /// same budget. Then each is refused; none waits for ever.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Result<Slice<'_, T>, Error> {
        let elements = resolve(&range, self.len);
        self.check(Operation::Read, elements.clone())?;
        Slice::new(&self.fetch, elements)
    }

    /// Returns the elements of `range` in order, in chunks that are read ahead.
    ///
    /// A chunk is as long as the [read-ahead](PagedOptions::read_ahead), and shorter at the end. While one is used,
    /// threads of the array load those that follow. Drop each chunk before the next to stay within the limit.
    ///
    /// ```
    /// use elbowroom_pager::{MemoryStore, PagedArray};
    ///
    /// let array = PagedArray::<u8>::options().open_store(MemoryStore::new(vec![1; 100_000]))?;
    /// let mut sum = 0;
    /// for chunk in array.scan(..)? {
    ///     sum += chunk?.iter().map(|&byte| u64::from(byte)).sum::<u64>();
    /// }
    /// assert_eq!(sum, 100_000);
    /// # Ok::<(), elbowroom_pager::Error>(())
    /// ```
    ///
    /// # Errors
    /// `is_out_of_range()`. Each chunk may fail as [`slice`](PagedArray::slice) does; then the scan is over.
    pub fn scan(&self, range: impl RangeBounds<usize>) -> Result<Scan<'_, T>, Error> {
        let elements = resolve(&range, self.len);
        self.check(Operation::Read, elements.clone())?;
        Ok(Scan::new(&self.fetch, elements))
    }

    /// Returns the elements at `indices`, in this order. Loads each page once if the limit allows, and adjacent pages
    /// in one read; threads of the array load ahead of the copying.
    ///
    /// The result, and a word for each index to sort by, are memory outside the limit.
    ///
    /// # Errors
    /// `is_out_of_range()` before anything is read; otherwise as [`slice`](PagedArray::slice).
    pub fn gather(&self, indices: &[usize]) -> Result<Vec<T>, Error> {
        for &index in indices {
            self.check(Operation::Read, index..index.saturating_add(1))?;
        }
        gather::gather(&self.fetch, indices)
    }

    /// Lets threads of the array load ranges that will be needed soon, in this order, and returns at once.
    ///
    /// This is advice: what exceeds half of the limit is ignored, as is a failure, and an array without
    /// [threads](PagedOptions::threads) loads nothing ahead.
    ///
    /// # Errors
    /// `is_out_of_range()`. The ranges before are loaded all the same.
    pub fn prefetch(&self, ranges: impl IntoIterator<Item = Range<usize>>) -> Result<(), Error> {
        let frames = &self.fetch.pool.frames;
        let mut left = frames.pages_max() / 2;
        for range in ranges {
            self.check(Operation::Read, range.clone())?;
            let pages = frames.pages_of(bytes_of::<T>(&range));
            let pages = pages.start..pages.end.min(pages.start.saturating_add(left));
            left -= pages.len();
            if self.threads.is_empty() {
                continue;
            }
            self.fetch.load_ahead(iter::once(pages));
        }
        Ok(())
    }
}

impl<T: AnyBitPattern + NoUninit> PagedArray<T> {
    /// Changes the element at `index`.
    ///
    /// # Errors
    /// As [`slice_mut`](PagedArray::slice_mut).
    pub fn set(&mut self, index: usize, value: T) -> Result<(), Error> {
        self.writer()?.set(index, value)
    }

    /// Brings the elements of `range` into memory and lends them for writing. Their pages are written to the store when
    /// room is needed, or by [`flush`](PagedArray::flush), and not before the guard is dropped.
    ///
    /// # Errors
    /// `is_read_only()`; otherwise as [`slice`](PagedArray::slice).
    pub fn slice_mut(&mut self, range: impl RangeBounds<usize>) -> Result<SliceMut<'_, T>, Error> {
        let elements = resolve(&range, self.len);
        self.check(Operation::Write, elements.clone())?;
        self.check_writable()?;
        SliceMut::new(&self.fetch, elements)
    }

    /// Returns a writer of the whole array, to be [split](Writer::split_at) into parts for threads.
    ///
    /// # Errors
    /// `is_read_only()`.
    pub fn writer(&mut self) -> Result<Writer<'_, T>, Error> {
        self.check_writable()?;
        Ok(Writer::new(&self.fetch, 0..self.len))
    }

    /// Returns `count` writers, which share the array in equal parts of whole pages, as far as that is possible. There
    /// are fewer if there are fewer pages.
    ///
    /// ```
    /// use elbowroom_pager::{MemoryStore, PagedArray};
    ///
    /// let store = MemoryStore::new(vec![0; 1 << 20]);
    /// let mut array = PagedArray::<u32>::options().writable(true).open_store(store)?;
    /// std::thread::scope(|scope| {
    ///     for (number, mut writer) in array.writers(4)?.into_iter().enumerate() {
    ///         scope.spawn(move || writer.slice_mut(..).map(|mut part| part.fill(number as u32)));
    ///     }
    ///     Ok::<(), elbowroom_pager::Error>(())
    /// })?;
    /// assert_eq!(array.get((1 << 18) - 1)?, 3);
    /// # Ok::<(), elbowroom_pager::Error>(())
    /// ```
    ///
    /// # Errors
    /// `is_read_only()`.
    pub fn writers(&mut self, count: usize) -> Result<Vec<Writer<'_, T>>, Error> {
        let pages = self.fetch.pool.frames.pages().div_ceil(count.max(1)).max(1);
        let part_bytes = pages * self.fetch.pool.frames.page_bytes();
        let part = part_bytes.div_ceil(size_of::<T>()).max(1);
        let mut rest = self.writer()?;
        let mut writers = Vec::new();
        while rest.len() > part {
            let (writer, others) = rest.split_at(part);
            writers.push(writer);
            rest = others;
        }
        writers.push(rest);
        Ok(writers)
    }
}

impl<T> PagedArray<T> {
    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the address of the first element, which stays the same for the life of the array. An element may be
    /// touched there only while a guard lends it.
    pub fn as_ptr(&self) -> *const T {
        self.fetch.pool.frames.base().cast_const().cast()
    }

    /// Returns the size of a page in bytes: the unit of loading, evicting and writing back.
    pub fn page_bytes(&self) -> usize {
        self.fetch.pool.frames.page_bytes()
    }

    /// Returns the path or URL that was opened.
    pub fn location(&self) -> &str {
        self.fetch.pool.source.location()
    }

    /// Returns a name of the contents that every read is checked against, or `None` if the store does not notice
    /// changes by others. For a read-only file: its length and its time of modification.
    pub fn version(&self) -> Option<String> {
        self.fetch.pool.source.version()
    }

    /// Writes all changed pages to the store and makes them durable.
    ///
    /// # Errors
    /// The first failure of the store, for example a full disk. The pages that were not written stay changed and in
    /// memory, so nothing is lost, and a later flush writes them. `is_pinned()` if a guard for writing was leaked.
    pub fn flush(&self) -> Result<(), Error> {
        self.fetch.pool.write_all_back()?;
        if self.is_writable {
            self.fetch.pool.source.flush()?;
        }
        Ok(())
    }

    /// Returns what the array has done and what it holds.
    pub fn stats(&self) -> Stats {
        let frames = &self.fetch.pool.frames;
        Stats {
            bytes_resident: frames.resident_bytes(),
            bytes_resident_max: frames.resident_bytes_max(),
            bytes_dirty: self.fetch.pool.table.dirty_pages() * frames.page_bytes(),
            ..self.fetch.pool.source.counters.stats(size_of::<T>())
        }
    }

    fn check(&self, operation: Operation, elements: Range<usize>) -> Result<(), Error> {
        check(&self.fetch, operation, elements, self.len, size_of::<T>())
    }

    fn check_writable(&self) -> Result<(), Error> {
        if self.is_writable {
            return Ok(());
        }
        let source = &self.fetch.pool.source;
        Err(source.error(Operation::Write, 0..0, Cause::ReadOnly))
    }
}

impl<T> Drop for PagedArray<T> {
    fn drop(&mut self) {
        self.fetch.queue.close();
        for thread in self.threads.drain(..) {
            // A panic of the store on a thread of the array has been printed; there is nothing to add.
            let _ = thread.join();
        }
        // A failure cannot be told: `flush` can.
        let _ = self.fetch.pool.write_all_back();
    }
}

impl<T> fmt::Debug for PagedArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PagedArray")
            .field("location", &self.location())
            .field("len", &self.len)
            .field("page_bytes", &self.page_bytes())
            .field("is_writable", &self.is_writable)
            .finish_non_exhaustive()
    }
}

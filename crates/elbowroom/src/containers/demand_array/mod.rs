//! A sparse table of any size.

#![allow(
    unsafe_code,
    reason = "lends references into memory that it commits itself"
)]

use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::ops::Range;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr;
use std::slice;

use bytemuck::Zeroable;

use super::{ContainerBuilder, ContainerStats, drop_each, saturating_bytes};
use crate::error::{Error, Operation, Reason};
use crate::page::{self, PageCount, PageIndex, PageRange};
use crate::plain::{PageState, Span};
use crate::region::{Backend, Region};
use known::Known;

mod known;

/// The smallest page size of any system, in bytes.
const LEAST_PAGE: usize = 4096;

/// An array of fixed length, up to the size of the address space, which takes memory only for the parts in use.
///
/// All elements start as zero, so the element type must have zero as a valid value: [`Zeroable`]. (With the feature
/// `zerocopy`, a type with `FromZeros` of the crate `zerocopy` is stored as `Zerocopy<T>`.) Reading an element that was
/// never written costs nothing. The first write to an element commits its pages, and more pages around them as
/// [`growth`](ContainerBuilder::growth) says. Elements never move.
///
/// ```
/// use elbowroom::DemandArray;
///
/// let mut count = DemandArray::<u64>::new(1 << 40)?; // 8 TiB of addresses
/// count.update(123_456_789_012, |n| *n += 1)?;
/// assert_eq!(count.get(123_456_789_012)?, 1);
/// assert_eq!(count.get(7)?, 0); // commits nothing
///
/// // The used parts, without a look at the rest.
/// let used = count.committed_ranges().map(|run| count.slice(run)).collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(used.concat().iter().sum::<u64>(), 1);
/// # Ok::<(), elbowroom::Error>(())
/// ```
///
/// # Many threads
///
/// Reading, committing and lending take `&self`, so any number of threads may do so at once. Writing takes `&mut self`,
/// except if the elements are atomics: then a shared borrow is enough.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use elbowroom::DemandArray;
///
/// let hits = DemandArray::<AtomicU64>::new(1 << 32)?;
/// std::thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(|| hits.touch(3_000_000_000).map(|hit| hit.fetch_add(1, Ordering::Relaxed)));
///     }
/// });
/// assert_eq!(hits.touch(3_000_000_000)?.load(Ordering::Relaxed), 4);
/// # Ok::<(), elbowroom::Error>(())
/// ```
///
/// # Errors
///
/// An index beyond the array is an error, `is_invalid_range()`. A commit may be refused: `is_limit()` by the commit
/// limit or a budget, `is_out_of_memory()` by the system; every element is unchanged then. An error's
/// [`offset`](Error::offset) is in bytes: it lies in the element at index `offset / size_of::<T>()`.
///
/// # Dropping elements
///
/// If elements need dropping, [`set`](DemandArray::set) drops the old value, [`clear_range`](DemandArray::clear_range)
/// drops the elements of the range, and dropping the array drops every committed element. Uncommitted zeros are not
/// dropped, nor are elements without a size.
pub struct DemandArray<T> {
    // Invariant: has room for `len` elements from its base, which is aligned for them. The array is the only user of
    // the region, and decommits only while it is borrowed exclusively.
    region: Region,
    len: usize,
    // Invariant: a subset of the committed pages. A page is added before any reference to it is made. So if one of an
    // element's pages is missing here, the element is zero.
    known: Known,
    elements: PhantomData<T>,
}

// A panic leaves every element intact.
impl<T: UnwindSafe> UnwindSafe for DemandArray<T> {}
impl<T: RefUnwindSafe> RefUnwindSafe for DemandArray<T> {}

impl<T: Zeroable> DemandArray<T> {
    /// Returns an array of `len` elements, which are all zero.
    ///
    /// # Errors
    /// `is_invalid_range()` if the length is beyond the address space; `is_out_of_memory()` if there is no free gap of
    /// that size, or if the process's limit on address space is reached.
    pub fn new(len: usize) -> Result<DemandArray<T>, Error> {
        DemandArray::builder(len).build()
    }

    /// Returns a builder for an array with a limit, a budget, a growth policy or a name.
    pub fn builder(len: usize) -> ContainerBuilder<DemandArray<T>> {
        ContainerBuilder::new(len)
    }

    /// Returns a copy of the element at `index`, and commits nothing. An element that was never written is zero.
    ///
    /// # Errors
    /// `is_invalid_range()` for an index beyond the end.
    #[inline]
    pub fn get(&self, index: usize) -> Result<T, Error>
    where
        T: Copy,
    {
        self.check(Operation::Read, index)?;
        if !self.is_known(index) {
            return Ok(T::zeroed());
        }
        // SAFETY: the element is in the array, on committed pages. The bytes are a valid T: they were zero at first,
        // which is a T, and only Ts were written. No thread writes while the array is borrowed, because a Copy type has
        // no interior mutability.
        Ok(unsafe { self.element(index).read() })
    }

    /// Commits the element at `index`, if needed, and returns a reference to it.
    ///
    /// # Errors
    /// See [above](DemandArray#errors).
    #[inline]
    pub fn touch(&self, index: usize) -> Result<&T, Error> {
        self.check(Operation::Read, index)?;
        self.commit(index)?;
        // SAFETY: the element is on committed pages, which stay committed while the array is borrowed. The bytes are a
        // valid T: they were zero at first, which is a T, and only Ts were written. Meanwhile it is written only
        // through interior mutability.
        Ok(unsafe { &*self.element(index) })
    }

    /// Writes the element at `index`.
    ///
    /// # Errors
    /// See [above](DemandArray#errors).
    #[inline]
    pub fn set(&mut self, index: usize, value: T) -> Result<(), Error> {
        self.update(index, |element| *element = value)
    }

    /// Calls `change` with the element at `index`, which is zero if it was never written, and returns its result.
    ///
    /// # Errors
    /// See [above](DemandArray#errors); `change` is not called then.
    #[inline]
    pub fn update<R>(
        &mut self,
        index: usize,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R, Error> {
        self.check(Operation::Write, index)?;
        self.commit(index)?;
        // SAFETY: the element is on committed pages, which stay committed while the array is borrowed. The bytes are a
        // valid T: they were zero at first, which is a T, and only Ts were written. The borrow is exclusive, so there
        // is no other reference.
        Ok(change(unsafe { &mut *self.element(index) }))
    }

    /// Commits the pages of the elements of `range`, and no others, and returns the elements.
    ///
    /// # Errors
    /// See [above](DemandArray#errors). Either all of the range is committed, or nothing new is.
    pub fn slice(&self, range: Range<usize>) -> Result<&[T], Error> {
        self.commit_range(&range)?;
        // SAFETY: the elements are contiguous in the array, on committed pages, which stay committed while the array is
        // borrowed. The bytes are valid Ts: they were zero at first, which is a T, and only Ts were written. Meanwhile
        // they are written only through interior mutability.
        Ok(unsafe { slice::from_raw_parts(self.element(range.start), range.len()) })
    }

    /// Commits as [`slice`](DemandArray::slice) does, and returns the elements to be written.
    ///
    /// # Errors
    /// See [`slice`](DemandArray::slice).
    pub fn slice_mut(&mut self, range: Range<usize>) -> Result<&mut [T], Error> {
        self.commit_range(&range)?;
        // SAFETY: the elements are contiguous in the array, on committed pages, which stay committed while the array is
        // borrowed. The bytes are valid Ts: they were zero at first, which is a T, and only Ts were written. The borrow
        // is exclusive, so there is no other reference.
        Ok(unsafe { slice::from_raw_parts_mut(self.element(range.start), range.len()) })
    }

    /// Makes the elements of `range` zero, and gives back the pages that hold nothing else.
    ///
    /// Other elements are unchanged.
    ///
    /// # Errors
    /// `is_invalid_range()` for a range beyond the end. Otherwise it fails only if the system does not take the pages
    /// back, as Linux does when the process has reached its limit of mappings (`vm.max_map_count`). Then the elements
    /// are zero all the same, and stay charged.
    pub fn clear_range(&mut self, range: Range<usize>) -> Result<(), Error> {
        self.check_range(Operation::Decommit, &range)?;
        if mem::needs_drop::<T>() {
            for run in self.committed_ranges() {
                let run = run.start.max(range.start)..run.end.min(range.end);
                // Each element by itself, so that every element is a valid T if a drop panics.
                for index in run {
                    // SAFETY: an element of the array on committed pages; the array is borrowed exclusively.
                    let element = unsafe { &mut *self.element(index) };
                    drop(mem::replace(element, T::zeroed()));
                }
            }
        }
        let bytes = range.start * Self::SIZE..range.end * Self::SIZE;
        // The pages that hold no byte of other elements.
        let inner = PageRange::new(bytes.start.div_ceil(page::size()), bytes.end / page::size());
        if inner.is_empty() {
            self.zero(bytes);
            return Ok(());
        }
        let decommitted = self.region.decommit(inner.bytes());
        match decommitted {
            Ok(()) => self.known.remove(inner),
            Err(_) => {
                // Only the committed runs, and not every page of a range that was never used.
                let committed = self
                    .spans()
                    .into_iter()
                    .filter(|span| span.state == PageState::Committed);
                for Span { range, .. } in committed {
                    let Range { start, end } = inner.bytes();
                    self.zero(range.start.max(start)..range.end.min(end));
                }
            }
        }
        self.zero(bytes.start..inner.bytes().start);
        self.zero(inner.bytes().end..bytes.end);
        decommitted
    }

    #[inline]
    fn check(&self, operation: Operation, index: usize) -> Result<(), Error> {
        if index < self.len {
            Ok(())
        } else {
            Err(self.out_of_range(operation, index..index.saturating_add(1)))
        }
    }

    fn check_range(&self, operation: Operation, range: &Range<usize>) -> Result<(), Error> {
        let fits = range.start <= range.end && range.end <= self.len;
        if fits {
            Ok(())
        } else {
            Err(self.out_of_range(operation, range.clone()))
        }
    }

    #[cold]
    fn out_of_range(&self, operation: Operation, range: Range<usize>) -> Error {
        let bytes = |index| saturating_bytes(index, Self::SIZE);
        let range = bytes(range.start)..bytes(range.end);
        Error::out_of_range(operation, range, bytes(self.len))
    }

    /// Returns the pages that hold bytes of elements of the array.
    fn pages_of(&self, range: &Range<usize>) -> PageRange {
        let bytes = range.start * Self::SIZE..range.end * Self::SIZE;
        if bytes.is_empty() {
            return PageRange::new(0, 0);
        }
        PageRange::new(
            PageIndex::holding(bytes.start).get(),
            PageIndex::holding(bytes.end - 1).get() + 1,
        )
    }

    /// Returns whether an element of the array is on pages that are known to be committed.
    #[inline]
    fn is_known(&self, index: usize) -> bool {
        match Self::SIZE {
            0 => true,
            _ if Self::STRADDLES => self
                .known
                .first_absent(self.pages_of(&(index..index + 1)))
                .is_none(),
            size => self.known.contains_byte(index * size),
        }
    }

    #[inline]
    fn commit(&self, index: usize) -> Result<(), Error> {
        if self.is_known(index) {
            Ok(())
        } else {
            self.commit_ahead(index)
        }
    }

    /// Commits the page of an element of the array, and those around it as the growth policy says.
    #[cold]
    #[inline(never)]
    fn commit_ahead(&self, index: usize) -> Result<(), Error> {
        let start = index * Self::SIZE;
        let pages = self.pages_of(&(index..index + 1));
        while let Some(page) = self.known.first_absent(pages) {
            // A byte of the element, so that an error names the element.
            let at = start.max(page.alone().bytes().start);
            let committed = self.region.commit_ahead(at..start + Self::SIZE)?;
            self.known.insert(committed);
        }
        Ok(())
    }

    fn commit_range(&self, range: &Range<usize>) -> Result<(), Error> {
        self.check_range(Operation::Commit, range)?;
        let pages = self.pages_of(range);
        if self.known.first_absent(pages).is_some() {
            self.region
                .commit(range.start * Self::SIZE..range.end * Self::SIZE)?;
            self.known.insert(pages);
        }
        Ok(())
    }

    /// Makes bytes zero. The caller has dropped the elements there, and zeroes the remaining bytes of each of them as
    /// well.
    fn zero(&mut self, bytes: Range<usize>) {
        let mut next = bytes.start;
        while next < bytes.end {
            let page = PageIndex::holding(next);
            let end = bytes.end.min(page.alone().bytes().end);
            // Pages that are not known to be committed are zero.
            if self.known.contains(page) {
                let at = self.region.as_ptr().wrapping_add(next);
                // SAFETY: the bytes are on a committed page of the region, which is borrowed exclusively; zero is a
                // valid T.
                unsafe { ptr::write_bytes(at, 0, end - next) };
            }
            next = end;
        }
    }
}

impl<T> DemandArray<T> {
    const SIZE: usize = size_of::<T>();
    /// Whether an element can lie on two pages.
    const STRADDLES: bool = Self::SIZE > 0 && LEAST_PAGE % Self::SIZE != 0;

    /// Returns the number of elements, used or not.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether the array has no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the indices of the committed elements, as runs in ascending order.
    ///
    /// Elements between the runs are zero. Elements in a run may be zero too, because memory is committed ahead of
    /// need.
    pub fn committed_ranges(&self) -> impl Iterator<Item = Range<usize>> + use<T> {
        let len = self.len;
        self.spans()
            .into_iter()
            .filter(|span| span.state == PageState::Committed || Self::SIZE == 0)
            .filter_map(move |Span { range, .. }| {
                // Only elements whose bytes are all committed. Elements without a size always are.
                let run = match Self::SIZE {
                    0 => 0..len,
                    size => range.start.div_ceil(size)..len.min(range.end / size),
                };
                (!run.is_empty()).then_some(run)
            })
    }

    /// Returns the name, or the empty string.
    pub fn name(&self) -> &str {
        self.region.name()
    }

    /// Returns the memory and the number of growths of the array.
    pub fn stats(&self) -> ContainerStats {
        let stats = self.region.stats();
        ContainerStats {
            reserved_bytes: stats.reserved_bytes,
            committed_bytes: stats.committed_bytes,
            commit_limit_bytes: stats.commit_limit_bytes,
            commits: stats.commits,
        }
    }

    /// Returns the state of every page, in order.
    pub fn spans(&self) -> Vec<Span> {
        self.region.spans()
    }

    /// Returns the address of an element, or of the end of the array.
    #[inline]
    fn element(&self, index: usize) -> *mut T {
        self.region.as_ptr().cast::<T>().wrapping_add(index)
    }
}

impl<T: Zeroable> ContainerBuilder<DemandArray<T>> {
    /// Sets how pages are committed.
    ///
    /// [`Backend::Auto`] suits scattered elements: without it, a process on Linux can have some 32,000 separate runs of
    /// committed pages in total.
    pub fn backend(mut self, backend: Backend) -> ContainerBuilder<DemandArray<T>> {
        self.options.backend = backend;
        self
    }

    /// Reserves the addresses and builds the array.
    ///
    /// # Errors
    /// See [`DemandArray::new`], and [`RegionBuilder::build`](crate::RegionBuilder::build) for the backend.
    pub fn build(self) -> Result<DemandArray<T>, Error> {
        let bytes = self.max.checked_mul(size_of::<T>());
        let bytes =
            bytes.ok_or_else(|| Error::new(Operation::Reserve, 0..usize::MAX, Reason::TooLarge))?;
        let mut builder = Region::builder(bytes.max(1))
            .align(align_of::<T>())
            .name(&self.options.name)
            .growth(self.options.growth)
            .huge_pages(self.options.huge_pages)
            .backend(self.options.backend)
            .commit_limit(self.options.commit_limit_bytes);
        if let Some(budget) = &self.options.budget {
            builder = builder.budget(budget);
        }
        let region = builder.build()?;
        let known = Known::new(PageCount::inside(region.len()));
        Ok(DemandArray {
            region,
            len: self.max,
            known,
            elements: PhantomData,
        })
    }
}

impl<T> fmt::Debug for DemandArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DemandArray")
            .field("len", &self.len)
            .field("region", &self.region)
            .finish()
    }
}

impl<T> Drop for DemandArray<T> {
    fn drop(&mut self) {
        if !mem::needs_drop::<T>() || Self::SIZE == 0 {
            return;
        }
        drop_each(self.committed_ranges(), |run| {
            let elements = ptr::slice_from_raw_parts_mut(self.element(run.start), run.len());
            // SAFETY: the elements are on committed pages, so they are valid Ts, and nothing uses them afterwards.
            unsafe { ptr::drop_in_place(elements) };
        });
    }
}

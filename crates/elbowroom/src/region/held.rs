//! Memory that stays committed while a guard exists, lent as cells.

#![allow(unsafe_code, reason = "calls the asm of plain accesses")]

use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

use bytemuck::{AnyBitPattern, NoUninit};

use super::handle::Region;
use crate::error::{Error, Operation};
use crate::fault::access;
use crate::page::PageRange;

/// The number of values that [`Cells::fill_with`] writes in each turn of its loop.
const UNROLLED: usize = 8;

impl Region {
    /// Commits every page that holds a byte of `range`, and keeps these pages committed while the returned guard
    /// exists. The filter is not asked.
    ///
    /// [`HeldRange::cells`] lends the range to loops. An access then costs as much as a plain access; an accessor also
    /// checks whether the touch was refused. Any number of guards may hold the same pages.
    ///
    /// ```
    /// use elbowroom::{Region, page_size};
    ///
    /// let region = Region::new(1 << 30)?;
    /// let held = region.hold(0..1 << 20)?;
    /// let cells = held.cells::<u64>()?;
    /// for index in 0..cells.len() {
    ///     cells.set(index, index as u64);
    /// }
    /// assert_eq!(cells.iter().sum::<u64>(), (0..1 << 17).sum());
    ///
    /// assert!(region.decommit(0..page_size()).unwrap_err().is_held());
    /// drop(held);
    /// region.decommit(0..page_size())?;
    /// # Ok::<(), elbowroom::Error>(())
    /// ```
    ///
    /// # Errors
    /// See [`commit`](Region::commit).
    pub fn hold(&self, range: Range<usize>) -> Result<HeldRange<'_>, Error> {
        let pages = self.inner().hold(range.clone())?;
        Ok(HeldRange {
            region: self,
            pages,
            range,
        })
    }
}

/// A range of a [`Region`] that stays committed while this guard exists.
///
/// Made by [`Region::hold`]. A [`decommit`](Region::decommit) of any of its pages fails with
/// [`is_held()`](Error::is_held). If a guard is forgotten ([`std::mem::forget`]), the pages stay committed for the life
/// of the region.
pub struct HeldRange<'a> {
    region: &'a Region,
    // Invariant: committed, and among the held pages of `region` until this is dropped. They contain every byte of
    // `range`.
    pages: PageRange,
    // Invariant: inside the region.
    range: Range<usize>,
}

impl HeldRange<'_> {
    /// Returns the range in bytes, as offsets from the base of the region.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Returns the address of the first byte. The rules of [`Region::as_ptr`] apply, except that the bytes are sure to
    /// stay committed.
    pub fn as_ptr(&self) -> *mut u8 {
        self.region.base.wrapping_add(self.range.start)
    }

    /// Returns the range as values of `T`, which must have 1, 2, 4 or 8 bytes. An incomplete value at the end of the
    /// range is left out. Other sizes do not compile:
    ///
    /// ```compile_fail,E0080
    /// let region = elbowroom::Region::new(4096)?;
    /// let held = region.hold(0..64)?;
    /// let cells = held.cells::<[u64; 2]>()?;
    /// # Ok::<(), elbowroom::Error>(())
    /// ```
    ///
    /// The cells cannot outlive the guard:
    ///
    /// ```compile_fail,E0505
    /// let region = elbowroom::Region::new(4096)?;
    /// let held = region.hold(0..64)?;
    /// let cells = held.cells::<u64>()?;
    /// drop(held);
    /// cells.set(0, 1);
    /// # Ok::<(), elbowroom::Error>(())
    /// ```
    ///
    /// # Errors
    /// `is_invalid_alignment()` if the first byte is not aligned to the size of `T`.
    pub fn cells<T: NoUninit + AnyBitPattern>(&self) -> Result<Cells<'_, T>, Error> {
        const {
            assert!(
                matches!(size_of::<T>(), 1 | 2 | 4 | 8),
                "cells have 1, 2, 4 or 8 bytes"
            );
        }
        let first = self.as_ptr();
        let size = size_of::<T>();
        if first.addr() % size != 0 {
            return Err(Error::misaligned(Operation::Read, self.range(), size));
        }
        Ok(Cells {
            first,
            len: self.range.len() / size,
            held: PhantomData,
            values: PhantomData,
        })
    }
}

impl Drop for HeldRange<'_> {
    fn drop(&mut self) {
        self.region.inner().let_go_of(self.pages);
    }
}

impl fmt::Debug for HeldRange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldRange")
            .field("region", &self.region.name())
            .field("range", &self.range)
            .finish()
    }
}

/// Committed values of a [`Region`] that threads share, like a slice of `Cell<T>` that is `Sync`.
///
/// Made by [`HeldRange::cells`]. Each access is one load or store, which is indivisible. It does not order other
/// accesses: use an atomic variable or a lock to tell other threads that values are ready. The accessors of the region
/// and other cells may access the same bytes at the same time.
///
/// The compiler does not turn these accesses into vector instructions. For arithmetic on large ranges by one thread, or
/// by threads with separate parts, use the slice of [`Region::commit_slice`].
pub struct Cells<'a, T> {
    // Invariant: aligned to the size of T, which is 1, 2, 4 or 8 bytes; `len` values from here on are in pages of a
    // region that stay committed for 'a. No reference points into a region while it is shared.
    first: *mut u8,
    len: usize,
    held: PhantomData<&'a HeldRange<'a>>,
    // Values are copies of bytes, so no T is owned or lent.
    values: PhantomData<fn(T) -> T>,
}

// SAFETY: the pointer is to memory of a region, which is not bound to a thread and stays committed for 'a (invariant).
// Values pass between threads as bytes, as they do through the region's accessors.
unsafe impl<T> Send for Cells<'_, T> {}
// SAFETY: accesses under a shared reference are single instructions in asm, which are sound from any number of threads
// (`fault::access`). Values pass between threads as bytes, as they do through the region's accessors.
unsafe impl<T> Sync for Cells<'_, T> {}

impl<T> Clone for Cells<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Cells<'_, T> {}

impl<'a, T: NoUninit + AnyBitPattern> Cells<'a, T> {
    /// Returns the number of values.
    #[inline]
    pub fn len(self) -> usize {
        self.len
    }

    /// Returns whether there are no values.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Returns the value at `index`.
    ///
    /// # Panics
    /// Panics if `index` is not less than [`len`](Cells::len).
    #[inline(always)]
    pub fn get(self, index: usize) -> T {
        self.check(index);
        // SAFETY: `index` is less than `len`, as checked above.
        unsafe { self.load(index) }
    }

    /// Replaces the value at `index`.
    ///
    /// # Panics
    /// Panics if `index` is not less than [`len`](Cells::len).
    #[inline(always)]
    pub fn set(self, index: usize, value: T) {
        self.check(index);
        // SAFETY: `index` is less than `len`, as checked above.
        unsafe { self.store(index, value) };
    }

    /// Replaces every value, in order, by the one that `make` returns for its index.
    ///
    /// For a loop over all values, this is faster than [`set`](Cells::set).
    #[inline]
    pub fn fill_with(self, mut make: impl FnMut(usize) -> T) {
        let unrolled = self.len / UNROLLED * UNROLLED;
        for first in (0..unrolled).step_by(UNROLLED) {
            for index in first..first + UNROLLED {
                // SAFETY: `first` is less than `unrolled`, and both are multiples of UNROLLED, so `index` is less than
                // `unrolled`, which is at most `len`.
                unsafe { self.store(index, make(index)) };
            }
        }
        for index in unrolled..self.len {
            // SAFETY: `index` is less than `len`, the end of the loop's range.
            unsafe { self.store(index, make(index)) };
        }
    }

    /// Returns the values in `range`.
    ///
    /// # Panics
    /// Panics if `range` is inverted or ends after [`len`](Cells::len).
    #[inline]
    pub fn slice(self, range: Range<usize>) -> Cells<'a, T> {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "the range {range:?} is not inside {} cells",
            self.len
        );
        Cells {
            first: self.first.wrapping_add(range.start * size_of::<T>()),
            len: range.len(),
            held: PhantomData,
            values: PhantomData,
        }
    }

    /// Returns an iterator over copies of the values.
    #[inline]
    pub fn iter(self) -> impl ExactSizeIterator<Item = T> + DoubleEndedIterator + use<'a, T> {
        // SAFETY: every index is less than `len`.
        (0..self.len).map(move |index| unsafe { self.load(index) })
    }

    /// Returns the value at `index`.
    ///
    /// # Safety
    /// `index` is less than `len`.
    #[inline(always)]
    unsafe fn load(self, index: usize) -> T {
        let mut value = MaybeUninit::<T>::uninit();
        let to = value.as_mut_ptr();
        macro_rules! load {
            ($load:ident, $type:ty) => {{
                // SAFETY: the value is in committed pages and aligned (invariant of `first`), because `index` is less
                // than `len` (contract). T has the size of this type.
                let loaded = unsafe { access::$load(self.first, index * size_of::<T>()) };
                // SAFETY: `value` has the size of this type, and `to` points to it.
                unsafe { to.cast::<$type>().write_unaligned(loaded) };
            }};
        }
        match size_of::<T>() {
            1 => load!(plain_load_1, u8),
            2 => load!(plain_load_2, u16),
            4 => load!(plain_load_4, u32),
            _ => load!(plain_load_8, u64),
        }
        // SAFETY: every byte has been written, and any bytes are a valid T (AnyBitPattern).
        unsafe { value.assume_init() }
    }

    /// Replaces the value at `index`.
    ///
    /// # Safety
    /// `index` is less than `len`.
    #[inline(always)]
    unsafe fn store(self, index: usize, value: T) {
        let offset = index * size_of::<T>();
        macro_rules! store {
            ($store:ident, $value:expr) => {
                // SAFETY: the value is in committed pages and aligned to the size of T, which is that of this type
                // (invariant of `first`), because `index` is less than `len` (contract). No reference points into a
                // region while it is shared.
                unsafe { access::$store(self.first, offset, $value) }
            };
        }
        match *bytemuck::bytes_of(&value) {
            [a] => store!(plain_store_1, a),
            [a, b] => store!(plain_store_2, u16::from_ne_bytes([a, b])),
            [a, b, c, d] => store!(plain_store_4, u32::from_ne_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] => {
                store!(plain_store_8, u64::from_ne_bytes([a, b, c, d, e, f, g, h]))
            }
            // PANIC: unreachable, because `HeldRange::cells` compiles for no other size.
            _ => unreachable!("cells have 1, 2, 4 or 8 bytes"),
        }
    }

    #[inline(always)]
    fn check(self, index: usize) {
        if index >= self.len {
            out_of_bounds(index, self.len);
        }
    }
}

#[cold]
#[inline(never)]
fn out_of_bounds(index: usize, len: usize) -> ! {
    // PANIC: documented, as for an index into a slice.
    #[allow(clippy::panic, reason = "documented, as an index into a slice")]
    {
        panic!("the index {index} is not inside {len} cells");
    }
}

impl<T> fmt::Debug for Cells<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cells")
            .field("first", &self.first)
            .field("len", &self.len)
            .finish()
    }
}

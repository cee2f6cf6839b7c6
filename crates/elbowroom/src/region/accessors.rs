//! The accessors: methods that touch a region, and return an error if the touch is refused.

#![allow(unsafe_code, reason = "calls the accessors' asm")]

use std::mem::MaybeUninit;
use std::ops::Range;
use std::slice;

use bytemuck::{AnyBitPattern, NoUninit};

use super::handle::Region;
use crate::error::{Cause, Error, Operation};
use crate::fault::access;

/// The smallest page size of any supported system, in bytes.
const PAGE_SIZE_MIN: usize = 4096;

impl Region {
    /// Returns whether an accessor may try `size` bytes at `offset`, which must end at or before the end of the guard
    /// page.
    #[inline(always)]
    fn reaches(&self, offset: usize, size: usize) -> bool {
        // A region has at least one page and its guard page. So for a size within two pages, one comparison suffices
        // and nothing overflows.
        if size <= 2 * PAGE_SIZE_MIN {
            offset <= self.reach.wrapping_sub(size)
        } else {
            offset
                .checked_add(size)
                .is_some_and(|end| end <= self.reach)
        }
    }

    /// Returns the address of `size` bytes at `offset`, if an accessor may try them.
    fn within_reach(
        &self,
        operation: Operation,
        offset: usize,
        size: usize,
    ) -> Result<*mut u8, Error> {
        if self.reaches(offset, size) {
            Ok(self.base.wrapping_add(offset))
        } else {
            Err(self.out_of_range(operation, offset, size))
        }
    }

    #[cold]
    fn out_of_range(&self, operation: Operation, offset: usize, size: usize) -> Error {
        Error::out_of_range(operation, offset..offset.saturating_add(size), self.len())
    }

    /// Returns the error of an access up to `end` that was refused at `at`.
    #[cold]
    fn refused(&self, operation: Operation, at: usize, end: usize, packed: u64) -> Error {
        let cause = Cause::from_register(packed);
        self.inner().error(operation, at..end, cause)
    }

    /// Writes `value` at `offset`, and commits the pages it lies on. `offset` may have any alignment.
    ///
    /// # Errors
    /// The cause of a refused commit: `is_limit()`, `is_declined()`, `is_out_of_memory()`, `is_protected()`; or
    /// `is_invalid_range()` beyond the end. The bytes before [`Error::offset`] are written, and none after.
    #[inline(always)]
    pub fn try_write<T: NoUninit>(&self, offset: usize, value: T) -> Result<(), Error> {
        // An aligned access lies in one page, so it is made whole or not at all. The base is aligned.
        if !self.reaches(offset, size_of::<T>()) || offset % size_of::<T>().max(1) != 0 {
            return self.write_in_pieces(offset, value);
        }
        let base = self.base;
        let refusal = match *bytemuck::bytes_of(&value) {
            // SAFETY: the byte is in the data or the guard page of this live region (`reaches`). No reference points
            // there: `commit_slice`, the only safe way to one, borrows the region exclusively.
            [a] => unsafe { access::store_1(base, offset, a) },
            // SAFETY: the address is aligned, and the bytes are in the data or the guard page of this live region
            // (`reaches`). No reference points there: `commit_slice`, the only safe way to one, borrows the region
            // exclusively.
            [a, b] => unsafe { access::store_2(base, offset, u16::from_ne_bytes([a, b])) },
            // SAFETY: the address is aligned, and the bytes are in the data or the guard page of this live region
            // (`reaches`). No reference points there: `commit_slice`, the only safe way to one, borrows the region
            // exclusively.
            [a, b, c, d] => unsafe {
                access::store_4(base, offset, u32::from_ne_bytes([a, b, c, d]))
            },
            [a, b, c, d, e, f, g, h] => {
                let value = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
                // SAFETY: the address is aligned, and the bytes are in the data or the guard page of this live region
                // (`reaches`). No reference points there: `commit_slice`, the only safe way to one, borrows the region
                // exclusively.
                unsafe { access::store_8(base, offset, value) }
            }
            _ => return self.write_in_pieces(offset, value),
        };
        if refusal == 0 {
            Ok(())
        } else {
            Err(self.refused(Operation::Write, offset, offset + size_of::<T>(), refusal))
        }
    }

    /// Writes a value that needs more than one store. Its argument is the value and not its address, so that the caller
    /// can keep it in a register.
    #[inline(never)]
    fn write_in_pieces<T: NoUninit>(&self, offset: usize, value: T) -> Result<(), Error> {
        self.try_copy_from_slice(offset, bytemuck::bytes_of(&value))
    }

    /// Reads a value at `offset`, and commits the pages it lies on. `offset` may have any alignment.
    ///
    /// # Errors
    /// See [`try_write`](Region::try_write).
    #[inline(always)]
    pub fn try_read<T: AnyBitPattern>(&self, offset: usize) -> Result<T, Error> {
        let size = size_of::<T>();
        if !self.reaches(offset, size)
            || offset % size.max(1) != 0
            || !matches!(size, 1 | 2 | 4 | 8)
        {
            return self.read_in_pieces(offset);
        }
        let mut value = MaybeUninit::<T>::uninit();
        let to = value.as_mut_ptr();
        macro_rules! load {
            ($load:ident, $type:ty) => {{
                // SAFETY: the address is aligned, and the bytes are in the data or the guard page of this live region
                // (`reaches`).
                let (loaded, refusal) = unsafe { access::$load(self.base, offset) };
                // SAFETY: `value` has as many bytes as were loaded, and `to` points to it.
                unsafe { to.cast::<$type>().write_unaligned(loaded) };
                refusal
            }};
        }
        let refusal = match size {
            1 => load!(load_1, u8),
            2 => load!(load_2, u16),
            4 => load!(load_4, u32),
            _ => load!(load_8, u64),
        };
        if refusal != 0 {
            return Err(self.refused(Operation::Read, offset, offset + size, refusal));
        }
        // SAFETY: every byte has been written, and any bytes are a valid T (AnyBitPattern).
        Ok(unsafe { value.assume_init() })
    }

    /// Reads a value that needs more than one load.
    #[inline(never)]
    fn read_in_pieces<T: AnyBitPattern>(&self, offset: usize) -> Result<T, Error> {
        let size = size_of::<T>();
        let from = self.within_reach(Operation::Read, offset, size)?;
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the bytes are in the data or the guard page of this live region (`within_reach`), and `value` is
        // writable for the size of its type.
        let copied = unsafe { access::copy_from_region(from, value.as_mut_ptr().cast(), size) };
        if copied.refusal != 0 {
            let end = offset + size;
            return Err(self.refused(Operation::Read, end - copied.left, end, copied.refusal));
        }
        // SAFETY: every byte has been written, and any bytes are a valid T (AnyBitPattern).
        Ok(unsafe { value.assume_init() })
    }

    /// Sets every byte of `range`, and commits the pages it lies on.
    ///
    /// # Errors
    /// See [`try_write`](Region::try_write).
    pub fn try_fill(&self, range: Range<usize>, byte: u8) -> Result<(), Error> {
        self.check_order(Operation::Write, &range)?;
        let len = range.len();
        let to = self.within_reach(Operation::Write, range.start, len)?;
        // SAFETY: the bytes are in the data or the guard page of this live region (`within_reach`). No reference points
        // there: `commit_slice`, the only safe way to one, borrows the region exclusively.
        let filled = unsafe { access::fill(to, byte, len) };
        if filled.refusal == 0 {
            return Ok(());
        }
        Err(self.refused(
            Operation::Write,
            range.end - filled.left,
            range.end,
            filled.refusal,
        ))
    }

    /// Copies `bytes` to `offset`, and commits the pages they are written to.
    ///
    /// # Errors
    /// See [`try_write`](Region::try_write).
    pub fn try_copy_from_slice(&self, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        self.within_reach(Operation::Write, offset, bytes.len())?;
        self.copy_in(offset, bytes)
    }

    /// Copies `bytes` to `offset`. The caller has checked that they are in reach.
    fn copy_in(&self, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        let to = self.base.wrapping_add(offset);
        // SAFETY: `bytes` is readable. From `to` on, as many bytes are in the data or the guard page of this live
        // region, as the caller has checked. No reference points there: `commit_slice`, the only safe way to one,
        // borrows the region exclusively.
        let copied = unsafe { access::copy_to_region(bytes.as_ptr(), to, bytes.len()) };
        if copied.refusal == 0 {
            return Ok(());
        }
        let end = offset + bytes.len();
        Err(self.refused(Operation::Write, end - copied.left, end, copied.refusal))
    }

    /// Fills `bytes` from `offset`, and commits the pages that are read.
    ///
    /// # Errors
    /// See [`try_write`](Region::try_write). After an error, `bytes` is new up to [`Error::offset`] and old from there
    /// on.
    pub fn try_copy_to_slice(&self, offset: usize, bytes: &mut [u8]) -> Result<(), Error> {
        // SAFETY: the pointer is that of a live exclusive borrow, for as long as this function runs. `MaybeUninit<u8>`
        // has the layout of `u8`, and only initialised bytes are written: those of the region.
        let bytes = unsafe { &mut *(bytes as *mut [u8] as *mut [MaybeUninit<u8>]) };
        self.try_copy_to_uninit(offset, bytes)?;
        Ok(())
    }

    /// Fills `bytes`, which need not be initialised, as [`try_copy_to_slice`](Region::try_copy_to_slice) does, and
    /// returns them.
    ///
    /// ```
    /// use elbowroom::{Region, page_size};
    ///
    /// let region = Region::new(page_size())?;
    /// region.try_write(1, 7u8)?;
    /// let mut buffer = Vec::with_capacity(3);
    /// let bytes = region.try_copy_to_uninit(0, &mut buffer.spare_capacity_mut()[..3])?;
    /// assert_eq!(bytes, [0, 7, 0]);
    /// # Ok::<(), elbowroom::Error>(())
    /// ```
    ///
    /// # Errors
    /// See [`try_copy_to_slice`](Region::try_copy_to_slice).
    pub fn try_copy_to_uninit<'a>(
        &self,
        offset: usize,
        bytes: &'a mut [MaybeUninit<u8>],
    ) -> Result<&'a mut [u8], Error> {
        let from = self.within_reach(Operation::Read, offset, bytes.len())?;
        let (to, len) = (bytes.as_mut_ptr().cast::<u8>(), bytes.len());
        // SAFETY: `len` bytes from `to` on are writable. From `from` on, as many bytes are in the data or the guard
        // page of this live region (`within_reach`).
        let copied = unsafe { access::copy_from_region(from, to, len) };
        if copied.refusal != 0 {
            let end = offset + len;
            return Err(self.refused(Operation::Read, end - copied.left, end, copied.refusal));
        }
        // SAFETY: all `len` bytes were just written, and they are borrowed exclusively for the lifetime of the result.
        Ok(unsafe { slice::from_raw_parts_mut(to, len) })
    }
}

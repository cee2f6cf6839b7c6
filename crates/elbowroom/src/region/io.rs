//! Regions and system calls: a system call on an uncommitted page does not fault, but fails.

#![allow(unsafe_code, reason = "lends committed memory as a slice")]

use std::io::{self, Read, Write};
use std::ops::Range;
use std::slice;

use super::backend::Backend;
use super::handle::Region;
use crate::error::{Error, Operation};
use crate::page;

/// The number of bytes moved at once.
const BUFFER_BYTES: usize = 32 << 10;

impl Region {
    /// Commits every page that holds a byte of `range` and returns the bytes, for a system call that reads or writes
    /// them: `read(2)` into uncommitted memory fails with EFAULT, while a store would commit it.
    ///
    /// The pages stay committed until [`decommit`](Region::decommit).
    ///
    /// # Errors
    /// See [`commit`](Region::commit).
    pub fn commit_slice(&mut self, range: Range<usize>) -> Result<&mut [u8], Error> {
        self.commit(range.clone())?;
        let first = self.as_ptr().wrapping_add(range.start);
        // SAFETY: `first` points to `range.len()` bytes of the region (`commit` has refused every other range). They
        // are committed, readable and writable, and any bytes are valid `u8`. The region is borrowed exclusively while
        // the slice lives, so no accessor, decommit or release affects them. Raw pointers are their users'
        // responsibility (`as_ptr`).
        Ok(unsafe { slice::from_raw_parts_mut(first, range.len()) })
    }

    /// Fills `range` from `reader`, and commits pages step by step, until the range is full or the reader ends.
    ///
    /// Returns the number of bytes read.
    ///
    /// The bytes go through a small buffer, because no Rust reference may point to memory that other threads may write.
    ///
    /// ```
    /// use elbowroom::Region;
    ///
    /// let region = Region::new(1 << 30)?;
    /// let mut source: &[u8] = b"from any reader";
    /// assert_eq!(region.read_from(100..1 << 20, &mut source)?, 15);
    ///
    /// let mut copy = Vec::new();
    /// region.write_to(105..115, &mut copy)?;
    /// assert_eq!(copy, b"any reader");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Returns the reader's errors, and the refusal of a touch (see [`try_write`](Region::try_write)) as an
    /// [`io::Error`] around an [`Error`]. Pages are committed before their bytes are read, so bytes without room stay
    /// in the reader. Bytes read before the error are in the region.
    pub fn read_from(&self, range: Range<usize>, reader: &mut impl Read) -> io::Result<usize> {
        self.check_order(Operation::Write, &range)?;
        if range.end > self.len() {
            return Err(Error::out_of_range(Operation::Write, range, self.len()).into());
        }
        let mut buffer = [0; BUFFER_BYTES];
        let mut next = range.start;
        while next < range.end {
            let (wanted, refusal) = self.committable(next..range.end.min(next + BUFFER_BYTES));
            if let (0, Some(error)) = (wanted, &refusal) {
                return Err(error.clone().into());
            }
            let read = match reader.read(&mut buffer[..wanted]) {
                Ok(0) => break,
                Ok(read) => read.min(wanted),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.try_copy_from_slice(next, &buffer[..read])?;
            next += read;
            if let Some(error) = refusal.filter(|_| read == wanted) {
                return Err(error.into());
            }
        }
        Ok(next - range.start)
    }

    /// Commits the pages of `range`, which is inside the region, as writes would. Returns the number of bytes from its
    /// start that are committed then, and the refusal of the page behind them, if it was refused.
    fn committable(&self, range: Range<usize>) -> (usize, Option<Error>) {
        // The filter of a served region runs on the threads that serve it, and only a touch wakes these.
        let is_served = self.backend() == Backend::UserfaultMonitor;
        let mut next = range.start;
        while next < range.end {
            let result = if is_served {
                self.try_read::<u8>(next).map(drop)
            } else {
                let ahead = self.inner().resolve_ahead(next);
                ahead.map_err(|cause| self.inner().error(Operation::Write, next..range.end, cause))
            };
            if let Err(error) = result {
                return (next - range.start, Some(error.about(next..range.end)));
            }
            next = (next / page::size() + 1) * page::size();
        }
        (range.len(), None)
    }

    /// Writes the bytes of `range` to `writer`.
    ///
    /// Pages that were never touched are zero. They are committed, because they are read.
    ///
    /// # Errors
    /// Returns the writer's errors, and the refusal of a touch, as [`read_from`](Region::read_from) does.
    pub fn write_to(&self, range: Range<usize>, writer: &mut impl Write) -> io::Result<()> {
        self.check_order(Operation::Read, &range)?;
        let mut buffer = [0; BUFFER_BYTES];
        let mut next = range.start;
        while next < range.end {
            let len = (range.end - next).min(BUFFER_BYTES);
            self.try_copy_to_slice(next, &mut buffer[..len])?;
            writer.write_all(&buffer[..len])?;
            next += len;
        }
        Ok(())
    }

    /// Refuses a range that ends before it starts. (A range that is too long is refused where it leaves the region.)
    pub(super) fn check_order(
        &self,
        operation: Operation,
        range: &Range<usize>,
    ) -> Result<(), Error> {
        if range.start <= range.end {
            return Ok(());
        }
        Err(Error::out_of_range(operation, range.clone(), self.len()))
    }
}

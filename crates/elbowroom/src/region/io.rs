//! Regions and system calls: a system call that is given an uncommitted page does not fault, it fails.

use std::io::{self, Read, Write};
use std::ops::Range;
use std::ptr;

use super::Region;
use crate::error::{Cause, Error, Operation};

/// What is moved at once.
const BUFFER_BYTES: usize = 32 << 10;

impl Region {
    /// Commits every page that holds a byte of `range`, for a system call that will read or write it: `read(2)` into
    /// uncommitted memory fails with EFAULT, where a store would have committed it. The bytes of the range, as such
    /// calls want them.
    ///
    /// They stay committed until [`decommit`](Region::decommit).
    ///
    /// # Errors
    /// As [`commit`](Region::commit).
    pub fn prepare(&self, range: Range<usize>) -> Result<*mut [u8], Error> {
        self.commit(range.clone())?;
        Ok(ptr::slice_from_raw_parts_mut(self.as_ptr().wrapping_add(range.start), range.len()))
    }

    /// Fills `range` from `reader`, committing as it goes, until it is full or the reader ends. How many bytes that
    /// was.
    ///
    /// The bytes go through a small buffer, since no Rust reference may point at memory that other threads may write.
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
    /// The reader's, and whatever refuses a touch (as [`try_write`](Region::try_write)), as an [`io::Error`] around an
    /// [`Error`]. What was read before is in the region.
    pub fn read_from(&self, range: Range<usize>, reader: &mut impl Read) -> io::Result<usize> {
        self.check_order(Operation::Write, &range)?;
        let mut buffer = [0; BUFFER_BYTES];
        let mut next = range.start;
        while next < range.end {
            let wanted = (range.end - next).min(BUFFER_BYTES);
            let read = match reader.read(&mut buffer[..wanted]) {
                Ok(0) => break,
                Ok(read) => read.min(wanted),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.try_copy_from_slice(next, &buffer[..read])?;
            next += read;
        }
        Ok(next - range.start)
    }

    /// Writes the bytes of `range` to `writer`. Pages that were never touched are zero, and are committed by this: they
    /// are read.
    ///
    /// # Errors
    /// The writer's, and whatever refuses a touch, as for [`read_from`](Region::read_from).
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

    /// Refuses a range that ends before it starts; one that is too long is refused where it leaves the region.
    pub(super) fn check_order(&self, operation: Operation, range: &Range<usize>) -> Result<(), Error> {
        if range.start <= range.end {
            return Ok(());
        }
        Err(Error::new(operation, range.clone(), Cause::OutOfRange { len: self.len() }))
    }
}

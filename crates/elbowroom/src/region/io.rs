//! Regions and system calls: a system call that is given an uncommitted page does not fault, it fails.

#![allow(unsafe_code, reason = "lends committed memory as a slice")]

use std::io::{self, Read, Write};
use std::ops::Range;
use std::slice;

use super::backend::Backend;
use super::handle::Region;
use crate::error::{Error, Operation};
use crate::page;

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
    pub fn commit_slice(&mut self, range: Range<usize>) -> Result<&mut [u8], Error> {
        self.commit(range.clone())?;
        let first = self.as_ptr().wrapping_add(range.start);
        // SAFETY: `first` points to `range.len()` bytes of the region (`commit` has refused any other range). They are
        // committed, readable and writable, and any bytes are valid `u8`. The region is borrowed exclusively while the
        // slice lives, so no accessor, decommit or release reaches them; raw pointers are their users' risk
        // (`as_ptr`).
        Ok(unsafe { slice::from_raw_parts_mut(first, range.len()) })
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
    /// Returns the reader's errors, and the refusal of a touch (as [`try_write`](Region::try_write) does) as an
    /// [`io::Error`] around an [`Error`]. Pages are committed before their bytes are read, so bytes that find no
    /// room stay in the reader; what was read before the error is in the region.
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

    /// Commits the pages of `range`, which is inside the region, as writes would. Returns how many bytes from its
    /// start are committed then, and the refusal of the page behind them, if one was refused.
    fn committable(&self, range: Range<usize>) -> (usize, Option<Error>) {
        // The filter of a served region runs on the threads that serve it, which only a touch reaches.
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

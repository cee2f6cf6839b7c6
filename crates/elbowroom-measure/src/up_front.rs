//! Memory that is committed as a whole from the start.

#![allow(unsafe_code, reason = "writes through the pointer of a reservation")]

use elbowroom::{Error, Reservation, page_size};

use crate::os::prefault;
use crate::pages::Pages;

/// The alignment for huge pages, whose size may differ on this machine.
const HUGE_ALIGNMENT: usize = 2 << 20;

/// Memory that is committed before the first touch: the alternative to committing on demand.
pub struct UpFront {
    // Invariant: every page is committed and stays so; no other code has the pointer.
    block: Reservation,
}

impl UpFront {
    /// Reserves `len` bytes and commits all of them.
    ///
    /// # Errors
    /// Fails if the system refuses either.
    pub fn new(len: usize) -> Result<UpFront, Error> {
        let block = Reservation::new(len)?;
        block.commit(0..block.len())?;
        Ok(UpFront { block })
    }

    /// Reserves `len` bytes and commits them in these pages.
    ///
    /// # Errors
    /// Fails if the system refuses, or has no such pages.
    pub fn with_pages(len: usize, pages: Pages) -> Result<UpFront, String> {
        let reserved = Reservation::builder(len).align(HUGE_ALIGNMENT).build();
        let block = reserved.and_then(|block| block.commit(0..block.len()).map(|()| block));
        let block = block.map_err(|error| error.to_string())?;
        // SAFETY: the range is the whole reservation, all of it is committed, and no other pointer to it exists.
        unsafe { prefault(block.as_ptr(), block.len(), pages) }?;
        Ok(UpFront { block })
    }

    /// Returns the number of bytes, a multiple of the page size.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.block.len()
    }

    /// Writes one byte.
    ///
    /// # Panics
    /// Panics if `offset` is past the end.
    pub fn write(&mut self, offset: usize, byte: u8) {
        assert!(offset < self.len(), "byte {offset} of {}", self.len());
        // SAFETY: the offset is inside the reservation, as asserted above, so the address does not wrap and is in the
        // same mapping.
        let at = unsafe { self.block.as_ptr().add(offset) };
        // SAFETY: the byte is in a committed page and therefore writable (invariant), and a single byte is always
        // aligned. No other code accesses it, because `self` is borrowed exclusively and no other code has the pointer.
        unsafe { at.write_volatile(byte) };
    }
}

/// Touches and releases `len` bytes, so that the system has free memory. The host of a virtual machine may have taken
/// back memory that was free for a while (free page reporting). It then needs milliseconds to provide a huge page, and
/// they count as the program's time. Does nothing if the memory is not available.
pub fn warm(len: usize) {
    if UpFront::with_pages(len, Pages::HugePopulated).is_err() {
        if let Ok(mut block) = UpFront::new(len) {
            let pages = (0..block.len()).step_by(page_size());
            pages.for_each(|offset| block.write(offset, 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_can_be_written() {
        let len = 3 * page_size();
        warm(len);
        for pages in [Pages::Demand, Pages::Populated, Pages::HugePopulated] {
            match UpFront::with_pages(len, pages) {
                Ok(mut block) => {
                    assert_eq!(block.len(), len);
                    block.write(len - 1, 1);
                }
                Err(why) => assert!(pages != Pages::Demand && !why.is_empty(), "{why}"),
            }
        }
    }
}

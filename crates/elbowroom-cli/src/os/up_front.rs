//! A reservation that is committed whole from the start, so that any of it may be touched.

#![allow(unsafe_code, reason = "writes through the pointer of a reservation")]

use elbowroom::{Error, Reservation};

use super::plain::Pages;

/// What huge pages are aligned to, whatever size they have here.
const HUGE_ALIGNMENT: usize = 2 << 20;

/// The seed's alternative to committing on demand.
pub(crate) struct UpFront {
    // Invariant: every page is committed and stays so; nothing else has the pointer.
    block: Reservation,
}

impl UpFront {
    /// Reserves `len` bytes and commits all of them.
    pub(crate) fn new(len: usize) -> Result<UpFront, Error> {
        let block = Reservation::new(len)?;
        block.commit(0..block.len())?;
        Ok(UpFront { block })
    }

    /// Reserves `len` bytes and commits them in these pages. Fails if this system has no such pages.
    pub(crate) fn with_pages(len: usize, pages: Pages) -> Result<UpFront, String> {
        let reserved = Reservation::builder(len).align(HUGE_ALIGNMENT).build();
        let block = reserved.and_then(|block| block.commit(0..block.len()).map(|()| block));
        let block = block.map_err(|error| error.to_string())?;
        // SAFETY: the range is the whole reservation, all of it is committed, and no other pointer to it exists.
        unsafe { super::sys::bring_in(block.as_ptr(), block.len(), pages) }?;
        Ok(UpFront { block })
    }

    pub(crate) fn len(&self) -> usize {
        self.block.len()
    }

    /// Writes one byte.
    ///
    /// # Panics
    /// If `offset` is past the end.
    pub(crate) fn write(&mut self, offset: usize, byte: u8) {
        assert!(offset < self.len(), "byte {offset} of {}", self.len());
        // SAFETY: inside the reservation (asserted just now), so the address does not wrap and is in the same mapping.
        let at = unsafe { self.block.as_ptr().add(offset) };
        // SAFETY: a byte of a committed page, so writable (invariant); one byte is always aligned; no other code reads
        // or writes it (`&mut self`, and nothing else has the pointer).
        unsafe { at.write_volatile(byte) };
    }
}

//! A reservation that is committed whole from the start, so that any of it may be touched.

#![allow(unsafe_code, reason = "writes through the pointer of a reservation")]

use elbowroom::{Error, Reservation};

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
        // SAFETY: a byte of a committed page, so writable (invariant); one byte is always aligned; nobody else reads or
        // writes it (`&mut self`, and nothing else has the pointer).
        unsafe { at.write_volatile(byte) };
    }
}

//! The part of a store that an array covers, with the store's refusals as errors that say what was asked.

use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Condvar, Mutex, PoisonError};

use elbowroom::Charge;

use super::{Store, StoreError};
use crate::error::{Cause, Error, Operation};
use crate::stats::Counters;

/// A store, and where in it the array starts.
pub(crate) struct Source {
    store: Box<dyn Store>,
    location: Box<str>,
    offset: u64,
    turns: Turns,
    pub(crate) counters: Counters,
}

/// The number of threads that may read at once, so that the memory for their reads is limited.
pub(crate) struct Turns {
    // `None` if it does not matter.
    left: Option<Mutex<usize>>,
    ended: Condvar,
    _charge: Option<Charge>,
}

impl Turns {
    /// Returns turns that the charge pays for, or any number of turns, which need no memory.
    pub(crate) fn new(charged: Option<(usize, Charge)>) -> Turns {
        let (count, charge) = charged.unzip();
        Turns {
            left: count.map(Mutex::new),
            ended: Condvar::new(),
            _charge: charge,
        }
    }

    /// Waits for a turn, which another thread gives up when its read ends.
    fn take(&self) -> Option<Turn<'_>> {
        let left = self.left.as_ref()?;
        let mut count = left.lock().unwrap_or_else(PoisonError::into_inner);
        while *count == 0 {
            count = self
                .ended
                .wait(count)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *count -= 1;
        Some(Turn(left, &self.ended))
    }
}

/// A read. Also a panic of the store ends it.
struct Turn<'a>(&'a Mutex<usize>, &'a Condvar);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.1.notify_one();
    }
}

impl Source {
    pub(crate) fn new(store: Box<dyn Store>, location: &str, offset: u64, turns: Turns) -> Source {
        Source {
            store,
            location: location.into(),
            offset,
            turns,
            counters: Counters::default(),
        }
    }

    pub(crate) fn location(&self) -> &str {
        &self.location
    }

    pub(crate) fn version(&self) -> Option<String> {
        self.store.version()
    }

    /// Returns an error about these bytes of the array.
    pub(crate) fn error(&self, operation: Operation, bytes: Range<usize>, cause: Cause) -> Error {
        let place = |byte: usize| self.offset.saturating_add(byte as u64);
        let range = place(bytes.start)..place(bytes.end);
        Error::new(operation, &self.location, range, cause)
    }

    fn refused(&self, operation: Operation, bytes: Range<usize>, refusal: StoreError) -> Error {
        self.counters.failures.fetch_add(1, Relaxed);
        let cause = match refusal {
            StoreError::Io(error) => Cause::Io(error),
            StoreError::Changed(how) => Cause::Changed(how),
        };
        self.error(operation, bytes, cause)
    }

    /// Fills the buffer with the array's bytes from `start` on.
    pub(crate) fn read(&self, start: usize, buffer: &mut [u8]) -> Result<(), Error> {
        let (len, at) = (buffer.len(), self.offset + start as u64);
        self.counters.reads.fetch_add(1, Relaxed);
        self.counters.bytes_read.fetch_add(len as u64, Relaxed);
        let turn = self.turns.take();
        let read = self.store.read_at(at, buffer);
        drop(turn);
        read.map_err(|refusal| self.refused(Operation::Read, start..start + len, refusal))
    }

    /// Writes the array's bytes from `start` on, as a part of the operation.
    pub(crate) fn write(
        &self,
        operation: Operation,
        start: usize,
        buffer: &[u8],
    ) -> Result<(), Error> {
        let (len, at) = (buffer.len(), self.offset + start as u64);
        self.counters.writes.fetch_add(1, Relaxed);
        self.counters.bytes_written.fetch_add(len as u64, Relaxed);
        let written = self.store.write_at(at, buffer);
        written.map_err(|refusal| self.refused(operation, start..start + len, refusal))
    }

    pub(crate) fn flush(&self) -> Result<(), Error> {
        let flushed = self.store.flush();
        flushed.map_err(|refusal| self.refused(Operation::Flush, 0..0, refusal))
    }

    /// Changes the length of the array from `old` to `new` bytes. The array must be the end of the store.
    pub(crate) fn resize(&self, old: usize, new: usize) -> Result<(), Error> {
        let refused = |refusal| self.refused(Operation::Resize, 0..0, refusal);
        let len = self.store.len().map_err(refused)?;
        if len != self.offset + old as u64 {
            let text = "bytes follow the array, which a change of its length would move or cut off";
            return Err(self.error(Operation::Resize, 0..0, Cause::Unsupported(text.into())));
        }
        self.store
            .set_len(self.offset + new as u64)
            .map_err(refused)
    }
}

//! Stores for the bytes of an array: the contract, and the stores that fulfil it.

use std::io;
use std::sync::Arc;

mod file;
mod memory;
#[cfg(feature = "remote")]
mod remote;
mod source;
#[cfg(feature = "remote")]
mod url;

pub use file::FileStore;
pub use memory::MemoryStore;
#[cfg(feature = "remote")]
pub use remote::RemoteStore;
pub(crate) use source::{Source, Turns};

/// Bytes that can be read and written at any offset, by any number of threads.
///
/// Implement it to put an array over something else than a file. An implementation may block. It must not use the array
/// that it is the store of, nor one that shares a budget with that array: it would wait for itself.
///
/// | method | contract |
/// |---|---|
/// | [`len`](Store::len) | the length in bytes now |
/// | [`read_at`](Store::read_at) | fills the whole buffer with bytes of the version at opening, or fails |
/// | [`write_at`](Store::write_at) | writes the whole buffer, or fails; the next read sees what was written |
/// | [`flush`](Store::flush) | what was written before survives a crash of the machine |
/// | [`set_len`](Store::set_len) | cuts bytes off, or appends zeros |
/// | [`version`](Store::version) | names the contents, for people |
/// | [`read_overhead`](Store::read_overhead) | counts against the limit, for each read at one time |
///
/// After a failed write, the bytes of its range are unspecified: old, new, or a mixture. The array keeps the page and
/// writes it again.
#[expect(clippy::len_without_is_empty, reason = "nothing would ask for it")]
pub trait Store: Send + Sync {
    /// Returns the length in bytes.
    ///
    /// # Errors
    /// If the store cannot say.
    fn len(&self) -> Result<u64, StoreError>;

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`StoreError::Changed`] if these are not the bytes that were there when the store was opened, or fewer than the
    /// buffer takes; [`StoreError::Io`] for any other failure. The contents of the buffer do not matter then.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError>;

    /// Writes the whole of `buffer` from `offset` on. Called only within the length.
    ///
    /// # Errors
    /// If not all of it was written.
    fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<(), StoreError>;

    /// Makes everything durable that was written before.
    ///
    /// # Errors
    /// If it cannot be known to be durable.
    fn flush(&self) -> Result<(), StoreError>;

    /// Changes the length. Appended bytes are zero.
    ///
    /// # Errors
    /// If the length stays as it was; with [`io::ErrorKind::Unsupported`] if it is fixed, which is the default.
    fn set_len(&self, len: u64) -> Result<(), StoreError> {
        let _ = len;
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }

    /// Returns whether bytes may be written.
    fn is_writable(&self) -> bool;

    /// Returns how much memory a read takes besides the buffer that it fills, in bytes. An array counts it against its
    /// limit, and reads no more often at once than it has counted. The default is none.
    fn read_overhead(&self) -> usize {
        0
    }

    /// Returns a name of the contents that [`read_at`](Store::read_at) promises, for people: an entity tag, or a length
    /// and a time. `None` if the store does not notice changes by others.
    fn version(&self) -> Option<String>;
}

/// A refusal by a [`Store`].
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The store refused, or failed.
    Io(io::Error),
    /// The contents are not those that were opened. The text says how that shows.
    Changed(String),
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> StoreError {
        StoreError::Io(error)
    }
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn len(&self) -> Result<u64, StoreError> {
        (**self).len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        (**self).read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<(), StoreError> {
        (**self).write_at(offset, buffer)
    }

    fn flush(&self) -> Result<(), StoreError> {
        (**self).flush()
    }

    fn set_len(&self, len: u64) -> Result<(), StoreError> {
        (**self).set_len(len)
    }

    fn is_writable(&self) -> bool {
        (**self).is_writable()
    }

    fn read_overhead(&self) -> usize {
        (**self).read_overhead()
    }

    fn version(&self) -> Option<String> {
        (**self).version()
    }
}

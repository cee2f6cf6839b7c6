//! A local file, by positional reads and writes.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use super::{Store, StoreError};
use crate::os;

/// A local file.
///
/// It is read and written at offsets through one open file, never mapped: a file that is truncated, or a disk that
/// fails, is an error and not a signal. If the file is replaced by another of the same name, the array keeps the old
/// one, as every open file does.
///
/// Changes by others are noticed when pages are loaded. A read-only file must keep its length and its time of
/// modification; a change within one tick of the file system's clock after opening may be missed. A writable file must
/// not become shorter: its time of modification changes with each write of the array itself, so a foreign write cannot
/// be told from one of ours.
#[derive(Debug)]
pub struct FileStore {
    file: File,
    is_writable: bool,
    // The length that reads may count on. Changed by `set_len` alone.
    len: AtomicU64,
    // When it was last written before it was opened. `None` where the file system does not say.
    modified: Option<SystemTime>,
}

impl FileStore {
    /// Opens a file that exists.
    ///
    /// # Errors
    /// Those of [`File::open`]; also for a directory.
    pub fn open(path: impl AsRef<Path>, is_writable: bool) -> io::Result<FileStore> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(is_writable).open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(FileStore {
            file,
            is_writable,
            len: AtomicU64::new(metadata.len()),
            modified: metadata.modified().ok(),
        })
    }

    /// Fails if the file is not what it was at opening.
    fn check(&self, metadata: &Metadata) -> Result<(), StoreError> {
        let (was, is) = (self.len.load(Relaxed), metadata.len());
        if is < was || is != was && !self.is_writable {
            return Err(StoreError::Changed(format!(
                "it had {was} bytes, and has {is}"
            )));
        }
        if !self.is_writable && metadata.modified().ok() != self.modified {
            return Err(StoreError::Changed(
                "its time of modification is another".into(),
            ));
        }
        Ok(())
    }
}

impl Store for FileStore {
    fn len(&self) -> Result<u64, StoreError> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let mut done = 0;
        while done < buffer.len() {
            match os::read_at(&self.file, &mut buffer[done..], offset + done as u64) {
                // The end of the file, where there were bytes before.
                Ok(0) => {
                    let (was, is) = (self.len.load(Relaxed), self.file.metadata()?.len());
                    let how = format!("it had {was} bytes, and has {is}");
                    return Err(StoreError::Changed(how));
                }
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Afterwards: a change before or during the read shows now.
        self.check(&self.file.metadata()?)
    }

    fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<(), StoreError> {
        // A write past the end of a file that was cut off would make it whole again, with zeros in between.
        self.check(&self.file.metadata()?)?;
        let mut done = 0;
        while done < buffer.len() {
            match os::write_at(&self.file, &buffer[done..], offset + done as u64) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(self.file.sync_data()?)
    }

    fn set_len(&self, len: u64) -> Result<(), StoreError> {
        self.file.set_len(len)?;
        self.len.store(len, Relaxed);
        Ok(())
    }

    fn is_writable(&self) -> bool {
        self.is_writable
    }

    fn version(&self) -> Option<String> {
        let len = self.len.load(Relaxed);
        let modified = self.modified?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let (seconds, nanos) = (modified.as_secs(), modified.subsec_nanos());
        (!self.is_writable).then(|| format!("{len} bytes, modified {seconds}.{nanos:09}"))
    }
}

//! A local file, by positional reads and writes.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use super::{Store, StoreError};
use crate::os;

/// The alignment of addresses, offsets and lengths of direct reads, which must be multiples of a block of the device.
/// 4 KiB is a multiple of the blocks of nearly all devices; other devices refuse the read.
const DIRECT_ALIGN: usize = 4096;

/// The largest page that a page cache has: a huge page.
const CACHED_PAGE_MAX: u64 = 2 << 20;

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
///
/// On Linux, reads do not fill the system's page cache. What is there already is copied from it, and stays there. The
/// rest is read past it (O_DIRECT); or through it, and taken out again, where the file system has no direct reads, and
/// for bytes that do not start at a multiple of 4 KiB in the file. Writes go through the page cache, and
/// [`flush`](Store::flush) takes the file out of it. [`page_cache`](FileStore::page_cache) turns all of this off.
/// On other systems, the page cache holds what was read and written.
#[derive(Debug)]
pub struct FileStore {
    file: File,
    // The same file for direct reads.
    direct: Option<File>,
    // The file system has refused a direct read.
    refuses_direct: AtomicBool,
    fills_page_cache: bool,
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
            direct: os::reopen_direct(&file),
            refuses_direct: AtomicBool::new(false),
            fills_page_cache: false,
            file,
            is_writable,
            len: AtomicU64::new(metadata.len()),
            modified: metadata.modified().ok(),
        })
    }

    /// Sets whether what is read and written stays in the system's page cache, from where another program, or a later
    /// run of this one, reads it faster. It counts as memory of the process's control group. The default is no.
    #[must_use = "the store is returned"]
    pub fn page_cache(mut self, is_filled: bool) -> FileStore {
        self.fills_page_cache = is_filled;
        self
    }

    /// Reads at most the buffer's length, by the means that fits.
    fn read_some(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if self.fills_page_cache {
            return os::read_at(&self.file, buffer, offset);
        }
        if let Some(direct) = self.direct_for(offset, buffer) {
            let range = offset..offset + buffer.len() as u64;
            if os::is_cached(&self.file, range) {
                return os::read_at(&self.file, buffer, offset);
            }
            let whole = buffer.len() / DIRECT_ALIGN * DIRECT_ALIGN;
            match os::read_at(direct, &mut buffer[..whole], offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                // Some file systems have no direct reads. If the disk fails, so does the read that follows.
                Err(error) => {
                    let is_refused = error.kind() == io::ErrorKind::InvalidInput;
                    self.refuses_direct.fetch_or(is_refused, Relaxed);
                }
                done => return done,
            }
        }
        // Not by all kernels and file systems. A sandbox may forbid the call.
        if let Ok(count) = os::read_uncached_at(&self.file, buffer, offset) {
            return Ok(count);
        }
        let count = os::read_at(&self.file, buffer, offset)?;
        // What the cache keeps as one page is dropped only if all of it is in the range. So what the last read left is
        // dropped now.
        let start = offset.saturating_sub(CACHED_PAGE_MAX);
        os::drop_cached(&self.file, start..offset + count as u64);
        Ok(count)
    }

    /// Returns the file for direct reads, if the beginning of the buffer can be filled by one.
    fn direct_for(&self, offset: u64, buffer: &[u8]) -> Option<&File> {
        let is_aligned = buffer.as_ptr().addr() % DIRECT_ALIGN == 0
            && offset % DIRECT_ALIGN as u64 == 0
            && buffer.len() >= DIRECT_ALIGN;
        let direct = self.direct.as_ref();
        direct.filter(|_| is_aligned && !self.refuses_direct.load(Relaxed))
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
            match self.read_some(offset + done as u64, &mut buffer[done..]) {
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
        self.file.sync_data()?;
        if !self.fills_page_cache {
            os::drop_cached(&self.file, 0..self.len.load(Relaxed));
        }
        Ok(())
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

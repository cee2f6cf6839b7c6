//! The workload of an array that is larger than its memory.

use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use elbowroom::fault::Histogram;
use elbowroom_map::{Run, State};
use elbowroom_pager::{Error, PagedArray};

use super::look::ArrayLook;

/// The memory of the array, unless a key makes it less.
pub(super) const LIMIT: usize = 4 << 20;
/// The size of the file.
const BYTES: usize = 8 * LIMIT;
pub(super) const LEN: usize = BYTES / size_of::<u64>();
/// The unit of loading. A page of every system fits in it.
const PAGE: usize = 64 << 10;
/// The number of elements that are written at once.
pub(super) const CHUNK: usize = PAGE / size_of::<u64>() / 2;

/// An array over a temporary file.
pub(super) struct Paged {
    array: RwLock<PagedArray<u64>>,
    // Dropped after the array, which has the file open.
    _name: Name,
    limit: usize,
}

/// The name of a file, which is removed when this is dropped.
struct Name(PathBuf);

impl Drop for Name {
    fn drop(&mut self) {
        // A failure leaves a file in the folder for temporary files. It is the usual result where the name of an open
        // file can be removed.
        let _ = fs::remove_file(&self.0);
    }
}

impl Paged {
    /// Opens the array, and removes the name of the file, so that it is gone however the process ends. Some systems
    /// remove the name of an open file when it is closed, or refuse to remove it.
    fn open(path: PathBuf, limit: usize) -> Result<Paged, String> {
        let options = PagedArray::options().writable(true).page_size(PAGE);
        let array = options.resident_limit(limit).open(&path);
        let _ = fs::remove_file(&path);
        Ok(Paged {
            array: RwLock::new(array.map_err(|error| error.to_string())?),
            _name: Name(path),
            limit,
        })
    }

    /// Returns the array over a new temporary file.
    pub(super) fn new(limit: usize) -> Result<Paged, String> {
        Paged::open(create()?, limit)
    }

    /// Writes all elements of a chunk.
    pub(super) fn fill(&self, chunk: usize) -> Result<(), Error> {
        let elements = chunk * CHUNK..(chunk + 1) * CHUNK;
        self.write().slice_mut(elements)?.fill(chunk as u64);
        Ok(())
    }

    /// Reads an element.
    pub(super) fn get(&self, index: usize) -> Result<(), Error> {
        self.read().get(index).map(drop)
    }

    pub(super) fn misses(&self) -> u64 {
        self.read().stats().misses
    }

    fn read(&self) -> RwLockReadGuard<'_, PagedArray<u64>> {
        self.array.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, PagedArray<u64>> {
        self.array.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the state of the array, and how long accesses have waited.
    pub(super) fn look(&self) -> (ArrayLook, Histogram) {
        let array = self.read();
        let stats = array.stats();
        let byte = |element: usize| (element * size_of::<u64>()) as u64;
        let (mut pages, mut end) = (Vec::new(), 0);
        for range in array.resident_ranges() {
            Run::new(end, byte(range.start), State::Reserved).push(&mut pages);
            end = byte(range.end);
            Run::new(byte(range.start), end, State::Resident).push(&mut pages);
        }
        Run::new(end, BYTES as u64, State::Reserved).push(&mut pages);
        let look = ArrayLook {
            bytes: BYTES as u64,
            page_bytes: array.page_bytes() as u64,
            limit_bytes: self.limit as u64,
            resident_bytes: stats.bytes_resident as u64,
            dirty_bytes: stats.bytes_dirty as u64,
            in_flight_bytes: stats.bytes_loading as u64,
            hits: stats.hits,
            misses: stats.misses,
            evictions: stats.evictions,
            read_bytes: stats.bytes_read,
            written_bytes: stats.bytes_written,
            pages,
        };
        (look, stats.stalls)
    }
}

/// Creates a file of zeros with a name that no other file has.
fn create() -> Result<PathBuf, String> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("elbowroom-watch-{}-{number}", process::id());
    let path = std::env::temp_dir().join(name);
    let file = OpenOptions::new().write(true).create_new(true).open(&path);
    let made = file.and_then(|file| {
        let made = file.set_len(BYTES as u64);
        made.inspect_err(|_| drop(fs::remove_file(&path)))
    });
    made.map_err(|error| format!("cannot create {}: {error}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_gone_and_its_contents_are_there() {
        let path = create().unwrap();
        let paged = Paged::open(path.clone(), LIMIT).unwrap();
        paged.fill(7).unwrap();
        let (look, stalls) = paged.look();
        assert_eq!((look.misses, stalls.count(), look.pages.len()), (1, 1, 3));
        assert_eq!(paged.read().get(8 * CHUNK - 1).unwrap(), 7);
        drop(paged);
        assert!(fs::File::open(&path).is_err());
    }
}

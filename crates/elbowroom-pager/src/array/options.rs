//! The options for opening an array.

use std::ffi::OsStr;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytemuck::AnyBitPattern;
use elbowroom::Budget;

use super::{Npy, PagedArray, location};
use crate::error::{Cause, Error, Operation};
use crate::evict::Pool;
use crate::fetch::Fetch;
use crate::frames::Frames;
use crate::npy::{NpyHeader, NpyType};
use crate::store::{Source, Store, StoreError, Turns};
use crate::table::Table;

const RESIDENT_LIMIT_DEFAULT: usize = 64 << 20;
const PAGE_BYTES_DEFAULT: usize = 64 << 10;
/// Larger pages would make an access to one element slow.
const PAGE_BYTES_DEFAULT_MAX: usize = 1 << 20;
const READ_AHEAD_DEFAULT: usize = 1 << 20;
/// A request to a server takes as long as some megabytes.
const READ_AHEAD_REMOTE: usize = 4 << 20;
/// Scattered reads need many at once: a disk that serves 16 is busy, and one that serves fewer does not mind.
pub(super) const THREADS_DEFAULT: usize = 16;

/// More pages at once could be more mappings than Linux gives a process by default (65,530), where the system counts
/// accessible memory: two for each page that has no resident neighbour.
const PAGES_DEFAULT_MAX: usize = 16 << 10;
/// The most reads at once, if each takes memory.
const TURNS_MAX: usize = 16;
/// Fewer pages at once leave no choice of what to evict.
const PAGES_DEFAULT_MIN: usize = 16;

/// Options to open a [`PagedArray`] with. Returned by [`PagedArray::options`].
///
/// ```
/// # let path = std::env::temp_dir().join(format!("elbowroom-pager-options-{}", std::process::id()));
/// # std::fs::write(&path, vec![0; 16 + 8 * 100]).unwrap();
/// use elbowroom::Budget;
/// use elbowroom_pager::PagedArray;
///
/// let process = Budget::new(256 << 20);
/// let array = PagedArray::<f64>::options()
///     .offset(16)              // bytes before the first element
///     .budget(&process)        // shared with other arrays and regions
///     .resident_limit(1 << 20) // and for this array alone
///     .open(&path)?;
/// assert_eq!(array.len(), 100);
/// # drop(array);
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), elbowroom_pager::Error>(())
/// ```
#[must_use = "options open nothing until `open` is called"]
pub struct PagedOptions<T> {
    resident_limit: Option<usize>,
    budget: Option<Budget>,
    page_bytes: Option<usize>,
    read_ahead_bytes: Option<usize>,
    pub(super) offset: u64,
    len: Option<usize>,
    max_len: Option<usize>,
    pub(super) is_writable: bool,
    pub(super) threads: Option<usize>,
    fills_page_cache: bool,
    elements: PhantomData<fn() -> T>,
}

impl<T: AnyBitPattern> PagedOptions<T> {
    pub(super) fn new() -> PagedOptions<T> {
        PagedOptions {
            resident_limit: None,
            budget: None,
            page_bytes: None,
            read_ahead_bytes: None,
            offset: 0,
            len: None,
            max_len: None,
            is_writable: false,
            threads: None,
            fills_page_cache: false,
            elements: PhantomData,
        }
    }

    /// Limits the pages in memory to this many bytes, including pages that are being loaded or written, and what
    /// reads [take besides](crate::Store::read_overhead). The default is 64 MiB, or none if there is a
    /// [`budget`](PagedOptions::budget).
    pub fn resident_limit(mut self, bytes: usize) -> PagedOptions<T> {
        self.resident_limit = Some(bytes);
        self
    }

    /// Charges the pages in memory to a budget. If the budget has no room, pages of all arrays that are charged to it
    /// are evicted, as if they were of one array: the next ones that were not used lately. A dirty page of another
    /// array is written to that array's store; if this fails, it stays, and the failure is left to that array.
    /// [Callbacks](elbowroom::BudgetBuilder::on_reaching) of the budget run when the pages that reached the threshold
    /// are loaded, and may use arrays.
    pub fn budget(mut self, budget: &Budget) -> PagedOptions<T> {
        self.budget = Some(budget.clone());
        self
    }

    /// Sets the size of a page in bytes: the unit of loading and evicting, a power of two. Less than a page of the
    /// system means a page of the system. The default is 64 KiB; up to 1 MiB for a limit above 1 GiB, and less for a
    /// limit below 1 MiB.
    pub fn page_size(mut self, bytes: usize) -> PagedOptions<T> {
        self.page_bytes = Some(bytes);
        self
    }

    /// Sets how much is loaded ahead of sequential access in one read, in bytes. The default is 1 MiB, and 4 MiB for an
    /// object store. It is never more than a quarter of the limit. Zero turns it off.
    pub fn read_ahead(mut self, bytes: usize) -> PagedOptions<T> {
        self.read_ahead_bytes = Some(bytes);
        self
    }

    /// Starts the array this many bytes into the store. The default is 0.
    pub fn offset(mut self, bytes: u64) -> PagedOptions<T> {
        self.offset = bytes;
        self
    }

    /// Sets the number of elements. The default is all from the offset to the end, which must be a whole number.
    pub fn len(mut self, elements: usize) -> PagedOptions<T> {
        self.len = Some(elements);
        self
    }

    /// Reserves address space for this many elements, up to which the array can be
    /// [resized](PagedArray::resize). The default is its length.
    pub fn max_len(mut self, elements: usize) -> PagedOptions<T> {
        self.max_len = Some(elements);
        self
    }

    /// Opens the array for writing as well.
    pub fn writable(mut self, is_writable: bool) -> PagedOptions<T> {
        self.is_writable = is_writable;
        self
    }

    /// Sets how many threads load ahead ([`scan`](PagedArray::scan), [`gather`](PagedArray::gather),
    /// [`prefetch`](PagedArray::prefetch)) and write behind. The default is 16. With 0, the calling threads do
    /// everything, and [`prefetch`](PagedArray::prefetch) nothing.
    pub fn threads(mut self, count: usize) -> PagedOptions<T> {
        self.threads = Some(count);
        self
    }

    /// Sets whether what is read from a local file and written to it stays in the system's page cache, beside the pages
    /// of the array. The default is no, see [`FileStore`](crate::FileStore).
    pub fn page_cache(mut self, is_filled: bool) -> PagedOptions<T> {
        self.fills_page_cache = is_filled;
        self
    }

    /// Opens a path, a `file://` URL, or `memory://` for zeros in memory, with a [`len`](PagedOptions::len). With the
    /// feature `remote` also `s3://`, `gs://`, `az://`, `http://` and `https://`, for reading.
    ///
    /// # Errors
    /// `io_error()` if the file or object cannot be opened; `is_unsupported()` for another URL; otherwise as
    /// [`open_store`](PagedOptions::open_store).
    pub fn open(self, location: impl AsRef<OsStr>) -> Result<PagedArray<T>, Error> {
        let location = location.as_ref();
        let store = self.store_at(location)?;
        self.open_boxed(store, &location.to_string_lossy())
    }

    /// Opens the elements of a `.npy` file of NumPy, in the order of the file, and returns its header as well. An
    /// offset and a length that were set do not matter.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("elbowroom-pager-npy-{}.npy", std::process::id()));
    /// # let mut file = b"\x93NUMPY\x01\0\x46\0".to_vec();
    /// # file.extend(format!("{:69}\n", "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }").bytes());
    /// # file.extend((1..7).flat_map(i32::to_le_bytes));
    /// # std::fs::write(&path, file).unwrap();
    /// use elbowroom_pager::PagedArray;
    ///
    /// // numpy.save(path, numpy.array([[1, 2, 3], [4, 5, 6]], dtype="int32"))
    /// let (array, header) = PagedArray::<i32>::options().open_npy(&path)?;
    /// assert_eq!(header.shape(), [2, 3]);
    /// assert_eq!(array.slice(3..)?[..], [4, 5, 6]);
    /// # drop(array);
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), elbowroom_pager::Error>(())
    /// ```
    ///
    /// # Errors
    /// `is_invalid()` if it is no such file, if its elements are of another type or byte order, or if it is shorter
    /// than its header says; otherwise as [`open`](PagedOptions::open).
    pub fn open_npy(self, location: impl AsRef<OsStr>) -> Result<(PagedArray<T>, NpyHeader), Error>
    where
        T: NpyType,
    {
        let npy = Npy::with(location.as_ref(), self.is_writable, self.fills_page_cache)?;
        let header = npy.header().clone();
        Ok((npy.array(self)?, header))
    }

    /// Opens a custom store.
    ///
    /// # Errors
    /// `is_invalid()` if an option makes no sense, such as a limit of less than a page, or if the store is too short or
    /// not a whole number of elements; `is_read_only()` if the store is; `is_limit()` or `is_out_of_memory()` if the
    /// address space cannot be reserved; otherwise what the store or the system says.
    pub fn open_store(self, store: impl Store + 'static) -> Result<PagedArray<T>, Error> {
        self.open_boxed(Box::new(store), "the store")
    }

    /// Opens the store that a location means.
    pub(super) fn store_at(&self, location: &OsStr) -> Result<Box<dyn Store>, Error> {
        let bytes = self.len.and_then(|len| len.checked_mul(size_of::<T>()));
        let memory_len = bytes.and_then(|bytes| self.offset.checked_add(bytes as u64));
        location::open(
            location,
            self.is_writable,
            self.fills_page_cache,
            memory_len,
        )
    }

    pub(super) fn open_boxed(
        self,
        store: Box<dyn Store>,
        location: &str,
    ) -> Result<PagedArray<T>, Error> {
        let invalid = |reason: String| Error::invalid(location, reason);
        let refuse = |cause: Cause| Error::new(Operation::Open, location, 0..0, cause);
        if size_of::<T>() == 0 {
            return Err(invalid("its elements have no bytes".into()));
        }
        if self.is_writable && !store.is_writable() {
            return Err(refuse(Cause::ReadOnly));
        }
        let store_len = store.len().map_err(|refusal| refused(location, refusal))?;
        let len = self.elements(store_len).map_err(invalid)?;
        let max_len = self.max_len.unwrap_or(len).max(len);
        let Some(max_bytes) = max_len.checked_mul(size_of::<T>()) else {
            return Err(invalid(format!(
                "{max_len} elements are more than can be addressed"
            )));
        };
        let no_room = |refusal| refuse(Cause::NoRoom(refusal));
        let read_overhead = store.read_overhead();
        let memory = self.memory(read_overhead).map_err(invalid)?;
        let turns = memory.turns().map_err(no_room)?;
        let Memory {
            budget,
            limit_bytes,
            page_bytes,
            ..
        } = memory;
        let frames = Frames::new(
            max_bytes,
            len * size_of::<T>(),
            page_bytes,
            &budget,
            limit_bytes,
        );
        let frames = frames.map_err(no_room)?;
        let Some(table) = Table::new(frames.max_bytes() / page_bytes) else {
            return Err(refuse(Cause::Io(std::io::ErrorKind::OutOfMemory.into())));
        };
        let pool = Pool::new(
            frames,
            table,
            Source::new(store, location, self.offset, turns),
            &budget,
        );
        let threads = self.threads.unwrap_or(THREADS_DEFAULT);
        let read_ahead = self.read_ahead_bytes.unwrap_or(match read_overhead {
            0 => READ_AHEAD_DEFAULT,
            _ => READ_AHEAD_REMOTE,
        });
        let fetch = Fetch::new(pool, read_ahead, threads > 0);
        // Dropping it ends the threads.
        let mut array = PagedArray {
            fetch: Arc::new(fetch),
            threads: Vec::new(),
            len,
            max_len,
            is_writable: self.is_writable,
            is_fixed: false,
            elements: PhantomData,
        };
        for _ in 0..threads {
            let fetch = Arc::clone(&array.fetch);
            let thread = std::thread::Builder::new().name("elbowroom-pager".into());
            let thread = thread.spawn(move || fetch.queue.work(|job| fetch.work(job)));
            array
                .threads
                .push(thread.map_err(|error| refuse(Cause::Io(error)))?);
        }
        Ok(array)
    }

    /// Returns the number of elements in a store of `store_len` bytes.
    pub(super) fn elements(&self, store_len: u64) -> Result<usize, String> {
        let (offset, size) = (self.offset, size_of::<T>() as u64);
        let Some(bytes) = store_len.checked_sub(offset) else {
            return Err(format!(
                "it has {store_len} bytes, fewer than the offset {offset}"
            ));
        };
        if let Some(len) = self.len {
            if (len as u64)
                .checked_mul(size)
                .is_none_or(|asked| asked > bytes)
            {
                return Err(format!(
                    "{len} elements of {size} bytes were asked for, and from the offset {offset} on it has {bytes} \
                     bytes"
                ));
            }
            return Ok(len);
        }
        if bytes % size != 0 {
            return Err(format!(
                "from the offset {offset} on it has {bytes} bytes, which are not a whole number of elements of {size} \
                 bytes; give the number of elements with `len`"
            ));
        }
        usize::try_from(bytes / size).map_err(|_| "it is larger than can be addressed".into())
    }

    /// Returns what memory is charged to, and how it is used, with a store whose reads take `overhead` besides.
    pub(super) fn memory(&self, overhead: usize) -> Result<Memory, String> {
        let own = |bytes| Budget::builder(bytes).name("resident limit");
        let budget = match (self.resident_limit, &self.budget) {
            (Some(bytes), Some(budget)) => own(bytes).child_of(budget).build(),
            (None, Some(budget)) => budget.clone(),
            (bytes, None) => own(bytes.unwrap_or(RESIDENT_LIMIT_DEFAULT)).build(),
        };
        let system = elbowroom::page_size();
        let all = budget.limit_bytes();
        let turns = match overhead {
            0 => 0,
            _ => (all / 4 / overhead).clamp(1, TURNS_MAX),
        };
        let turns_bytes = turns * overhead;
        let Some(limit) = all
            .checked_sub(turns_bytes)
            .filter(|&limit| turns == 0 || limit >= system)
        else {
            return Err(format!(
                "the limit of {all} bytes has no room for a page and for a read, which takes {overhead} bytes"
            ));
        };
        let page_bytes = match self.page_bytes {
            Some(bytes) if !bytes.is_power_of_two() => {
                return Err(format!("the page size {bytes} is not a power of two"));
            }
            Some(bytes) => bytes.max(system),
            None => {
                let mut bytes = PAGE_BYTES_DEFAULT.max(system);
                while bytes > system && limit / bytes < PAGES_DEFAULT_MIN {
                    bytes /= 2;
                }
                while limit / bytes > PAGES_DEFAULT_MAX && bytes < PAGE_BYTES_DEFAULT_MAX {
                    bytes *= 2;
                }
                bytes
            }
        };
        if limit < page_bytes {
            let besides = match turns_bytes {
                0 => String::new(),
                bytes => format!(", besides {bytes} for reads"),
            };
            return Err(format!(
                "the limit of {all} bytes is less than a page of {page_bytes} bytes{besides}"
            ));
        }
        if align_of::<T>() > page_bytes {
            let align = align_of::<T>();
            return Err(format!(
                "elements are aligned to {align} bytes, more than a page of {page_bytes}"
            ));
        }
        Ok(Memory {
            budget,
            limit_bytes: limit,
            page_bytes,
            turns,
            turns_bytes,
        })
    }
}

/// The memory that an array may use.
pub(super) struct Memory {
    pub(super) budget: Budget,
    /// For pages.
    pub(super) limit_bytes: usize,
    pub(super) page_bytes: usize,
    /// The number of threads that may read at once, and the memory for that. Zero means any number.
    turns: usize,
    turns_bytes: usize,
}

impl Memory {
    /// Charges the budget for the reads at one time.
    pub(super) fn turns(&self) -> Result<Turns, elbowroom::Error> {
        Ok(match self.turns {
            0 => Turns::new(None),
            turns => Turns::new(Some((turns, self.budget.charge(self.turns_bytes)?))),
        })
    }
}

/// Returns the error of a store that refuses before the array is open.
pub(super) fn refused(location: &str, refusal: StoreError) -> Error {
    let cause = match refusal {
        StoreError::Io(error) => Cause::Io(error),
        StoreError::Changed(how) => Cause::Changed(how),
    };
    Error::new(Operation::Open, location, 0..0, cause)
}

impl<T> Clone for PagedOptions<T> {
    fn clone(&self) -> PagedOptions<T> {
        PagedOptions {
            budget: self.budget.clone(),
            ..*self
        }
    }
}

impl<T> fmt::Debug for PagedOptions<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PagedOptions")
            .field("resident_limit", &self.resident_limit)
            .field("budget", &self.budget)
            .field("page_bytes", &self.page_bytes)
            .field("read_ahead_bytes", &self.read_ahead_bytes)
            .field("offset", &self.offset)
            .field("len", &self.len)
            .field("max_len", &self.max_len)
            .field("is_writable", &self.is_writable)
            .field("threads", &self.threads)
            .field("fills_page_cache", &self.fills_page_cache)
            .finish()
    }
}

//! A whole array as one plain slice, whose pages come in when they are touched.

#![allow(unsafe_code, reason = "lends memory that page faults fill")]

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::slice;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytemuck::AnyBitPattern;
use elbowroom::{Backend, Charge, Fault, Region, Verdict};

use super::options::{PagedOptions, THREADS_DEFAULT, refused};
use crate::error::{Cause, Error, Operation};
use crate::stats::Stats;
use crate::store::{Source, Store};

/// A read-only typed array larger than memory, as one plain `&[T]`. Linux only.
///
/// It is for code that wants a slice: a C library, a numeric kernel, a sort of indices. The first touch of a page waits
/// until threads of the array have read it from the store. When the limit is reached, the pages that were read first
/// are thrown out; the next touch reads them again. No thread ever sees a page before its contents are whole.
///
/// [`PagedArray`](super::PagedArray) is the better choice where the code can be written for it: it lends ranges,
/// returns errors, writes, and keeps what is used most.
///
/// ```
/// use elbowroom_pager::{MemoryStore, PagedArray};
///
/// let bytes: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_ne_bytes).collect();
/// let options = PagedArray::<u32>::options().resident_limit(1 << 20);
/// // SAFETY: no other code has the bytes of this store, so they never change.
/// match unsafe { options.open_slice_of_store(MemoryStore::new(bytes)) } {
///     Ok(numbers) => {
///         assert_eq!(numbers.len(), 1_000_000);
///         assert_eq!(numbers.binary_search(&765_432), Ok(765_432));
///         assert!(numbers.stats().bytes_resident <= 1 << 20);
///     }
///     Err(error) => assert!(error.is_unsupported() || error.memory_error().is_some()),
/// }
/// ```
///
/// # Failures
///
/// A touch cannot return an error. If the store fails, the array prints its error to standard error, and the touch goes
/// to the signal handlers that were installed before the library's, which by default end the process.
///
/// # System calls
///
/// The kernel's own touch, such as `write(2)` from the slice, waits as well if the process may handle the kernel's
/// faults ([`Backend::UserfaultMonitor`]); [`serves_system_calls`](PagedSlice::serves_system_calls) tells. Otherwise
/// such a system call fails with EFAULT.
///
/// After a fork, the child must not touch pages that are not resident: it has no threads that would read them.
pub struct PagedSlice<T> {
    region: Region,
    // The filter of the region has it, too.
    cache: Arc<Cache>,
    // Invariant: this many elements lie in the region, from its base on, and the base is aligned for T.
    len: usize,
    elements: PhantomData<T>,
}

/// The data of the region's filter.
struct Cache {
    source: Source,
    // The bytes of the store that are the array's.
    len_bytes: usize,
    block_bytes: usize,
    state: Mutex<State>,
    // Notified when `moving` becomes less.
    moved: Condvar,
    // For the buffers.
    charge: Charge,
}

struct State {
    // One for each thread that runs the filter: a block, and a page of the system to align it with.
    buffers: Vec<Box<[u8]>>,
    // The ranges that were filled and are committed, the oldest first.
    filled: VecDeque<Range<usize>>,
    // The threads that are filling or evicting pages, which are not in `filled`.
    moving: usize,
    // The threads that wait until `moving` becomes less.
    waiting: usize,
}

impl<T: AnyBitPattern> PagedOptions<T> {
    /// Opens a location as one plain slice. Locations are those of [`open`](PagedOptions::open).
    ///
    /// [`page_size`](PagedOptions::page_size) is the most that one touch reads. [`threads`](PagedOptions::threads), at
    /// least one, read; each has a buffer of a page, which counts against the limit. The default is as many as take a
    /// quarter of the limit, up to 16. The other options are as for an array.
    ///
    /// # Safety
    /// The bytes of the array in the store do not change while the slice lives. An object that is named by its version
    /// keeps this; a file does if no program writes to it.
    ///
    /// # Errors
    /// As [`open`](PagedOptions::open); also `is_unsupported()` for a writable slice and where there is no userfaultfd,
    /// and `memory_error()` if the system forbids it.
    pub unsafe fn open_slice(self, location: impl AsRef<OsStr>) -> Result<PagedSlice<T>, Error> {
        let location = location.as_ref();
        let store = self.store_at(location)?;
        // SAFETY: the bytes do not change while the slice lives (contract).
        unsafe { self.open_slice_boxed(store, &location.to_string_lossy()) }
    }

    /// Opens a custom store as one plain slice. As [`open_slice`](PagedOptions::open_slice).
    ///
    /// # Safety
    /// The bytes of the array in the store do not change while the slice lives, and each read returns these bytes.
    ///
    /// # Errors
    /// As [`open_slice`](PagedOptions::open_slice).
    pub unsafe fn open_slice_of_store(
        self,
        store: impl Store + 'static,
    ) -> Result<PagedSlice<T>, Error> {
        // SAFETY: the bytes do not change while the slice lives (contract).
        unsafe { self.open_slice_boxed(Box::new(store), "the store") }
    }

    /// # Safety
    /// The bytes of the array in the store do not change while the slice lives, and each read returns these bytes.
    unsafe fn open_slice_boxed(
        self,
        store: Box<dyn Store>,
        location: &str,
    ) -> Result<PagedSlice<T>, Error> {
        let invalid = |reason: String| Error::invalid(location, reason);
        let refuse = |cause: Cause| Error::new(Operation::Open, location, 0..0, cause);
        if size_of::<T>() == 0 {
            return Err(invalid("its elements have no bytes".into()));
        }
        if self.is_writable {
            let reason = "a slice whose pages come in when they are touched is read-only; open an array to write";
            return Err(refuse(Cause::Unsupported(reason.into())));
        }
        let store_len = store.len().map_err(|refusal| refused(location, refusal))?;
        let len = self.elements(store_len).map_err(invalid)?;
        let memory = self.memory(store.read_overhead()).map_err(invalid)?;
        let block_bytes = memory.page_bytes;
        if align_of::<T>() > elbowroom::page_size() {
            let align = align_of::<T>();
            return Err(invalid(format!(
                "elements are aligned to {align} bytes, more than a page of the system"
            )));
        }
        let buffer_bytes = block_bytes + elbowroom::page_size();
        let threads_max = (memory.limit_bytes / 4 / buffer_bytes).max(1);
        let threads = self.threads.unwrap_or(THREADS_DEFAULT.min(threads_max));
        let threads = threads.max(1);
        let no_room = |refusal| refuse(Cause::NoRoom(refusal));
        let turns = memory.turns().map_err(no_room)?;
        let Some(buffers_bytes) = threads.checked_mul(buffer_bytes) else {
            return Err(invalid(format!(
                "{threads} threads, each with a buffer of {buffer_bytes} bytes, are too many"
            )));
        };
        let buffers = memory.budget.charge(buffers_bytes);
        let charge = buffers.map_err(no_room)?;
        let cache = Arc::new(Cache {
            source: Source::new(store, location, self.offset, turns),
            len_bytes: len * size_of::<T>(),
            block_bytes,
            moved: Condvar::new(),
            state: Mutex::new(State {
                buffers: vec![vec![0; buffer_bytes].into(); threads],
                filled: VecDeque::new(),
                moving: 0,
                waiting: 0,
            }),
            charge,
        });
        let region = |backend| {
            let cache = Arc::clone(&cache);
            Region::builder(cache.len_bytes.max(1))
                .name("elbowroom-pager slice")
                .budget(&memory.budget)
                .backend(backend)
                .filter_threads(threads)
                .filter(move |fault| cache.fill(fault))
                .build()
        };
        let region = region(Backend::UserfaultMonitor).or_else(|_| region(Backend::Userfault));
        Ok(PagedSlice {
            region: region.map_err(no_room)?,
            cache,
            len,
            elements: PhantomData,
        })
    }
}

impl Cache {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that this thread has filled or evicted pages.
    fn ended(&self) -> MutexGuard<'_, State> {
        let mut state = self.state();
        state.moving -= 1;
        if state.waiting > 0 {
            self.moved.notify_all();
        }
        state
    }

    /// Fills the pages of a fault, up to the end of its block.
    fn fill(&self, fault: &Fault<'_>) -> Verdict {
        self.source.counters.misses.fetch_add(1, Relaxed);
        let mut stall = self.source.counters.stall();
        stall.begin();
        // As many threads run this as there are buffers.
        let Some(mut buffer) = self.state().buffers.pop() else {
            return Verdict::Decline;
        };
        let filled = self.fill_from(fault, &mut buffer);
        self.state().buffers.push(buffer);
        match filled {
            Ok(()) => Verdict::Commit,
            Err(error) => {
                eprintln!("elbowroom-pager: {error}");
                Verdict::Decline
            }
        }
    }

    fn fill_from(&self, fault: &Fault<'_>, buffer: &mut [u8]) -> Result<(), Error> {
        let system = elbowroom::page_size();
        let start = fault.offset() / system * system;
        let block_end = (start / self.block_bytes + 1) * self.block_bytes;
        let bytes = start..block_end.min(self.len_bytes);
        if bytes.is_empty() {
            // The guard page.
            let elements = Cause::OutOfRange(fault.offset()..fault.offset() + 1, self.len_bytes);
            return Err(self.source.error(Operation::Read, 0..0, elements));
        }
        // A direct read fills only what is aligned.
        let skipped = buffer.as_ptr().align_offset(system);
        let contents = &mut buffer[skipped..][..bytes.len().next_multiple_of(system)];
        let (read, rest) = contents.split_at_mut(bytes.len());
        let load = self.source.counters.load(read.len());
        self.source.read(start, read)?;
        drop(load);
        rest.fill(0);
        loop {
            self.state().moving += 1;
            let filled = fault.fill(contents);
            let mut state = self.ended();
            let refusal = match filled {
                Ok(filled) => {
                    state
                        .filled
                        .extend(Some(filled).filter(|filled| !filled.is_empty()));
                    return Ok(());
                }
                Err(refusal) => refusal,
            };
            if !(refusal.is_limit() || refusal.is_out_of_memory()) {
                return Err(self.no_room(bytes, refusal));
            }
            match state.filled.pop_front() {
                Some(oldest) => {
                    state.moving += 1;
                    drop(state);
                    let decommitted = fault.decommit(oldest.clone());
                    let mut state = self.ended();
                    if let Err(refusal) = decommitted {
                        state.filled.push_front(oldest);
                        return Err(self.no_room(bytes, refusal));
                    }
                    drop(state);
                    self.source.counters.evictions.fetch_add(1, Relaxed);
                }
                // Another thread has the room, and will have noted or given back its pages in a moment.
                None if state.moving > 0 => {
                    state.waiting += 1;
                    let moved = self.moved.wait(state);
                    let mut state = moved.unwrap_or_else(PoisonError::into_inner);
                    state.waiting -= 1;
                }
                None => return Err(self.no_room(bytes, refusal)),
            }
        }
    }

    fn no_room(&self, bytes: Range<usize>, refusal: elbowroom::Error) -> Error {
        self.source
            .error(Operation::Read, bytes, Cause::NoRoom(refusal))
    }
}

impl<T> PagedSlice<T> {
    /// Returns whether system calls may read the slice where it is not resident.
    pub fn serves_system_calls(&self) -> bool {
        self.region.backend() == Backend::UserfaultMonitor
    }

    /// Returns what the slice has done since it was opened, and what it holds. Touches of resident pages are not
    /// counted: they are plain loads. So the bytes that were asked for are not known. A touch that waited is a stall.
    pub fn stats(&self) -> Stats {
        let charged = self.cache.charge.bytes();
        Stats {
            bytes_resident: self.region.stats().committed_bytes + charged,
            ..self.cache.source.counters.stats(size_of::<T>())
        }
    }

    /// Returns a name of the version of the store that is read. `None` if the store does not notice changes by others.
    pub fn version(&self) -> Option<String> {
        self.cache.source.version()
    }
}

impl<T: AnyBitPattern> Deref for PagedSlice<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let first = self.region.as_ptr().cast::<T>();
        // SAFETY: `first` is aligned, and `len` elements from there on lie in the region, which lives as long as the
        // borrow (invariants). A load finds the bytes of the store: a page that is not there faults, and the filter
        // fills it with these bytes before the load completes (`Fault::fill`), or the load does not complete. The bytes
        // are the same each time (contract of `open_slice` and `open_slice_of_store`), and nothing writes to the
        // region. Any bytes are a T (AnyBitPattern).
        unsafe { slice::from_raw_parts(first, self.len) }
    }
}

impl<T> fmt::Debug for PagedSlice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PagedSlice")
            .field("location", &self.cache.source.location())
            .field("len", &self.len)
            .field("stats", &self.stats())
            .finish()
    }
}

//! One typed array larger than memory, with a hard memory limit. Failures of input and output are errors.
//!
//! A [`PagedArray<T>`] has the elements of a file, or of a custom [`Store`]. It has one range of addresses, which never
//! changes. Pages are loaded when a range is requested, stay while a guard lends them, and are evicted when room is
//! needed.
//!
//! ```
//! # let path = std::env::temp_dir().join(format!("elbowroom-pager-{}", std::process::id()));
//! # std::fs::write(&path, vec![0; 8 << 20]).unwrap();
//! use elbowroom_pager::PagedArray;
//!
//! let mut array = PagedArray::<u64>::options()
//!     .writable(true)
//!     .resident_limit(1 << 20) // of a file of any size
//!     .open(&path)?;
//!
//! array.slice_mut(500_000..500_003)?.copy_from_slice(&[3, 1, 2]);
//! array.flush()?; // a full disk is an error here, and nothing is lost
//!
//! let mut sum = 0;
//! for chunk in array.scan(..)? {
//!     sum += chunk?.iter().sum::<u64>();
//! }
//! assert_eq!(sum, 6);
//! # drop(array);
//! # std::fs::remove_file(&path).unwrap();
//! # Ok::<(), elbowroom_pager::Error>(())
//! ```
//!
//! # The contract
//!
//! | | |
//! |---|---|
//! | addresses | Element `i` is at `as_ptr().add(i)`, always. It may be touched while a guard lends it. |
//! | limit | Pages in memory, also while they are loaded or written, and buffers of requests never exceed it. |
//! | shared limit | Arrays with one budget evict from each other what was not used lately. |
//! | outside it | 8 bytes a touched page, 100 a resident one, page tables, stacks, the system's page cache. |
//! | page cache | On Linux, reads of a file do not fill it: see [`FileStore`]. |
//! | no room | `is_limit()` if guards pin everything. No call waits for a guard to be dropped. |
//! | failures | An [`Error`] with the operation, the bytes and the store's error. There are no signals. |
//! | after a failure | The array works as before, and the next access tries again. |
//! | changes by others | `is_changed()`, for a read-only file by its length and time of modification. |
//! | | For a writable file only if it becomes shorter; for an object by its entity tag. |
//! | writes | A changed page is stored when room is needed, in the background, or by [`flush`](PagedArray::flush). |
//! | full disk | A page that cannot be written stays in memory and dirty, and `flush` returns the error. |
//! | kill or crash | Each page written since the last flush is old or new, or mixed if the crash hit its write. |
//! | threads | Any number of threads reads. A page is loaded once. [`Writer`]s split an array between threads. |
//! | elements | Types that accept any bytes (`AnyBitPattern`); for writing, also without padding (`NoUninit`). |
//! | byte order | The machine's: little-endian on all supported systems. |
//! | platforms | The same on Linux, Windows and macOS. Elsewhere opening is an error. |
//!
//! # Glossary
//!
//! - *Page*: the unit of loading and evicting, 64 KiB by default, and a multiple of the system's page.
//! - *Resident*: in memory, with its contents.
//! - *Pin*: a count that keeps a page resident. Guards pin, and so does the copying of an element.
//! - *Dirty*: changed in memory, and not yet in the store.
//! - *Write back*: to copy a dirty page to the store, which makes it clean.
//! - *Evict*: to give the memory of a clean page back.
//!
//! # Not there yet
//!
//! Writing to object stores, reading past the page cache on Windows and macOS, Zarr and Icechunk.
//!
//! # Features
//!
//! - `rayon`: chunks of an array for many threads, by `into_par_iter()` of a [`Scan`] or a [`Writer`].
//! - `remote`: `s3://`, `gs://`, `az://`, `http://` and `https://` for reading, by the crate `object_store`. It
//!   multiplies the time of a build.

// Shows which items need a feature, when docs.rs builds the documentation with nightly Rust.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod array;
mod error;
mod evict;
mod fetch;
mod frames;
mod npy;
mod os;
mod stats;
mod store;
mod sync;
mod table;

#[cfg(feature = "rayon")]
pub use array::ParChunks;
pub use array::{Npy, PagedArray, PagedOptions, PagedSlice, Scan, Slice, SliceMut, Sort, Writer};
pub use error::{Error, Operation};
pub use npy::{NpyHeader, NpyType};
pub use stats::Stats;
#[cfg(feature = "remote")]
pub use store::RemoteStore;
pub use store::{FileStore, MemoryStore, Store, StoreError};

/// Compiles the code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

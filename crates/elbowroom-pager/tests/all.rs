//! All tests of the public interface, in one program.

#[path = "all/common.rs"]
mod common;
#[path = "all/failures.rs"]
mod failures;
#[path = "all/files.rs"]
mod files;
#[path = "all/limits.rs"]
mod limits;
#[path = "all/linux.rs"]
mod linux;
#[path = "all/model.rs"]
mod model;
#[path = "all/page_cache.rs"]
mod page_cache;
#[path = "all/paged_slice.rs"]
mod paged_slice;
#[cfg(feature = "rayon")]
#[path = "all/parallel.rs"]
mod parallel;
#[cfg(feature = "remote")]
#[path = "all/remote.rs"]
mod remote;
#[cfg(feature = "remote")]
#[path = "all/s3.rs"]
mod s3;
#[path = "all/shared.rs"]
mod shared;
#[path = "all/sort.rs"]
mod sort;
#[path = "all/threads.rs"]
mod threads;

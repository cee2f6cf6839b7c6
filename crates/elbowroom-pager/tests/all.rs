//! All tests of the public interface, in one program.

mod common;

mod all {
    mod failures;
    mod files;
    mod limits;
    mod linux;
    mod model;
    mod page_cache;
    mod paged_slice;
    #[cfg(feature = "rayon")]
    mod parallel;
    #[cfg(feature = "remote")]
    mod remote;
    #[cfg(feature = "remote")]
    mod s3;
    mod shared;
    mod sort;
    mod threads;
}

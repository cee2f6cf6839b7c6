//! The operating system. The only place with platform `cfg`.
//!
//! Each platform provides:
//! - `read_at(file, buffer, offset)`: reads at most the buffer's length from there, without regard to other threads.
//!   Zero is the end of the file.
//! - `write_at(file, buffer, offset)`: writes at most the buffer there, without regard to other threads.
//! - `path_of_url(path)`: the path that the path of a `file://` URL means.
//!
//! The page cache, as far as the system gives control of it (Linux):
//! - `reopen_direct(file)`: the same file, opened for reads that bypass the page cache. `None` if there are none.
//! - `is_cached(file, range)`: whether the page cache has all of these bytes. `false` if that is unknown.
//! - `read_uncached_at(file, buffer, offset)`: as `read_at`, but the bytes do not stay in the page cache, unless they
//!   were there before. An error may mean that there is no such read.
//! - `drop_cached(file, range)`: takes these bytes out of the page cache, except what is not on the disk yet.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod plain;
#[cfg(unix)]
mod unix;
#[cfg(not(any(unix, windows)))]
mod unknown;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
use linux as cache;
#[cfg(not(target_os = "linux"))]
use plain as cache;
#[cfg(unix)]
use unix as sys;
#[cfg(not(any(unix, windows)))]
use unknown as sys;
#[cfg(windows)]
use windows as sys;

pub(crate) use cache::{drop_cached, is_cached, read_uncached_at, reopen_direct};
pub(crate) use sys::{path_of_url, read_at, write_at};

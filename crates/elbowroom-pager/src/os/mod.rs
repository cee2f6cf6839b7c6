//! The operating system. The only place with platform `cfg`.
//!
//! Each platform provides:
//! - `read_at(file, buffer, offset)`: reads at most the buffer's length from there, without regard to other threads.
//!   Zero is the end of the file.
//! - `write_at(file, buffer, offset)`: writes at most the buffer there, without regard to other threads.
//! - `path_of_url(path)`: the path that the path of a `file://` URL means.

#[cfg(unix)]
mod unix;
#[cfg(not(any(unix, windows)))]
mod unknown;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as sys;
#[cfg(not(any(unix, windows)))]
use unknown as sys;
#[cfg(windows)]
use windows as sys;

pub(crate) use sys::{path_of_url, read_at, write_at};

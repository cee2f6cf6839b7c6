//! The operating system's part of the measurements. Only this module has platform `cfg`.
//!
//! - `cpu_time()`, `thread_cpu_time()`: the processor time of this process and of this thread, including the kernel's;
//!   `None` if there is no fine clock.
//! - `ending(status)`: how a child process without an answer has ended.
//! - `prefault(base, len, pages)`: makes committed memory consist of this kind of pages, and makes them resident unless
//!   the kind is on demand.
//! - `proc`: reading the text files of /proc and /sys.

pub mod proc;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(unix)]
mod unix;
#[cfg(not(any(target_os = "linux", windows)))]
mod unknown;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub use linux::prefault;
#[cfg(unix)]
pub use unix::{cpu_time, ending, thread_cpu_time};
#[cfg(not(any(target_os = "linux", windows)))]
pub use unknown::prefault;
#[cfg(windows)]
pub use windows::{cpu_time, ending, prefault, thread_cpu_time};

//! What measuring needs of the operating system. The only place with platform `cfg`.
//!
//! - `cpu_time()`, `thread_cpu_time()`: what this process, and this thread, have used of the processors, in the kernel
//!   too; `None` where no fine clock is.
//! - `ending(status)`: how a child ended that was to give an answer.
//! - `bring_in(base, len, pages)`: makes committed memory consist of such pages, and brings them in if they say so.
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
pub use linux::bring_in;
#[cfg(unix)]
pub use unix::{cpu_time, ending, thread_cpu_time};
#[cfg(not(any(target_os = "linux", windows)))]
pub use unknown::bring_in;
#[cfg(windows)]
pub use windows::{bring_in, cpu_time, ending, thread_cpu_time};

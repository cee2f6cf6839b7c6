//! The operating system's part of the measurements. Only this module has `cfg` for platforms and processors.
//!
//! - `memory()`: the resident and committed sizes of this process; `None` if the system does not report them.
//! - `MemoryGauge`: the same figures, cheap enough to be read all the time.
//! - `machine()`: the description of this computer, as pairs of a name and a value. `load()`: its load.
//! - `Block`: memory committed up front by the system, without this library.
//! - `bare_access`: a store and a load that are opaque to the compiler.
//! - `reserve_and_release(len)`: the bare system calls of a reservation.
//! - `evict(file)`: takes a file out of the page cache. `is_in_memory(file)`: whether its file system is in memory.
//! - `map(path, advice)`, `map_mut(path)`: a mapped file. `read_exact_at(file, buffer, offset)`: a positional read.
//! - `children_cpu_time()`: the processor time of the child processes that have ended.
//! - `BareUserfault`: memory that a thread fills through userfaultfd, without this library.
//! - `PipeManaged`: memory managed by `userspace-pagefault`.
//!
//! A feature that the system lacks returns an `Err` with the reason, and is left out of the tables.

pub(crate) mod bare_access;
mod bare_handler;
#[cfg(target_os = "linux")]
mod bare_userfault;
#[cfg(target_os = "linux")]
mod global;
#[cfg(target_os = "linux")]
mod linux;
mod mapped;
#[cfg(not(target_os = "linux"))]
mod not_linux;
#[cfg(not(unix))]
mod not_unix;
#[cfg(target_os = "linux")]
mod page_cache;
#[cfg(unix)]
mod unix;

pub(crate) use bare_handler::BareHandler;
#[cfg(target_os = "linux")]
pub(crate) use bare_userfault::BareUserfault;
#[cfg(target_os = "linux")]
pub(crate) use linux::{HAS_MIMALLOC, MemoryGauge, PipeManaged, load, machine, memory};
pub(crate) use mapped::{Advice, map, map_mut};
#[cfg(not(target_os = "linux"))]
pub(crate) use not_linux::{
    BareUserfault, HAS_MIMALLOC, MemoryGauge, PipeManaged, evict, is_in_memory, load, machine,
    memory,
};
#[cfg(not(unix))]
pub(crate) use not_unix::{Block, children_cpu_time, read_exact_at, reserve_and_release};
#[cfg(target_os = "linux")]
pub(crate) use page_cache::{evict, is_in_memory};
#[cfg(unix)]
pub(crate) use unix::{Block, children_cpu_time, read_exact_at, reserve_and_release};

/// The variable that chooses a child's global allocator.
pub(crate) const ALLOCATOR_VARIABLE: &str = "ELBOWROOM_BENCH_ALLOCATOR";

/// The memory of a process at one moment, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    /// The writable private memory, which the system charges.
    pub(crate) committed: u64,
}

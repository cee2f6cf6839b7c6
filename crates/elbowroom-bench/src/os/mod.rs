//! What the measurements need of the operating system. The only place with `cfg` for platforms and processors.
//!
//! - `memory()`: what this process has in memory and committed now; `None` where the system does not tell.
//! - `MemoryGauge`: the same, cheap enough to ask all the time.
//! - `machine()`: what this computer is, as pairs of a name and a value. `load()`: how busy it is.
//! - `Block`: memory that the system commits, up front and without this library.
//! - `bare_access`: a store and a load that the compiler does not look into.
//! - `reserve_and_release(len)`: the system calls of a reservation, bare.
//! - `PipeManaged`: memory managed by `userspace-pagefault`.
//!
//! What a system lacks is an `Err` that says so, and is left out of the tables.

pub(crate) mod bare_access;
mod bare_handler;
#[cfg(target_os = "linux")]
mod global;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
#[path = "not_linux.rs"]
mod linux;
#[cfg(unix)]
mod unix;
#[cfg(not(unix))]
#[path = "other.rs"]
mod unix;

pub(crate) use bare_handler::BareHandler;
pub(crate) use linux::{HAS_MIMALLOC, MemoryGauge, PipeManaged, load, machine, memory};
pub(crate) use unix::{Block, reserve_and_release};

/// The variable that chooses a child's global allocator.
pub(crate) const ALLOCATOR_VARIABLE: &str = "ELBOWROOM_BENCH_ALLOCATOR";

/// What a process has at one moment, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    /// Writable private memory, which is what the system charges.
    pub(crate) committed: u64,
}

//! The operating system's part of the measurements. Only this module has `cfg` for platforms and processors.
//!
//! - `memory()`: the resident and committed sizes of this process; `None` if the system does not report them.
//! - `MemoryGauge`: the same figures, cheap enough to be read all the time.
//! - `machine()`: the description of this computer, as pairs of a name and a value. `load()`: its load.
//! - `Block`: memory committed up front by the system, without this library.
//! - `bare_access`: a store and a load that are opaque to the compiler.
//! - `reserve_and_release(len)`: the bare system calls of a reservation.
//! - `PipeManaged`: memory managed by `userspace-pagefault`.
//!
//! A feature that the system lacks returns an `Err` with the reason, and is left out of the tables.

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

/// The memory of a process at one moment, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    /// The writable private memory, which the system charges.
    pub(crate) committed: u64,
}

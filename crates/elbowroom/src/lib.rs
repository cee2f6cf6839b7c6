//! Reserve address space once, commit pages when they are touched, never move the data.
//!
//! Microsoft's page "Reserving and Committing Memory" shows a program that reserves 80 pages, stores through a plain
//! pointer, and commits one more page from its exception filter at each page fault. This library is that system, on
//! Linux, Windows and macOS:
//!
//! - [`Reservation`]: an owned range of addresses, committed and decommitted by hand.
//! - [`Region`]: a reservation that commits on touch, within a limit, with a custom filter, and with accessors that
//!   return an error if a touch is refused.
//! - [`ReservedVec`]: a `Vec` that never moves, and returns an error where `Vec` would end the process.
//! - [`AppendVec`]: a vector that many threads append to, while its elements can be read as one slice.
//! - [`DemandArray`]: a sparse table of any length that takes memory only where it is used.
//! - [`Arena`]: an allocator for values of all types, which are freed all at once.
//!
//! ```
//! use elbowroom::Region;
//!
//! let region = Region::new(1 << 40)?; // 1 TiB of addresses, no memory
//! region.try_write(123 << 30, 42u64)?; // commits the pages around it
//! assert_eq!(region.try_read::<u64>(123 << 30)?, 42);
//! # Ok::<(), elbowroom::Error>(())
//! ```
//!
//! # Glossary
//!
//! ## Reserve
//! Reserving sets addresses aside, so that nothing else is put there. It takes no memory: 16 TiB cost as much as 16
//! KiB. A touch of a reserved page faults.
//!
//! ## Commit
//! Committing makes reserved pages usable: readable, writable, and zero. If the system counts commits, it charges the
//! pages to a limit (*commit charge*). It can then refuse the commit with an error, instead of ending a process later.
//! A committed page takes no physical memory until it is first touched; then it is *resident*.
//!
//! ## Decommit
//! Decommitting makes committed pages reserved again. Contents are lost, and the charge is refunded.
//!
//! ## Release
//! Releasing gives a whole reservation back to the system.
//!
//! ## Filter
//! A function of the program that is asked about a fault and answers with a [`Verdict`]: commit or decline. The word
//! comes from structured exception handling, where the filter of an `__except` decides whether the instruction runs
//! again.
//!
//! ## Growth
//! The rule for how many pages one fault commits: the *window*. By default, the window is one page for an isolated
//! touch, and doubles with each fault of a sequential run. See [`Growth`].
//!
//! ## Budget
//! A limit on the commits of several regions together. Budgets nest. See [`Budget`].
//!
//! ## Accessor
//! A method such as [`Region::try_write`] that touches memory, and returns an [`Error`] if the touch is refused.
//!
//! # Features
//!
//! All are off by default.
//!
//! - `allocator-api2`: [`Arena`] as an allocator for other crates' collections.
//! - `rayon`: parallel iterators of [`ReservedVec`] and [`AppendVec`], and collecting into the former.
//! - `serde`: `Serialize` and `Deserialize` for [`ReservedVec`].
//! - `tracing`: recorded faults as events of the crate `tracing` (see [`fault::Recorder`]).
//! - `zerocopy`: types with traits of the crate `zerocopy` in [`DemandArray`] and [`Region`], as `Zerocopy<T>`.
//! - `inject`: makes the nth call of the operating system fail, for tests.
//!
//! # Documents
//!
//! [The guarantees on each system](documents::platform), [other users of faults in the
//! process](documents::coexistence), and [the decisions of the design](documents::design).
//!
//! # Units
//!
//! Ranges and lengths are in bytes. A method that works on pages takes every page that holds a byte of its range.
//! Growth is in pages; the largest window of an adaptive growth is in bytes.

// Shows which items need a feature, when docs.rs builds the documentation with nightly Rust.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]
#![cfg_attr(
    loom,
    allow(
        dead_code,
        unused_imports,
        unconditional_panic,
        reason = "models run a part of it"
    )
)]

mod budget;
mod charge;
mod containers;
#[cfg(doc)]
pub mod documents;
mod error;
pub mod fault;
mod mapping;
mod os;
mod page;
mod plain;
mod region;
mod reservation;
mod sync;
#[cfg(feature = "zerocopy")]
mod zerocopied;

pub use budget::{Budget, BudgetBuilder};
pub use charge::Charge;
#[cfg(not(loom))]
pub use containers::{AppendVec, append_vec};
pub use containers::{
    Arena, ContainerBuilder, ContainerStats, DemandArray, PushError, ReservedVec, arena,
    reserved_vec, trim,
};
pub use error::{Error, Operation};
#[cfg(feature = "inject")]
pub use os::inject;
pub use plain::{Access, FaultAccess, FaultCode, PageState, Size, Span, SystemLimit};
pub use region::{
    Backend, Cells, Fault, Growth, HeldRange, Region, RegionBuilder, RegionInfo, Stats, Verdict,
    regions,
};
pub use reservation::{Reservation, ReservationBuilder};
#[cfg(feature = "zerocopy")]
pub use zerocopied::Zerocopy;

/// Returns the size of a page in bytes: the unit of committing, decommitting and protecting.
///
/// It is a power of two, and at least 4096.
///
/// ```
/// let bytes = elbowroom::page_size();
/// assert!(bytes.is_power_of_two() && bytes >= 4096);
/// assert_eq!(elbowroom::allocation_granularity() % bytes, 0);
/// ```
pub fn page_size() -> usize {
    page::size()
}

/// Returns the alignment of a reservation's base in bytes: 64 KiB on Windows, the page size elsewhere.
pub fn allocation_granularity() -> usize {
    os::granularity()
}

/// Returns the system's limits on the memory of this process, as far as they are known.
///
/// On Linux: the limits of its control groups and of all above them (`memory.max` and `memory.high`, or
/// `memory.limit_in_bytes`), RLIMIT_AS, RLIMIT_DATA, and the commit limit in strict mode (`vm.overcommit_memory=2`), or
/// else memory and swap together. On Windows: the commit limit, and the limits of its job. On macOS: the memory of the
/// machine.
///
/// ```
/// let limits = elbowroom::system_limits();
/// if let Some(tightest) = limits.iter().min_by_key(|limit| limit.available_bytes()) {
///     println!("{} leaves {} bytes", tightest.name, tightest.available_bytes());
/// }
/// ```
pub fn system_limits() -> Vec<SystemLimit> {
    os::limits()
}

/// Compiles and runs the code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

//! What a process has in its address space, and what of it is in memory.
//!
//! A [`Snapshot`] is a process at one moment: its mappings with what is reserved, committed, charged, resident, dirty,
//! huge and swapped of each, put together to [`Region`]s. It prints as bars on one scale and tables, and
//! [`Snapshot::pages`] draws a region page by page. The command `elbowroom map` is made of it and prints the same.
//!
//! ```
//! use elbowroom_map::Snapshot;
//!
//! let cache = elbowroom::Region::builder(1 << 30).name("cache").build()?;
//! cache.try_fill(0..100_000, 1)?;
//! # if Snapshot::of_self().is_err() { return Ok(()) }
//!
//! let snapshot = Snapshot::of_self()?;
//! println!("{snapshot}");
//! let cache = snapshot.find(&"cache".parse()?)?;
//! println!("{}", snapshot.pages(cache)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Platforms
//!
//! Linux reads `smaps` and `pagemap` of /proc, Windows asks `VirtualQueryEx` and `QueryWorkingSetEx`. On others a
//! snapshot is an error.
//!
//! # Features
//!
//! `serde`: `Serialize` and `Deserialize` for a snapshot and its parts.

mod cells;
mod error;
mod os;
mod picture;
mod size;
mod snapshot;
mod text;

pub use cells::CELLS_MAX;
pub use error::Error;
pub use os::scan_is_known;
pub use picture::{Counts, Pages, Picture, Run, State};
pub use size::human;
pub use snapshot::{Figures, Kind, Mapping, Region, Snapshot, Wanted};
pub use text::{Paint, Row};

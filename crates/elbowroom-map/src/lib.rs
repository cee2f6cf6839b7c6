//! Shows the address space of a process, and which parts of it are in memory.
//!
//! A [`Snapshot`] has the mappings of a process at one moment, and how many bytes of each are reserved, committed,
//! charged, resident, dirty, huge and swapped. Adjacent mappings with the same name form a [`Region`]. A snapshot
//! prints as bars and tables; [`Snapshot::pages`] draws a region page by page. The command
//! `elbowroom map` prints the same text.
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
//! On Linux a snapshot is read from `smaps` and `pagemap` in /proc, on Windows from `VirtualQueryEx` and
//! `QueryWorkingSetEx`. On other systems taking a snapshot fails.
//!
//! A process can change while it is read. Its mappings never overlap in a snapshot, but their figures may be of
//! slightly different moments.
//!
//! # Features
//!
//! `serde` implements `Serialize` and `Deserialize` for a snapshot and its parts.

// Shows which items need a feature, when docs.rs builds the documentation with nightly Rust.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod bar;
mod cells;
mod columns;
mod error;
mod escape;
mod os;
mod pages;
mod picture;
mod read;
mod size;
mod snapshot;
mod text;
mod wrap;

pub use bar::bar;
pub use columns::FigureColumns;
pub use error::Error;
pub use escape::{escaped, is_hidden, shortened};
pub use pages::{Run, State};
pub use picture::{Counts, Picture};
pub use read::Pages;
pub use size::{Sizes, count, grouped};
pub use snapshot::{Figures, Kind, Mapping, Region, Snapshot, Wanted};
pub use text::{Paint, Row};
pub use wrap::wrap;

/// Compiles the code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

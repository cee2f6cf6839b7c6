//! Regions: reservations that commit on touch.

mod accessors;
mod backend;
mod builder;
mod filter;
mod filter_threads;
mod growth;
mod handle;
mod held;
mod info;
mod inner;
mod io;
mod page_map;
mod stats;

pub use backend::Backend;
pub use builder::RegionBuilder;
pub use filter::{Fault, Verdict};
pub use growth::Growth;
pub(crate) use growth::Layout;
pub use handle::Region;
pub use held::{Cells, HeldRange};
pub use info::{RegionInfo, regions};
pub use stats::Stats;

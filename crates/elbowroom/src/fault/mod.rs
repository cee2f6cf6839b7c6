//! Faults: how the library resolves them, and whether they reach the library ([`status()`]).

pub(crate) mod access;
mod dispatcher;
pub(crate) mod events;
pub(crate) mod fork;
pub(crate) mod fork_guard;
pub(crate) mod frames;
mod histogram;
pub(crate) mod owner;
mod progress;
pub(crate) mod registry;
mod report;
mod ring;
mod slot;
mod status;
pub(crate) mod totals;
mod touch;
mod trie;

pub(crate) use dispatcher::Armed;
pub use dispatcher::reinstall;
pub use events::{Event, Outcome, Recorder};
pub use histogram::Histogram;
pub(crate) use histogram::Tally;
pub(crate) use owner::{Owner, OwnerId};
pub(crate) use progress::Progress;
pub use status::{Handler, Place, Status, status};
pub use totals::released_faults;
pub(crate) use touch::Touch;

pub use crate::plain::{FaultAccess, FaultCode};

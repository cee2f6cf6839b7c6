//! The state of a region that its lock guards.

use super::super::growth::Streams;
use super::super::page_map::PageMap;
use super::holds::Holds;
use super::served::Poisoned;

/// The pages of a region, and their state with regard to faults and guards. Changed only under the region's lock.
pub(super) struct Account {
    /// The committed pages.
    pub(super) map: PageMap,
    /// The runs of pages that faults have committed.
    pub(super) streams: Box<Streams>,
    /// The pages whose touch was just refused. `None` if the region is not served.
    pub(super) poisoned: Option<Box<Poisoned>>,
    /// The pages that must not be decommitted.
    pub(super) holds: Holds,
}

impl Account {
    /// Returns the account of pages that are all reserved.
    pub(super) fn new(map: PageMap, is_served: bool) -> Account {
        Account {
            map,
            streams: Box::new(Streams::NONE),
            poisoned: is_served.then(|| Box::new(Poisoned::new())),
            holds: Holds::NONE,
        }
    }
}

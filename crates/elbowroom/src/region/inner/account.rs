//! What a region's lock guards.

use super::super::growth::Streams;
use super::super::page_map::PageMap;
use super::holds::Holds;
use super::served::Poisoned;

/// The pages of a region, and what faults and guards have made of them. It changes under the region's lock.
pub(super) struct Account {
    /// Which pages are committed.
    pub(super) map: PageMap,
    /// Which of them faults have committed one after the other.
    pub(super) streams: Box<Streams>,
    /// The pages whose touch was just refused. `None` in a region that is not served.
    pub(super) poisoned: Option<Box<Poisoned>>,
    /// The pages that may not be decommitted.
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

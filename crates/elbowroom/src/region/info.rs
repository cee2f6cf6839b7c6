//! All regions of the process, to show or count them.

use super::backend::Backend;
use super::inner::RegionInner;
use super::stats::Stats;
use crate::fault::registry;

/// A region of the process at the moment of [`regions()`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegionInfo {
    /// The name that it was given, or the empty string.
    pub name: String,
    /// The address of its first byte. By the time that it is read, something else may be there.
    pub address: usize,
    /// By what means it commits.
    pub backend: Backend,
    /// What it has used and done.
    pub stats: Stats,
}

/// Returns the regions of this process, by address: those made by [`RegionBuilder`](crate::RegionBuilder), and those
/// inside a [`DemandArray`](crate::DemandArray). The other containers have none, as nothing of theirs faults.
///
/// For a page of statistics or a report, from ordinary code, not from a filter: it allocates, and a region that is
/// dropped meanwhile waits until it is done. (A global allocator that drops regions by itself would wait for good.) The
/// crate `elbowroom-map` tells what of them is in memory.
///
/// ```
/// use elbowroom::{Region, regions};
///
/// let cache = Region::builder(1 << 30).name("cache").build()?;
/// cache.try_write(0, 1u8)?;
/// for region in regions() {
///     println!("{}: {} of {} bytes", region.name, region.stats.committed_bytes, region.stats.reserved_bytes);
/// }
/// # assert!(regions().iter().any(|region| region.name == "cache" && region.stats == cache.stats()));
/// # Ok::<(), elbowroom::Error>(())
/// ```
pub fn regions() -> Vec<RegionInfo> {
    let pins = registry::pin_all();
    let info = |pin: &registry::Pin| {
        let owner = pin.owner();
        let region: &RegionInner = owner.as_any().downcast_ref()?;
        Some(RegionInfo {
            name: owner.name().to_owned(),
            address: owner.addresses().start,
            backend: region.backend(),
            stats: region.stats(),
        })
    };
    pins.iter().filter_map(info).collect()
}

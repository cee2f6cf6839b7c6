//! A list of all regions of the process.

use super::backend::Backend;
use super::inner::RegionInner;
use super::stats::Stats;
use crate::fault::registry;

/// A region of the process, as [`regions()`] found it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegionInfo {
    /// The name, or the empty string.
    pub name: String,
    /// The address of the first byte. The region may have been released since.
    pub address: usize,
    /// The backend.
    pub backend: Backend,
    /// The memory and the faults of the region.
    pub stats: Stats,
}

/// Returns the regions of this process, by address: those made by [`RegionBuilder`](crate::RegionBuilder), and those
/// inside a [`DemandArray`](crate::DemandArray).
///
/// The other containers have no regions, because they never fault.
///
/// Use it for statistics and reports. Call it from ordinary code, not from a filter: it allocates, and a region that is
/// dropped meanwhile waits until the call ends. (A global allocator that drops regions itself would wait for ever.) The
/// crate `elbowroom-map` shows which of their pages are in memory.
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

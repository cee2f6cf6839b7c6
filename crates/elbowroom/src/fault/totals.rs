//! Fault counts of the whole process, including regions that have been released.

use std::sync::atomic::{AtomicU64, Ordering};

use super::events::Outcome;

/// The faults of regions that have been released, in the order of `Outcome::ALL`.
static RELEASED: [AtomicU64; Outcome::ALL.len()] =
    [const { AtomicU64::new(0) }; Outcome::ALL.len()];

/// Adds the counts of a region that is being released, in the order of `Outcome::ALL`.
pub(crate) fn add(outcomes: &[u64; Outcome::ALL.len()]) {
    for (sum, count) in RELEASED.iter().zip(outcomes) {
        sum.fetch_add(*count, Ordering::Relaxed);
    }
}

/// Returns the number of faults of released regions with this outcome.
///
/// Together with [`regions`](crate::regions), which has the counts of living regions, this gives counters that never
/// decrease. A region that is released between the two calls is missing from both until the next call. If this function
/// is called first, it is counted twice instead.
///
/// ```
/// use elbowroom::fault::{self, Outcome};
///
/// let before = fault::released_faults(Outcome::Committed);
/// let region = elbowroom::Region::new(1 << 20)?;
/// region.try_write(0, 1u8)?;
/// drop(region);
/// assert!(fault::released_faults(Outcome::Committed) > before);
/// # Ok::<(), elbowroom::Error>(())
/// ```
pub fn released_faults(outcome: Outcome) -> u64 {
    RELEASED[outcome as usize].load(Ordering::Relaxed)
}

//! The figures of a region.

use crate::fault::{Histogram, Outcome};

/// The memory and the faults of a region.
///
/// ```
/// use elbowroom::Region;
/// use elbowroom::fault::Outcome;
///
/// let region = Region::new(1 << 30)?;
/// region.try_write(0, 1u8)?;
/// let stats = region.stats();
/// assert_eq!(stats.faults_of(Outcome::Committed), 1);
/// assert!(stats.committed_bytes >= elbowroom::page_size());
/// # Ok::<(), elbowroom::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The length of the region.
    pub reserved_bytes: usize,
    /// The number of committed bytes. Page tables are not included: see
    /// [`Region::page_table_bytes`](crate::Region::page_table_bytes).
    pub committed_bytes: usize,
    /// The number of bytes that may be committed at once.
    pub commit_limit_bytes: usize,
    /// The number of faults in the region's addresses, including those that were refused and those that
    /// lost a race.
    pub faults: u64,
    /// The number of times that pages were committed, by a fault or by [`Region::commit`](crate::Region::commit).
    pub commits: u64,
    /// The number of faults that were refused, for any cause.
    pub refused: u64,
    // In the order of `Outcome::ALL`.
    pub(super) outcomes: [u64; Outcome::ALL.len()],
    // In the order of `Outcome::ALL`; only if the region is timed.
    pub(super) latencies: Option<[Histogram; Outcome::ALL.len()]>,
}

impl Stats {
    /// Returns the number of faults with this outcome. A fault that is still being handled is not counted.
    pub fn faults_of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Returns the durations of the faults with this outcome, including the filter's time.
    ///
    /// Returns `None` unless the region was built with [`timed`](crate::RegionBuilder::timed).
    pub fn latency(&self, outcome: Outcome) -> Option<&Histogram> {
        let latencies = self.latencies.as_ref()?;
        Some(&latencies[outcome as usize])
    }
}

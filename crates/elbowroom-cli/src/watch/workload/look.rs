//! The state of a workload at one moment, as plain data.

use std::time::Duration;

use elbowroom::fault::{Histogram, Outcome};
use elbowroom::{PageState, Span, Stats};
use elbowroom_map::{Run, State};
use serde::{Serialize, Serializer};
use serde_json::json;

/// The whole state.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Look {
    pub(super) regions: Vec<RegionLook>,
    pub(super) budgets: Vec<BudgetLook>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) array: Option<ArrayLook>,
    /// The latencies of the outcomes that occurred, in the order of [`Outcome::ALL`], or the stalls.
    pub(super) latencies: Vec<Latency>,
    pub(super) workers: usize,
    /// The workers that have ended.
    pub(super) ended: Vec<Ended>,
}

/// A region.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct RegionLook {
    pub(super) name: String,
    pub(super) backend: &'static str,
    /// The start address.
    #[serde(skip)]
    pub(super) address: usize,
    pub(super) reserved_bytes: u64,
    pub(super) committed_bytes: u64,
    /// `None` if the system does not report it.
    pub(super) resident_bytes: Option<u64>,
    pub(super) commit_limit_bytes: u64,
    pub(super) faults: u64,
    pub(super) commits: u64,
    pub(super) refused: u64,
    /// The pages, in bytes from the start.
    pub(super) pages: Vec<Run>,
}

/// A budget.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct BudgetLook {
    pub(super) name: String,
    /// The number of budgets above it.
    pub(super) depth: usize,
    pub(super) committed_bytes: u64,
    pub(super) limit_bytes: u64,
}

/// An array that is larger than its memory.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct ArrayLook {
    pub(super) bytes: u64,
    pub(super) page_bytes: u64,
    pub(super) limit_bytes: u64,
    pub(super) resident_bytes: u64,
    pub(super) dirty_bytes: u64,
    pub(super) in_flight_bytes: u64,
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) evictions: u64,
    pub(super) read_bytes: u64,
    pub(super) written_bytes: u64,
    /// The pages, in bytes from the start.
    pub(super) pages: Vec<Run>,
}

/// A worker that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Ended {
    pub(super) worker: String,
    /// The reason for a refused touch; `None` if all touches are done.
    pub(super) refused: Option<String>,
}

/// The durations of faults with one outcome, or of an array's stalls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Latency {
    pub(super) outcome: &'static str,
    pub(super) times: Histogram,
}

impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bucket = |(below, count): (Duration, u64)| {
            let below_ns = u64::try_from(below.as_nanos()).unwrap_or(u64::MAX);
            json!({ "below_ns": below_ns, "count": count })
        };
        let buckets: Vec<_> = self.times.buckets().map(bucket).collect();
        let (outcome, count) = (self.outcome, self.times.count());
        json!({ "outcome": outcome, "count": count, "buckets": buckets }).serialize(serializer)
    }
}

/// Merges the latencies of all regions.
pub(super) fn merge(regions: &[Stats]) -> Vec<Latency> {
    let of = |outcome: Outcome| {
        let histograms = regions.iter().filter_map(|region| region.latency(outcome));
        let merged = histograms.cloned().reduce(|mut merged, other| {
            merged.merge(&other);
            merged
        });
        Some(Latency {
            outcome: outcome.name(),
            times: merged.filter(|merged| merged.count() > 0)?,
        })
    };
    Outcome::ALL.into_iter().filter_map(of).collect()
}

/// Returns the pages of a region: from the library, and for committed pages also from the system.
pub(super) fn runs(spans: &[Span], resident: Option<&[bool]>, page: usize) -> Vec<Run> {
    let mut runs = Vec::new();
    for Span { range, state, .. } in spans {
        let is_committed = *state == PageState::Committed;
        for start in range.clone().step_by(page) {
            let state = match resident.map(|pages| pages.get(start / page)) {
                _ if !is_committed => State::Reserved,
                Some(Some(true)) => State::Resident,
                _ => State::Committed,
            };
            Run::new(start as u64, (start + page) as u64, state).push(&mut runs);
        }
    }
    runs
}

impl Look {
    /// Returns the sum of a figure of the regions.
    pub(super) fn sum(&self, figure: impl Fn(&RegionLook) -> u64) -> u64 {
        self.regions.iter().map(figure).sum()
    }

    pub(super) fn resident_bytes(&self) -> Option<u64> {
        let regions = self.regions.iter();
        regions.map(|region| region.resident_bytes).sum()
    }

    /// Returns the number of faults, or of an array's misses.
    pub(super) fn faults(&self) -> u64 {
        let misses = self.array.as_ref().map_or(0, |array| array.misses);
        self.sum(|region| region.faults) + misses
    }

    pub(super) fn has_ended(&self) -> bool {
        self.workers > 0 && self.ended.len() == self.workers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use elbowroom::{Growth, Region, page_size};

    fn region() -> Region {
        let builder = Region::builder(8 * page_size()).growth(Growth::Pages(1));
        builder.timed().build().unwrap()
    }

    #[test]
    fn pages_are_those_of_the_library_and_of_the_system() {
        let page = page_size();
        let region = region();
        region.commit(2 * page..5 * page).unwrap();
        let spans = region.spans();
        let run = |pages: std::ops::Range<usize>, state| {
            Run::new(
                (pages.start * page) as u64,
                (pages.end * page) as u64,
                state,
            )
        };
        let (start, end) = (run(0..2, State::Reserved), run(5..8, State::Reserved));
        let committed = run(2..5, State::Committed);
        assert_eq!(runs(&spans, None, page), [start, committed, end]);
        let resident = [3, 4].map(|page| page as usize);
        let resident: Vec<bool> = (0..8).map(|page| resident.contains(&page)).collect();
        let parts = [run(2..3, State::Committed), run(3..5, State::Resident)];
        assert_eq!(
            runs(&spans, Some(&resident), page),
            [start, parts[0], parts[1], end]
        );
        // Pages that the system does not report are not resident.
        assert_eq!(runs(&spans, Some(&[]), page)[1], committed);
    }

    #[test]
    fn latencies_are_those_of_all_regions() {
        let (a, b) = (region(), region());
        a.try_write(0, 1u8).unwrap();
        b.try_write(page_size(), 1u8).unwrap();
        let merged = merge(&[a.stats(), b.stats()]);
        assert_eq!(merged.len(), 1);
        assert_eq!(
            (merged[0].outcome, merged[0].times.count()),
            ("committed", 2)
        );
    }
}

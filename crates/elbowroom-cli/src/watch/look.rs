//! The state of a workload at one moment, as plain data.

use std::collections::BTreeMap;
use std::time::Duration;

use elbowroom::fault::{Histogram, Outcome};
use elbowroom::{PageState, Span, Stats};
use serde::Serialize;

use elbowroom_map::{Run, State};

/// The whole state.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Look {
    pub(super) regions: Vec<RegionLook>,
    pub(super) budgets: Vec<BudgetLook>,
    /// The latencies of the outcomes that occurred, in the order of [`Outcome::ALL`].
    pub(super) latencies: Vec<Latency>,
    pub(super) workers: usize,
    /// The workers that are done.
    pub(super) ended: Vec<Ended>,
}

/// A region.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct RegionLook {
    pub(super) name: &'static str,
    pub(super) backend: String,
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
    pub(super) declined: u64,
    /// The pages, in bytes from the start.
    pub(super) pages: Vec<Run>,
}

/// A budget.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct BudgetLook {
    pub(super) name: &'static str,
    /// The number of budgets above it.
    pub(super) depth: usize,
    pub(super) committed_bytes: u64,
    pub(super) limit_bytes: u64,
}

/// A worker that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Ended {
    pub(super) worker: &'static str,
    /// The reason for a refused touch; `None` if all touches are done.
    pub(super) refused: Option<String>,
}

/// The durations of faults with one outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Latency {
    pub(super) outcome: &'static str,
    pub(super) count: u64,
    /// The buckets of the histogram: an upper bound of the times, and their number.
    pub(super) buckets: Vec<Bucket>,
}

/// A part of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Bucket {
    pub(super) below_ns: u64,
    pub(super) count: u64,
}

impl Latency {
    /// Returns a time that at least this part of the faults did not exceed.
    pub(super) fn percentile(&self, part: f64) -> Duration {
        let wanted = ((self.count as f64 * part).ceil() as u64).max(1);
        let mut sum = 0;
        let reaches = |bucket: &&Bucket| {
            sum += bucket.count;
            sum >= wanted
        };
        Duration::from_nanos(
            self.buckets
                .iter()
                .find(reaches)
                .map_or(0, |bucket| bucket.below_ns),
        )
    }
}

/// Merges the latencies of all regions.
pub(super) fn merge(regions: &[Stats]) -> Vec<Latency> {
    let of = |outcome: Outcome| {
        let mut sums: BTreeMap<u64, u64> = BTreeMap::new();
        for (below, count) in regions
            .iter()
            .filter_map(|region| region.latency(outcome))
            .flat_map(Histogram::buckets)
        {
            *sums
                .entry(u64::try_from(below.as_nanos()).unwrap_or(u64::MAX))
                .or_default() += count;
        }
        let buckets: Vec<Bucket> = sums
            .into_iter()
            .map(|(below_ns, count)| Bucket { below_ns, count })
            .collect();
        let count = buckets.iter().map(|bucket| bucket.count).sum();
        (count > 0).then_some(Latency {
            outcome: outcome.name(),
            count,
            buckets,
        })
    };
    Outcome::ALL.into_iter().filter_map(of).collect()
}

/// Returns the pages of a region: from the library, and for committed pages also from the system.
pub(super) fn runs(spans: &[Span], resident: Option<&[bool]>, page: usize) -> Vec<Run> {
    let mut runs = Vec::new();
    for span in spans {
        let bytes = |start: usize, end: usize, state| Run::new(start as u64, end as u64, state);
        match resident {
            _ if span.state != PageState::Committed => {
                bytes(span.range.start, span.range.end, State::Reserved).push(&mut runs);
            }
            None => bytes(span.range.start, span.range.end, State::Committed).push(&mut runs),
            Some(resident) => {
                for start in span.range.clone().step_by(page) {
                    let is_resident = resident
                        .get(start / page)
                        .is_some_and(|&is_resident| is_resident);
                    let state = if is_resident {
                        State::Resident
                    } else {
                        State::Committed
                    };
                    bytes(start, start + page, state).push(&mut runs);
                }
            }
        }
    }
    runs
}

impl Look {
    pub(super) fn committed_bytes(&self) -> u64 {
        self.regions
            .iter()
            .map(|region| region.committed_bytes)
            .sum()
    }

    pub(super) fn reserved_bytes(&self) -> u64 {
        self.regions
            .iter()
            .map(|region| region.reserved_bytes)
            .sum()
    }

    pub(super) fn resident_bytes(&self) -> Option<u64> {
        self.regions
            .iter()
            .map(|region| region.resident_bytes)
            .sum()
    }

    pub(super) fn commit_limit_bytes(&self) -> u64 {
        self.regions
            .iter()
            .map(|region| region.commit_limit_bytes)
            .sum()
    }

    pub(super) fn faults(&self) -> u64 {
        self.regions.iter().map(|region| region.faults).sum()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.workers > 0 && self.ended.len() == self.workers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use elbowroom::{Growth, Region, page_size};

    #[test]
    fn pages_are_what_the_library_and_the_system_say() {
        let page = page_size();
        let region = Region::builder(8 * page)
            .growth(Growth::Pages(1))
            .build()
            .unwrap();
        region.commit(2 * page..5 * page).unwrap();
        let spans = region.spans();
        let bytes = |pages: std::ops::Range<usize>, state| {
            Run::new(
                (pages.start * page) as u64,
                (pages.end * page) as u64,
                state,
            )
        };
        let (start, end) = (bytes(0..2, State::Reserved), bytes(5..8, State::Reserved));
        assert_eq!(
            runs(&spans, None, page),
            [start, bytes(2..5, State::Committed), end]
        );
        let resident = [false, false, false, true, true, false, false, false];
        let middle = [bytes(2..3, State::Committed), bytes(3..5, State::Resident)];
        assert_eq!(
            runs(&spans, Some(&resident), page),
            [start, middle[0], middle[1], end]
        );
        // A system that says nothing of the last pages says that they are not there.
        assert_eq!(
            runs(&spans, Some(&[]), page)[1],
            bytes(2..5, State::Committed)
        );
    }

    #[test]
    fn percentiles_are_those_of_the_sums() {
        let bucket = |below_ns, count| Bucket { below_ns, count };
        let latency = Latency {
            outcome: "committed",
            count: 100,
            buckets: vec![bucket(10, 50), bucket(1000, 50)],
        };
        let at = |part| latency.percentile(part).as_nanos();
        assert_eq!([at(0.0), at(0.5), at(0.51), at(1.0)], [10, 10, 1000, 1000]);

        let region = || {
            Region::builder(4 * page_size())
                .growth(Growth::Pages(1))
                .timed()
                .build()
                .unwrap()
        };
        let (a, b) = (region(), region());
        a.try_write(0, 1u8).unwrap();
        b.try_write(page_size(), 1u8).unwrap();
        let latencies = [a.stats(), b.stats()];
        let merged = merge(&latencies);
        assert_eq!(merged.len(), 1);
        assert_eq!((merged[0].outcome, merged[0].count), ("committed", 2));
    }
}

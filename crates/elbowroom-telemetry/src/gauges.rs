//! Gauges and counters of regions and budgets, through the crate
//! [`metrics`](https://docs.rs/metrics).
//!
//! Nothing is reported while a fault is handled, because a recorder allocates and takes locks. Call
//! [`record`] when the exporter is about to read, or every few seconds.
//!
//! | name | kind | labels | value |
//! |---|---|---|---|
//! | `elbowroom_region_reserved_bytes` | gauge | `region` | reserved bytes |
//! | `elbowroom_region_committed_bytes` | gauge | `region` | committed bytes |
//! | `elbowroom_region_commit_limit_bytes` | gauge | `region` | bytes that may be committed |
//! | `elbowroom_region_faults` | gauge | `region`, `outcome` | faults of living regions, by [`Outcome::name`] |
//! | `elbowroom_faults_total` | counter | `outcome` | all faults of the process |
//! | `elbowroom_budget_committed_bytes` | gauge | `budget` | charged bytes |
//! | `elbowroom_budget_peak_bytes` | gauge | `budget` | the most that was ever charged |
//! | `elbowroom_budget_limit_bytes` | gauge | `budget` | bytes that may be charged |
//!
//! The label is the name of the region or budget, or the empty string. Figures with the same label are added up. Choose
//! names by purpose (`"cache"`) and not by item (`"request 4711"`): this module and the recorder keep each name until
//! the process ends.
//!
//! ```
//! use elbowroom::{Budget, Region};
//! use elbowroom_telemetry::gauges;
//!
//! // At the start, after the recorder is installed.
//! gauges::describe();
//!
//! let process = Budget::builder(64 << 20).name("process").build();
//! let cache = Region::builder(1 << 30).name("cache").budget(&process).build()?;
//! cache.try_write(0, 1u8)?;
//!
//! // Now and then: reports every region, and the budgets that are given.
//! gauges::record([&process]);
//! # Ok::<(), elbowroom::Error>(())
//! ```

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use elbowroom::fault::{Outcome, released_faults};
use elbowroom::{Budget, regions};
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

const FAULTS_TOTAL: &str = "elbowroom_faults_total";
const REGION_FAULTS: &str = "elbowroom_region_faults";

/// The gauges of a region, in bytes, and their descriptions.
const REGION: [(&str, &str); 3] = [
    (
        "elbowroom_region_reserved_bytes",
        "Bytes that regions have reserved.",
    ),
    (
        "elbowroom_region_committed_bytes",
        "Bytes that regions have committed.",
    ),
    (
        "elbowroom_region_commit_limit_bytes",
        "Bytes that regions may commit by their own limits.",
    ),
];

/// The gauges of a budget, in bytes, and their descriptions.
const BUDGET: [(&str, &str); 3] = [
    (
        "elbowroom_budget_committed_bytes",
        "Bytes that are charged to a budget.",
    ),
    (
        "elbowroom_budget_peak_bytes",
        "The most bytes that were ever charged to a budget.",
    ),
    (
        "elbowroom_budget_limit_bytes",
        "Bytes that may be charged to a budget.",
    ),
];

/// Describes each gauge and counter to the recorder, with its unit. One call is enough.
pub fn describe() {
    for (name, text) in REGION.into_iter().chain(BUDGET) {
        describe_gauge!(name, Unit::Bytes, text);
    }
    describe_gauge!(
        REGION_FAULTS,
        Unit::Count,
        "Faults in the regions that live, by outcome."
    );
    describe_counter!(
        FAULTS_TOTAL,
        Unit::Count,
        "Faults in all regions of the process, by outcome."
    );
}

/// Sets every gauge and counter: those of all regions of the process, and those of `budgets`.
///
/// Pass all budgets of interest in each call. The gauges of a budget that is no longer passed become 0, and so do those
/// of released regions. The counter keeps the faults of released regions.
///
/// Call it from ordinary code, like [`regions`]. It does nothing if no recorder is installed.
pub fn record<'a>(budgets: impl IntoIterator<Item = &'a Budget>) {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    names.forget_figures();
    // Released regions first: a region that is released in between is missing until the next call, and is
    // not counted twice.
    let mut totals = Outcome::ALL.map(released_faults);
    for region in regions() {
        let stats = &region.stats;
        let sums = names.regions.entry(region.name).or_default();
        let bytes = [
            stats.reserved_bytes,
            stats.committed_bytes,
            stats.commit_limit_bytes,
        ];
        add(&mut sums.0, bytes);
        let faults = Outcome::ALL.map(|outcome| stats.faults_of(outcome));
        for (sum, count) in sums
            .1
            .iter_mut()
            .chain(&mut totals)
            .zip(faults.iter().chain(&faults))
        {
            *sum += count;
        }
    }
    for budget in budgets {
        let sums = names.budgets.entry(budget.name().to_owned()).or_default();
        let bytes = [
            budget.committed_bytes(),
            budget.peak_bytes(),
            budget.limit_bytes(),
        ];
        add(sums, bytes);
    }

    for (name, (bytes, faults)) in &names.regions {
        for ((gauge, _), bytes) in REGION.iter().zip(bytes) {
            gauge!(*gauge, "region" => name.clone()).set(*bytes as f64);
        }
        for (outcome, count) in Outcome::ALL.iter().zip(faults) {
            gauge!(REGION_FAULTS, "region" => name.clone(), "outcome" => outcome.name())
                .set(*count as f64);
        }
    }
    for (outcome, count) in Outcome::ALL.iter().zip(totals) {
        counter!(FAULTS_TOTAL, "outcome" => outcome.name()).absolute(count);
    }
    for (name, bytes) in &names.budgets {
        for ((gauge, _), bytes) in BUDGET.iter().zip(bytes) {
            gauge!(*gauge, "budget" => name.clone()).set(*bytes as f64);
        }
    }
}

/// The sums of the regions or budgets with one name.
type Bytes = [usize; 3];
type Faults = [u64; Outcome::ALL.len()];

/// Every name that was ever reported, with the figures of the present call.
struct Names {
    regions: BTreeMap<String, (Bytes, Faults)>,
    budgets: BTreeMap<String, Bytes>,
}

static NAMES: Mutex<Names> = Mutex::new(Names {
    regions: BTreeMap::new(),
    budgets: BTreeMap::new(),
});

impl Names {
    fn forget_figures(&mut self) {
        self.regions
            .values_mut()
            .for_each(|sums| *sums = Default::default());
        self.budgets
            .values_mut()
            .for_each(|sums| *sums = Default::default());
    }
}

/// Adds figures to sums. Saturates: several budgets without a limit exceed the largest number.
fn add(sums: &mut Bytes, bytes: Bytes) {
    for (sum, bytes) in sums.iter_mut().zip(bytes) {
        *sum = sum.saturating_add(bytes);
    }
}

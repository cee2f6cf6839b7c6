//! Gauges and counters for regions and budgets, through the crate [`metrics`](https://docs.rs/metrics): what a
//! dashboard shows, and what an exporter for Prometheus or OpenTelemetry asks for. With the feature `metrics`.
//!
//! Nothing is told while a fault is handled: a recorder allocates and takes locks. Call [`record`] when the exporter is
//! about to read, or every few seconds.
//!
//! | name | kind | labels | |
//! |---|---|---|---|
//! | `elbowroom_region_reserved_bytes` | gauge | `region` | addresses |
//! | `elbowroom_region_committed_bytes` | gauge | `region` | what is committed |
//! | `elbowroom_region_commit_limit_bytes` | gauge | `region` | how much may be |
//! | `elbowroom_region_faults_total` | counter | `region`, `outcome` | faults, by [`Outcome::name`] |
//! | `elbowroom_budget_committed_bytes` | gauge | `budget` | what is charged |
//! | `elbowroom_budget_peak_bytes` | gauge | `budget` | the most that ever was |
//! | `elbowroom_budget_limit_bytes` | gauge | `budget` | how much may be |
//!
//! The label is the name that a region or budget was given; those without one have the empty string. What has the same
//! name is added up. So name by purpose (`"cache"`) and not by item (`"request 4711"`): each name is kept for good,
//! here and by the recorder.
//!
//! ```
//! use elbowroom::{Budget, Region, metrics};
//!
//! // At the start, behind the installation of a recorder.
//! metrics::describe();
//!
//! let process = Budget::builder(64 << 20).name("process").build();
//! let cache = Region::builder(1 << 30).name("cache").budget(&process).build()?;
//! cache.try_write(0, 1u8)?;
//!
//! // Now and then: every region there is, and the budgets that are given.
//! metrics::record([&process]);
//! # Ok::<(), elbowroom::Error>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use ::metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

use crate::fault::Outcome;
use crate::fault::registry::{self, Outcomes};
use crate::region::{Budget, regions};

const RESERVED: &str = "elbowroom_region_reserved_bytes";
const COMMITTED: &str = "elbowroom_region_committed_bytes";
const COMMIT_LIMIT: &str = "elbowroom_region_commit_limit_bytes";
const FAULTS: &str = "elbowroom_region_faults_total";
const BUDGET_COMMITTED: &str = "elbowroom_budget_committed_bytes";
const BUDGET_PEAK: &str = "elbowroom_budget_peak_bytes";
const BUDGET_LIMIT: &str = "elbowroom_budget_limit_bytes";

/// Tells the recorder what each gauge and counter is, and its unit. Once is enough.
pub fn describe() {
    describe_gauge!(RESERVED, Unit::Bytes, "Addresses that regions have reserved.");
    describe_gauge!(COMMITTED, Unit::Bytes, "What regions have committed.");
    describe_gauge!(COMMIT_LIMIT, Unit::Bytes, "What regions may commit by their own limits.");
    describe_counter!(FAULTS, Unit::Count, "Faults in regions, by what became of them.");
    describe_gauge!(BUDGET_COMMITTED, Unit::Bytes, "What is charged to a budget.");
    describe_gauge!(BUDGET_PEAK, Unit::Bytes, "The most that ever was charged to a budget.");
    describe_gauge!(BUDGET_LIMIT, Unit::Bytes, "What may be charged to a budget.");
}

/// Sets every gauge and counter: of all regions of the process, and of these budgets.
///
/// Give all the budgets that are of interest, each time: the gauges of one that is not given any more become 0, as do
/// those of regions that are gone. Counters keep what regions that are gone have counted.
///
/// For ordinary code, as [`regions()`]. Does nothing where no recorder is installed.
pub fn record<'a>(budgets: impl IntoIterator<Item = &'a Budget>) {
    record_regions();
    record_budgets(budgets);
}

fn record_regions() {
    // Those that are no more come first: one that goes meanwhile is then counted in the next turn, and not twice.
    let retired = registry::retired();
    let mut sums: BTreeMap<Box<str>, ([usize; 3], Outcomes)> =
        retired.into_iter().map(|(name, outcomes)| (name, ([0; 3], outcomes))).collect();
    for region in regions() {
        let (bytes, outcomes) = sums.entry(region.name.into()).or_default();
        let stats = &region.stats;
        let of_this = [stats.reserved_bytes, stats.committed_bytes, stats.commit_limit_bytes];
        bytes.iter_mut().zip(of_this).for_each(|(sum, bytes)| *sum += bytes);
        outcomes.iter_mut().zip(Outcome::ALL).for_each(|(sum, outcome)| *sum += stats.faults_of(outcome));
    }
    for (name, (bytes, outcomes)) in sums {
        let name = String::from(name);
        for (gauge, bytes) in [RESERVED, COMMITTED, COMMIT_LIMIT].into_iter().zip(bytes) {
            gauge!(gauge, "region" => name.clone()).set(bytes as f64);
        }
        for outcome in Outcome::ALL {
            counter!(FAULTS, "region" => name.clone(), "outcome" => outcome.name())
                .absolute(outcomes[outcome as usize]);
        }
    }
}

/// The names of budgets that have gauges.
static BUDGETS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn record_budgets<'a>(budgets: impl IntoIterator<Item = &'a Budget>) {
    let mut names = BUDGETS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut sums: BTreeMap<&str, [usize; 3]> = names.iter().map(|name| (name.as_str(), [0; 3])).collect();
    let mut new = Vec::new();
    for budget in budgets {
        let sum = sums.entry(budget.name()).or_insert_with(|| {
            new.push(budget.name().to_owned());
            [0; 3]
        });
        let of_this = [budget.committed_bytes(), budget.peak_bytes(), budget.limit_bytes()];
        // Several without a limit come to more than can be written.
        sum.iter_mut().zip(of_this).for_each(|(sum, bytes)| *sum = sum.saturating_add(bytes));
    }
    for (name, bytes) in sums {
        for (gauge, bytes) in [BUDGET_COMMITTED, BUDGET_PEAK, BUDGET_LIMIT].into_iter().zip(bytes) {
            gauge!(gauge, "budget" => name.to_owned()).set(bytes as f64);
        }
    }
    names.extend(new);
}

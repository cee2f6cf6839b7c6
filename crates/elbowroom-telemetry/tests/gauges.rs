//! The gauges and counters that a recorder of the crate `metrics` receives.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use elbowroom::fault::Outcome;
use elbowroom::{Budget, Growth, Region, Verdict, page_size};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString,
    Unit,
};

/// A recorded number.
#[derive(Default)]
struct Cell(AtomicU64);

impl GaugeFn for Cell {
    fn increment(&self, _: f64) {
        panic!("gauges are set");
    }

    fn decrement(&self, _: f64) {
        panic!("gauges are set");
    }

    fn set(&self, value: f64) {
        assert!(value >= 0.0 && value.fract() == 0.0, "{value}");
        self.0.store(value as u64, Ordering::Relaxed);
    }
}

impl CounterFn for Cell {
    fn increment(&self, _: u64) {
        panic!("counters are set");
    }

    fn absolute(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }
}

/// A recorder that keeps the last value of everything.
#[derive(Default)]
struct Last {
    cells: Mutex<BTreeMap<String, Arc<Cell>>>,
    units: Mutex<BTreeMap<String, Option<Unit>>>,
}

impl Last {
    fn cell(&self, key: &Key) -> Arc<Cell> {
        let labels: Vec<String> = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        Arc::clone(self.cells.lock().unwrap().entry(name).or_default())
    }

    /// Returns the last value of a gauge or counter. Panics if there is none.
    fn of(&self, name: &str) -> u64 {
        let cells = self.cells.lock().unwrap();
        let cell = cells
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {:?}", cells.keys()));
        cell.0.load(Ordering::Relaxed)
    }

    fn region(&self, what: &str, name: &str) -> usize {
        self.of(&format!("elbowroom_region_{what}_bytes{{region={name}}}")) as usize
    }

    fn budget(&self, what: &str, name: &str) -> usize {
        self.of(&format!("elbowroom_budget_{what}_bytes{{budget={name}}}")) as usize
    }

    fn faults(&self, name: &str, outcome: Outcome) -> u64 {
        self.of(&format!(
            "elbowroom_region_faults{{region={name},outcome={}}}",
            outcome.name()
        ))
    }

    fn total(&self, outcome: Outcome) -> u64 {
        self.of(&format!(
            "elbowroom_faults_total{{outcome={}}}",
            outcome.name()
        ))
    }
}

impl Recorder for Last {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        self.units
            .lock()
            .unwrap()
            .insert(key.as_str().to_owned(), unit);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        self.units
            .lock()
            .unwrap()
            .insert(key.as_str().to_owned(), unit);
    }

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        panic!("there are none");
    }
}

/// The only test that records budgets: the names that were once recorded belong to the process.
#[test]
fn a_recorder_is_told_of_regions_and_budgets() {
    let page = page_size();
    let last = Last::default();
    let record = |budgets: &[&Budget]| {
        metrics::with_local_recorder(&last, || {
            elbowroom_telemetry::gauges::record(budgets.iter().copied())
        });
    };
    metrics::with_local_recorder(&last, elbowroom_telemetry::gauges::describe);

    let process = Budget::builder(100 * page).name("process").build();
    let tenant = Budget::builder(10 * page)
        .name("tenant")
        .child_of(&process)
        .build();
    let make = || {
        let declined = 40 * page..60 * page;
        let filter = move |fault: &elbowroom::Fault<'_>| {
            if declined.contains(&fault.offset()) {
                Verdict::Decline
            } else {
                Verdict::Commit
            }
        };
        let builder = Region::builder(64 * page)
            .commit_limit(32 * page)
            .growth(Growth::Pages(1))
            .name("cache");
        builder.budget(&tenant).filter(filter).build().unwrap()
    };
    let [one, other] = [make(), make()];
    one.try_fill(0..4 * page, 1).unwrap();
    other.try_fill(0..2 * page, 1).unwrap();
    other.commit(2 * page..5 * page).unwrap();
    other.try_write(50 * page, 1u8).unwrap_err();
    // The budget has room for one more page.
    other.try_fill(5 * page..8 * page, 1).unwrap_err();
    // A touch of the guard page.
    other.try_write(64 * page, 1u8).unwrap_err();

    record(&[&process, &tenant]);
    // Two regions of the same name are added up.
    assert_eq!(last.region("reserved", "cache"), 2 * 64 * page);
    assert_eq!(last.region("committed", "cache"), 10 * page);
    assert_eq!(last.region("commit_limit", "cache"), 2 * 32 * page);
    let faults = Outcome::ALL.map(|outcome| last.faults("cache", outcome));
    assert_eq!(faults, [4 + 2 + 1, 0, 1, 1, 1]);
    let stats = [one.stats(), other.stats()];
    assert_eq!(
        faults.iter().sum::<u64>(),
        stats.iter().map(|stats| stats.faults).sum::<u64>()
    );
    for (name, committed, limit) in [("process", 10, 100), ("tenant", 10, 10)] {
        assert_eq!(last.budget("committed", name), committed * page);
        assert_eq!(last.budget("peak", name), committed * page);
        assert_eq!(last.budget("limit", name), limit * page);
    }

    assert_eq!(Outcome::ALL.map(|outcome| last.total(outcome)), faults);

    // A released region counts 0, and its faults stay in the totals.
    drop(one);
    record(&[&process]);
    assert_eq!(last.region("committed", "cache"), 6 * page);
    assert_eq!(last.faults("cache", Outcome::Committed), 3);
    assert_eq!(Outcome::ALL.map(|outcome| last.total(outcome)), faults);
    assert_eq!(
        (
            last.budget("committed", "process"),
            last.budget("peak", "process")
        ),
        (6 * page, 10 * page)
    );
    assert_eq!(
        (
            last.budget("committed", "tenant"),
            last.budget("limit", "tenant")
        ),
        (0, 0)
    );
    drop(other);
    let again = make();
    again.try_write(0, 1u8).unwrap();
    drop(again);
    record(&[]);
    for what in ["reserved", "committed", "commit_limit"] {
        assert_eq!(last.region(what, "cache"), 0);
    }
    assert_eq!(last.faults("cache", Outcome::Committed), 0);
    assert_eq!(last.total(Outcome::Committed), faults[0] + 1);

    // Everything recorded was described. All units are bytes, except those of counts.
    let (cells, units) = (last.cells.lock().unwrap(), last.units.lock().unwrap());
    let told: std::collections::BTreeSet<&str> = cells
        .keys()
        .filter_map(|name| name.split('{').next())
        .collect();
    assert_eq!(told, units.keys().map(String::as_str).collect());
    for (name, unit) in units.iter() {
        assert_eq!(
            *unit,
            Some(if name.ends_with("_bytes") {
                Unit::Bytes
            } else {
                Unit::Count
            }),
            "{name}"
        );
    }
}

/// Without a recorder, nothing happens.
#[test]
fn without_a_recorder_nothing_happens() {
    let _region = Region::builder(page_size()).name("alone").build().unwrap();
    elbowroom_telemetry::gauges::describe();
}

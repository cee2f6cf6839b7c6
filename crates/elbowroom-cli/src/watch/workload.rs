//! What a workload does, as data: its regions, its budgets, and who touches which pages in which order.

use std::ops::Range;
use std::time::Duration;

use clap::ValueEnum;
use elbowroom::{Backend, Growth, page_size};

use super::format::count;

/// What to watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// Microsoft's 80 pages, one after the other, in slow motion
    Seed,
    /// A large region filled from its start: windows double as it runs on
    Sequential,
    /// Touches here and there
    Random,
    /// Three regions under nested budgets, which run out one by one
    Budget,
    /// Eight threads in one region, each in a part of its own
    Threads,
}

impl Workload {
    pub(super) fn name(self) -> &'static str {
        match self {
            Workload::Seed => "seed",
            Workload::Sequential => "sequential",
            Workload::Random => "random",
            Workload::Budget => "budget",
            Workload::Threads => "threads",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Workload::Seed => "80 pages, one after the other",
            Workload::Sequential => "a region filled from its start",
            Workload::Random => "touches here and there",
            Workload::Budget => "three regions under nested budgets",
            Workload::Threads => "8 threads, each in its part of a region",
        }
    }

    pub(super) fn next(self) -> Workload {
        match self {
            Workload::Seed => Workload::Sequential,
            Workload::Sequential => Workload::Random,
            Workload::Random => Workload::Budget,
            Workload::Budget => Workload::Threads,
            Workload::Threads => Workload::Seed,
        }
    }

    /// The growth that shows best what it is about.
    pub(super) fn growth(self) -> Growth {
        match self {
            Workload::Seed | Workload::Budget => Growth::Pages(1),
            Workload::Sequential | Workload::Random | Workload::Threads => Growth::default(),
        }
    }

    pub(super) fn plan(self) -> Plan {
        let region = |name, pages, budget| RegionPlan { name, pages, budget };
        let milliseconds = Duration::from_millis;
        match self {
            Workload::Seed => Plan {
                regions: vec![region("seed", 80, None)],
                budgets: Vec::new(),
                workers: vec![Worker::new("writer", 0, Touches::Up(0..80), 1, milliseconds(200))],
            },
            Workload::Sequential => {
                let pages = pages_of(32 << 20);
                let worker = Worker::new("writer", 0, Touches::Up(0..pages), 4, share(SOME_SECONDS, 4, pages));
                Plan { regions: vec![region("log", pages, None)], budgets: Vec::new(), workers: vec![worker] }
            }
            Workload::Random => {
                let pages = pages_of(256 << 20);
                let touches = pages / 32;
                let worker = Worker::new("writer", 0, Touches::Scattered(touches), 1, share(SOME_SECONDS, 1, touches));
                Plan { regions: vec![region("sparse", pages, None)], budgets: Vec::new(), workers: vec![worker] }
            }
            // The sums are such that each of the three is refused by another budget.
            Workload::Budget => Plan {
                budgets: vec![
                    BudgetPlan { name: "machine", pages: 240, parent: None },
                    BudgetPlan { name: "team", pages: 160, parent: Some(0) },
                    BudgetPlan { name: "alpha", pages: 96, parent: Some(1) },
                ],
                regions: vec![
                    region("alpha", 128, Some(2)),
                    region("beta", 128, Some(1)),
                    region("gamma", 128, Some(0)),
                ],
                workers: vec![
                    Worker::new("alpha", 0, Touches::Up(0..128), 1, milliseconds(60)),
                    Worker::new("beta", 1, Touches::Up(0..128), 1, milliseconds(100)),
                    Worker::new("gamma", 2, Touches::Up(0..128), 1, milliseconds(140)),
                ],
            },
            Workload::Threads => {
                let names = ["1st", "2nd", "3rd", "4th", "5th", "6th", "7th", "8th"];
                let part = pages_of(16 << 20) / names.len();
                let worker = |(at, name)| {
                    let start = at * part;
                    // Each at a pace of its own.
                    let nap = share(SOME_SECONDS / 2 + Duration::from_secs(2 * at as u64), 2, part);
                    Worker::new(name, 0, Touches::Up(start..start + part), 2, nap)
                };
                Plan {
                    regions: vec![region("shared", names.len() * part, None)],
                    budgets: Vec::new(),
                    workers: names.into_iter().enumerate().map(worker).collect(),
                }
            }
        }
    }
}

/// How long a workload takes to watch.
const SOME_SECONDS: Duration = Duration::from_secs(20);

/// As much where pages are large: what is committed is really used.
fn pages_of(bytes: usize) -> usize {
    (bytes / page_size()).max(64)
}

/// The nap after each batch of touches, if all of them are to take so long.
fn share(time: Duration, batch: u32, touches: usize) -> Duration {
    time * batch / touches.max(1) as u32
}

/// By what means pages are committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Means {
    /// The protection of pages, everywhere
    Protection,
    /// userfaultfd (Linux)
    Userfault,
    /// userfaultfd, served by threads (Linux)
    UserfaultMonitor,
    /// userfaultfd where the system allows it
    Auto,
}

impl Means {
    pub(super) fn backend(self) -> Backend {
        match self {
            Means::Protection => Backend::Protection,
            Means::Userfault => Backend::Userfault,
            Means::UserfaultMonitor => Backend::UserfaultMonitor,
            Means::Auto => Backend::Auto,
        }
    }
}

/// How much of each region may be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    None,
    Half,
    Quarter,
}

impl Limit {
    pub(super) fn next(self) -> Limit {
        match self {
            Limit::None => Limit::Half,
            Limit::Half => Limit::Quarter,
            Limit::Quarter => Limit::None,
        }
    }

    pub(super) fn pages(self, of: usize) -> Option<usize> {
        match self {
            Limit::None => None,
            Limit::Half => Some(of / 2),
            Limit::Quarter => Some(of / 4),
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Limit::None => "no commit limit",
            Limit::Half => "commit limit half of it",
            Limit::Quarter => "commit limit a quarter of it",
        }
    }
}

/// A workload, and how its regions are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) workload: Workload,
    pub(super) means: Means,
    pub(super) growth: Growth,
    pub(super) limit: Limit,
}

impl Settings {
    pub(super) fn new(workload: Workload, means: Means) -> Settings {
        Settings { workload, means, growth: workload.growth(), limit: Limit::None }
    }
}

/// The growths that one key goes through.
pub(super) fn next_growth(growth: Growth) -> Growth {
    match growth {
        Growth::Pages(1) => Growth::Pages(4),
        Growth::Pages(4) => Growth::Pages(16),
        Growth::Pages(_) => Growth::default(),
        _ => Growth::Pages(1),
    }
}

pub(super) fn growth_words(growth: Growth) -> String {
    match growth {
        Growth::Pages(pages) => format!("growth {}", count(pages as u64, "page")),
        _ => "growth adaptive".to_owned(),
    }
}

/// Who touches what.
pub(super) struct Plan {
    pub(super) regions: Vec<RegionPlan>,
    /// Parents come before their children.
    pub(super) budgets: Vec<BudgetPlan>,
    pub(super) workers: Vec<Worker>,
}

pub(super) struct RegionPlan {
    pub(super) name: &'static str,
    pub(super) pages: usize,
    pub(super) budget: Option<usize>,
}

pub(super) struct BudgetPlan {
    pub(super) name: &'static str,
    pub(super) pages: usize,
    pub(super) parent: Option<usize>,
}

/// A thread.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) name: &'static str,
    pub(super) region: usize,
    pub(super) touches: Touches,
    /// So many touches between two naps.
    pub(super) batch: usize,
    pub(super) nap: Duration,
}

impl Worker {
    fn new(name: &'static str, region: usize, touches: Touches, batch: usize, nap: Duration) -> Worker {
        Worker { name, region, touches, batch, nap }
    }
}

/// The pages that are touched, in order.
#[derive(Clone, Debug)]
pub(super) enum Touches {
    Up(Range<usize>),
    /// So many, anywhere in the region; the same each time.
    Scattered(usize),
}

impl Touches {
    pub(super) fn pages(&self, of: usize) -> Box<dyn Iterator<Item = usize>> {
        match self {
            Touches::Up(range) => Box::new(range.clone()),
            &Touches::Scattered(count) => {
                // A linear congruential generator; its high bits are the good ones.
                let step = move |state: &mut u64| {
                    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    Some((*state >> 33) as usize % of)
                };
                Box::new((0..count).scan(1u64, move |state, _| step(state)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_consistent() {
        for &workload in Workload::value_variants() {
            let plan = workload.plan();
            for (at, budget) in plan.budgets.iter().enumerate() {
                assert!(budget.parent.is_none_or(|parent| parent < at), "{workload:?}");
            }
            for region in &plan.regions {
                assert!(region.budget.is_none_or(|budget| budget < plan.budgets.len()), "{workload:?}");
            }
            for worker in &plan.workers {
                let pages = plan.regions[worker.region].pages;
                assert!(worker.touches.pages(pages).all(|page| page < pages), "{workload:?}");
                assert!(worker.batch > 0 && worker.touches.pages(pages).count() > 0, "{workload:?}");
            }
        }
    }

    #[test]
    fn one_key_goes_through_everything() {
        let mut workload = Workload::Seed;
        for &expected in Workload::value_variants() {
            assert_eq!(workload, expected);
            workload = workload.next();
        }
        assert_eq!(workload, Workload::Seed);
        let mut growth = Growth::Pages(1);
        for expected in ["1 page", "4 pages", "16 pages", "adaptive", "1 page"] {
            assert_eq!(growth_words(growth), format!("growth {expected}"));
            growth = next_growth(growth);
        }
        assert_eq!(Limit::None.next().next().next(), Limit::None);
    }

    #[test]
    fn scattered_touches_are_scattered() {
        let pages: std::collections::HashSet<usize> = Touches::Scattered(2000).pages(1 << 16).collect();
        assert!(pages.len() > 1900, "{}", pages.len());
        let neighbours = pages.iter().filter(|&page| pages.contains(&(page + 1))).count();
        assert!(neighbours < 200, "{neighbours}");
    }
}

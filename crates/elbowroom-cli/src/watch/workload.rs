//! Workloads as data: regions, budgets, and the threads that touch pages in an order.

use std::ops::Range;
use std::time::Duration;

use clap::ValueEnum;
use elbowroom::{Backend, Growth, page_size};

use crate::args::{Means, Workload};
use crate::size::count;

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
            Workload::Random => "touches in random order",
            Workload::Budget => "three regions under nested budgets",
            Workload::Threads => "8 threads, each in its part of a region",
        }
    }

    pub(super) fn next(self) -> Workload {
        let all = Workload::value_variants();
        all[(self as usize + 1) % all.len()]
    }

    /// Returns the growth that shows the workload best.
    pub(super) fn growth(self) -> Growth {
        match self {
            Workload::Seed | Workload::Budget => Growth::Pages(1),
            Workload::Sequential | Workload::Random | Workload::Threads => Growth::default(),
        }
    }

    pub(super) fn plan(self) -> Plan {
        let milliseconds = Duration::from_millis;
        match self {
            Workload::Seed => Plan::of_one("seed", 80, Touches::Up(0..80), 1, milliseconds(200)),
            Workload::Sequential => {
                let pages = pages_of(32 << 20);
                let nap = share(SOME_SECONDS, 4, pages);
                Plan::of_one("log", pages, Touches::Up(0..pages), 4, nap)
            }
            Workload::Random => {
                let pages = pages_of(256 << 20);
                let touches = pages / 32;
                let nap = share(SOME_SECONDS, 1, touches);
                Plan::of_one("sparse", pages, Touches::Scattered(touches), 1, nap)
            }
            // Each of the three workers is refused by a different budget.
            Workload::Budget => {
                let mut plan = Plan {
                    regions: Vec::new(),
                    budgets: Vec::new(),
                    workers: Vec::new(),
                };
                for (name, pages, parent) in [
                    ("machine", 240, None),
                    ("team", 160, Some(0)),
                    ("alpha", 96, Some(1)),
                ] {
                    plan.budgets.push(BudgetPlan {
                        name,
                        pages,
                        parent,
                    });
                }
                for (region, (name, budget, nap)) in
                    [("alpha", 2, 60), ("beta", 1, 100), ("gamma", 0, 140)]
                        .into_iter()
                        .enumerate()
                {
                    let budget = Some(budget);
                    plan.regions.push(RegionPlan {
                        name,
                        pages: 128,
                        budget,
                    });
                    let touches = Touches::Up(0..128);
                    let nap = milliseconds(nap);
                    plan.workers.push(Worker {
                        name,
                        region,
                        touches,
                        batch: 1,
                        nap,
                    });
                }
                plan
            }
            Workload::Threads => {
                let names = ["1st", "2nd", "3rd", "4th", "5th", "6th", "7th", "8th"];
                let part = pages_of(16 << 20) / names.len();
                let worker = |(at, name)| {
                    // Each thread has its own pace.
                    let time = SOME_SECONDS / 2 + Duration::from_secs(2 * at as u64);
                    let touches = Touches::Up(at * part..(at + 1) * part);
                    let nap = share(time, 2, part);
                    Worker {
                        name,
                        region: 0,
                        touches,
                        batch: 2,
                        nap,
                    }
                };
                let workers = names.into_iter().enumerate().map(worker).collect();
                Plan::in_one("shared", names.len() * part, workers)
            }
        }
    }
}

/// How long a workload takes to watch.
const SOME_SECONDS: Duration = Duration::from_secs(20);

/// Returns the number of pages of `bytes`. The memory really is used, so larger pages do not mean more memory.
fn pages_of(bytes: usize) -> usize {
    (bytes / page_size()).max(64)
}

/// Returns the nap after each batch of touches with which all of them take `time`.
fn share(time: Duration, batch: u32, touches: usize) -> Duration {
    time * batch / touches.max(1) as u32
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
        Settings {
            workload,
            means,
            growth: workload.growth(),
            limit: Limit::None,
        }
    }
}

/// Returns the growth that a key changes to.
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

/// The parts of a workload.
pub(super) struct Plan {
    pub(super) regions: Vec<RegionPlan>,
    /// Parents come before their children.
    pub(super) budgets: Vec<BudgetPlan>,
    pub(super) workers: Vec<Worker>,
}

impl Plan {
    /// One worker in a region without a budget.
    fn of_one(
        name: &'static str,
        pages: usize,
        touches: Touches,
        batch: usize,
        nap: Duration,
    ) -> Plan {
        let worker = Worker {
            name: "writer",
            region: 0,
            touches,
            batch,
            nap,
        };
        Plan::in_one(name, pages, vec![worker])
    }

    /// These workers in a region without a budget.
    fn in_one(name: &'static str, pages: usize, workers: Vec<Worker>) -> Plan {
        let budget = None;
        Plan {
            regions: vec![RegionPlan {
                name,
                pages,
                budget,
            }],
            budgets: Vec::new(),
            workers,
        }
    }
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
    /// The number of touches between two naps.
    pub(super) batch: usize,
    pub(super) nap: Duration,
}

/// The pages that are touched, in order.
#[derive(Clone, Debug)]
pub(super) enum Touches {
    Up(Range<usize>),
    /// This number of pages in random order; the same in each run.
    Scattered(usize),
}

impl Touches {
    pub(super) fn pages(&self, of: usize) -> Box<dyn Iterator<Item = usize>> {
        match self {
            Touches::Up(range) => Box::new(range.clone()),
            &Touches::Scattered(count) => {
                // A linear congruential generator; its high bits are the good ones.
                let step = move |state: &mut u64| {
                    *state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
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
                assert!(
                    budget.parent.is_none_or(|parent| parent < at),
                    "{workload:?}"
                );
            }
            for region in &plan.regions {
                assert!(
                    region
                        .budget
                        .is_none_or(|budget| budget < plan.budgets.len()),
                    "{workload:?}"
                );
            }
            for worker in &plan.workers {
                let pages = plan.regions[worker.region].pages;
                assert!(
                    worker.touches.pages(pages).all(|page| page < pages),
                    "{workload:?}"
                );
                assert!(
                    worker.batch > 0 && worker.touches.pages(pages).count() > 0,
                    "{workload:?}"
                );
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
        let pages: std::collections::HashSet<usize> =
            Touches::Scattered(2000).pages(1 << 16).collect();
        assert!(pages.len() > 1900, "{}", pages.len());
        let neighbours = pages
            .iter()
            .filter(|&page| pages.contains(&(page + 1)))
            .count();
        assert!(neighbours < 200, "{neighbours}");
    }
}

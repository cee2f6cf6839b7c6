//! The workloads: which regions there are, and which threads touch their pages in which order.

use std::time::Duration;

use clap::ValueEnum;
use elbowroom::{Backend, Growth, page_size};

use super::paged;
use super::stage::{Batch, Stage};
use crate::args::{Means, Workload};
use crate::size::{count, human};

/// A workload, and how its regions are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) workload: Workload,
    pub(super) means: Means,
    pub(super) growth: Growth,
    /// The part of each region that may be committed: one of this many.
    pub(super) limit: usize,
}

impl Settings {
    pub(super) fn new(workload: Workload, means: Means) -> Settings {
        let growth = match workload {
            Workload::Seed | Workload::Budget => Growth::Pages(1),
            _ => Growth::default(),
        };
        Settings {
            workload,
            means,
            growth,
            limit: 1,
        }
    }

    pub(super) fn with_next_workload(self) -> Settings {
        let all = Workload::value_variants();
        let next = all[(self.workload as usize + 1) % all.len()];
        Settings::new(next, self.means)
    }

    pub(super) fn with_next_growth(self) -> Settings {
        let growth = match self.growth {
            Growth::Pages(1) => Growth::Pages(4),
            Growth::Pages(4) => Growth::Pages(16),
            Growth::Pages(_) => Growth::default(),
            _ => Growth::Pages(1),
        };
        Settings { growth, ..self }
    }

    pub(super) fn with_next_limit(self) -> Settings {
        let limit = if self.limit < 4 { self.limit * 2 } else { 1 };
        Settings { limit, ..self }
    }

    /// Returns the growth, without the word.
    pub(super) fn growth_text(self) -> String {
        match self.growth {
            Growth::Pages(pages) => count(pages as u64, "page"),
            _ => "adaptive".to_owned(),
        }
    }

    pub(super) fn limit_text(self) -> String {
        match (self.workload, self.limit) {
            (Workload::Paged, parts) => {
                format!("resident limit {}", human((paged::LIMIT / parts) as u64))
            }
            (_, 1) => "no commit limit".to_owned(),
            (_, 2) => "commit limit half of it".to_owned(),
            _ => "commit limit a quarter of it".to_owned(),
        }
    }

    pub(super) fn title(self) -> String {
        let title = match self.workload {
            Workload::Seed => "80 pages, one after the other",
            Workload::Sequential => "a region filled from its start",
            Workload::Random => "touches in random order",
            Workload::Budget => "three regions under nested budgets",
            Workload::Threads => "8 threads, each in its part of a region",
            Workload::Paged => "an array larger than its memory",
        };
        format!("elbowroom watch  {}: {title}", self.name())
    }

    /// Returns the name of the workload on the command line.
    pub(super) fn name(self) -> String {
        let value = self.workload.to_possible_value();
        value.map_or(String::new(), |value| value.get_name().to_owned())
    }

    pub(super) fn backend(self) -> Backend {
        match self.means {
            Means::Protection => Backend::Protection,
            Means::Userfault => Backend::Userfault,
            Means::UserfaultMonitor => Backend::UserfaultMonitor,
            Means::Auto => Backend::Auto,
        }
    }

    /// Makes the regions, and starts the threads.
    ///
    /// # Errors
    /// Fails if the system refuses a region or a thread.
    pub(super) fn start(self, stage: &mut Stage) -> Result<(), String> {
        let milliseconds = Duration::from_millis;
        match self.workload {
            Workload::Seed => {
                let region = stage.region("seed", 80, None)?;
                stage.touch("writer", region, 0..80, Batch(1, milliseconds(200)))
            }
            Workload::Sequential => {
                let pages = pages_of(32 << 20);
                let region = stage.region("log", pages, None)?;
                stage.touch(
                    "writer",
                    region,
                    0..pages,
                    Batch::within(SOME_SECONDS, 4, pages),
                )
            }
            Workload::Random => {
                let pages = pages_of(256 << 20);
                let region = stage.region("sparse", pages, None)?;
                let touches = scattered(pages).take(pages / 32);
                let batch = Batch::within(SOME_SECONDS, 1, pages / 32);
                stage.touch("writer", region, touches, batch)
            }
            // Each of the three workers is refused by a different budget.
            Workload::Budget => {
                let machine = stage.budget("machine", 240, None);
                let team = stage.budget("team", 160, Some(machine));
                let alpha = stage.budget("alpha", 96, Some(team));
                for (name, budget, nap) in [
                    ("alpha", alpha, 60),
                    ("beta", team, 100),
                    ("gamma", machine, 140),
                ] {
                    let region = stage.region(name, 128, Some(budget))?;
                    stage.touch(name, region, 0..128, Batch(1, milliseconds(nap)))?;
                }
                Ok(())
            }
            Workload::Threads => {
                let names = ["1st", "2nd", "3rd", "4th", "5th", "6th", "7th", "8th"];
                let part = pages_of(16 << 20) / names.len();
                let region = stage.region("shared", names.len() * part, None)?;
                for (at, name) in names.into_iter().enumerate() {
                    // Each thread has its own pace.
                    let time = SOME_SECONDS / 2 + Duration::from_secs(2 * at as u64);
                    let pages = at * part..(at + 1) * part;
                    stage.touch(name, region, pages, Batch::within(time, 2, part))?;
                }
                Ok(())
            }
            Workload::Paged => paged::start(stage, paged::LIMIT / self.limit),
        }
    }
}

/// The duration of a workload.
pub(super) const SOME_SECONDS: Duration = Duration::from_secs(20);

/// Returns the number of pages of `bytes`. The memory is really used, so larger pages do not mean more memory.
fn pages_of(bytes: usize) -> usize {
    (bytes / page_size()).max(64)
}

/// Returns numbers below `end` in random order, the same in each run.
pub(super) fn scattered(end: usize) -> impl Iterator<Item = usize> + Send {
    // A linear congruential generator. Its high bits are random.
    let next = |state: &u64| {
        let product = state.wrapping_mul(6_364_136_223_846_793_005);
        Some(product.wrapping_add(1_442_695_040_888_963_407))
    };
    let states = std::iter::successors(next(&1), next);
    states.map(move |state| (state >> 33) as usize % end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_goes_through_all_values() {
        let first = Settings::new(Workload::Seed, Means::Auto);
        let mut settings = first;
        for &workload in Workload::value_variants() {
            assert_eq!(settings.workload, workload);
            settings = settings.with_next_workload();
        }
        assert_eq!(settings, first);
        for growth in ["1 page", "4 pages", "16 pages", "adaptive"] {
            assert_eq!(settings.growth_text(), growth);
            settings = settings.with_next_growth();
        }
        for limit in [1, 2, 4] {
            assert_eq!(settings.limit, limit);
            settings = settings.with_next_limit();
        }
        assert_eq!(settings, first);
    }
}

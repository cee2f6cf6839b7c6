//! The settings of a workload, which keys change.

use clap::ValueEnum;
use elbowroom::{Backend, Growth};

use super::paged;
use crate::args::{Means, Workload};
use crate::size::{Size, count};

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
                format!("resident limit {}", Size((paged::LIMIT / parts) as u64))
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

//! Running workloads: regions, and the threads that touch them.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use elbowroom::{Backend, Budget, Error, Region, page_size};

use super::look::{self, BudgetLook, Ended, Look, RegionLook};
use super::pace::{Pace, Turn};
use super::workload::{Plan, Settings, Worker};
use crate::os;

/// A running workload. Dropping it ends it: the threads stop at their next touch.
pub(super) struct Stage {
    plan: Plan,
    regions: Vec<Arc<Region>>,
    budgets: Vec<Budget>,
    pace: Arc<Pace>,
    threads: Vec<JoinHandle<()>>,
    ended: Arc<Mutex<Vec<Ended>>>,
}

/// The state in which a workload begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) is_paused: bool,
    /// A power of two.
    pub(super) speed: i32,
    /// Whether it runs as fast as possible.
    pub(super) is_hurried: bool,
}

impl Stage {
    /// # Errors
    /// Fails if the system refuses a region or a thread.
    pub(super) fn new(settings: &Settings, start: Start) -> Result<Stage, String> {
        let page = page_size();
        let mut plan = settings.workload.plan();
        let mut budgets: Vec<Budget> = Vec::new();
        for budget in &plan.budgets {
            let builder = Budget::builder(budget.pages * page).name(budget.name);
            budgets.push(match budget.parent {
                Some(parent) => builder.child_of(&budgets[parent]).build(),
                None => builder.build(),
            });
        }
        let mut regions = Vec::new();
        for region in &plan.regions {
            let mut builder = Region::builder(region.pages * page)
                .name(region.name)
                .growth(settings.growth)
                .backend(settings.means.backend())
                .timed();
            if let Some(pages) = settings.limit.pages(region.pages) {
                builder = builder.commit_limit(pages * page);
            }
            if let Some(budget) = region.budget {
                builder = builder.budget(&budgets[budget]);
            }
            regions.push(Arc::new(
                builder.build().map_err(|error| error.to_string())?,
            ));
        }
        if start.is_hurried {
            for worker in &mut plan.workers {
                worker.nap = Duration::ZERO;
            }
        }
        let mut stage = Stage {
            pace: Arc::new(Pace::new(plan.workers.len(), start.is_paused, start.speed)),
            ended: Arc::default(),
            threads: Vec::new(),
            plan,
            regions,
            budgets,
        };
        for (at, worker) in stage.plan.workers.iter().enumerate() {
            let (worker, region) = (worker.clone(), Arc::clone(&stage.regions[worker.region]));
            let (pace, ended) = (Arc::clone(&stage.pace), Arc::clone(&stage.ended));
            let work = move || {
                let refused = match work(at, &worker, &region, &pace) {
                    Ok(Done::All) => None,
                    Ok(Done::Stopped) => return,
                    Err(error) => Some(reason(&error)),
                };
                ended
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(Ended {
                        worker: worker.name,
                        refused,
                    });
                pace.leave(at);
            };
            let thread = thread::Builder::new()
                .name(stage.plan.workers[at].name.to_owned())
                .spawn(work);
            stage
                .threads
                .push(thread.map_err(|error| format!("cannot start a thread: {error}"))?);
        }
        Ok(stage)
    }

    pub(super) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Waits until all workers are done.
    pub(super) fn wait(&mut self) {
        for thread in self.threads.drain(..) {
            // A panic of the thread has been reported already.
            let _ = thread.join();
        }
    }

    /// Returns the present state. `ended` is read first, so that the pages of a worker that has ended are included.
    pub(super) fn look(&self) -> Look {
        let ended = self
            .ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let page = page_size();
        let mut latencies = Vec::new();
        let mut regions = Vec::new();
        for (region, plan) in self.regions.iter().zip(&self.plan.regions) {
            let spans = region.spans();
            let resident = os::resident_pages(region, &spans);
            let pages = look::runs(&spans, resident.as_deref(), page);
            let count =
                |pages: &[bool]| pages.iter().filter(|&&is_resident| is_resident).count() * page;
            let stats = region.stats();
            latencies.push(stats.clone());
            regions.push(RegionLook {
                name: plan.name,
                backend: backend_name(region.backend()).to_owned(),
                address: region.as_ptr().addr(),
                reserved_bytes: stats.reserved_bytes as u64,
                committed_bytes: stats.committed_bytes as u64,
                resident_bytes: resident.as_deref().map(|pages| count(pages) as u64),
                commit_limit_bytes: stats.commit_limit_bytes as u64,
                faults: stats.faults,
                commits: stats.commits,
                declined: stats.refused,
                pages,
            });
        }
        let depth = |mut at: usize| {
            let mut depth = 0;
            while let Some(parent) = self.plan.budgets[at].parent {
                (at, depth) = (parent, depth + 1);
            }
            depth
        };
        let budgets =
            self.budgets
                .iter()
                .zip(&self.plan.budgets)
                .enumerate()
                .map(|(at, (budget, plan))| BudgetLook {
                    name: plan.name,
                    depth: depth(at),
                    committed_bytes: budget.committed_bytes() as u64,
                    limit_bytes: budget.limit_bytes() as u64,
                });
        Look {
            regions,
            budgets: budgets.collect(),
            latencies: look::merge(&latencies),
            workers: self.plan.workers.len(),
            ended,
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.pace.stop();
        self.wait();
    }
}

/// The end of a worker without a refusal.
enum Done {
    All,
    Stopped,
}

fn work(at: usize, worker: &Worker, region: &Region, pace: &Pace) -> Result<Done, Error> {
    let page = page_size();
    // Once it has been allowed one fault, it touches until there is one.
    let mut owes_fault = false;
    for (number, touched) in worker.touches.pages(region.len() / page).enumerate() {
        if owes_fault && pace.is_stopped() {
            return Ok(Done::Stopped);
        }
        if !owes_fault {
            match pace.turn(at) {
                Turn::Touch => {}
                Turn::Fault => owes_fault = true,
                Turn::Stop => return Ok(Done::Stopped),
            }
        }
        let before = owes_fault.then(|| region.stats().faults);
        region.try_write(touched * page, touched as u64)?;
        owes_fault = before.is_some_and(|before| region.stats().faults == before);
        if (number + 1) % worker.batch == 0 && !owes_fault {
            pace.nap(worker.nap);
        }
    }
    Ok(Done::All)
}

/// Returns the text after the word "refused": in few words if a limit was the cause.
fn reason(error: &Error) -> String {
    match error.budget() {
        Some(budget) => format!("by budget {}", budget.name()),
        None if error.is_limit() => "by the commit limit".to_owned(),
        None => error.to_string(),
    }
}

fn backend_name(backend: Backend) -> &'static str {
    match backend {
        Backend::Protection => "protection",
        Backend::Userfault => "userfault",
        Backend::UserfaultMonitor => "userfault-monitor",
        _ => "auto",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Means, Workload};
    use crate::watch::workload::Limit;
    use elbowroom::Growth;

    const HURRIED: Start = Start {
        is_paused: false,
        speed: 0,
        is_hurried: true,
    };

    fn settings(workload: Workload) -> Settings {
        Settings::new(workload, Means::Protection)
    }

    fn at_the_end(settings: &Settings) -> Look {
        let mut stage = Stage::new(settings, HURRIED).unwrap();
        stage.wait();
        stage.look()
    }

    #[test]
    fn the_seed_commits_each_page_by_a_fault() {
        let look = at_the_end(&settings(Workload::Seed));
        let page = page_size() as u64;
        assert_eq!(
            (look.committed_bytes(), look.reserved_bytes(), look.faults()),
            (80 * page, 80 * page, 80)
        );
        assert_eq!(look.latencies.len(), 1);
        assert_eq!(
            (look.latencies[0].outcome, look.latencies[0].count),
            ("committed", 80)
        );
        assert!(
            look.has_ended() && look.ended[0].refused.is_none(),
            "{look:?}"
        );
    }

    #[test]
    fn a_limit_ends_it_with_a_reason() {
        let look = at_the_end(&Settings {
            limit: Limit::Quarter,
            ..settings(Workload::Seed)
        });
        assert_eq!(look.committed_bytes(), 20 * page_size() as u64);
        assert_eq!(
            look.ended[0].refused.as_deref(),
            Some("by the commit limit")
        );
    }

    /// In every order of the threads, at least one is refused, and no budget is exceeded.
    #[test]
    fn budgets_refuse() {
        let look = at_the_end(&settings(Workload::Budget));
        assert!(
            look.budgets
                .iter()
                .all(|budget| budget.committed_bytes <= budget.limit_bytes),
            "{look:?}"
        );
        assert_eq!(look.budgets[0].committed_bytes, look.committed_bytes());
        assert!(
            look.ended.iter().any(|ended| ended.refused.is_some()),
            "{look:?}"
        );
        assert_eq!(
            look.budgets
                .iter()
                .map(|budget| budget.depth)
                .collect::<Vec<_>>(),
            [0, 1, 2]
        );
    }

    #[test]
    fn threads_commit_everything() {
        let look = at_the_end(&settings(Workload::Threads));
        assert_eq!(
            (look.committed_bytes(), look.ended.len()),
            (look.reserved_bytes(), 8)
        );
    }

    #[test]
    fn a_step_is_one_fault() {
        let settings = Settings {
            growth: Growth::Pages(4),
            ..settings(Workload::Seed)
        };
        let stage = Stage::new(
            &settings,
            Start {
                is_paused: true,
                speed: 0,
                is_hurried: true,
            },
        )
        .unwrap();
        for faults in 1..=3 {
            stage.pace().step();
            // A fault is counted when it comes, and its commit when that is done.
            let expected = 4 * faults * page_size() as u64;
            while stage.look().committed_bytes() < expected {
                thread::yield_now();
            }
            let look = stage.look();
            assert_eq!((look.faults(), look.committed_bytes()), (faults, expected));
        }
    }

    #[test]
    fn one_that_is_paused_can_be_dropped() {
        for workload in [Workload::Random, Workload::Threads] {
            let start = Start {
                is_paused: true,
                speed: 0,
                is_hurried: false,
            };
            let stage = Stage::new(&settings(workload), start).unwrap();
            assert_eq!(stage.look().faults(), 0);
        }
    }
}

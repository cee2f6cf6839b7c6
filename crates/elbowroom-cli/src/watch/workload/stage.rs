//! A running workload: regions or an array, and the threads that touch them.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use elbowroom::{Backend, Budget, Error, Region, page_size};

use super::look::{self, BudgetLook, Ended, Latency, Look, RegionLook};
use super::pace::{Pace, Turn};
use super::paged::{self, Paged};
use super::settings::Settings;
use crate::os;

/// A running workload. Dropping it ends it: the threads stop at their next touch.
pub(super) struct Stage {
    settings: Settings,
    regions: Vec<Arc<Region>>,
    /// Each with the number of budgets above it.
    budgets: Vec<(Budget, usize)>,
    array: Option<Arc<Paged>>,
    pub(super) pace: Arc<Pace>,
    threads: Vec<JoinHandle<()>>,
    workers: usize,
    ended: Arc<Mutex<Vec<Ended>>>,
}

/// The number of touches between two naps, and the length of a nap.
#[derive(Clone, Copy)]
pub(super) struct Batch(pub(super) usize, pub(super) Duration);

impl Batch {
    /// Returns the batches of `size` with which all touches take `time`.
    pub(super) fn within(time: Duration, size: u32, touches: usize) -> Batch {
        Batch(size as usize, time * size / touches.max(1) as u32)
    }
}

impl Stage {
    /// Returns a workload without threads.
    pub(super) fn new(settings: Settings, is_paused: bool, speed: i32) -> Stage {
        Stage {
            settings,
            regions: Vec::new(),
            budgets: Vec::new(),
            array: None,
            pace: Arc::new(Pace::new(is_paused, speed)),
            threads: Vec::new(),
            workers: 0,
            ended: Arc::default(),
        }
    }

    /// Adds a budget, and returns its number.
    pub(super) fn budget(&mut self, name: &str, pages: usize, parent: Option<usize>) -> usize {
        let builder = Budget::builder(pages * page_size()).name(name);
        let parent = parent.map(|parent| &self.budgets[parent]);
        self.budgets.push(match parent {
            Some((parent, depth)) => (builder.child_of(parent).build(), depth + 1),
            None => (builder.build(), 0),
        });
        self.budgets.len() - 1
    }

    /// Adds a region, and returns its number.
    pub(super) fn region(
        &mut self,
        name: &str,
        pages: usize,
        budget: Option<usize>,
    ) -> Result<usize, String> {
        let Settings { growth, limit, .. } = self.settings;
        let mut builder = Region::builder(pages * page_size())
            .name(name)
            .growth(growth)
            .backend(self.settings.backend())
            .timed();
        if limit > 1 {
            builder = builder.commit_limit(pages / limit * page_size());
        }
        if let Some(budget) = budget {
            builder = builder.budget(&self.budgets[budget].0);
        }
        let region = builder.build().map_err(|error| error.to_string())?;
        self.regions.push(Arc::new(region));
        Ok(self.regions.len() - 1)
    }

    /// Makes the array.
    pub(super) fn array(&mut self) -> Result<(), String> {
        let limit = paged::LIMIT / self.settings.limit;
        self.array = Some(Arc::new(Paged::new(limit)?));
        Ok(())
    }

    /// Starts a thread that accesses places in the array, if there is one.
    pub(super) fn access(
        &mut self,
        name: &str,
        places: impl Iterator<Item = usize> + Send + 'static,
        batch: Batch,
        access: fn(&Paged, usize) -> Result<(), elbowroom_pager::Error>,
    ) -> Result<(), String> {
        let Some(array) = self.array.clone() else {
            return Ok(());
        };
        let counted = Arc::clone(&array);
        let access =
            move |place| access(&array, place).map_err(|error| format!("with an error: {error}"));
        self.work(name, places, batch, move || counted.misses(), access)
    }

    /// Starts a thread that touches pages of a region.
    pub(super) fn touch(
        &mut self,
        name: &str,
        region: usize,
        pages: impl Iterator<Item = usize> + Send + 'static,
        batch: Batch,
    ) -> Result<(), String> {
        let region = Arc::clone(&self.regions[region]);
        let counted = Arc::clone(&region);
        let faults = move || counted.stats().faults;
        let touch = move |page: usize| {
            let touched = region.try_write(page * page_size(), page as u64);
            touched.map_err(|error| reason(&error))
        };
        self.work(name, pages, batch, faults, touch)
    }

    /// Starts a thread that calls `touch` for each item at the pace of the workload, and that ends at an error.
    fn work(
        &mut self,
        name: &str,
        items: impl Iterator<Item = usize> + Send + 'static,
        Batch(size, nap): Batch,
        faults: impl Fn() -> u64 + Send + 'static,
        mut touch: impl FnMut(usize) -> Result<(), String> + Send + 'static,
    ) -> Result<(), String> {
        let (pace, ended) = (Arc::clone(&self.pace), Arc::clone(&self.ended));
        let worker = name.to_owned();
        let at = pace.enter();
        let work = move || {
            let mut refused = None;
            for (number, item) in items.enumerate() {
                let turn = pace.turn(at);
                if turn == Turn::Stop {
                    return;
                }
                let before = (turn == Turn::Step).then(&faults);
                if let Err(why) = touch(item) {
                    refused = Some(why);
                    break;
                }
                if before.is_some_and(|before| faults() > before) {
                    pace.has_faulted(at);
                }
                if (number + 1) % size == 0 {
                    pace.nap(nap);
                }
            }
            let mut ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
            ended.push(Ended { worker, refused });
            drop(ended);
            pace.leave(at);
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
        let thread = thread.map_err(|error| format!("cannot start a thread: {error}"))?;
        self.threads.push(thread);
        self.workers += 1;
        Ok(())
    }

    /// Waits until all workers have ended.
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
        let stats: Vec<_> = self.regions.iter().map(|region| region.stats()).collect();
        let budgets = self.budgets.iter().map(|(budget, depth)| BudgetLook {
            name: budget.name().to_owned(),
            depth: *depth,
            committed_bytes: budget.committed_bytes() as u64,
            limit_bytes: budget.limit_bytes() as u64,
        });
        let regions = self.regions.iter().zip(&stats).map(|(region, stats)| {
            let spans = region.spans();
            let resident = os::resident_pages(region, &spans);
            let count =
                |pages: &Vec<bool>| pages.iter().filter(|&&is_resident| is_resident).count();
            RegionLook {
                name: region.name().to_owned(),
                backend: backend_name(region.backend()),
                address: region.as_ptr().addr(),
                reserved_bytes: stats.reserved_bytes as u64,
                committed_bytes: stats.committed_bytes as u64,
                resident_bytes: resident
                    .as_ref()
                    .map(|pages| (count(pages) * page_size()) as u64),
                commit_limit_bytes: stats.commit_limit_bytes as u64,
                faults: stats.faults,
                commits: stats.commits,
                refused: stats.refused,
                pages: look::runs(&spans, resident.as_deref(), page_size()),
            }
        });
        let mut latencies = look::merge(&stats);
        let array = self.array.as_ref().map(|array| {
            let (array, times) = array.look();
            let outcome = "stalled";
            latencies.extend((times.count() > 0).then_some(Latency { outcome, times }));
            array
        });
        Look {
            regions: regions.collect(),
            budgets: budgets.collect(),
            array,
            latencies,
            workers: self.workers,
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

/// Returns the text after the word "refused": in few words if a limit was the cause.
fn reason(error: &Error) -> String {
    match error.budget() {
        Some(budget) => format!("by budget {}", budget.name()),
        None if error.is_limit() => "by the commit limit".to_owned(),
        None => format!("because {error}"),
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

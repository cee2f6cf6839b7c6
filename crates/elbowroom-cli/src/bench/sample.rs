//! One sample: a separate process makes memory with one mechanism and touches it.

use std::env;
use std::process::Command;

use elbowroom::page_size;
use elbowroom_measure::{ask, shuffled, timed, warm};
use serde::{Deserialize, Serialize};

use super::mechanism::Mechanism;
use super::room::warm_bytes;
use crate::meter::Change;
use crate::os;
use crate::output::json;
use crate::usage::Usage;

/// The variable with the order for a child process. It is not an argument, so that it does not appear in the help.
const VARIABLE: &str = "ELBOWROOM_BENCH_SAMPLE";

/// The manner of touching: which pages, and in what order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Manner {
    /// All pages, upwards.
    InOrder,
    /// A few pages in random order.
    Scattered,
}

/// Scattered touches reach one of this number of pages.
const SCATTERED_STEP: usize = 16;
/// The largest number of scattered touches. Each may need a separate mapping, and Linux allows a process about 65,000.
const SCATTERED_MAX: usize = 4096;

impl Manner {
    pub(crate) const ALL: [Manner; 2] = [Manner::InOrder, Manner::Scattered];

    /// Returns the number of pages that are touched in memory of `size` bytes.
    pub(crate) fn touched_pages(self, size: usize) -> usize {
        let pages = size / page_size();
        match self {
            Manner::InOrder => pages,
            Manner::Scattered => (pages / SCATTERED_STEP).clamp(1, SCATTERED_MAX),
        }
    }
}

/// The order for one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) mechanism: Mechanism,
    pub(crate) manner: Manner,
    pub(crate) size_bytes: usize,
}

/// Further figures of a run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Extra {
    /// The committed size as counted by the library. It is the peak, because nothing is released meanwhile.
    pub(crate) committed_bytes: u64,
    pub(crate) library_faults: u64,
    #[serde(flatten)]
    pub(crate) change: Change,
}

pub(crate) type Sample = elbowroom_measure::Sample<Extra>;

/// A sample, or the reason why there is none.
pub(crate) type Taken = Result<Sample, String>;

impl Order {
    /// Takes the sample in this process.
    pub(crate) fn take(self) -> Taken {
        warm(warm_bytes(self.size_bytes));
        let pages = self.manner.touched_pages(self.size_bytes);
        let mut order = match self.manner {
            Manner::InOrder => Vec::new(),
            Manner::Scattered => shuffled(self.size_bytes / page_size()),
        };
        order.truncate(pages);

        let before = Usage::before();
        let (memory, times) = timed(|| {
            let mut memory = self.mechanism.make(self.size_bytes)?;
            match self.manner {
                Manner::InOrder => memory.touch(0..pages)?,
                Manner::Scattered => memory.touch(order.iter().copied())?,
            }
            Ok::<_, String>(memory)
        });
        let memory = memory?;
        let extra = Extra {
            committed_bytes: memory.committed_bytes() as u64,
            library_faults: memory.library_faults(),
            change: os::usage().since(&before),
        };
        Ok(Sample { times, extra })
    }

    /// Lets a child process take the sample. Fails if no child can be started.
    fn give(self) -> Result<Taken, String> {
        let order = json(&self);
        let program = env::current_exe().map_err(|error| format!("no process for it: {error}"))?;
        ask(Command::new(program).arg("bench").env(VARIABLE, order))
    }
}

/// Returns the answer to the order in a child process, or `None` in any other process.
pub(crate) fn answer() -> Option<String> {
    let order = env::var(VARIABLE).ok()?;
    os::forgo_core_file();
    let taken: Taken = match serde_json::from_str::<Order>(&order) {
        Ok(order) => order.take(),
        Err(error) => Err(format!("{VARIABLE} is {order:?}: {error}")),
    };
    Some(json(&taken))
}

/// The process in which samples are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A separate process for each: the state of page tables would carry over.
    Apart,
    /// This process for all, because it cannot start others.
    Here,
}

impl Place {
    /// Chooses the process by trying a small sample in a child process.
    pub(crate) fn choose(size_bytes: usize) -> Place {
        let order = Order {
            mechanism: super::mechanism::BASELINE,
            manner: Manner::Scattered,
            size_bytes,
        };
        match order.give() {
            Ok(_) => Place::Apart,
            Err(_) => Place::Here,
        }
    }

    pub(crate) fn take(self, order: Order) -> Taken {
        match self {
            Place::Apart => order.give()?,
            Place::Here if order.mechanism.may_end_the_process() => {
                Err("not tried, because no separate process can be started for it".to_owned())
            }
            Place::Here => order.take(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scattered_touches_stay_few() {
        let page = page_size();
        assert_eq!(Manner::InOrder.touched_pages(64 * page), 64);
        assert_eq!(Manner::Scattered.touched_pages(64 * page), 4);
        assert_eq!(Manner::Scattered.touched_pages(page), 1);
        assert_eq!(Manner::Scattered.touched_pages(1 << 40), SCATTERED_MAX);
    }
}

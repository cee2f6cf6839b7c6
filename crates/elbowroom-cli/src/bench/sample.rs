//! One sample: memory is made in one way and touched, in a process that does nothing else.

use std::env;
use std::process::Command;

use elbowroom::page_size;
use elbowroom_measure::{ask, shuffled, timed, warm};
use serde::{Deserialize, Serialize};

use super::mechanism::Mechanism;
use super::room::warm_bytes;
use crate::meter::Change;
use crate::os;
use crate::usage::Usage;

/// Tells a child of this program what it is there for. No argument, so that it is in no help.
const VARIABLE: &str = "ELBOWROOM_BENCH_SAMPLE";

/// In what order pages are touched, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Manner {
    /// All of them, upwards.
    InOrder,
    /// A few, all over the place.
    Scattered,
}

/// One page in so many is touched where touches are scattered.
const SCATTERED_STEP: usize = 16;
/// Each may be a mapping of its own, and a process may have some 65,000 of them on Linux.
const SCATTERED_MAX: usize = 4096;

impl Manner {
    pub(crate) const ALL: [Manner; 2] = [Manner::InOrder, Manner::Scattered];

    /// How many pages of so many bytes are touched.
    pub(crate) fn touched_pages(self, size: usize) -> usize {
        let pages = size / page_size();
        match self {
            Manner::InOrder => pages,
            Manner::Scattered => (pages / SCATTERED_STEP).clamp(1, SCATTERED_MAX),
        }
    }
}

/// What is to be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) mechanism: Mechanism,
    pub(crate) manner: Manner,
    pub(crate) size_bytes: usize,
}

/// What a run had besides its time.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Extra {
    /// By the library's account, and nothing is given back meanwhile: so this is the peak.
    pub(crate) committed_bytes: u64,
    pub(crate) library_faults: u64,
    #[serde(flatten)]
    pub(crate) change: Change,
}

pub(crate) type Sample = elbowroom_measure::Sample<Extra>;

/// A sample, or why there is none.
pub(crate) type Taken = Result<Sample, String>;

impl Order {
    /// Takes the sample, here and now.
    pub(crate) fn take(self) -> Taken {
        let Order {
            mechanism,
            manner,
            size_bytes,
        } = self;
        warm(warm_bytes(size_bytes));
        let pages = manner.touched_pages(size_bytes);
        let mut order = match manner {
            Manner::InOrder => Vec::new(),
            Manner::Scattered => shuffled(size_bytes / page_size()),
        };
        order.truncate(pages);

        let before = Usage::before();
        let (memory, times) = timed(|| {
            let mut memory = mechanism.make(size_bytes)?;
            match manner {
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

    /// Has a child take it; without one, the error says so.
    fn give(self) -> Result<Taken, String> {
        // PANIC: serialising fails for maps whose keys are no strings and for errors of a type's own; there are none.
        let order = serde_json::to_string(&self).expect("plain data");
        let program = env::current_exe().map_err(|error| format!("no process for it: {error}"))?;
        ask(Command::new(program).arg("bench").env(VARIABLE, order))
    }
}

/// In a child: the answer to its order, for the parent; `None` in a process that is none.
pub(crate) fn answer() -> Option<String> {
    let order = env::var(VARIABLE).ok()?;
    os::forgo_core_file();
    let taken: Taken = match serde_json::from_str::<Order>(&order) {
        Ok(order) => order.take(),
        Err(error) => Err(format!("{VARIABLE} is {order:?}: {error}")),
    };
    // PANIC: serialising fails only for map keys that are not strings and for custom errors. Plain data has neither.
    Some(serde_json::to_string(&taken).expect("plain data"))
}

/// Where samples are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Each in a process of its own: page tables, and what the system keeps of them, would carry over.
    Apart,
    /// All in this one, because it cannot start others.
    Here,
}

impl Place {
    /// Tries a child on something small.
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
                Err("not tried, as no process of its own can be started for it".to_owned())
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

    #[test]
    fn orders_and_answers_survive_the_way() {
        for mechanism in super::super::mechanism::all() {
            for manner in Manner::ALL {
                let order = Order {
                    mechanism,
                    manner,
                    size_bytes: 1 << 40,
                };
                let text = serde_json::to_string(&order).unwrap();
                assert_eq!(serde_json::from_str::<Order>(&text).unwrap(), order);
            }
        }
        let order = Order {
            mechanism: Mechanism::Adaptive,
            manner: Manner::Scattered,
            size_bytes: 2 << 20,
        };
        let sample = order.take().unwrap();
        assert!(sample.times.wall_ns > 0 && sample.extra.library_faults > 0);
        let touched = Manner::Scattered.touched_pages(2 << 20) * page_size();
        let committed = sample.extra.committed_bytes as usize;
        assert!((touched..=2 * touched).contains(&committed), "{sample:?}");
        let survivor = |taken: &Taken| {
            let text = serde_json::to_string(taken).unwrap();
            serde_json::from_str::<Taken>(&text).unwrap()
        };
        let times = sample.times;
        assert_eq!(survivor(&Ok(sample)).unwrap().times, times);
        assert_eq!(survivor(&Err("no".to_owned())).unwrap_err(), "no");
    }
}

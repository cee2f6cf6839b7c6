//! The command line.

use clap::Parser;

/// Random operations on regions, reservations and budgets by many threads, checked against a model
///
/// Each thread has regions of its own, with a model of every page, and shares others with all threads.
/// Failures of the system are injected, processes fork, and signals and faults of the program's own happen
/// in between. The operations follow from the seed, so a finding can be reproduced.
///
/// The exit status is 0 if nothing was found, and 1 for a finding, or if a thread makes no progress for a
/// minute. A crash is a finding, too.
#[derive(Parser)]
#[command(name = "elbowroom-stress", after_help = EXAMPLES, verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Minutes to run [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    minutes: Option<u64>,

    /// Stop after this many operations of each thread instead
    #[arg(long, value_name = "N", conflicts_with = "minutes", value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,

    /// Number of threads, 1 to 32 [default: one for each processor, at least 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=32))]
    threads: Option<u64>,

    /// The seed of the operations [default: the clock]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

const EXAMPLES: &str = "\
Examples:
  elbowroom-stress                                    one minute, a thread for each processor
  elbowroom-stress --minutes 480 --threads 16         a night
  elbowroom-stress --seed 7 --threads 2 --steps 9000  the same operations each time";

/// The settings of a run.
pub(crate) struct Settings {
    pub(crate) threads: usize,
    /// The seed; `None` if the clock chooses it.
    pub(crate) seed: Option<u64>,
    /// The duration, unless `steps` is set.
    pub(crate) minutes: Option<u64>,
    /// The number of operations of each thread.
    pub(crate) steps: Option<u64>,
}

impl From<Arguments> for Settings {
    fn from(arguments: Arguments) -> Settings {
        let Arguments {
            minutes,
            steps,
            threads,
            seed,
        } = arguments;
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Settings {
            threads: threads.map_or(processors.clamp(2, 32), |threads| threads as usize),
            seed,
            minutes: minutes.or(steps.is_none().then_some(1)),
            steps,
        }
    }
}

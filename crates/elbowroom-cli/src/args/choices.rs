//! Values of options that are chosen by name.

use clap::ValueEnum;

/// A workload to watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// Microsoft's program: 80 pages, one after another
    Seed,
    /// A large region that is filled from its start, so that windows double
    Sequential,
    /// Touches in random order
    Random,
    /// Three regions under nested budgets, which are used up one after another
    Budget,
    /// Eight threads, each in its own part of one region
    Threads,
    /// An array in a temporary file, eight times as large as its resident limit
    Paged,
}

/// A way to commit pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Means {
    /// By page protection, on every system
    Protection,
    /// By userfaultfd (Linux)
    Userfault,
    /// By userfaultfd with threads that serve faults (Linux)
    UserfaultMonitor,
    /// By userfaultfd if the system permits it
    Auto,
}

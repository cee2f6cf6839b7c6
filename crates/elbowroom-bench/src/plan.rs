//! The plan of the measurements: comparisons of contenders, and goals.

use elbowroom_measure::Clock;

use crate::sample::Sample;

/// A function that takes one sample per call.
pub(crate) type Sampler = Box<dyn FnMut() -> Sample>;

/// One implementation of the work of a comparison.
pub(crate) struct Contender {
    pub(crate) name: String,
    /// Prepares the work without being timed. Fails with the reason if it cannot be measured on this system.
    pub(crate) prepare: Box<dyn Fn() -> Result<Sampler, String>>,
}

impl Contender {
    pub(crate) fn new(
        name: impl Into<String>,
        prepare: impl Fn() -> Result<Sampler, String> + 'static,
    ) -> Contender {
        Contender {
            name: name.into(),
            prepare: Box::new(prepare),
        }
    }

    /// Returns a contender that needs no preparation.
    pub(crate) fn plain(
        name: impl Into<String>,
        sample: impl Fn() -> Sample + Clone + 'static,
    ) -> Contender {
        Contender::new(name, move || Ok(Box::new(sample.clone())))
    }
}

/// The process in which the samples of a comparison are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Each in its own process, because the state of page tables and of the allocator would carry over.
    Apart,
    /// All in one process; the contenders alternate in short turns.
    Together,
}

/// A limit on the ratio of our time to that of another contender.
pub(crate) struct Goal {
    pub(crate) ours: &'static str,
    pub(crate) theirs: &'static str,
    pub(crate) at_most: f64,
}

/// The same work, done by several contenders.
pub(crate) struct Comparison {
    pub(crate) name: &'static str,
    /// The description of the work.
    pub(crate) title: String,
    /// The unit to which a time refers: a page, a push.
    pub(crate) unit: &'static str,
    /// The number of units in a sample.
    pub(crate) units: usize,
    /// The size of the program's data, if it is compared with the memory that the process takes.
    pub(crate) data_bytes: Option<usize>,
    pub(crate) place: Place,
    pub(crate) clock: Clock,
    pub(crate) rounds: usize,
    /// Whether the global allocator is mimalloc instead of the C library's.
    pub(crate) with_mimalloc: bool,
    /// Whether another run measures the memory of each contender.
    pub(crate) has_memory: bool,
    pub(crate) contenders: Vec<Contender>,
    /// The contender that does the least possible work.
    pub(crate) limit: Option<&'static str>,
    pub(crate) goals: Vec<Goal>,
}

impl Comparison {
    pub(crate) fn new(
        name: &'static str,
        title: impl Into<String>,
        (units, unit): (usize, &'static str),
        contenders: Vec<Contender>,
    ) -> Comparison {
        Comparison {
            name,
            title: title.into(),
            unit,
            units,
            data_bytes: None,
            place: Place::Apart,
            clock: Clock::Cpu,
            rounds: 9,
            with_mimalloc: false,
            has_memory: true,
            contenders,
            limit: None,
            goals: Vec::new(),
        }
    }

    pub(crate) fn data(self, bytes: usize) -> Comparison {
        Comparison {
            data_bytes: Some(bytes),
            ..self
        }
    }

    /// Takes all samples in one process, with short and many turns.
    pub(crate) fn together(self) -> Comparison {
        Comparison {
            place: Place::Together,
            rounds: 31,
            ..self
        }
    }

    pub(crate) fn rounds(self, rounds: usize) -> Comparison {
        Comparison { rounds, ..self }
    }

    pub(crate) fn by_wall_clock(self) -> Comparison {
        Comparison {
            clock: Clock::Wall,
            ..self
        }
    }

    pub(crate) fn with_mimalloc(self) -> Comparison {
        Comparison {
            with_mimalloc: true,
            ..self
        }
    }

    /// Leaves the memory out, because all contenders have the same limit.
    pub(crate) fn without_memory(self) -> Comparison {
        Comparison {
            has_memory: false,
            ..self
        }
    }

    /// Adds a contender that does less than the others have to: a lower bound for all of them.
    pub(crate) fn limit(mut self, name: &'static str, contender: Contender) -> Comparison {
        self.contenders.push(contender);
        Comparison {
            limit: Some(name),
            ..self
        }
    }

    pub(crate) fn goal(
        mut self,
        ours: &'static str,
        theirs: &'static str,
        at_most: f64,
    ) -> Comparison {
        self.goals.push(Goal {
            ours,
            theirs,
            at_most,
        });
        self
    }
}

/// The size of workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    Full,
    /// A thousandth of the full size, to check that everything works.
    Quick,
}

impl Scale {
    pub(crate) fn of(self, full: usize, quick: usize) -> usize {
        match self {
            Scale::Full => full,
            Scale::Quick => quick,
        }
    }

    /// Returns the number of rounds of a comparison.
    pub(crate) fn rounds(self, full: usize) -> usize {
        self.of(full, 3)
    }
}

//! What there is to measure: comparisons of contenders, and what is hoped for.

use elbowroom_measure::Clock;

use crate::sample::Sample;

/// Takes one sample each time it is called.
pub(crate) type Sampler = Box<dyn FnMut() -> Sample>;

/// One way of doing what a comparison is about.
pub(crate) struct Contender {
    pub(crate) name: String,
    /// Prepares, untimed; or says why this cannot be measured here.
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

    /// One that needs no preparation.
    pub(crate) fn plain(
        name: impl Into<String>,
        sample: impl Fn() -> Sample + Clone + 'static,
    ) -> Contender {
        Contender::new(name, move || Ok(Box::new(sample.clone())))
    }
}

/// Where the samples of a comparison are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Each in a process of its own, as the state of page tables and of the allocator would carry over.
    Apart,
    /// All in one process, one contender after the other in short turns.
    Together,
}

/// Ours takes at most so many times what theirs takes.
pub(crate) struct Goal {
    pub(crate) ours: &'static str,
    pub(crate) theirs: &'static str,
    pub(crate) at_most: f64,
}

/// The same done in several ways.
pub(crate) struct Comparison {
    pub(crate) name: &'static str,
    /// What is done.
    pub(crate) title: String,
    /// What a time is given for: a page, a push.
    pub(crate) unit: &'static str,
    /// So many of them in a sample.
    pub(crate) units: usize,
    /// What the program puts into memory, if that is to be set against what it takes.
    pub(crate) data_bytes: Option<usize>,
    pub(crate) place: Place,
    pub(crate) clock: Clock,
    pub(crate) rounds: usize,
    /// With mimalloc for the global allocator, not the C library's.
    pub(crate) with_mimalloc: bool,
    pub(crate) contenders: Vec<Contender>,
    /// The contender that does the least that can be done.
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

    /// All in one process, where turns are short and so can be many.
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

    /// One more contender, which does less than the others must: what nobody can go below.
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

/// How large workloads are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    Full,
    /// A thousandth of it, to see that everything works.
    Quick,
}

impl Scale {
    pub(crate) fn of(self, full: usize, quick: usize) -> usize {
        match self {
            Scale::Full => full,
            Scale::Quick => quick,
        }
    }

    /// The rounds of a comparison.
    pub(crate) fn rounds(self, full: usize) -> usize {
        self.of(full, 3)
    }
}

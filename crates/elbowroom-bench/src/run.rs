//! Runs comparisons, in children of this program.

use std::env;
use std::io;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::os;
use crate::plan::{Clock, Comparison, Contender, Place, Scale};
use crate::sample::{self, Growth, Sample, Step};
use crate::stats::Spread;
use crate::workloads;

/// What became of a contender.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Taken {
    Samples(Vec<Sample>),
    /// It cannot be measured here, or was not to be.
    Nothing(String),
}

impl Taken {
    fn add(&mut self, more: Taken) {
        match (&mut *self, more) {
            (Taken::Samples(samples), Taken::Samples(more)) => samples.extend(more),
            (Taken::Samples(_), nothing) => *self = nothing,
            (Taken::Nothing(_), _) => {}
        }
    }
}

/// What a child is asked for.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Order {
    #[arg(long)]
    pub(crate) comparison: String,
    /// One contender, or else all, in turns.
    #[arg(long)]
    pub(crate) contender: Option<String>,
    #[arg(long)]
    pub(crate) rounds: usize,
    #[arg(long)]
    pub(crate) quick: bool,
    #[arg(long)]
    pub(crate) memory: bool,
}

impl Order {
    fn scale(&self) -> Scale {
        if self.quick {
            Scale::Quick
        } else {
            Scale::Full
        }
    }

    /// In the child: takes the samples and prints them.
    pub(crate) fn obey(&self) -> Result<(), String> {
        let comparison = find(self.scale(), &self.comparison)?;
        let wanted = |name: &str| {
            self.contender
                .as_deref()
                .is_none_or(|contender| contender == name)
        };
        let contenders = comparison
            .contenders
            .iter()
            .filter(|contender| wanted(&contender.name));
        let taken: Vec<Taken> = if self.memory && comparison.place == Place::Together {
            contenders.map(turn_watched).collect()
        } else {
            self.take_turns(&comparison, contenders)
        };
        serde_json::to_writer(io::stdout(), &taken).map_err(|error| error.to_string())
    }

    /// Samples of each of the contenders, in turns.
    fn take_turns<'a>(
        &self,
        comparison: &Comparison,
        contenders: impl Iterator<Item = &'a Contender>,
    ) -> Vec<Taken> {
        if self.memory {
            sample::look_at_memory();
        }
        let mut samplers: Vec<_> = contenders.map(|contender| (contender.prepare)()).collect();
        let mut taken: Vec<Taken> = samplers
            .iter()
            .map(|sampler| match sampler {
                Ok(_) => Taken::Samples(Vec::new()),
                Err(why) => Taken::Nothing(why.clone()),
            })
            .collect();
        if comparison.place == Place::Apart && self.scale() == Scale::Full {
            touch_beforehand(comparison.data_bytes.unwrap_or(0));
        }
        for _ in 0..self.rounds {
            for (sampler, taken) in samplers.iter_mut().zip(&mut taken) {
                if let (Ok(sampler), Taken::Samples(samples)) = (sampler, taken) {
                    samples.push(sampler());
                }
            }
        }
        taken
    }

    /// In the parent: has a child obey. What it took, in the order of the contenders.
    fn give(&self, with_mimalloc: bool) -> Result<Vec<Taken>, String> {
        let mut command = itself().map_err(|error| error.to_string())?;
        command.args([
            "child",
            "--comparison",
            &self.comparison,
            "--rounds",
            &self.rounds.to_string(),
        ]);
        if let Some(contender) = &self.contender {
            command.args(["--contender", contender]);
        }
        if self.quick {
            command.arg("--quick");
        }
        if self.memory {
            command.arg("--memory");
        }
        command.env(
            os::ALLOCATOR_VARIABLE,
            if with_mimalloc { "mimalloc" } else { "system" },
        );
        let output = command
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            let last_line = message.lines().last().unwrap_or("and no message");
            return Err(format!("{}: {last_line}", output.status));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
    }
}

/// One sample, and the memory that it takes with what was prepared for it, which all turns use.
fn turn_watched(contender: &Contender) -> Taken {
    let (prepared, memory) = sample::watched(|| {
        let mut sampler = (contender.prepare)()?;
        Ok((sampler(), sampler))
    });
    match prepared {
        Ok((sample, _)) => Taken::Samples(vec![Sample { memory, ..sample }]),
        Err(why) => Taken::Nothing(why),
    }
}

/// This program, under the emulator that it runs under, if any.
fn itself() -> io::Result<Command> {
    let program = env::current_exe()?;
    let runner = env::var("ELBOWROOM_TEST_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace();
    Ok(match words.next() {
        Some(emulator) => {
            let mut command = Command::new(emulator);
            command.args(words).arg(program);
            command
        }
        None => Command::new(program),
    })
}

/// Touches and returns as much memory as contenders may take for so much data, so that the system has it at hand. A
/// virtual machine's host may have taken back what had been free for a while (free page reporting), and then takes
/// milliseconds to bring a huge page in, all of them on the program's clock.
fn touch_beforehand(data_bytes: usize) {
    let len = data_bytes + data_bytes.clamp(96 << 20, 512 << 20);
    // What cannot be had need not be touched.
    drop(os::Block::new(
        len.next_multiple_of(2 << 20),
        os::Pages::HugePopulated,
    ));
}

fn find(scale: Scale, name: &str) -> Result<Comparison, String> {
    let found = workloads::comparisons(scale)
        .into_iter()
        .find(|comparison| comparison.name == name);
    found.ok_or_else(|| format!("no comparison `{name}`; `list` lists them"))
}

/// A comparison that was made.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    pub(crate) units: usize,
    pub(crate) data_bytes: Option<usize>,
    pub(crate) rounds: usize,
    pub(crate) is_apart: bool,
    pub(crate) is_by_wall_clock: bool,
    pub(crate) contenders: Vec<Entrant>,
    pub(crate) verdicts: Vec<Verdict>,
}

/// What a contender came to.
#[derive(Debug, Serialize)]
pub(crate) struct Entrant {
    pub(crate) name: String,
    pub(crate) taken: Taken,
    /// From a run of its own.
    pub(crate) memory: Option<Growth>,
}

/// Whether what was hoped for was reached.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) ours: &'static str,
    pub(crate) theirs: &'static str,
    pub(crate) at_most: f64,
    /// None if one of the two could not be measured.
    pub(crate) measured: Option<Measured>,
    /// What the least that can be done takes, of theirs.
    pub(crate) limit: Option<f64>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Measured {
    /// The median of the ratios of samples that follow each other, which is what counts, and its quartiles.
    pub(crate) ratio: f64,
    pub(crate) quartiles: (f64, f64),
    /// The ratio of the medians.
    pub(crate) ratio_of_medians: f64,
    /// The first one by the wall clock.
    pub(crate) ratio_by_wall_clock: f64,
}

impl Verdict {
    pub(crate) fn is_met(&self) -> Option<bool> {
        // As it is printed: with two digits, and not by the third.
        self.measured
            .map(|measured| (measured.ratio * 100.0).round() <= (self.at_most * 100.0).round())
    }
}

impl Entrant {
    pub(crate) fn samples(&self) -> &[Sample] {
        match &self.taken {
            Taken::Samples(samples) => samples,
            Taken::Nothing(_) => &[],
        }
    }

    fn times(&self, clock: Clock) -> Vec<f64> {
        self.samples()
            .iter()
            .map(|sample| {
                if clock == Clock::Cpu {
                    sample.cpu_ns
                } else {
                    sample.wall_ns
                }
            })
            .collect()
    }

    /// The distribution of the times of its steps: of each share, the median over the samples.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let shares = self
            .samples()
            .first()
            .map_or(&[][..], |sample| &sample.steps);
        let at = |n: usize| {
            Spread::of(
                self.samples()
                    .iter()
                    .filter_map(|sample| Some(sample.steps.get(n)?.ns as f64)),
            )
        };
        let steps = shares.iter().enumerate();
        steps
            .filter_map(|(n, step)| {
                Some(Step {
                    share: step.share,
                    ns: at(n)?.median as u64,
                })
            })
            .collect()
    }
}

impl Outcome {
    pub(crate) fn clock(&self) -> Clock {
        if self.is_by_wall_clock {
            Clock::Wall
        } else {
            Clock::Cpu
        }
    }

    /// Nanoseconds a unit.
    pub(crate) fn time(&self, contender: &Entrant, clock: Clock) -> Option<Spread> {
        Spread::of(
            contender
                .times(clock)
                .into_iter()
                .map(|time| time / self.units as f64),
        )
    }

    /// How many times the time of another contender this one takes: the median over pairs.
    pub(crate) fn relative(&self, contender: &Entrant, to: &Entrant) -> Option<f64> {
        Some(Spread::of_ratios(&contender.times(self.clock()), &to.times(self.clock()))?.median)
    }

    pub(crate) fn contender(&self, name: &str) -> Option<&Entrant> {
        self.contenders
            .iter()
            .find(|contender| contender.name == name)
    }

    /// Nanoseconds a unit, by the clock that counts.
    pub(crate) fn median(&self, name: &str) -> Option<f64> {
        Some(self.time(self.contender(name)?, self.clock())?.median)
    }
}

/// Makes a comparison: its rounds, and then a look at the memory that each contender takes.
pub(crate) fn make(comparison: &Comparison, scale: Scale) -> Outcome {
    let rounds = scale.rounds(comparison.rounds);
    let order = Order {
        comparison: comparison.name.to_owned(),
        contender: None,
        rounds,
        quick: scale == Scale::Quick,
        memory: false,
    };
    let names = comparison
        .contenders
        .iter()
        .map(|contender| contender.name.clone());
    let mut contenders: Vec<Entrant> = names
        .map(|name| Entrant {
            name,
            taken: Taken::Samples(Vec::new()),
            memory: None,
        })
        .collect();
    if comparison.with_mimalloc && !os::HAS_MIMALLOC {
        for contender in &mut contenders {
            contender.taken = Taken::Nothing("built without mimalloc".to_owned());
        }
    } else if comparison.place == Place::Together || scale == Scale::Quick {
        // Processes take too long to start where the tests run.
        match order.give(comparison.with_mimalloc) {
            Ok(taken) => contenders
                .iter_mut()
                .zip(taken)
                .for_each(|(contender, taken)| contender.taken = taken),
            Err(why) => contenders
                .iter_mut()
                .for_each(|contender| contender.taken = Taken::Nothing(why.clone())),
        }
    } else {
        for _ in 0..rounds {
            for contender in &mut contenders {
                if let Taken::Samples(_) = contender.taken {
                    contender
                        .taken
                        .add(one(&order, &contender.name, comparison, false));
                }
            }
        }
    }
    if scale == Scale::Full {
        for contender in &mut contenders {
            if contender.samples().is_empty() {
                continue;
            }
            if let Taken::Samples(samples) = one(&order, &contender.name, comparison, true) {
                contender.memory = samples.first().and_then(|sample| sample.memory);
            }
        }
    }
    let mut outcome = Outcome {
        name: comparison.name,
        title: comparison.title.clone(),
        unit: comparison.unit,
        units: comparison.units,
        data_bytes: comparison.data_bytes,
        rounds,
        is_apart: comparison.place == Place::Apart,
        is_by_wall_clock: comparison.clock == Clock::Wall,
        contenders,
        verdicts: Vec::new(),
    };
    outcome.verdicts = comparison
        .goals
        .iter()
        .map(|goal| Verdict {
            ours: goal.ours,
            theirs: goal.theirs,
            at_most: goal.at_most,
            measured: measure(&outcome, goal.ours, goal.theirs),
            limit: comparison
                .limit
                .filter(|&limit| limit != goal.theirs)
                .and_then(|limit| Some(measure(&outcome, limit, goal.theirs)?.ratio)),
        })
        .collect();
    outcome
}

/// One sample of one contender, in a child.
fn one(order: &Order, contender: &str, comparison: &Comparison, memory: bool) -> Taken {
    let order = Order {
        contender: Some(contender.to_owned()),
        rounds: 1,
        memory,
        ..order.clone()
    };
    match order.give(comparison.with_mimalloc) {
        Ok(taken) => taken
            .into_iter()
            .next()
            .unwrap_or_else(|| Taken::Nothing("no answer".to_owned())),
        Err(why) => Taken::Nothing(why),
    }
}

fn measure(outcome: &Outcome, ours: &str, theirs: &str) -> Option<Measured> {
    let (ours, theirs) = (outcome.contender(ours)?, outcome.contender(theirs)?);
    let ratios = |clock| Spread::of_ratios(&ours.times(clock), &theirs.times(clock));
    let clock = outcome.clock();
    let Spread {
        median: ratio,
        quartiles,
    } = ratios(clock)?;
    Some(Measured {
        ratio,
        quartiles,
        ratio_of_medians: outcome.time(ours, clock)?.median / outcome.time(theirs, clock)?.median,
        ratio_by_wall_clock: ratios(Clock::Wall)?.median,
    })
}

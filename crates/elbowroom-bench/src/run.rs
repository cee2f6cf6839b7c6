//! Runs comparisons, in children of this program.

use std::env;
use std::io;
use std::panic;
use std::process::Command;

use elbowroom_measure::{Clock, Series, Spread, ask, warm};
use serde::Serialize;

use crate::os;
use crate::plan::{Comparison, Contender, Place, Scale};
use crate::sample::{self, Extra, Growth, Sample, Step, Traffic};
use crate::workloads;
use crate::workloads::paged::Folder;

/// The samples of a contender, or why there are none.
pub(crate) type Taken = Series<Extra>;

/// The samples that a child process takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Order {
    #[arg(long)]
    pub(crate) comparison: String,
    /// The one contender to measure; without it, all take turns.
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

    /// Takes the samples and prints them. Runs in the child process.
    pub(crate) fn obey(&self) -> Result<(), String> {
        // One line, which becomes the reason why there is no sample.
        panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
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

    /// Takes samples of all contenders in turns.
    fn take_turns<'a>(
        &self,
        comparison: &Comparison,
        contenders: impl Iterator<Item = &'a Contender>,
    ) -> Vec<Taken> {
        if self.memory {
            sample::look_at_memory();
        }
        let mut samplers: Vec<_> = contenders.map(|contender| (contender.prepare)()).collect();
        let mut taken = vec![Taken::default(); samplers.len()];
        if comparison.place == Place::Apart && self.scale() == Scale::Full {
            warm(warm_bytes(comparison.data_bytes.unwrap_or(0)));
        }
        for _ in 0..self.rounds {
            for (sampler, taken) in samplers.iter_mut().zip(&mut taken) {
                taken.take(|| match sampler {
                    Ok(sampler) => Ok(sampler()),
                    Err(why) => Err(why.clone()),
                });
            }
        }
        taken
    }

    /// Lets a child process take the samples. Returns them in the order of the contenders. Runs in the parent process.
    fn give(&self, with_mimalloc: bool, folder: &Folder) -> Result<Vec<Taken>, String> {
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
        command.env(Folder::VARIABLE, folder.path());
        ask(&mut command)
    }
}

/// Takes one sample, with the memory of the work and of its preparation, which all turns share.
fn turn_watched(contender: &Contender) -> Taken {
    let (prepared, memory) = sample::watched(|| {
        let mut sampler = (contender.prepare)()?;
        Ok::<_, String>((sampler(), sampler))
    });
    let mut taken = Taken::default();
    taken.take(|| {
        let (mut sample, _) = prepared?;
        sample.extra.memory = memory;
        Ok(sample)
    });
    taken
}

/// Returns the command that starts this program, under the same emulator if there is one.
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

/// Returns an upper bound of the memory that contenders take for `data_bytes` of data.
fn warm_bytes(data_bytes: usize) -> usize {
    (data_bytes + data_bytes.clamp(96 << 20, 512 << 20)).next_multiple_of(2 << 20)
}

fn find(scale: Scale, name: &str) -> Result<Comparison, String> {
    let found = workloads::comparisons(scale)
        .into_iter()
        .find(|comparison| comparison.name == name);
    found.ok_or_else(|| format!("no comparison `{name}`; `list` lists them"))
}

/// A comparison and its results.
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

/// The results of a contender.
#[derive(Debug, Serialize)]
pub(crate) struct Entrant {
    pub(crate) name: String,
    pub(crate) taken: Taken,
    /// The memory, from a separate run.
    pub(crate) memory: Option<Growth>,
}

/// A goal and the result for it.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) ours: &'static str,
    pub(crate) theirs: &'static str,
    pub(crate) at_most: f64,
    /// The result; `None` if one of the two contenders could not be measured.
    pub(crate) measured: Option<Measured>,
    /// The time of the least possible work, relative to the other contender.
    pub(crate) limit: Option<f64>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Measured {
    /// The median and quartiles of the ratios of consecutive samples. The goal is about this median.
    pub(crate) ratio: Spread,
    /// The ratio of the medians.
    pub(crate) ratio_of_medians: f64,
    /// The median of the ratios, by the wall clock.
    pub(crate) ratio_by_wall_clock: f64,
}

impl Verdict {
    pub(crate) fn is_met(&self) -> Option<bool> {
        // Compares the ratio as it is printed, with two decimals.
        self.measured.map(|measured| {
            (measured.ratio.median * 100.0).round() <= (self.at_most * 100.0).round()
        })
    }
}

impl Entrant {
    /// Returns what its last sample read.
    pub(crate) fn traffic(&self) -> Option<Traffic> {
        self.taken.measured().last()?.extra.traffic
    }

    /// Returns the distribution of the times of its steps: for each share, the median over the samples.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let samples = self.taken.measured();
        let shares = samples
            .first()
            .map_or(&[][..], |sample| &sample.extra.steps);
        let ns = |sample: &Sample, n: usize| Some(sample.extra.steps.get(n)?.ns as f64);
        let at = |n: usize| Spread::of(samples.iter().filter_map(|sample| ns(sample, n)));
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
    /// Returns the notes on its samples, without repetitions.
    pub(crate) fn notes(&self) -> Vec<&str> {
        let samples = self.contenders.iter().flat_map(|one| &one.taken.samples);
        let mut notes: Vec<&str> = Vec::new();
        for note in samples.flat_map(|sample| &sample.extra.notes) {
            if !notes.contains(&note.as_str()) {
                notes.push(note);
            }
        }
        notes
    }

    pub(crate) fn clock(&self) -> Clock {
        if self.is_by_wall_clock {
            Clock::Wall
        } else {
            Clock::Cpu
        }
    }

    /// Returns the nanoseconds per unit.
    pub(crate) fn time(&self, contender: &Entrant, clock: Clock) -> Option<Spread> {
        let spread = contender.taken.time_ns(clock)?;
        Some(spread.map(|time| time / self.units as f64))
    }

    /// Returns the time of this contender relative to another: the median over pairs of samples.
    pub(crate) fn relative(&self, contender: &Entrant, to: &Entrant) -> Option<f64> {
        let times = |entrant: &Entrant| entrant.taken.times(self.clock());
        Some(Spread::of_ratios(&times(contender), &times(to))?.median)
    }

    pub(crate) fn contender(&self, name: &str) -> Option<&Entrant> {
        self.contenders
            .iter()
            .find(|contender| contender.name == name)
    }

    /// Returns the median of the nanoseconds per unit, by the clock of the comparison.
    pub(crate) fn median(&self, name: &str) -> Option<f64> {
        Some(self.time(self.contender(name)?, self.clock())?.median)
    }
}

/// Makes a comparison: first its rounds, then a run that measures the memory of each contender.
/// Files of contenders are in `folder`.
pub(crate) fn make(comparison: &Comparison, scale: Scale, folder: &Folder) -> Outcome {
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
            taken: Taken::default(),
            memory: None,
        })
        .collect();
    let refuse = |contenders: &mut [Entrant], why: &str| {
        for contender in contenders {
            contender.taken = Taken::refused(why);
        }
    };
    if comparison.with_mimalloc && !os::HAS_MIMALLOC {
        refuse(&mut contenders, "built without mimalloc");
    } else if comparison.place == Place::Together || scale == Scale::Quick {
        // Starting processes takes too long for the tests.
        match order.give(comparison.with_mimalloc, folder) {
            Ok(taken) => contenders
                .iter_mut()
                .zip(taken)
                .for_each(|(contender, taken)| contender.taken = taken),
            Err(why) => refuse(&mut contenders, &why),
        }
    } else {
        for _ in 0..rounds {
            for Entrant { name, taken, .. } in &mut contenders {
                taken.take(|| one(&order, name, comparison, false, folder));
            }
        }
    }
    if scale == Scale::Full && comparison.has_memory {
        for contender in &mut contenders {
            if !contender.taken.measured().is_empty() {
                let sample = one(&order, &contender.name, comparison, true, folder).ok();
                contender.memory = sample.and_then(|sample| sample.extra.memory);
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
                .and_then(|limit| Some(measure(&outcome, limit, goal.theirs)?.ratio.median)),
        })
        .collect();
    outcome
}

/// Takes one sample of one contender in a child process.
fn one(
    order: &Order,
    contender: &str,
    comparison: &Comparison,
    memory: bool,
    folder: &Folder,
) -> Result<Sample, String> {
    let order = Order {
        contender: Some(contender.to_owned()),
        rounds: 1,
        memory,
        ..order.clone()
    };
    let taken = order.give(comparison.with_mimalloc, folder)?;
    let taken = taken.into_iter().next().unwrap_or_default();
    let sample = taken.samples.into_iter().next();
    sample.ok_or_else(|| taken.refusal.unwrap_or_else(|| "no answer".to_owned()))
}

fn measure(outcome: &Outcome, ours: &str, theirs: &str) -> Option<Measured> {
    let (ours, theirs) = (outcome.contender(ours)?, outcome.contender(theirs)?);
    let ratios = |clock| Spread::of_ratios(&ours.taken.times(clock), &theirs.taken.times(clock));
    let clock = outcome.clock();
    Some(Measured {
        ratio: ratios(clock)?,
        ratio_of_medians: outcome.time(ours, clock)?.median / outcome.time(theirs, clock)?.median,
        ratio_by_wall_clock: ratios(Clock::Wall)?.median,
    })
}

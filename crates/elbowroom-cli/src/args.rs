//! The command line: read as it was typed, then resolved to what each command is to do.

mod help;

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use elbowroom::page_size;
use elbowroom_map::Wanted;

use crate::size;
use crate::watch::{Means, Workload};
use help::{
    BENCH_EXAMPLES, COMPARE_EXAMPLES, COMPLETIONS_EXAMPLES, DEMO_EXAMPLES, DOCTOR_EXAMPLES, EXAMPLES, MAN_EXAMPLES,
    MAP_EXAMPLES, STRESS_EXAMPLES, WATCH_EXAMPLES,
};

/// What is to be done.
pub(crate) enum Command {
    Demo(Demo),
    Compare(Compare),
    Bench(Bench),
    Stress(Stress),
    Doctor(Doctor),
    Map(Map),
    Watch(Watch),
    Completions(Shell),
    /// Of one command, or of all.
    Man(Option<String>),
}

/// `elbowroom demo`, resolved.
pub(crate) struct Demo {
    pub(crate) page_limit: usize,
    pub(crate) reserve_bytes: usize,
    /// Pages a fault.
    pub(crate) growth: usize,
    pub(crate) char: Char,
    pub(crate) transcript: Transcript,
    pub(crate) summary: bool,
    /// Counted from 1.
    pub(crate) fail_commit_at: Option<usize>,
    pub(crate) fail_reserve: bool,
    pub(crate) fail_release: bool,
    /// A page, counted from 0.
    pub(crate) other_fault_at: Option<usize>,
    /// The region in characters.
    pub(crate) picture: bool,
    pub(crate) svg: Option<PathBuf>,
    pub(crate) html: Option<PathBuf>,
}

impl Demo {
    pub(crate) fn is_drawn(&self) -> bool {
        self.picture || self.svg.is_some() || self.html.is_some()
    }
}

/// What becomes of the transcript.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transcript {
    /// Printed, line by line, as things happen.
    Printed,
    /// Part of a JSON object.
    InJson,
    /// Nothing.
    Dropped,
}

/// The seed's TCHAR.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Char {
    /// One byte: the program reserves exactly what it stores
    Narrow,
    /// Two bytes, as in a Unicode build: the program stores twice what it reserves
    Wide,
}

impl Char {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Char::Narrow => 1,
            Char::Wide => 2,
        }
    }
}

/// `elbowroom compare`, resolved.
pub(crate) struct Compare {
    pub(crate) reserve_bytes: usize,
    /// At most `reserve_bytes`.
    pub(crate) touch_bytes: usize,
    /// Pages a fault; the library's default if `None`.
    pub(crate) growth: Option<usize>,
    pub(crate) json: bool,
}

/// `elbowroom bench`, resolved.
pub(crate) struct Bench {
    /// What fits if `None`.
    pub(crate) size_bytes: Option<usize>,
    /// As many as there is time for if `None`.
    pub(crate) rounds: Option<usize>,
    pub(crate) is_quick: bool,
    pub(crate) svg: Option<PathBuf>,
    pub(crate) json: bool,
}

/// `elbowroom stress`, resolved.
pub(crate) struct Stress {
    pub(crate) threads: usize,
    /// Chosen by the clock if `None`.
    pub(crate) seed: Option<u64>,
    /// How long; not with `steps`.
    pub(crate) minutes: Option<u64>,
    /// Operations of each thread.
    pub(crate) steps: Option<u64>,
}

/// `elbowroom doctor`, resolved.
pub(crate) struct Doctor {
    pub(crate) json: bool,
}

/// `elbowroom map`, resolved.
pub(crate) struct Map {
    pub(crate) whose: Whose,
    pub(crate) region: Option<Wanted>,
    pub(crate) all: bool,
    pub(crate) json: bool,
    /// An earlier snapshot.
    pub(crate) diff: Option<PathBuf>,
    pub(crate) svg: Option<PathBuf>,
    pub(crate) html: Option<PathBuf>,
}

/// `elbowroom watch`, resolved.
pub(crate) struct Watch {
    /// This program itself if `None`.
    pub(crate) pid: Option<u32>,
    pub(crate) workload: Workload,
    pub(crate) means: Means,
    /// One snapshot as text.
    pub(crate) once: bool,
    /// One snapshot as a JSON object.
    pub(crate) json: bool,
    /// One snapshot as a drawing.
    pub(crate) svg: Option<PathBuf>,
}

/// Whose address space.
#[derive(Clone, Copy)]
pub(crate) enum Whose {
    Own,
    Process(u32),
}

/// Reads the command line. Ends the process with a message if it cannot be followed.
pub(crate) fn parse() -> Command {
    match Cli::parse().command {
        RawCommand::Demo(raw) => Command::Demo(raw.resolve().unwrap_or_else(|message| refuse("demo", message))),
        RawCommand::Compare(raw) => {
            Command::Compare(raw.resolve().unwrap_or_else(|message| refuse("compare", message)))
        }
        RawCommand::Bench(RawBench { size: size_bytes, runs: rounds, quick: is_quick, svg, json }) => {
            Command::Bench(Bench { size_bytes, rounds, is_quick, svg, json })
        }
        RawCommand::Stress(raw) => Command::Stress(raw.resolve()),
        RawCommand::Doctor(RawDoctor { json }) => Command::Doctor(Doctor { json }),
        RawCommand::Map(raw) => Command::Map(raw.resolve()),
        RawCommand::Watch(RawWatch { pid, workload, means, once, json, svg }) => {
            Command::Watch(Watch { pid, workload, means, once, json, svg })
        }
        RawCommand::Completions(RawCompletions { shell }) => Command::Completions(shell),
        RawCommand::Man(raw) => Command::Man(raw.resolve().unwrap_or_else(|message| refuse("man", message))),
    }
}

/// The command line as a whole: what completions and manuals are made of.
pub(crate) fn command() -> clap::Command {
    let mut cli = Cli::command();
    // So that each command knows that it is part of `elbowroom`.
    cli.build();
    cli
}

/// Ends the process as clap does for what it finds by itself.
fn refuse(name: &str, message: String) -> ! {
    let cli = command();
    let mut command = cli.find_subcommand(name).cloned().unwrap_or(cli);
    command.error(ErrorKind::ValueValidation, message).exit()
}

/// Reserve address space once, commit pages when they are touched, never move the data.
#[derive(Parser)]
#[command(name = "elbowroom", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: RawCommand,
}

#[derive(Subcommand)]
enum RawCommand {
    Demo(RawDemo),
    Compare(RawCompare),
    Bench(RawBench),
    Stress(RawStress),
    Doctor(RawDoctor),
    Map(RawMap),
    Watch(RawWatch),
    Completions(RawCompletions),
    Man(RawMan),
}

/// Run Microsoft's program "Reserving and Committing Memory"
///
/// It reserves 80 pages and stores into them one character at a time. Each page fault commits one more
/// page and continues with the same instruction. What it prints is what Microsoft's program prints, at
/// the moment when it happens.
///
/// The exit status is 0 at the end, and also when the pages run out, as no system call has failed then;
/// the system's error number when a commit fails; 1 when reserving, releasing or printing fails.
#[derive(Args)]
#[command(after_help = DEMO_EXAMPLES, verbatim_doc_comment)]
struct RawDemo {
    /// How many pages to commit at most, and store into
    #[arg(long, value_name = "N", default_value = "80", value_parser = at_least_one)]
    page_limit: usize,

    /// How much to reserve [default: the pages of --page-limit]
    ///
    /// More shows that reserving costs nothing. Less makes the commit behind the end fail.
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    reserve: Option<usize>,

    /// How many pages a fault commits
    #[arg(long, value_name = "N", default_value = "1", value_parser = at_least_one)]
    growth: usize,

    /// What is stored
    #[arg(long, value_enum, default_value = "narrow")]
    char: Char,

    /// Print no transcript
    #[arg(long, conflicts_with = "json")]
    quiet: bool,

    /// Print on standard error what was reserved, committed and used
    #[arg(long)]
    summary: bool,

    /// Print one JSON object instead of the transcript, which is part of it
    #[arg(long)]
    json: bool,

    /// Make the Nth commit fail, counted from 1, as if memory had run out
    ///
    /// With --growth above 1, the library then tries the one page that was touched, and succeeds.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    fail_commit_at: Option<usize>,

    /// Make reserving fail
    #[arg(long)]
    fail_reserve: bool,

    /// Make releasing fail
    #[arg(long)]
    fail_release: bool,

    /// Make page N, counted from 0, raise a fault that is not a page fault
    ///
    /// A bus error on Unix, a guard page on Windows. Not with --growth, whose commits would cover it.
    #[arg(long, value_name = "N", conflicts_with = "growth")]
    other_fault_at: Option<usize>,

    /// Draw the region, page by page, when the transcript ends
    #[arg(long, conflicts_with = "json")]
    picture: bool,

    /// Write a drawing: what was reserved and committed, fault by fault, and the region at the end
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// Write the same as a page for a browser, which needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Commit up front and on touch, and see what each costs
///
/// Reserves SIZE twice, one after the other: once committing all of it and then touching its beginning,
/// and once letting the touches commit. The figures are taken while the memory is held. That one of the
/// two fails is a result, and no failure of the command.
#[derive(Args)]
#[command(after_help = COMPARE_EXAMPLES, verbatim_doc_comment)]
struct RawCompare {
    /// How much to reserve
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    reserve: usize,

    /// How much of it to touch, from its beginning: one write a page
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    touch: usize,

    /// How many pages a fault commits [default: the library's]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    growth: Option<usize>,

    /// Print one JSON object, with exact figures
    #[arg(long)]
    json: bool,
}

/// Measure the ways of committing memory, side by side on this machine
///
/// Up front: all of it, with the kernel bringing pages in as they are touched, or all at once, or in huge pages.
/// On touch: by the library's default, which adapts; with small pages only; one page a fault; windows of a fixed
/// size; by userfaultfd; and with a filter on a thread of its own. Each touches all pages of the memory in order,
/// and one in 16 here and there (4,096 at most). It takes less than a minute, but where --size or --runs ask for more.
///
/// All are measured in turns, each sample in a process of its own: in processor time, or by the wall clock where
/// threads wait for each other. What this machine does not have, or does not permit, is listed with the reason;
/// that is no failure of the command. It refuses to take memory that is not there.
#[derive(Args)]
#[command(after_help = BENCH_EXAMPLES, verbatim_doc_comment)]
struct RawBench {
    /// How much memory, in multiples of 2 MiB [default: 64MiB, or what fits]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    size: Option<usize>,

    /// How many samples of each, however long they take [default: 9, or as many as take less than a minute]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    runs: Option<usize>,

    /// A first look: 8 MiB and 3 runs, unless --size and --runs say otherwise
    #[arg(long)]
    quick: bool,

    /// Write a drawing of it
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// Print one JSON object, with every sample
    #[arg(long)]
    json: bool,
}

/// Do random things to regions by many threads, and check everything against a model
///
/// Each thread has regions, reservations and budgets of its own, of which every byte, count and error is
/// known beforehand, and shares others with all threads, of which the invariants are known. Beside them come
/// forked children, foreign signals and faults, and refused system calls. What a thread does follows from
/// the seed. It ends with the first finding, which says how to see it again, or with a table of what was
/// done.
///
/// The exit status is 0 if nothing was found, and 1 for a finding, or when no thread gets anywhere for a
/// minute. A crash is a finding, too.
#[derive(Args)]
#[command(after_help = STRESS_EXAMPLES, verbatim_doc_comment)]
struct RawStress {
    /// How long it goes on [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    minutes: Option<u64>,

    /// Stop after so many operations of each thread instead
    #[arg(long, value_name = "N", conflicts_with = "minutes", value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,

    /// How many threads, 1 to 32 [default: one for each processor, at least 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=32))]
    threads: Option<u64>,

    /// What the operations follow from [default: the clock]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// Find out what this machine lets you reserve and commit, and what will bite
///
/// Everything is found by trying: what may be forbidden is tried in a child process, and nothing stays.
/// Each line has what was found, what it means for elbowroom, and what to change:
///
///   ok        as it should be
///   note      works, but not as everywhere; or something that only some uses need is not there
///   warning   works until something runs into it
///   missing   something that a region needs is not there
///
/// The exit status is 1 if something is missing, else 0.
#[derive(Args)]
#[command(after_help = DOCTOR_EXAMPLES, verbatim_doc_comment)]
struct RawDoctor {
    /// Print one JSON object, with exact figures
    #[arg(long)]
    json: bool,
}

/// See what a process has in its address space, and what of it is in memory
///
/// The sums are on one scale: reserved (addresses), committed (may be touched), charged (counts towards the
/// system's commit limit), resident (in memory), dirty (written), huge (in huge pages) and swapped. A region
/// is what touches and has one name; --region draws one, a character for each page or for so many that it fits.
///
/// What is not reserved memory is mostly named by its file. Regions of elbowroom's are named where the kernel
/// keeps names (see `elbowroom doctor`); else they are among the reservations.
#[derive(Args)]
#[command(after_help = MAP_EXAMPLES, verbatim_doc_comment)]
struct RawMap {
    /// The process
    #[arg(value_name = "PID", required_unless_present = "own", value_parser = clap::value_parser!(u32).range(1..))]
    pid: Option<u32>,

    /// This program itself, which makes a region of 256 pages to look at
    #[arg(long = "self", conflicts_with = "pid")]
    own: bool,

    /// Draw one region: by an address in it, by its name or a part of it, or by its kind
    #[arg(long, value_name = "NAME|ADDRESS")]
    region: Option<Wanted>,

    /// Show all regions, and not the largest only
    #[arg(long)]
    all: bool,

    /// Show what has changed since a snapshot, which --json made
    #[arg(long, value_name = "FILE", conflicts_with = "region")]
    diff: Option<PathBuf>,

    /// Write a drawing of it, with the region of --region page by page
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// Write the same as a page for a browser, with a table of all regions; it needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Print one JSON object, with exact figures
    #[arg(long, conflicts_with = "all")]
    json: bool,
}

impl RawMap {
    fn resolve(self) -> Map {
        let whose = self.pid.map_or(Whose::Own, Whose::Process);
        let RawMap { region, all, json, diff, svg, html, .. } = self;
        Map { whose, region, all, json, diff, svg, html }
    }
}

/// Watch pages turn from reserved to committed, in a workload of its own or in another process
///
/// Without a process, it runs a workload in regions of its own, slowly: it can be paused, and go on by single
/// faults, and a key changes how many pages a fault commits. It shows each page (or group of pages), faults as they
/// come, how long they took, and how full budgets are. With a process, it shows the regions of that process and
/// the pages of one of them, twice a second, and changes nothing there.
///
/// It needs a terminal; --once, --json and --svg do not: they take one snapshot, of a workload at its end.
#[derive(Args)]
#[command(after_help = WATCH_EXAMPLES, verbatim_doc_comment)]
struct RawWatch {
    /// The process to watch
    #[arg(value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    #[arg(conflicts_with_all = ["workload", "means"])]
    pid: Option<u32>,

    /// What to watch instead
    #[arg(long, value_enum, default_value = "seed")]
    workload: Workload,

    /// By what means its regions commit
    #[arg(long = "backend", value_enum, default_value = "protection")]
    means: Means,

    /// Print one snapshot, as text
    #[arg(long, conflicts_with = "json")]
    once: bool,

    /// Print one snapshot, as a JSON object with exact figures
    #[arg(long)]
    json: bool,

    /// Write one snapshot, as a drawing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["once", "json"])]
    svg: Option<PathBuf>,
}

/// Print what makes a shell complete this command's arguments
#[derive(Args)]
#[command(after_help = COMPLETIONS_EXAMPLES, verbatim_doc_comment)]
struct RawCompletions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Print the manual page, in the format of man(1)
#[derive(Args)]
#[command(after_help = MAN_EXAMPLES, verbatim_doc_comment)]
struct RawMan {
    /// A command, for its own page
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

impl RawMan {
    fn resolve(self) -> Result<Option<String>, String> {
        match self.command {
            Some(name) if command().find_subcommand(&name).is_none() => Err(format!("there is no command {name:?}")),
            name => Ok(name),
        }
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(error.to_string()),
    }
}

impl RawDemo {
    fn resolve(self) -> Result<Demo, String> {
        let page = page_size();
        // The last byte stored must have an offset, so wide characters count too.
        let stored = self.page_limit.checked_mul(page).and_then(|chars| chars.checked_mul(self.char.bytes()));
        let limit_bytes = match stored {
            Some(stored) if stored <= isize::MAX as usize => self.page_limit * page,
            _ => return Err(format!("--page-limit {} is more pages than can be addressed", self.page_limit)),
        };
        let reserve_bytes = self.reserve.unwrap_or(limit_bytes);
        let touched = self.page_limit.min(reserve_bytes.div_ceil(page));
        if let Some(at) = self.other_fault_at.filter(|&at| at >= touched) {
            return Err(format!("--other-fault-at {at}: the pages are 0 to {}", touched - 1));
        }
        let transcript = match (self.quiet, self.json) {
            (true, _) => Transcript::Dropped,
            (_, true) => Transcript::InJson,
            _ => Transcript::Printed,
        };
        Ok(Demo {
            page_limit: self.page_limit,
            reserve_bytes,
            growth: self.growth,
            char: self.char,
            transcript,
            summary: self.summary,
            fail_commit_at: self.fail_commit_at,
            fail_reserve: self.fail_reserve,
            fail_release: self.fail_release,
            other_fault_at: self.other_fault_at,
            picture: self.picture,
            svg: self.svg,
            html: self.html,
        })
    }
}

impl RawCompare {
    fn resolve(self) -> Result<Compare, String> {
        if self.touch > self.reserve {
            return Err("--touch is more than --reserve".to_owned());
        }
        let RawCompare { reserve: reserve_bytes, touch: touch_bytes, growth, json } = self;
        Ok(Compare { reserve_bytes, touch_bytes, growth, json })
    }
}

impl RawStress {
    fn resolve(self) -> Stress {
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let threads = self.threads.map_or(processors.clamp(2, 32), |threads| threads as usize);
        let minutes = match (self.minutes, self.steps) {
            (None, None) => Some(1),
            (minutes, _) => minutes,
        };
        Stress { threads, seed: self.seed, minutes, steps: self.steps }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_finds_no_contradiction() {
        Cli::command().debug_assert();
    }
}

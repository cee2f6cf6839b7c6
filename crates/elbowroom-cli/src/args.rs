//! The command line: parsed by clap into the settings of each command, then checked.

mod choices;
mod help;
mod page;

pub(crate) use choices::{Means, Workload};
pub(crate) use page::{Dtype, Limits, Page, PageCat, PageCommand, PageCopy, PageGather, Source};

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use elbowroom::page_size;
use elbowroom_map::Wanted;

use crate::size;
use help::{
    BENCH_EXAMPLES, COMPARE_EXAMPLES, COMPLETIONS_EXAMPLES, DEMO_EXAMPLES, DOCTOR_EXAMPLES,
    EXAMPLES, MAN_EXAMPLES, MAP_EXAMPLES, WATCH_EXAMPLES,
};

/// The command to run, with its settings.
pub(crate) enum Command {
    Demo(Demo),
    Compare(Compare),
    Bench(Bench),
    Doctor(Doctor),
    Map(Map),
    Watch(Watch),
    Page(Page),
    Completions(Shell),
    /// The manual page of one command, or of all.
    Man(Vec<String>),
}

/// Where the transcript goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transcript {
    /// Printed, line by line, as things happen.
    Printed,
    /// Part of a JSON object.
    InJson,
    /// Nothing.
    Dropped,
}

/// The type of a character (TCHAR) in Microsoft's program.
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

/// Parses the command line. Ends the process with a message if it is not valid.
pub(crate) fn parse() -> Command {
    match Cli::parse().command {
        RawCommand::Demo(demo) => match demo.check() {
            Ok(()) => Command::Demo(demo),
            Err(message) => refuse("demo", message),
        },
        RawCommand::Compare(Compare {
            reserve_bytes: Some(reserve),
            touch_bytes: Some(touch),
            ..
        }) if touch > reserve => refuse("compare", "--touch is more than --reserve".to_owned()),
        RawCommand::Compare(compare) => Command::Compare(compare),
        RawCommand::Bench(bench) => Command::Bench(bench),
        RawCommand::Doctor(doctor) => Command::Doctor(doctor),
        RawCommand::Map(map) => Command::Map(map),
        RawCommand::Watch(watch) => Command::Watch(watch),
        RawCommand::Page(page) => Command::Page(page),
        RawCommand::Completions(Completions { shell }) => Command::Completions(shell),
        RawCommand::Man(Man { command: names }) if find(&command(), &names).is_none() => {
            refuse("man", format!("there is no command {:?}", names.join(" ")))
        }
        RawCommand::Man(Man { command }) => Command::Man(command),
    }
}

/// Returns the whole command line, from which completions and manual pages are made.
pub(crate) fn command() -> clap::Command {
    let mut cli = Cli::command();
    // So that each command knows that it is part of `elbowroom`.
    cli.build();
    cli
}

/// Returns the command that these names lead to, from the outermost to the innermost.
pub(crate) fn find<'a>(command: &'a clap::Command, names: &[String]) -> Option<&'a clap::Command> {
    let mut names = names.iter();
    names.try_fold(command, |command, name| command.find_subcommand(name))
}

/// Ends the process with a message, as clap does for its own errors.
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
    Demo(Demo),
    Compare(Compare),
    Bench(Bench),
    Doctor(Doctor),
    Map(Map),
    Watch(Watch),
    Page(Page),
    Completions(Completions),
    Man(Man),
}

/// Run Microsoft's program "Reserving and Committing Memory"
///
/// The program reserves 80 pages and stores one character after another into them. Each page fault commits
/// one more page, and the same instruction runs again. Each line of the transcript is the line of Microsoft's
/// program, printed when the event happens.
///
/// The exit status is 0 at the end, and also when the pages run out, because no system call has failed then.
/// If a commit fails, it is the system's error number. If reserving, releasing or printing fails, it is 1.
#[derive(Args)]
#[command(after_help = DEMO_EXAMPLES, verbatim_doc_comment)]
pub(crate) struct Demo {
    /// Largest number of pages to commit and store into
    #[arg(long, value_name = "N", default_value = "80", value_parser = at_least_one)]
    pub(crate) page_limit: usize,

    /// Size of the reservation [default: the pages of --page-limit]
    ///
    /// A larger one shows that reserving costs no memory. With a smaller one, the commit past its end fails.
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub(crate) reserve: Option<usize>,

    /// Number of pages that a fault commits
    #[arg(long, value_name = "N", default_value = "1", value_parser = at_least_one)]
    pub(crate) growth: usize,

    /// Type of the characters that are stored
    #[arg(long, value_enum, default_value = "narrow")]
    pub(crate) char: Char,

    /// Print no transcript
    #[arg(long, conflicts_with = "json")]
    pub(crate) quiet: bool,

    /// Print what was reserved, committed and used to standard error
    #[arg(long)]
    pub(crate) summary: bool,

    /// Print one JSON object that contains the transcript
    #[arg(long)]
    pub(crate) json: bool,

    /// Make the Nth commit fail as if memory had run out, counted from 1
    ///
    /// If --growth is above 1, the library then commits only the page that was touched, which succeeds.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) fail_commit_at: Option<usize>,

    /// Make reserving fail
    #[arg(long)]
    pub(crate) fail_reserve: bool,

    /// Make releasing fail
    #[arg(long)]
    pub(crate) fail_release: bool,

    /// Make page N raise a fault that is not a page fault, counted from 0
    ///
    /// A bus error on Unix, a guard page on Windows. Not with --growth: a larger commit would cover the page.
    #[arg(long, value_name = "N", conflicts_with = "growth")]
    pub(crate) other_fault_at: Option<usize>,

    /// Draw the pages of the region after the transcript
    #[arg(long, conflicts_with = "json")]
    pub(crate) picture: bool,

    /// Write an SVG drawing of the faults and of the region at the end
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,

    /// Write the same drawing as a self-contained HTML page
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// Compare the cost of committing up front and on touch
///
/// The command reserves memory twice. The first time it commits all of it and then touches its beginning. The
/// second time the touches commit. The figures are read while the memory is held. If one of the two fails,
/// that is a result and not a failure of the command: by default more is reserved than can be committed.
#[derive(Args)]
#[command(after_help = COMPARE_EXAMPLES, verbatim_doc_comment)]
pub(crate) struct Compare {
    /// Size of the reservation [default: at least four times what this machine can commit]
    #[arg(long = "reserve", value_name = "SIZE", value_parser = size::parse)]
    pub(crate) reserve_bytes: Option<usize>,

    /// Size of the part to touch, from the beginning, with one write per page [default: 64MiB, or what fits]
    #[arg(long = "touch", value_name = "SIZE", value_parser = size::parse)]
    pub(crate) touch_bytes: Option<usize>,

    /// Number of pages that a fault commits [default: the library's]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) growth: Option<usize>,

    /// Print one JSON object with exact figures
    #[arg(long)]
    pub(crate) json: bool,
}

/// Measure the ways of committing memory on this machine
///
/// Up front: all memory is committed, and the kernel provides pages as they are touched, all at once, or as huge
/// pages. On touch: adaptive growth (the library's default), small pages only, one page per fault, windows of a
/// fixed size, userfaultfd, and a filter on its own thread. Each way touches all pages in order, and then one page
/// in 16 in random order (4,096 at most). It takes less than a minute unless --size or --runs ask for more.
///
/// The runs are interleaved, and each sample is taken in its own process: in processor time, or in elapsed time
/// where threads wait for each other. Ways that this machine does not have or does not permit are listed with the
/// reason, which is not a failure of the command. The command does not use more memory than is available.
#[derive(Args)]
#[command(after_help = BENCH_EXAMPLES, verbatim_doc_comment)]
pub(crate) struct Bench {
    /// Size of the memory, rounded up to a multiple of 2 MiB [default: 64MiB, or what fits]
    #[arg(long = "size", value_name = "SIZE", value_parser = size::parse)]
    pub(crate) size_bytes: Option<usize>,

    /// Number of samples of each way [default: 9, or as many as take less than a minute]
    #[arg(long = "runs", value_name = "N", value_parser = at_least_one)]
    pub(crate) rounds: Option<usize>,

    /// Measure 8 MiB in 3 runs, unless --size and --runs are given
    #[arg(long = "quick")]
    pub(crate) is_quick: bool,

    /// Write an SVG drawing of the results
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,

    /// Print one JSON object with every sample
    #[arg(long)]
    pub(crate) json: bool,
}

/// Report what this machine lets you reserve and commit, and what to change
///
/// Everything is tested by trying it. Calls that may be forbidden are tried in a child process, and no change
/// remains. What needs attention is shown, the worst first. Each entry says what was found, what it means for
/// elbowroom, and what to change:
///
///   ok        as it should be
///   note      works, but differs from most machines; or a feature that only some programs need is absent
///   warning   works until a limit is reached
///   missing   a feature that regions need is absent
///
/// The exit status is 1 if a feature is missing, and 0 otherwise.
#[derive(Args)]
#[command(after_help = DOCTOR_EXAMPLES, verbatim_doc_comment)]
pub(crate) struct Doctor {
    /// Show everything, not only what needs attention
    #[arg(long)]
    pub(crate) all: bool,
    /// Print one JSON object with exact figures
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show the address space of a process, and which parts of it are in memory
///
/// The sums are drawn on one scale: reserved (addresses), committed (may be touched), charged (counts towards
/// the system's commit limit), resident (in memory), dirty (written), huge (in huge pages) and swapped. If what is
/// reserved is much more than the rest, its bar is cut off, and a note says how long it is. A region is a range of
/// adjacent mappings with the same name. --region draws one region; each character stands for one page, or for
/// several if the region is large.
///
/// Mappings of files have the file's name. Regions of elbowroom have names if the kernel stores them (see
/// `elbowroom doctor`); otherwise they are listed as reservations. Control and format characters in names are
/// printed as numbers.
#[derive(Args)]
#[command(after_help = MAP_EXAMPLES, verbatim_doc_comment)]
pub(crate) struct Map {
    /// Process to show
    #[arg(value_name = "PID", required_unless_present = "own", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pid: Option<u32>,

    /// Show this program itself, which creates a sample region of 256 pages
    #[arg(long = "self", conflicts_with = "pid")]
    pub(crate) own: bool,

    /// Draw the region with this address, name, part of a name, or kind
    #[arg(long, value_name = "NAME|ADDRESS")]
    pub(crate) region: Option<Wanted>,

    /// Show all regions instead of only the largest
    #[arg(long)]
    pub(crate) all: bool,

    /// Show what has changed since a snapshot that --json printed
    #[arg(long, value_name = "FILE", conflicts_with = "region")]
    pub(crate) diff: Option<PathBuf>,

    /// Write an SVG drawing, with the region of --region page by page
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,

    /// Write the same as a self-contained HTML page with sums by kind, and all regions in a table that can be sorted
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    /// Print one JSON object with exact figures
    #[arg(long, conflicts_with = "all")]
    pub(crate) json: bool,
}

/// Watch pages turn from reserved to committed, in a demonstration or in another process
///
/// Without a PID, the command runs a demonstration workload slowly. Keys pause it, continue it fault by fault, and
/// change the number of pages that a fault commits. The screen shows each page (or group of pages), the faults,
/// their duration, and how full the budgets are. With a PID, it shows the regions of that process and the pages of
/// one of them, twice a second. It does not change the process.
///
/// A terminal is required, except with --once, --json and --svg. These take one snapshot; of a workload, at its end.
#[derive(Args)]
#[command(after_help = WATCH_EXAMPLES, verbatim_doc_comment)]
pub(crate) struct Watch {
    /// Process to watch
    #[arg(value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    #[arg(conflicts_with_all = ["workload", "means"])]
    pub(crate) pid: Option<u32>,

    /// Workload to watch if there is no PID
    #[arg(long, value_enum, default_value = "seed")]
    pub(crate) workload: Workload,

    /// How the workload's regions commit pages
    #[arg(long = "backend", value_enum, default_value = "protection")]
    pub(crate) means: Means,

    /// Print one snapshot as text
    #[arg(long, conflicts_with = "json")]
    pub(crate) once: bool,

    /// Print one snapshot as a JSON object with exact figures
    #[arg(long)]
    pub(crate) json: bool,

    /// Write one snapshot as an SVG drawing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["once", "json"])]
    pub(crate) svg: Option<PathBuf>,
}

/// Print a completion script for a shell
#[derive(Args)]
#[command(after_help = COMPLETIONS_EXAMPLES, verbatim_doc_comment)]
struct Completions {
    /// Shell to complete in
    #[arg(value_enum)]
    shell: Shell,
}

/// Print the manual page in the format of man(1)
#[derive(Args)]
#[command(after_help = MAN_EXAMPLES, verbatim_doc_comment)]
struct Man {
    /// Command whose page to print, such as `map` or `page sum` [default: the page of elbowroom]
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(error.to_string()),
    }
}

impl Demo {
    /// Checks the settings that depend on the page size.
    fn check(&self) -> Result<(), String> {
        let Some(limit_bytes) = self.limit_bytes() else {
            return Err(format!(
                "--page-limit {} is more pages than can be addressed",
                self.page_limit
            ));
        };
        let reserved = self.reserve.unwrap_or(limit_bytes);
        let touched = self.page_limit.min(reserved.div_ceil(page_size()));
        match self.other_fault_at {
            Some(at) if at >= touched => Err(format!(
                "--other-fault-at {at}: the pages are 0 to {}",
                touched - 1
            )),
            _ => Ok(()),
        }
    }

    /// Returns the size of the pages of `--page-limit`, or `None` if their characters cannot be addressed.
    fn limit_bytes(&self) -> Option<usize> {
        let bytes = self.page_limit.checked_mul(page_size())?;
        // The last byte stored must have an offset, so wide characters count too.
        let stored = bytes.checked_mul(self.char.bytes())?;
        (stored <= isize::MAX as usize).then_some(bytes)
    }

    pub(crate) fn reserve_bytes(&self) -> usize {
        self.reserve
            .unwrap_or_else(|| self.page_limit * page_size())
    }

    pub(crate) fn transcript(&self) -> Transcript {
        match (self.quiet, self.json) {
            (true, _) => Transcript::Dropped,
            (_, true) => Transcript::InJson,
            _ => Transcript::Printed,
        }
    }

    pub(crate) fn is_drawn(&self) -> bool {
        self.picture || self.svg.is_some() || self.html.is_some()
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

//! The command line: parsed by clap into the settings of each command, then checked.

/// The examples at the end of a command's help, after a note if the command takes sizes.
macro_rules! examples {
    (sizes: $examples:literal) => {
        concat!(
            "\
SIZE is a whole number of bytes, or of KiB, MiB, GiB, TiB or PiB (powers of 1024): 4096, 64MiB, 1TiB. \
K, M, G, T and P mean the same. KB, MB and so on are ambiguous (1000 or 1024) and are refused.

",
            examples!($examples)
        )
    };
    ($examples:literal) => {
        concat!("Examples:", $examples)
    };
}

mod choices;
mod demo;
mod help;
mod page;

pub(crate) use choices::{Means, Workload};
pub(crate) use demo::{Char, Demo, Transcript};
pub(crate) use page::{
    Dtype, Limits, Page, PageCat, PageCommand, PageCopy, PageGather, PageSort, Source,
};

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use elbowroom_map::Wanted;

use crate::size;
use demo::at_least_one;

/// The command to run, with its settings.
#[derive(Subcommand)]
pub(crate) enum Command {
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

/// Parses the command line. Ends the process with a message if it is not valid.
pub(crate) fn parse() -> Command {
    let matches = help::fitted(Cli::command()).try_get_matches();
    let parsed = matches.and_then(|matches| Cli::from_arg_matches(&matches));
    let parsed = parsed.unwrap_or_else(|error| help::end(&error)).command;
    match &parsed {
        Command::Demo(demo) => {
            if let Err(message) = demo.check() {
                refuse("demo", message)
            }
        }
        Command::Compare(Compare {
            reserve_bytes: Some(reserve),
            touch_bytes: Some(touch),
            ..
        }) if touch > reserve => refuse("compare", "--touch is more than --reserve".to_owned()),
        Command::Man(Man { command: names }) if find(&command(), names).is_none() => {
            refuse("man", format!("there is no command {:?}", names.join(" ")))
        }
        _ => {}
    }
    parsed
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
    help::end(&command.error(ErrorKind::ValueValidation, message))
}

/// Reserve address space once, commit pages when they are touched, never move the data.
#[derive(Parser)]
#[command(name = "elbowroom", version, arg_required_else_help = true, after_help = examples!("
  elbowroom demo                                   Microsoft's program, with the same transcript
  elbowroom demo --reserve 64GiB --summary         the same in a large reservation, with its cost
  elbowroom compare                                the cost of committing up front and on touch
  elbowroom bench                                  measures the ways of committing
  elbowroom doctor                                 what this machine permits, and what to change
  elbowroom map 1234                               what a process has reserved and committed
  elbowroom watch                                  pages that turn from reserved to committed
  elbowroom page sum samples.npy --resident 16MiB  the sum of a file larger than memory"))]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Compare the cost of committing up front and on touch
///
/// The command reserves memory twice. The first time it commits all of it and then touches its beginning. The
/// second time the touches commit. The figures are read while the memory is held. If one of the two fails,
/// that is a result and not a failure of the command: by default more is reserved than can be committed.
#[derive(Args)]
#[command(after_help = examples!(sizes: "
  elbowroom compare                                   more than can be committed up front
  elbowroom compare --reserve 1GiB --touch 1GiB       touches all of it: the cost of the faults
  elbowroom compare --reserve 1GiB --touch 1GiB --growth 512"))]
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
#[command(after_help = examples!(sizes: "
  elbowroom bench                               takes less than a minute
  elbowroom bench --quick                       takes seconds
  elbowroom bench --size 1GiB --svg bench.svg   more memory, and a drawing
  elbowroom bench --json | jq -c '.tables[0].mechanisms[] | [.id, .ratio.median]'"))]
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
/// - ok: as it should be
///
/// - note: works, but differs from most machines; or a feature that only some programs need is absent
///
/// - warning: works until a limit is reached
///
/// - missing: a feature that regions need is absent
///
/// The exit status is 1 if a feature is missing, and 0 otherwise.
#[derive(Args)]
#[command(after_help = examples!("
  elbowroom doctor                        run it where your program will run
  docker run IMAGE elbowroom doctor       the limits in a container
  elbowroom doctor --json | jq '.findings[] | select(.level != \"ok\")'"))]
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
#[command(after_help = examples!("
  elbowroom map --self --region sample        a region, page by page
  elbowroom map 1234                          the sums and the largest regions of a process
  elbowroom map 1234 --region 0x7f12c0a00000  the region with this address
  elbowroom map 1234 --html map.html          the same as a page for a browser
  elbowroom map 1234 --json > before.json; sleep 60; elbowroom map 1234 --diff before.json"))]
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
/// their duration, and how full the budgets are. The workload paged shows an array larger than its memory: its
/// resident pages, what is dirty or being loaded, hits, misses and evictions, and how long accesses wait. With a PID,
/// the command shows the regions of that process and the pages of one of them, twice a second. It does not change the
/// process.
///
/// A terminal is required, except with --once, --json and --svg. These take one snapshot; of a workload, at its end.
#[derive(Args)]
#[command(after_help = examples!("
  elbowroom watch                                  Microsoft's 80 pages; ? shows the keys
  elbowroom watch --workload budget                budgets that are used up
  elbowroom watch --workload random --backend userfault
  elbowroom watch --workload paged                 an array that is larger than its memory
  elbowroom watch --workload threads --once        the final state, without a terminal
  elbowroom watch --workload budget --svg a.svg    the same as a drawing
  elbowroom watch 1234                             another process, twice a second
  elbowroom watch 1234 --json | jq .total          one snapshot"))]
pub(crate) struct Watch {
    /// Process to watch
    #[arg(value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    #[arg(conflicts_with_all = ["workload", "means"])]
    pub(crate) pid: Option<u32>,

    /// Workload to watch if there is no PID
    #[arg(long, value_enum, default_value = "seed")]
    pub(crate) workload: Workload,

    /// Backend of the workload's regions
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
#[command(after_help = examples!("
  elbowroom completions bash > ~/.local/share/bash-completion/completions/elbowroom
  elbowroom completions zsh > \"${fpath[1]}/_elbowroom\"
  elbowroom completions fish > ~/.config/fish/completions/elbowroom.fish
  elbowroom completions powershell >> $PROFILE"))]
pub(crate) struct Completions {
    /// Shell to complete in
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// Print the manual page in the format of man(1)
#[derive(Args)]
#[command(after_help = examples!("
  elbowroom man | man -l -
  elbowroom man map > ~/.local/share/man/man1/elbowroom-map.1
  elbowroom man page sum | man -l -"))]
pub(crate) struct Man {
    /// Command whose page to print, such as `map` or `page sum` [default: the page of elbowroom]
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_finds_no_contradiction() {
        Cli::command().debug_assert();
    }
}

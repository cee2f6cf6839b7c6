//! elbowroom against its peers and against the bare system.
//!
//! A *comparison* is the same work done by several *contenders*, in turns: A B C, A B C, and so on. The result is the
//! median of the ratios of two consecutive samples, which ran under the same conditions. Each sample is taken in a
//! separate process where the state of page tables or of an allocator would carry over.

mod count;
mod os;
mod plan;
mod report;
mod run;
mod sample;
mod workloads;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use plan::Scale;
use workloads::paged::{self, Folder};

/// elbowroom against its peers and against the bare system.
#[derive(Parser)]
#[command(name = "elbowroom-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The comparisons that there are.
    List,
    /// Makes the comparisons whose names contain one of these, and prints their tables and goals.
    Run {
        #[arg(required = true)]
        names: Vec<String>,
        /// With tiny workloads.
        #[arg(long)]
        quick: bool,
    },
    /// Makes all comparisons and writes RESULTS.md and its plots.
    Report {
        /// With tiny workloads, to see that everything works. Prints the report unless told where to write it.
        #[arg(long)]
        quick: bool,
        /// The folder to write to; without it, `benches` in the repository.
        #[arg(long)]
        out: Option<PathBuf>,
        /// Also writes every sample there, as JSON.
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Does an operation, for `cargo xtask counts`; without one, lists them.
    #[command(hide = true)]
    Count {
        #[arg(requires = "times")]
        operation: Option<String>,
        times: Option<usize>,
    },
    /// Serves a file by HTTP, for contenders, until standard input ends.
    #[cfg(feature = "remote")]
    #[command(hide = true)]
    Serve { file: PathBuf },
    /// Takes samples, for the process that counts them.
    #[command(hide = true)]
    Child(run::Order),
}

fn main() -> ExitCode {
    let done = obey(Arguments::parse().command);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("elbowroom-bench: {message}");
            ExitCode::FAILURE
        }
    }
}

fn obey(command: Command) -> Result<(), String> {
    paged::limit()?;
    match command {
        Command::List => {
            list();
            Ok(())
        }
        Command::Run { names, quick } => run_some(&names, scale(quick)),
        Command::Report { quick, out, json } => report::write(scale(quick), out, json),
        Command::Count {
            operation: Some(name),
            times: Some(times),
        } => count::perform(&name, times),
        Command::Count { .. } => {
            count::list();
            Ok(())
        }
        #[cfg(feature = "remote")]
        Command::Serve { file } => paged::serve(&file),
        Command::Child(order) => order.obey(),
    }
}

fn scale(quick: bool) -> Scale {
    if quick { Scale::Quick } else { Scale::Full }
}

fn list() {
    for comparison in workloads::comparisons(Scale::Full) {
        println!("{:<24} {}", comparison.name, comparison.title);
        for contender in &comparison.contenders {
            println!("{:<24}   {}", "", contender.name);
        }
    }
}

fn run_some(names: &[String], scale: Scale) -> Result<(), String> {
    let mut chosen = workloads::comparisons(scale);
    chosen.retain(|comparison| {
        names
            .iter()
            .any(|name| comparison.name.contains(name.as_str()))
    });
    if chosen.is_empty() {
        return Err(format!(
            "no comparison is called {}; `list` lists them",
            names.join(" or ")
        ));
    }
    let folder = Folder::new();
    let mut outcomes = Vec::new();
    for comparison in &chosen {
        let outcome = run::make(comparison, scale, &folder);
        println!("{}", report::section(&outcome));
        outcomes.push(outcome);
    }
    println!("{}", report::goals(&outcomes));
    Ok(())
}

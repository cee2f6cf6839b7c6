//! Development tasks of the elbowroom workspace, run as `cargo xtask COMMAND`.

mod ci;
mod counts;
mod debian;
mod fuzz;
mod header;
mod msrv;
mod pictures;
mod platforms;
mod sanitize;
mod semver;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use platforms::{HOST_PAGE_SIZE, Platform};

#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
enum Command {
    /// Runs every check except `cargo test`
    Ci(ci::Options),
    #[command(hide = true)]
    Step { name: String },
    /// Runs the library's tests under sanitizers, with nightly Rust
    Sanitize {
        /// Which sanitizers [default: all]
        sanitizers: Vec<sanitize::Sanitizer>,
    },
    /// Counts instructions into benches/COUNTS.md
    Counts {
        /// Compares with the file instead
        #[arg(long)]
        check: bool,
    },
    /// Runs every fuzz target, with nightly Rust and cargo-fuzz
    Fuzz {
        /// How long each target runs
        #[arg(default_value_t = 60)]
        seconds: u64,
    },
    /// Lists the changes since a revision that break programs, before a release
    Semver {
        /// The revision of the last release
        revision: String,
    },
    /// Runs the checks that no compiler makes
    Tidy,
    /// Makes the header of the C interface again
    Header,
    /// Makes the pictures in docs/images again
    Pictures,
    /// Runs a cargo command for Windows, under Wine
    Win {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        cargo: Vec<String>,
    },
    /// Runs a cargo command for 64-bit Arm Linux, under QEMU
    Arm64 {
        /// 4096, 16384 or 65536
        #[arg(long, default_value_t = HOST_PAGE_SIZE)]
        page_size: u32,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        cargo: Vec<String>,
    },
}

fn main() -> ExitCode {
    match dispatch(Command::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Ci(options) => ci::run_steps(&options),
        Command::Step { name } => ci::run_step(&name),
        Command::Sanitize { sanitizers } => sanitize::run(&sanitizers),
        Command::Counts { check } => counts::run(check),
        Command::Fuzz { seconds } => fuzz::run(seconds),
        Command::Semver { revision } => semver::run(&revision),
        Command::Tidy => tidy::check(),
        Command::Header => header::make(),
        Command::Pictures => pictures::make(),
        Command::Win { cargo } => cargo_for(Platform::Windows, &cargo),
        Command::Arm64 { page_size, cargo } => cargo_for(Platform::Arm64(page_size), &cargo),
    }
}

/// Runs a cargo command for another platform.
fn cargo_for(platform: Platform, args: &[String]) -> Result<()> {
    let (subcommand, rest) = args.split_first().context("no cargo command")?;
    let sh = workspace::shell()?;
    let cargo = platforms::cargo(&sh, platform, subcommand)?;
    Ok(cargo.args(rest).run()?)
}

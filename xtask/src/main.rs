//! Chores of the elbowroom workspace, run as `cargo xtask COMMAND`.

mod ci;
mod counts;
mod debian;
mod fuzz;
mod msrv;
mod pictures;
mod platforms;
mod sanitize;
mod tidy;
mod trixie;
mod workspace;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use platforms::{HOST_PAGE_SIZE, Platform};
use workspace::Deadline;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  ci [--install] [--only STEP[,STEP]]        all checks but `cargo test`; --install gets the packages they need
  sanitize [address] [thread]                the library's tests under sanitizers, with nightly Rust
  counts [--check]                           counts instructions into benches/COUNTS.md, or compares with it
  fuzz [SECONDS]                             every fuzz target for so long, with nightly Rust and cargo-fuzz
  tidy                                       the checks that no compiler makes
  pictures                                   makes the pictures in docs/images again
  win CARGO-COMMAND...                       run it for Windows, under Wine
  arm64 [--page-size N] CARGO-COMMAND...     run it for 64-bit Arm Linux, under QEMU (4096, 16384 or 65536)
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[String]) -> Result<ExitCode> {
    let Some((command, rest)) = args.split_first() else { bail!("no command\n\n{USAGE}") };
    match command.as_str() {
        "ci" => Ok(if ci::run(&ci::Options::parse(rest)?) { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        "sanitize" => sanitize::run(rest).map(|()| ExitCode::SUCCESS),
        "counts" => counts::run(rest, Deadline::after(counts::LIMIT)).map(|()| ExitCode::SUCCESS),
        "fuzz" => fuzz::run(rest).map(|()| ExitCode::SUCCESS),
        "tidy" => tidy::check().map(|()| ExitCode::SUCCESS),
        "pictures" => pictures::make().map(|()| ExitCode::SUCCESS),
        "win" => cargo_for(Platform::Windows, rest),
        "arm64" => match rest {
            [option, size, rest @ ..] if option == "--page-size" => {
                let page_size = size.parse().with_context(|| format!("page size {size}"))?;
                cargo_for(Platform::Arm64 { page_size }, rest)
            }
            _ => cargo_for(Platform::Arm64 { page_size: HOST_PAGE_SIZE }, rest),
        },
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        unknown => bail!("no command `{unknown}`\n\n{USAGE}"),
    }
}

/// Runs a cargo command for another platform and passes its exit status on.
fn cargo_for(platform: Platform, args: &[String]) -> Result<ExitCode> {
    let Some((subcommand, rest)) = args.split_first() else { bail!("no cargo command\n\n{USAGE}") };
    let mut cargo = platform.cargo(subcommand)?;
    let status = cargo.args(rest).status().context("start cargo")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

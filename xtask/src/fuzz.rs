//! `cargo xtask fuzz`: every fuzz target for a while each, with nightly Rust and cargo-fuzz.
//!
//! Nothing has to be set for libFuzzer's handlers, AddressSanitizer's and the library's to live together: the library's
//! are put in front of theirs and pass on what they do not know, so that a crash is still reported.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::workspace::{Deadline, build_folder, cargo, output, program};

/// How long each target runs if nothing is said.
const SECONDS: u64 = 60;

/// Runs every target for as many seconds as are named. A target that finds something ends it, with how to see it again.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let seconds = match args {
        [] => SECONDS,
        [seconds] => seconds.parse().with_context(|| format!("{seconds:?} seconds"))?,
        _ => bail!("fuzz takes a number of seconds"),
    };
    output(program("rustup").args(["run", "nightly", "rustc", "--version"]))
        .context("fuzzing needs nightly Rust: rustup toolchain install nightly")?;
    let targets = output(nightly_cargo().args(["fuzz", "list"]))
        .context("fuzzing needs cargo-fuzz: cargo install cargo-fuzz --locked")?;
    // All of them are built before the first one runs.
    Deadline::after(Duration::from_secs(60 * 20)).run(nightly_cargo().args(["fuzz", "build"]))?;
    for target in targets.lines() {
        println!("\n== {target}");
        let mut fuzz = nightly_cargo();
        fuzz.args(["fuzz", "run", target, "--"]);
        // Inputs that are long at once say more than many short ones: a step takes some five bytes.
        fuzz.args([format!("-max_total_time={seconds}").as_str(), "-max_len=1500", "-len_control=20"]);
        Deadline::after(Duration::from_secs(seconds + 120)).run(&fuzz)?;
    }
    Ok(())
}

fn nightly_cargo() -> std::process::Command {
    let mut cargo = program("rustup");
    // That of the cargo that runs this program.
    cargo.args(["run", "nightly", "cargo"]).env_remove("RUSTC").env_remove("RUSTDOC").env_remove("CARGO");
    cargo
}

/// That the targets compile, and pass on inputs from a generator: without nightly Rust, a fuzzer or a C++ compiler.
pub(crate) fn check(deadline: Deadline) -> Result<()> {
    let manifest = "--manifest-path=fuzz/Cargo.toml";
    deadline.run(cargo().args(["fmt", manifest, "--check"]))?;
    for args in [
        &["clippy", manifest, "--no-default-features", "--all-targets", "--", "-D", "warnings"][..],
        &["test", manifest, "--no-default-features", "--lib"],
    ] {
        deadline.run(cargo().args(args).env("CARGO_TARGET_DIR", build_folder().join("fuzz")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_seconds_or_nothing() {
        let error =
            |args: &[&str]| format!("{:#}", run(&args.iter().map(|&arg| arg.into()).collect::<Vec<_>>()).unwrap_err());
        assert!(error(&["soon"]).contains("\"soon\" seconds"));
        assert!(error(&["1", "2"]).contains("a number of seconds"));
    }
}

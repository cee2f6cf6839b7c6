//! `cargo xtask fuzz`: runs every fuzz target for a while, with nightly Rust and cargo-fuzz.
//!
//! The handlers of libFuzzer, AddressSanitizer and the library work together without any setting. The library's
//! handlers come first and forward faults that they do not recognise, so a crash is still reported.

use anyhow::{Context, Result};

use crate::workspace::{cargo, nightly, shell, target_folder};

/// Runs every target for this number of seconds. Ends at the first target with a finding; cargo-fuzz then prints how to
/// reproduce it.
pub(crate) fn run(seconds: u64) -> Result<()> {
    let sh = shell()?;
    let targets = nightly(&sh, "cargo fuzz list").read().context(
        "fuzzing needs rustup toolchain install nightly, and cargo install cargo-fuzz --locked",
    )?;
    // Builds all targets before the first one runs.
    nightly(&sh, "cargo fuzz build").run()?;
    for target in targets.lines() {
        // Inputs are long from the start, because long inputs find more than many short ones; a step takes about five
        // bytes.
        let options = format!("-max_total_time={seconds} -max_len=1500 -len_control=20");
        nightly(&sh, &format!("cargo fuzz run {target} -- {options}")).run()?;
    }
    Ok(())
}

/// Compiles the targets and runs each on generated inputs. Needs no nightly Rust, fuzzer or C++ compiler.
pub(crate) fn check() -> Result<()> {
    let sh = shell()?;
    sh.change_dir("fuzz");
    // Shares the build folder of the workspace, so that dependencies are not built again.
    sh.set_var("CARGO_TARGET_DIR", target_folder());
    for check in [
        "fmt --check",
        "clippy --no-default-features --all-targets -- -D warnings",
        "test --no-default-features --lib",
    ] {
        cargo(&sh, check)?;
    }
    Ok(())
}

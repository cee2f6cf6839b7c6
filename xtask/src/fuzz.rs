//! `cargo xtask fuzz`: every fuzz target for a while each, with nightly Rust and cargo-fuzz.
//!
//! libFuzzer's handlers, AddressSanitizer's and the library's live together without any setting: the library's are put
//! in front of theirs and pass on the faults that they do not know, so a crash is still reported.

use anyhow::{Context, Result};

use crate::workspace::{cargo, nightly, shell, target_folder};

/// Runs every target for so many seconds. Ends at the first target that finds something; cargo-fuzz says how to see it
/// again.
pub(crate) fn run(seconds: u64) -> Result<()> {
    let sh = shell()?;
    let targets = nightly(&sh, "cargo fuzz list").read().context(
        "fuzzing needs rustup toolchain install nightly, and cargo install cargo-fuzz --locked",
    )?;
    // All of them are built before the first one runs.
    nightly(&sh, "cargo fuzz build").run()?;
    for target in targets.lines() {
        // Inputs that are long at once say more than many short ones: a step takes some five bytes.
        let options = format!("-max_total_time={seconds} -max_len=1500 -len_control=20");
        nightly(&sh, &format!("cargo fuzz run {target} -- {options}")).run()?;
    }
    Ok(())
}

/// Compiles the targets, and runs each on generated inputs: without nightly Rust, a fuzzer or a C++ compiler.
pub(crate) fn check() -> Result<()> {
    let sh = shell()?;
    sh.change_dir("fuzz");
    // What the workspace has built already is not built again.
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

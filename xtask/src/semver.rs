//! `cargo xtask semver REVISION`: lists the changes since a revision that break programs written against it.
//!
//! It is for releases, and no part of `cargo xtask ci`. It needs the tool of the crate `cargo-semver-checks`.

use anyhow::{Context, Result, ensure};
use xshell::cmd;

use crate::workspace::{LIBRARIES, shell};

/// Compares the public interfaces of the libraries with those of a revision. A release whose version promises that
/// nothing breaks must pass it.
pub(crate) fn run(revision: &str) -> Result<()> {
    let sh = shell()?;
    let version = cmd!(sh, "cargo semver-checks --version").quiet();
    let advice = "install it with cargo install cargo-semver-checks --locked";
    version.ignore_stdout().run().context(advice)?;
    let mut known = Vec::new();
    for package in LIBRARIES.split(' ').filter(|&word| word != "-p") {
        let manifest = format!("{revision}:crates/{package}/Cargo.toml");
        let find = cmd!(sh, "git cat-file -e {manifest}").quiet();
        if find
            .ignore_status()
            .ignore_stderr()
            .output()?
            .status
            .success()
        {
            known.extend(["-p", package]);
        } else {
            println!("{package} is new since {revision}");
        }
    }
    ensure!(!known.is_empty(), "{revision} has none of the libraries");
    let check = cmd!(
        sh,
        "cargo semver-checks {known...} --all-features --baseline-rev {revision}"
    );
    Ok(check.run()?)
}

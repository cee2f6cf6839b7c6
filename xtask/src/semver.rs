//! `cargo xtask semver REVISION`: lists the changes since a revision that break programs written against it.
//!
//! It is for releases, and no part of `cargo xtask ci`. It needs the tool of the crate `cargo-semver-checks`.

use anyhow::{Context, Result};
use xshell::cmd;

use crate::workspace::{LIBRARIES, shell};

/// Compares the public interfaces of the libraries with those of a revision. A release whose version promises that
/// nothing breaks must pass it.
pub(crate) fn run(revision: &str) -> Result<()> {
    let sh = shell()?;
    let version = cmd!(sh, "cargo semver-checks --version").quiet();
    let advice = "install it with cargo install cargo-semver-checks --locked";
    version.ignore_stdout().run().context(advice)?;
    let packages = LIBRARIES.split(' ');
    let check = cmd!(
        sh,
        "cargo semver-checks {packages...} --all-features --baseline-rev {revision}"
    );
    Ok(check.run()?)
}

//! The folders of the workspace, and the ways to run other programs.

use std::path::{Path, PathBuf};

use anyhow::Result;
use xshell::{Cmd, Shell, cmd};

/// The published packages, as arguments of cargo. A package follows those that it needs.
pub(crate) const LIBRARIES: &str = "-p elbowroom -p elbowroom-telemetry -p elbowroom-map -p elbowroom-measure \
    -p elbowroom-pager";

/// Returns the root of the repository.
pub(crate) fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("xtask lies in the root")
}

/// Returns cargo's build folder.
pub(crate) fn target_folder() -> PathBuf {
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Returns the folder for everything that xtask builds and downloads.
pub(crate) fn build_folder() -> PathBuf {
    target_folder().join("xtask")
}

/// Returns a shell in the root.
pub(crate) fn shell() -> Result<Shell> {
    let shell = Shell::new()?;
    shell.change_dir(root());
    Ok(shell)
}

/// Runs cargo with arguments that are separated by spaces.
pub(crate) fn cargo(sh: &Shell, args: &str) -> Result<()> {
    let args = args.split(' ');
    Ok(cmd!(sh, "cargo {args...}").run()?)
}

/// Returns a program of the nightly toolchain, with its arguments, separated by spaces.
pub(crate) fn nightly<'a>(sh: &'a Shell, args: &str) -> Cmd<'a> {
    let args = args.split(' ');
    // Cargo sets the variable for its own toolchain.
    cmd!(sh, "rustup run nightly {args...}").env_remove("CARGO")
}

//! Builds the library with the oldest compiler that its manifest promises, which is Debian 13's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::trixie;
use crate::workspace::{self, Deadline, cargo, output, program};

/// Checks the libraries alone: what it is developed with may ask for a newer compiler.
pub(crate) fn check(deadline: Deadline) -> Result<()> {
    let folder = workspace::build_folder().join("msrv");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let rustc = compiler(&folder)?;
    let version = output(Command::new(&rustc).arg("--version"))?;
    let promised = env!("CARGO_PKG_RUST_VERSION");
    ensure!(version.contains(&format!(" {promised}.")), "the manifest says {promised}, this is {version}");
    let args = ["check", "-p", "elbowroom", "-p", "elbowroom-map", "--all-features", "--locked"];
    deadline.run(cargo().args(args).env("RUSTC", rustc).env("CARGO_TARGET_DIR", folder))
}

/// Writes a script into the folder that runs the compiler.
fn compiler(folder: &Path) -> Result<PathBuf> {
    // The package of rustc asks for a C compiler; what rustc itself needs comes with its std.
    let system = trixie::unpacked("rustc", &["libstd-rust-dev"], &["rustc"])?;
    // Started by its own loader, it finds its own libraries and not the system's older ones.
    let script = format!(
        "#!/bin/sh\nexec {lib}/ld-linux-x86-64.so.2 --library-path {lib} {bin}/rustc \"$@\"\n",
        lib = system.join("usr/lib/x86_64-linux-gnu").display(),
        bin = system.join("usr/bin").display(),
    );
    let rustc = folder.join("rustc");
    fs::write(&rustc, script).with_context(|| format!("write {}", rustc.display()))?;
    workspace::run(program("chmod").arg("+x").arg(&rustc))?;
    Ok(rustc)
}

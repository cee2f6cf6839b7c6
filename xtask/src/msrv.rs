//! Checks the libraries with the oldest compiler that their manifests promise, which is Debian 13's.

use anyhow::{Result, ensure};
use xshell::cmd;

use crate::debian;
use crate::workspace::{LIBRARIES, build_folder, cargo, shell};

/// Checks only the libraries: the development tools may need a newer compiler.
pub(crate) fn check() -> Result<()> {
    let sh = shell()?;
    // The package of rustc depends on a C compiler, which a check does not need; the package of std has the libraries.
    let system = debian::unpack("rustc", &["libstd-rust-dev"], &["rustc"])?;
    // Its own loader makes rustc use its own libraries instead of the system's older ones.
    let script = format!(
        "#!/bin/sh\nexec {lib}/ld-linux-x86-64.so.2 --library-path {lib} {bin}/rustc \"$@\"\n",
        lib = system.join("usr/lib/x86_64-linux-gnu").display(),
        bin = system.join("usr/bin").display(),
    );
    let folder = build_folder().join("msrv");
    let rustc = folder.join("rustc");
    sh.write_file(&rustc, script)?;
    cmd!(sh, "chmod +x {rustc}").run()?;

    let version = cmd!(sh, "{rustc} --version").read()?;
    let promised = env!("CARGO_PKG_RUST_VERSION");
    let is_promised = version.contains(&format!(" {promised}."));
    ensure!(
        is_promised,
        "the manifest says {promised}, this is {version}"
    );
    sh.set_var("RUSTC", rustc);
    sh.set_var("CARGO_TARGET_DIR", folder);
    cargo(&sh, &format!("check {LIBRARIES} --all-features --locked"))
}

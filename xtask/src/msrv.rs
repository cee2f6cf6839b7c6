//! Builds the library with the oldest compiler that its manifest promises.
//!
//! That compiler is in Debian 13. Its packages, and those of every library it needs down to the C library, are
//! downloaded by an apt of our own and unpacked below the build folder; nothing is installed.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::workspace::{self, Deadline, cargo, output, program};

/// What the check needs from the system: the keys that the packages are signed with.
pub(crate) const PACKAGES: [&str; 1] = ["debian-archive-keyring"];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The Debian release that has the compiler.
const SUITE: &str = "trixie";

/// Checks the library alone: what it is developed with may ask for a newer compiler.
pub(crate) fn check(deadline: Deadline) -> Result<()> {
    let folder = workspace::build_folder().join("msrv");
    let rustc = folder.join("rustc");
    if !rustc.exists() {
        unpack_compiler(&folder, deadline)?;
    }
    let version = output(Command::new(&rustc).arg("--version"))?;
    let promised = env!("CARGO_PKG_RUST_VERSION");
    ensure!(version.contains(&format!(" {promised}.")), "the manifest says {promised}, this is {version}");
    let args = ["check", "-p", "elbowroom", "--all-features", "--locked"];
    deadline.run(cargo().args(args).env("RUSTC", rustc).env("CARGO_TARGET_DIR", folder.join("target")))
}

/// Leaves a script `rustc` in the folder that runs the compiler.
fn unpack_compiler(folder: &Path, deadline: Deadline) -> Result<()> {
    let apt = folder.join("apt");
    let debs = apt.join("cache/archives");
    for needed in [apt.join("state/lists/partial"), debs.join("partial")] {
        fs::create_dir_all(&needed).with_context(|| format!("create {}", needed.display()))?;
    }
    // Nothing counts as installed, so apt fetches the whole set.
    write(&apt.join("status"), "")?;
    write(&apt.join("sources.list"), &format!("deb [signed-by={KEYRING}] {} {SUITE} main\n", mirror()?))?;
    write(
        &apt.join("apt.conf"),
        &format!(
            r#"Dir::State "{apt}/state";
Dir::State::status "{apt}/status";
Dir::Cache "{apt}/cache";
Dir::Etc::sourcelist "{apt}/sources.list";
Dir::Etc::sourceparts "-";
Acquire::Languages "none";
APT::Sandbox::User "";
"#,
            apt = apt.display()
        ),
    )?;
    let apt_get = || {
        let mut command = program("apt-get");
        command.env("APT_CONFIG", apt.join("apt.conf")).arg("--quiet=2");
        command
    };
    deadline.run(apt_get().arg("update"))?;
    // The package of the compiler would bring a C compiler with it; that of its std brings what rustc needs to run.
    let download_only = ["install", "--yes", "--download-only", "--no-install-recommends", "libstd-rust-dev"];
    deadline.run(apt_get().args(download_only))?;
    deadline.run(apt_get().args(["download", "rustc"]).current_dir(&debs))?;

    let system = folder.join("system");
    for entry in fs::read_dir(&debs).with_context(|| format!("read {}", debs.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            deadline.run(program("dpkg-deb").arg("--extract").args([&path, &system]))?;
        }
    }
    // Started through its own loader, it finds its own libraries and not the system's older ones.
    let script = format!(
        "#!/bin/sh\nexec {lib}/ld-linux-x86-64.so.2 --library-path {lib} {bin}/rustc \"$@\"\n",
        lib = system.join("usr/lib/x86_64-linux-gnu").display(),
        bin = system.join("usr/bin").display(),
    );
    let unfinished = folder.join("rustc.new");
    write(&unfinished, &script)?;
    workspace::run(program("chmod").arg("+x").arg(&unfinished))?;
    fs::rename(&unfinished, folder.join("rustc")).context("name the compiler's script")
}

/// Where this machine gets Debian from.
fn mirror() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("read /etc/os-release")?;
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let codename = codename.context("/etc/os-release names no release")?;
    let format = "$(RELEASE) $(COMPONENT) $(REPO_URI)";
    let targets = output(program("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]))?;
    let wanted = format!("{codename} main ");
    let mirror = targets.lines().find_map(|line| line.strip_prefix(&wanted));
    Ok(mirror.with_context(|| format!("apt has no source of {codename}"))?.to_owned())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

//! Debian packages: finds missing ones, installs packages, and unpacks those of a newer Debian.

use std::path::PathBuf;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::workspace::{build_folder, shell};

/// Debian's keys, from the package debian-archive-keyring.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Returns the packages that are not installed. On a system without dpkg, these are all packages.
pub(crate) fn missing<'a>(sh: &Shell, packages: &'a str) -> Vec<&'a str> {
    let is_installed = |package: &str| {
        let format = "--showformat=${db:Status-Status}";
        let query = cmd!(sh, "dpkg-query --show {format} {package}").quiet();
        let status = query.ignore_stderr().read();
        status.is_ok_and(|status| status == "installed")
    };
    packages
        .split_whitespace()
        .filter(|package| !is_installed(package))
        .collect()
}

/// Installs those of these packages that are missing. Needs root, or sudo without a password.
pub(crate) fn install(sh: &Shell, packages: &str) -> Result<()> {
    let packages = missing(sh, packages).join(" ");
    if packages.is_empty() {
        return Ok(());
    }
    let is_root = cmd!(sh, "id -u").read()? == "0";
    let sudo = if is_root { "env" } else { "sudo -n env" };
    let apt_get = format!("{sudo} DEBIAN_FRONTEND=noninteractive apt-get --quiet");
    let install = format!("{apt_get} install --yes --no-install-recommends {packages}");
    let script = format!("{apt_get} update && {install}");
    Ok(cmd!(sh, "sh -c {script}").run()?)
}

/// Unpacks packages of Debian 13, "trixie", into a folder of this name, unless they are there already. Returns the
/// folder, which is laid out like the root of a system. Some packages are unpacked with all their dependencies,
/// including the C library, others alone. The system itself does not change.
pub(crate) fn unpack(name: &str, with_dependencies: &[&str], alone: &[&str]) -> Result<PathBuf> {
    let folder = build_folder().join("trixie");
    let system = folder.join(name);
    if system.exists() {
        return Ok(system);
    }
    let sh = shell()?;
    let apt = sh.create_dir(folder.join(format!("{name}.apt")))?;
    let debs = sh.create_dir(apt.join("cache/archives"))?;
    sh.create_dir(debs.join("partial"))?;
    sh.create_dir(apt.join("state/lists/partial"))?;
    // This apt knows only Debian 13. No package counts as installed, so it fetches all dependencies.
    sh.write_file(apt.join("status"), "")?;
    let source = format!("deb [signed-by={KEYS}] {} trixie main\n", mirror(&sh)?);
    sh.write_file(apt.join("sources.list"), source)?;
    let path = apt.display();
    let settings = format!(
        "Dir::State \"{path}/state\"; Dir::State::status \"{path}/status\"; Dir::Cache \"{path}/cache\";
        Dir::Etc::sourcelist \"{path}/sources.list\"; Dir::Etc::sourceparts \"-\";
        # The user that apt downloads as may have no access to this folder.
        APT::Sandbox::User \"\";\n"
    );
    sh.write_file(apt.join("apt.conf"), settings)?;
    let _config = sh.push_env("APT_CONFIG", apt.join("apt.conf"));
    let _folder = sh.push_dir(&debs);
    cmd!(sh, "apt-get --quiet=2 update").run()?;
    if !with_dependencies.is_empty() {
        let install = "install --yes --download-only --no-install-recommends".split(' ');
        cmd!(sh, "apt-get --quiet=2 {install...} {with_dependencies...}").run()?;
    }
    cmd!(sh, "apt-get --quiet=2 download {alone...}").run()?;
    let unfinished = apt.join("system");
    for path in sh.read_dir(&debs)? {
        if path.extension().is_some_and(|extension| extension == "deb") {
            let extract = cmd!(sh, "dpkg-deb --extract {path} {unfinished}");
            extract.quiet().run()?;
        }
    }
    std::fs::rename(&unfinished, &system).with_context(|| format!("make {}", system.display()))?;
    sh.remove_path(&apt)?;
    Ok(system)
}

/// Returns the address from which this machine gets its own packages.
fn mirror(sh: &Shell) -> Result<String> {
    let script = ". /etc/os-release; apt-get indextargets --format '$(REPO_URI)' \
        'Created-By: Packages' 'Component: main' \"Release: $VERSION_CODENAME\"";
    let mirrors = cmd!(sh, "sh -c {script}").read()?;
    let mirror = mirrors.lines().next().map(str::to_owned);
    mirror.context("apt has no source of this Debian")
}

//! Programs of Debian 13, "trixie", unpacked below the build folder: for what an older Debian does not have, without
//! changing the system.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::workspace::{self, Deadline, output, program};

/// What this needs from the system: the keys that the packages are signed with.
pub(crate) const KEYRING_PACKAGE: &str = "debian-archive-keyring";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Unpacks packages, once, into a folder of this name: some with every package that they depend on, down to the C
/// library, others alone. Returns the folder, which is laid out like the root of a system.
pub(crate) fn unpacked(name: &str, with_dependencies: &[&str], alone: &[&str]) -> Result<PathBuf> {
    let system = workspace::build_folder().join("trixie").join(name);
    if system.exists() {
        return Ok(system);
    }
    let apt = workspace::build_folder().join("trixie").join(format!("{name}.apt"));
    let debs = configure(&apt)?;
    let apt_get = || {
        let mut command = program("apt-get");
        command.env("APT_CONFIG", apt.join("apt.conf")).arg("--quiet=2");
        command
    };
    let deadline = Deadline::after(Duration::from_secs(60 * 5));
    deadline.run(apt_get().arg("update"))?;
    if !with_dependencies.is_empty() {
        let download_only = ["install", "--yes", "--download-only", "--no-install-recommends"];
        deadline.run(apt_get().args(download_only).args(with_dependencies))?;
    }
    deadline.run(apt_get().arg("download").args(alone).current_dir(&debs))?;

    let unfinished = apt.join("system");
    for entry in fs::read_dir(&debs).with_context(|| format!("read {}", debs.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            deadline.run(program("dpkg-deb").arg("--extract").args([&path, &unfinished]))?;
        }
    }
    fs::rename(&unfinished, &system).with_context(|| format!("name {}", system.display()))?;
    fs::remove_dir_all(&apt).with_context(|| format!("remove {}", apt.display()))?;
    Ok(system)
}

/// Sets up an apt that knows nothing but Debian 13; returns where it puts packages.
fn configure(apt: &Path) -> Result<PathBuf> {
    let debs = apt.join("cache/archives");
    for needed in [apt.join("state/lists/partial"), debs.join("partial")] {
        fs::create_dir_all(&needed).with_context(|| format!("create {}", needed.display()))?;
    }
    let write = |name: &str, text: &str| {
        let path = apt.join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    };
    // Nothing counts as installed, so apt fetches all that a package needs.
    write("status", "")?;
    write("sources.list", &format!("deb [signed-by={KEYRING}] {} trixie main\n", mirror()?))?;
    let folder = apt.display();
    let settings = [
        format!("Dir::State \"{folder}/state\";"),
        format!("Dir::State::status \"{folder}/status\";"),
        format!("Dir::Cache \"{folder}/cache\";"),
        format!("Dir::Etc::sourcelist \"{folder}/sources.list\";"),
        "Dir::Etc::sourceparts \"-\";".to_owned(),
        "Acquire::Languages \"none\";".to_owned(),
        // The user that apt downloads as may have no access to this folder.
        "APT::Sandbox::User \"\";\n".to_owned(),
    ];
    write("apt.conf", &settings.join("\n"))?;
    Ok(debs)
}

/// Where this machine gets its own Debian from.
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

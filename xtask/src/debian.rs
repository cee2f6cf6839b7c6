//! Debian packages: which are missing, and how they are installed.

use std::process::{Command, Stdio};

use anyhow::Result;

use crate::workspace::{self, Deadline};

/// Those of the packages that are not installed; on a system without dpkg, all of them.
pub(crate) fn missing(packages: &[&'static str]) -> Vec<&'static str> {
    packages.iter().copied().filter(|package| !is_installed(package)).collect()
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Status}", package]).stderr(Stdio::null());
    query.output().is_ok_and(|output| output.stdout == b"installed")
}

/// Installs packages, as root or by a sudo that asks for no password.
pub(crate) fn install(packages: &[&str], deadline: Deadline) -> Result<()> {
    deadline.run(apt_get()?.arg("update"))?;
    deadline.run(apt_get()?.args(["install", "--yes", "--no-install-recommends"]).args(packages))
}

fn apt_get() -> Result<Command> {
    let is_root = workspace::output(Command::new("id").arg("-u"))?.trim() == "0";
    let mut command = if is_root {
        workspace::program("env")
    } else {
        let mut sudo = workspace::program("sudo");
        sudo.args(["-n", "env"]);
        sudo
    };
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"]);
    Ok(command)
}

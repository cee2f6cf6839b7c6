//! Where things are, and how other programs are run.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the root")
}

/// Where cargo builds.
pub(crate) fn target_folder() -> PathBuf {
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Everything that xtask builds and downloads lies below this folder.
pub(crate) fn build_folder() -> PathBuf {
    target_folder().join("xtask")
}

/// A program, to be run in the root.
pub(crate) fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command.current_dir(root());
    command
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> Command {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    program(&cargo)
}

/// Runs a command to its end; any exit status but 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    run_as(&name(command), command)
}

/// Runs a command and returns what it printed; any exit status but 0 is an error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = name(command);
    let output = command.output().with_context(|| format!("start {name}"))?;
    if !output.status.success() {
        bail!("{name}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).with_context(|| format!("what {name} printed"))
}

/// A moment after which every command that still runs is killed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    /// As [`run`], but a command that is not done in time is killed with all its children, and that is an error.
    pub(crate) fn run(self, command: &Command) -> Result<()> {
        let left = self.0.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
        // `timeout` puts the command into a process group of its own and signals the whole group.
        let mut limited = program("timeout");
        if std::io::stdin().is_terminal() {
            // Not where somebody sits before it, for then Ctrl-C must reach the command.
            limited.arg("--foreground");
        }
        limited.arg("--kill-after=10").arg(left.as_secs().to_string());
        limited.arg(command.get_program()).args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            limited.current_dir(folder);
        }
        for (variable, value) in command.get_envs() {
            match value {
                Some(value) => limited.env(variable, value),
                None => limited.env_remove(variable),
            };
        }
        let name = name(command);
        let result = run_as(&name, &mut limited);
        if Instant::now() >= self.0 {
            bail!("{name}: ran out of time");
        }
        result
    }
}

fn run_as(name: &str, command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("start {name}"))?;
    if !status.success() {
        bail!("{name}: {status}");
    }
    Ok(())
}

/// What a message calls a command: its program and first argument.
fn name(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let first = command.get_args().next().unwrap_or_default();
    format!("{} {}", program.to_string_lossy(), first.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut shell = program("sh");
        shell.args(["-c", script]);
        shell
    }

    #[test]
    fn exit_statuses_are_results() {
        let deadline = Deadline::after(Duration::from_secs(60));
        assert!(run(&mut shell("exit 0")).is_ok() && run(&mut shell("exit 3")).is_err());
        assert!(deadline.run(&shell("exit 0")).is_ok() && deadline.run(&shell("exit 3")).is_err());
        assert!(output(&mut shell("echo a; exit 3")).is_err());
        assert_eq!(output(&mut shell("echo a")).unwrap(), "a\n");
    }

    #[test]
    fn a_limit_changes_neither_environment_nor_folder() {
        let deadline = Deadline::after(Duration::from_secs(60));
        let script = "test \"$A\" = b && test -z \"$HOME\" && test \"$PWD\" = /";
        assert!(deadline.run(shell(script).env("A", "b").env_remove("HOME").current_dir("/")).is_ok());
        assert!(deadline.run(&shell(script)).is_err());
    }

    #[test]
    fn a_command_that_hangs_is_killed() {
        let start = Instant::now();
        let error = Deadline::after(Duration::from_secs(1)).run(&shell("sleep 60; true")).unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
        assert_eq!(error.to_string(), "sh -c: ran out of time");
    }
}

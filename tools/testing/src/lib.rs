//! Helpers that tests and benchmarks share.

mod control_group;
mod terminal;

use std::env;
use std::ffi::OsStr;
use std::process::Command;

pub use control_group::ControlGroup;
pub use terminal::Terminal;

/// Returns the words of ELBOWROOM_TEST_RUNNER: the emulator that programs for this platform need.
fn runner() -> Vec<String> {
    let runner = env::var("ELBOWROOM_TEST_RUNNER").unwrap_or_default();
    runner.split_whitespace().map(str::to_owned).collect()
}

/// Returns whether the tests run under a user-mode emulator. It has limits, signals and memory of its own, shows parts
/// of the host's /proc, and keeps data for each page that is reserved.
pub fn is_emulated() -> bool {
    !runner().is_empty()
}

/// Returns a command that starts a program of this platform, under the emulator if there is one.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    match runner().split_first() {
        Some((emulator, arguments)) => {
            let mut command = Command::new(emulator);
            command.args(arguments).arg(program);
            command
        }
        None => Command::new(program),
    }
}

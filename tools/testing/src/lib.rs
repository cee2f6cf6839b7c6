//! Helpers that the tests of several packages share.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{self, Command};

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

/// A control group of Linux with a limit on memory, which is removed when this is dropped.
#[derive(Debug)]
pub struct ControlGroup {
    folder: PathBuf,
    /// The file that contains the limit.
    pub limit_file: PathBuf,
}

impl ControlGroup {
    /// Makes a group within that of this process, or within the root. Returns `None` with a message if this user may
    /// not, or if the system has no such groups.
    pub fn new(limit_bytes: usize) -> Option<ControlGroup> {
        let group = ControlGroup::make(limit_bytes);
        if group.is_none() {
            println!("skipped: no control group can be made here");
        }
        group
    }

    /// Makes a group, and moves this process into it until it is dropped.
    pub fn enter(limit_bytes: usize) -> Option<ControlGroup> {
        let group = ControlGroup::new(limit_bytes)?;
        match fs::write(group.processes(), "0") {
            Ok(()) => Some(group),
            Err(error) => {
                println!("skipped: no control group can be made here: {error}");
                None
            }
        }
    }

    fn make(limit_bytes: usize) -> Option<ControlGroup> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = |of: &str| groups.lines().find_map(|line| Some(line.split_once(of)?.1));
        // cgroups(7): version 1, and version 2.
        let (root, path, limit) = match path(":memory:") {
            Some(path) => ("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes"),
            None => ("/sys/fs/cgroup", path("0::")?, "memory.max"),
        };
        for path in [path, "/"] {
            let name = format!("elbowroom-test-{}", process::id());
            let folder = PathBuf::from(format!("{root}{path}")).join(name);
            if fs::create_dir(&folder).is_ok() {
                let limit_file = folder.join(limit);
                let group = ControlGroup { folder, limit_file };
                if fs::write(&group.limit_file, limit_bytes.to_string()).is_ok() {
                    return Some(group);
                }
            }
        }
        None
    }

    /// Returns the file that processes enter the group by, each with a write of its number, or of 0.
    pub fn processes(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // A group that is in use cannot be removed, so the process leaves it.
        if let Some(parent) = self.folder.parent() {
            let _ = fs::write(parent.join("cgroup.procs"), "0");
        }
        let _ = fs::remove_dir(&self.folder);
    }
}

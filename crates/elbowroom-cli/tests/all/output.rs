//! Output that cannot be written: every subcommand says so in one line, and the exit status is 1.

use std::process::Stdio;

use crate::common::{Outcome, elbowroom, run};
use elbowroom_testing::is_emulated;

/// Subcommands that print little, and work on every platform.
const COMMANDS: [&str; 10] = [
    "demo --page-limit 1",
    "demo --page-limit 1 --json",
    "compare --reserve 1MiB --touch 1MiB",
    "compare --reserve 1MiB --touch 1MiB --json",
    "doctor",
    "doctor --json",
    "watch --workload seed --once",
    "watch --workload seed --json",
    "completions bash",
    "man",
];

/// Returns the subcommands that work on this platform, and do not take long.
fn commands() -> impl Iterator<Item = &'static str> {
    let is_fast = !is_emulated() && !cfg!(windows);
    let bench = is_fast.then_some("bench --size 2MiB --runs 1");
    let map = (is_fast && cfg!(target_os = "linux")).then_some("map --self");
    COMMANDS.into_iter().chain(bench).chain(map)
}

fn fails_to_print(args: &str, output: impl Into<Stdio>) {
    let outcome = Outcome::new(elbowroom(args).stdout(output).output().unwrap());
    assert_eq!(outcome.status, 1, "{args}: {outcome:?}");
    let told = "elbowroom: cannot write to standard output: ";
    assert!(outcome.stderr.starts_with(told), "{args}: {outcome:?}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{args}: {outcome:?}");
}

#[test]
fn a_closed_pipe_is_an_error_and_no_panic() {
    for args in commands() {
        // The reading end is closed before the command writes.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        fails_to_print(args, writer);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    for args in commands() {
        fails_to_print(args, std::fs::File::create("/dev/full").unwrap());
    }
}

#[test]
fn a_file_that_cannot_be_written_is_an_error() {
    let missing = std::env::temp_dir().join("elbowroom-no-such-folder/a");
    let map = cfg!(any(target_os = "linux", windows)) && !is_emulated();
    let map = map.then_some(["map --self --svg", "map --self --html"]);
    for args in [
        "demo --quiet --page-limit 1 --svg",
        "demo --quiet --page-limit 1 --html",
        "watch --workload seed --svg",
    ]
    .into_iter()
    .chain(map.into_iter().flatten())
    {
        let outcome = run(&format!("{args} {}", missing.display()));
        assert_eq!((outcome.status, outcome.stdout.as_str()), (1, ""), "{args}");
        let told = format!("elbowroom: cannot write {}: ", missing.display());
        assert!(outcome.stderr.starts_with(&told), "{args}: {outcome:?}");
    }
}

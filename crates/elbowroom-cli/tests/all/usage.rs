//! The command line itself: help, version, and what is refused.

use crate::common::run;

/// The ways to ask for help.
const HELP: [&str; 20] = [
    "--help",
    "demo --help",
    "compare --help",
    "bench --help",
    "doctor --help",
    "map --help",
    "watch --help",
    "page --help",
    "page info --help",
    "page sum --help",
    "page min --help",
    "page max --help",
    "page cat --help",
    "page gather --help",
    "page sort --help",
    "page copy --help",
    "completions --help",
    "man --help",
    "demo -h",
    "map -h",
];

/// Returns whether a line fits, or has no space to break at.
fn fits(line: &str, columns: usize) -> bool {
    line.chars().count() <= columns || !line.trim().contains(' ')
}

#[test]
fn without_a_command_there_is_help() {
    let outcome = run("");
    assert_eq!((outcome.status, outcome.stdout.as_str()), (2, ""));
    assert!(outcome.stderr.contains("elbowroom demo"), "{outcome:?}");
}

#[test]
fn help_and_version_are_printed() {
    for args in HELP {
        let outcome = run(args);
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{args}");
        assert!(outcome.stdout.contains("Examples:"), "{args}");
        assert!(
            outcome.stdout.lines().all(|line| fits(line, 100)),
            "{args}: {}",
            outcome.stdout
        );
    }
    let outcome = run("--version");
    assert_eq!(
        outcome.stdout,
        concat!("elbowroom ", env!("CARGO_PKG_VERSION"), "\n")
    );
    assert_eq!(outcome.status, 0);
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (args, part) in [
        ("dmo", "unrecognized subcommand"),
        ("demo --page-limit 0", "at least 1"),
        ("demo --page-limit -1", "unexpected argument"),
        ("demo --page-limit x", "invalid digit"),
        (
            "demo --page-limit 18446744073709551615",
            "more pages than can be addressed",
        ),
        (
            "demo --page-limit 1125899906842624 --char wide",
            "more pages than can be addressed",
        ),
        ("demo --reserve 0", "at least one byte"),
        ("demo --reserve 1KB", "write KiB"),
        ("demo --reserve 99999PiB", "more than can be addressed"),
        ("demo --reserve lots", "starts with a whole number"),
        ("demo --growth 0", "at least 1"),
        ("demo --char utf8", "narrow, wide"),
        ("demo --fail-commit-at 0", "at least 1"),
        ("demo --other-fault-at 80", "the pages are 0 to 79"),
        (
            "demo --other-fault-at 3 --reserve 1B",
            "the pages are 0 to 0",
        ),
        ("demo --other-fault-at 1 --growth 2", "cannot be used with"),
        ("demo --quiet --json", "cannot be used with"),
        ("demo 80", "unexpected argument"),
        ("compare --reserve 1MiB --touch 2MiB", "more than --reserve"),
        ("compare --reserve 1MiB --touch 0", "at least one byte"),
        ("bench --size 0", "at least one byte"),
        ("bench --size 64MB", "write MiB"),
        ("bench --runs 0", "at least 1"),
        ("bench 64MiB", "unexpected argument"),
        ("page sum", "<LOCATION>"),
        ("page sum a --dtype f16", "u8, u16, u32, u64"),
        ("page sum a --offset -1", "unexpected argument"),
        ("page sum a --offset x", "starts with a whole number"),
        ("page sum a --resident 0", "at least one byte"),
        ("page sum a --page 4KB", "write KiB"),
        ("page cat a --range 5", "START..END"),
        ("page cat a --range 5..3", "ends before it starts"),
        ("page gather a x", "invalid digit"),
        ("page sort", "<LOCATION>"),
        ("page sort a --threads 0", "non-zero"),
        ("page copy a", "<TARGET>"),
    ] {
        let outcome = run(args);
        assert_eq!((outcome.status, outcome.stdout.as_str()), (2, ""), "{args}");
        assert!(
            outcome.stderr.starts_with("error: ") && outcome.stderr.contains(part),
            "{args}: {outcome:?}"
        );
        assert!(
            outcome.stderr.contains("Usage: elbowroom") || outcome.stderr.contains("try '--help'"),
            "{args}"
        );
    }
}

#[cfg(unix)]
mod at_a_terminal {
    use super::*;
    use crate::common::elbowroom;
    use elbowroom_testing::Terminal;
    use std::fs;

    /// Runs the command in a terminal of 60 columns with each of these arguments, and returns its output. A line that
    /// the terminal has broken is whole again.
    fn at_60_columns(arguments: &[&str], redirection: &str) -> Option<String> {
        if elbowroom_testing::is_emulated() {
            eprintln!("skipped: an emulator is in between");
            return None;
        }
        let program = elbowroom("").get_program().to_string_lossy().into_owned();
        let runs = arguments.iter().map(|args| format!("'{program}' {args}"));
        let script = runs.collect::<Vec<_>>().join("; ");
        let terminal = Terminal::new(60, 60, &format!("{{ {script}; }}{redirection}"))?;
        terminal.wait("over", |screen| screen.contains("after"));
        Some(terminal.tmux(&["capture-pane", "-p", "-J"]))
    }

    /// Returns what the command prints if standard output is a file, and standard error the terminal.
    fn printed_at_60_columns(arguments: &[&str], name: &str) -> Option<String> {
        let name = format!("elbowroom-{name}-{}", std::process::id());
        let file = std::env::temp_dir().join(name);
        at_60_columns(arguments, &format!(" > '{}'", file.display()))?;
        let text = fs::read_to_string(&file).unwrap();
        fs::remove_file(&file).unwrap();
        Some(text)
    }

    #[test]
    fn help_fits_it() {
        let Some(help) = printed_at_60_columns(&HELP, "help") else {
            return;
        };
        assert_eq!(help.matches("Examples:").count(), HELP.len());
        for line in help.lines() {
            assert!(fits(line, 60), "{line}");
        }
        // The width is used.
        assert!(help.lines().any(|line| line.len() > 55));
    }

    #[test]
    fn errors_fit_it() {
        let arguments = [
            "demo --reserve 1KB",
            "demo --page-limit 18446744073709551615",
            "demo --other-fault-at 1 --growth 2",
            "page sum a --dtype f16",
        ];
        let Some(screen) = at_60_columns(&arguments, "") else {
            return;
        };
        assert_eq!(screen.matches("error: ").count(), 4, "{screen}");
        for line in screen.lines().map(str::trim_end) {
            assert!(fits(line, 60), "{line}");
        }
    }

    #[test]
    fn manuals_and_completions_do_not_depend_on_it() {
        let arguments = ["man", "man demo", "completions bash", "completions zsh"];
        let Some(printed) = printed_at_60_columns(&arguments, "manual") else {
            return;
        };
        let expected = arguments.map(|args| run(args).stdout).concat();
        assert!(printed == expected, "{printed}");
    }
}

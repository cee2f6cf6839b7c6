//! `cargo xtask sanitize`: the library's tests under AddressSanitizer and ThreadSanitizer, with nightly Rust.
//!
//! What has to be set, and why:
//! - both: `handle_segv=0:handle_sigbus=0`. With the sanitizer's own handlers below ours, regions work as well
//!   (AddressSanitizer was tried), but the tests of crashes compare what std says.
//! - both: `use_sigaltstack=0`, since std gives its threads alternate stacks.
//! - AddressSanitizer: `detect_leaks=0`. What is kept for good (nodes of the registry, earlier signal actions) and what
//!   tests leak on purpose is no finding.
//! - ThreadSanitizer: `report_signal_unsafe=0`. A filter may allocate: in an accessor's fault it is called from a known
//!   place, like any callback (DESIGN.md), though the thread is in a signal handler. It also needs a std that is built
//!   with it, or it takes what std's locks order for races.
//!
//! Under neither, with the sanitizer's reason, run the tests of [`NOT_UNDER_EITHER`]; [`NOT_UNDER_THREAD`] are further
//! ones. No report is suppressed.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::{Deadline, build_folder, output, program};

/// The shadow memory takes terabytes of addresses, which RLIMIT_AS counts, and much of RLIMIT_DATA; instrumented frames
/// are larger than those that must fit on a small stack.
const NOT_UNDER_EITHER: &[&str] = &[
    "an_address_space_limit_is_a_named_error",
    "a_data_limit_is_a_named_error",
    "the_budget_of_a_process_is_the_tightest_limit",
    "the_handler_fits_on_an_alternate_stack_of_8_kib",
];

/// ThreadSanitizer leaves less than 16 TiB of addresses free, calls handlers from one of its own, delays asynchronous
/// signals and so changes masks, hangs in a fork inside a signal handler, starts no threads in a forked child, has
/// frames so large that filters cannot nest a thousand deep, and needs more of an alternate stack than the report of a
/// crash has.
const NOT_UNDER_THREAD: &[&str] = &[
    "a_plain_pointer_works_too",
    "a_refused_commit_leaves_no_tables_behind",
    "vast_reservations_cost_nothing",
    "a_vast_map_costs_nothing_until_used",
    "a_vast_array_commits_where_it_is_used",
    "a_vast_array_that_cannot_be_given_back_is_cleared_where_it_was_used",
    "the_status_says_where_the_handler_stands",
    "filters_nest_until_there_are_too_many",
    "linux::a_forked_child_commits_for_itself",
    "a_refused_plain_touch_is_a_loud_crash",
    "chained_handler_sees_its_own_mask",
    "signals_that_touch_the_region",
    "a_fork_in_a_filter",
    "is_reported_and_crashes",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sanitizer {
    Address,
    Thread,
}

/// Runs the sanitizers that are named, or both.
pub(crate) fn run(names: &[String]) -> Result<()> {
    let chosen = match names {
        [] => vec![Sanitizer::Address, Sanitizer::Thread],
        names => names.iter().map(|name| parse(name)).collect::<Result<_>>()?,
    };
    let nightly = nightly()?;
    for sanitizer in chosen {
        sanitizer.run(&nightly)?;
    }
    Ok(())
}

fn parse(name: &str) -> Result<Sanitizer> {
    match name {
        "address" => Ok(Sanitizer::Address),
        "thread" => Ok(Sanitizer::Thread),
        other => bail!("no sanitizer `{other}`; there are `address` and `thread`"),
    }
}

/// A nightly compiler.
struct Nightly {
    target: String,
    has_source: bool,
}

fn nightly() -> Result<Nightly> {
    let rustc = |args: &[&str]| output(program("rustup").args(["run", "nightly", "rustc"]).args(args));
    let missing = "sanitizers need nightly Rust: rustup toolchain install nightly --component rust-src";
    let version = rustc(&["--version", "--verbose"]).context(missing)?;
    let target = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let source = Path::new(rustc(&["--print", "sysroot"])?.trim()).join("lib/rustlib/src/rust/library/Cargo.lock");
    Ok(Nightly { target: target.to_owned(), has_source: source.exists() })
}

impl Sanitizer {
    fn name(self) -> &'static str {
        match self {
            Sanitizer::Address => "address",
            Sanitizer::Thread => "thread",
        }
    }

    fn not_run(self) -> Vec<&'static str> {
        match self {
            Sanitizer::Address => NOT_UNDER_EITHER.to_vec(),
            Sanitizer::Thread => [NOT_UNDER_EITHER, NOT_UNDER_THREAD].concat(),
        }
    }

    fn run(self, nightly: &Nightly) -> Result<()> {
        let missing = "ThreadSanitizer needs std's source: rustup component add rust-src --toolchain nightly";
        ensure!(self == Sanitizer::Address || nightly.has_source, missing);
        println!("\n== {} sanitizer", self.name());
        Deadline::after(Duration::from_secs(60 * 40)).run(&self.command(nightly))
    }

    fn command(self, nightly: &Nightly) -> Command {
        let mut cargo = program("rustup");
        cargo
            .args(["run", "nightly", "cargo", "test", "-p", "elbowroom", "--all-features", "--tests"])
            .args(["--no-fail-fast", "--target", &nightly.target])
            .env("CARGO_TARGET_DIR", build_folder().join(format!("sanitize-{}", self.name())))
            .env("RUSTFLAGS", format!("-Zsanitizer={}", self.name()))
            // That of the cargo that runs this program.
            .env_remove("RUSTC")
            .env_remove("RUSTDOC")
            .env_remove("CARGO");
        let both = "handle_segv=0:handle_sigbus=0:use_sigaltstack=0";
        match self {
            Sanitizer::Address => cargo.env("ASAN_OPTIONS", format!("{both}:detect_leaks=0")),
            Sanitizer::Thread => cargo.arg("-Zbuild-std").env("TSAN_OPTIONS", format!("{both}:report_signal_unsafe=0")),
        };
        cargo.arg("--");
        for test in self.not_run() {
            cargo.args(["--skip", test]);
        }
        cargo
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_sanitizers_are_errors() {
        assert!(parse("address").is_ok() && parse("thread").is_ok());
        assert!(parse("memory").unwrap_err().to_string().contains("`memory`"));
    }

    #[test]
    fn thread_sanitizer_builds_std_and_address_sanitizer_does_not() {
        let nightly = Nightly { target: "x86_64-unknown-linux-gnu".to_owned(), has_source: false };
        let has = |sanitizer: Sanitizer, word: &str| sanitizer.command(&nightly).get_args().any(|arg| arg == word);
        assert!(has(Sanitizer::Thread, "-Zbuild-std") && !has(Sanitizer::Address, "-Zbuild-std"));
        assert!(has(Sanitizer::Thread, "a_fork_in_a_filter") && !has(Sanitizer::Address, "a_fork_in_a_filter"));
        let error = Sanitizer::Thread.run(&nightly).unwrap_err().to_string();
        assert!(error.contains("rustup component add rust-src"), "{error}");
    }
}

//! `cargo xtask sanitize`: the tests of the library and of the pager under AddressSanitizer and ThreadSanitizer, with
//! nightly Rust.
//!
//! The settings and their reasons:
//! - both: `handle_segv=0:handle_sigbus=0`. Regions also work with the sanitizer's own handlers below ours
//!   (AddressSanitizer was tried), but the tests of crashes compare the messages of std.
//! - both: `use_sigaltstack=0`, because std gives its threads alternate stacks.
//! - AddressSanitizer: `detect_leaks=0`. Permanent memory (nodes of the registry, earlier signal actions) and leaks
//!   of tests on purpose are no findings.
//! - ThreadSanitizer: `report_signal_unsafe=0`. A filter may allocate: in an accessor's fault it is called from a known
//!   place, like any callback (DESIGN.md), though the thread is in a signal handler. It also needs a std that is built
//!   with it, or it reports races on data that std's locks protect.
//!
//! The tests in [`NOT_UNDER_EITHER`] run under neither sanitizer, and those in [`NOT_UNDER_THREAD`] not under
//! ThreadSanitizer. No report is suppressed.

use anyhow::{Context, Result};

use crate::workspace::{build_folder, nightly, shell};

/// The shadow memory takes terabytes of addresses, which RLIMIT_AS counts, and much of RLIMIT_DATA. Instrumented frames
/// are too large for the tests with small stacks. The control group in the pager's tests counts the shadow memory.
const NOT_UNDER_EITHER: &[&str] = &[
    "an_address_space_limit_is_a_named_error",
    "a_data_limit_is_a_named_error",
    "the_budget_of_a_process_is_the_tightest_limit",
    "the_handler_fits_on_an_alternate_stack_of_8_kib",
    "the_limit_holds_for_the_process",
];

/// ThreadSanitizer leaves less than 16 TiB of addresses free, calls handlers from its own handler, delays asynchronous
/// signals and so changes masks, hangs in a fork inside a signal handler, and starts no threads in a forked child. Its
/// frames are too large for filters that nest a thousand deep, and for the alternate stack of a crash report.
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

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Sanitizer {
    Address,
    Thread,
}

/// Runs the named sanitizers, or all.
pub(crate) fn run(sanitizers: &[Sanitizer]) -> Result<()> {
    let sh = shell()?;
    let version = nightly(&sh, "rustc --version --verbose").read().context(
        "sanitizers need nightly Rust: rustup toolchain install nightly --component rust-src",
    )?;
    let target = version.lines().find_map(|line| line.strip_prefix("host: "));
    let target = target.context("rustc names no host")?;
    let both = "handle_segv=0:handle_sigbus=0:use_sigaltstack=0";
    let run = |name: &str, std: Option<&str>, skipped: &[&str]| {
        let test = "cargo test -p elbowroom -p elbowroom-pager --all-features --tests --no-fail-fast --target";
        let folder = build_folder().join(format!("sanitize-{name}"));
        let test = nightly(&sh, test).arg(target).args(std).arg("--");
        test.args(skipped.iter().flat_map(|test| ["--skip", test]))
            .env("ASAN_OPTIONS", format!("{both}:detect_leaks=0"))
            .env("TSAN_OPTIONS", format!("{both}:report_signal_unsafe=0"))
            .env("RUSTFLAGS", format!("-Zsanitizer={name}"))
            .env("CARGO_TARGET_DIR", folder)
            .run()
    };
    let is_chosen = |sanitizer| sanitizers.is_empty() || sanitizers.contains(&sanitizer);
    if is_chosen(Sanitizer::Address) {
        run("address", None, NOT_UNDER_EITHER)?;
    }
    if is_chosen(Sanitizer::Thread) {
        let skipped = [NOT_UNDER_EITHER, NOT_UNDER_THREAD].concat();
        run("thread", Some("-Zbuild-std"), &skipped)?;
    }
    Ok(())
}

//! `elbowroom demo`: its transcript to the byte, and its exit status.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use crate::common::{self, Outcome, elbowroom, run};
use elbowroom::page_size;
use elbowroom_testing::is_emulated;

const PAGE_FAULT: &str = "Exception is a page fault.\n";
const COMMITTED: &str = "Exception is a page fault.\nAllocating another page.\n";
const EXIT: &str = "Exiting process.\n";

/// The system's error for exhausted memory: ENOMEM, ERROR_COMMITMENT_LIMIT.
const OUT_OF_MEMORY: i32 = if cfg!(windows) { 1455 } else { 12 };

/// The code of a fault that is not a page fault: SIGBUS, EXCEPTION_GUARD_PAGE.
const OTHER_FAULT: i32 = if cfg!(windows) {
    0x8000_0001_u32 as i32
} else if cfg!(target_os = "linux") {
    7
} else {
    10
};

fn first_line() -> String {
    format!("This computer has page size {}.\n", page_size())
}

/// Returns the transcript: the first line, `pages` pages, and the rest.
fn transcript(pages: usize, rest: &str) -> String {
    format!("{}{}{rest}", first_line(), COMMITTED.repeat(pages))
}

fn succeeds(args: &str, stdout: &str) -> Outcome {
    let outcome = run(args);
    assert_eq!(outcome.stdout, stdout, "{args}");
    assert_eq!(outcome.status, 0, "{args}");
    outcome
}

#[test]
fn it_prints_what_the_original_prints() {
    let outcome = succeeds("demo", &transcript(80, "Release succeeded.\n"));
    assert_eq!(outcome.stderr, "");
}

#[test]
fn wide_characters_run_out_of_pages() {
    let rest = [PAGE_FAULT, "Exception: out of pages.\n", EXIT].concat();
    let outcome = succeeds("demo --char wide", &transcript(80, &rest));
    assert_eq!(outcome.stderr, "");
    // The limit refuses inside the reservation in the same way as its end.
    succeeds(
        "demo --char wide --page-limit 3 --reserve 1MiB",
        &transcript(3, &rest),
    );
}

#[test]
fn a_fault_may_commit_more_than_a_page() {
    succeeds("demo --growth 16", &transcript(5, "Release succeeded.\n"));
    succeeds(
        "demo --growth 16 --page-limit 17 --reserve 16MiB",
        &transcript(2, "Release succeeded.\n"),
    );
    succeeds(
        "demo --growth 18446744073709551615",
        &transcript(1, "Release succeeded.\n"),
    );
}

#[test]
fn the_page_limit_can_be_chosen() {
    succeeds(
        "demo --page-limit 3",
        &transcript(3, "Release succeeded.\n"),
    );
    succeeds(
        "demo --page-limit 1",
        &transcript(1, "Release succeeded.\n"),
    );
}

#[test]
fn reserving_more_changes_nothing() {
    let reserve = if is_emulated() { "64MiB" } else { "64GiB" };
    succeeds(
        &format!("demo --reserve {reserve}"),
        &transcript(80, "Release succeeded.\n"),
    );
}

#[test]
fn reserving_less_fails_at_the_end() {
    let reserve = 3 * page_size();
    let rest = [PAGE_FAULT, "VirtualAlloc failed.\n", EXIT].concat();
    // No system call has failed, because the library refuses the size itself.
    let outcome = succeeds(&format!("demo --reserve {reserve}"), &transcript(3, &rest));
    assert!(
        outcome.stderr.starts_with("elbowroom: cannot commit "),
        "{outcome:?}"
    );
}

#[test]
fn a_failed_commit_ends_it_with_the_systems_error() {
    let outcome = run("demo --fail-commit-at 5");
    assert_eq!(
        outcome.stdout,
        transcript(4, &[PAGE_FAULT, "VirtualAlloc failed.\n", EXIT].concat())
    );
    assert_eq!(outcome.status, OUT_OF_MEMORY);
    assert!(
        outcome.stderr.starts_with("elbowroom: cannot commit "),
        "{outcome:?}"
    );
}

#[test]
fn a_failed_commit_of_many_pages_is_tried_with_one() {
    // Pages 0 to 3; then page 4 alone, and 5 to 7 with the next fault.
    succeeds(
        "demo --page-limit 8 --growth 4 --fail-commit-at 2",
        &transcript(3, "Release succeeded.\n"),
    );
}

#[test]
fn a_failed_reserve_is_told() {
    let outcome = run("demo --fail-reserve");
    let error =
        format!("Error! VirtualAlloc reserve failed. with error code of {OUT_OF_MEMORY}.\n");
    assert_eq!(outcome.stdout, first_line() + &error);
    assert_eq!(outcome.status, 1);
    assert!(
        outcome.stderr.starts_with("elbowroom: cannot reserve "),
        "{outcome:?}"
    );
}

#[test]
fn a_failed_release_is_told() {
    let outcome = run("demo --fail-release --page-limit 3");
    assert_eq!(outcome.stdout, transcript(3, "Release failed.\n"));
    assert_eq!(outcome.status, 1);
    assert!(
        outcome.stderr.starts_with("elbowroom: cannot release "),
        "{outcome:?}"
    );
}

#[test]
fn another_fault_is_not_cured() {
    let rest = format!("Exception code = {OTHER_FAULT}.\n{EXIT}");
    succeeds("demo --other-fault-at 2", &transcript(2, &rest));
    succeeds("demo --other-fault-at 0", &transcript(0, &rest));
}

#[test]
fn quiet_is_quiet() {
    let outcome = succeeds("demo --quiet", "");
    assert_eq!(outcome.stderr, "");
    assert_eq!(run("demo --quiet --fail-commit-at 1").status, OUT_OF_MEMORY);
}

#[test]
fn the_summary_goes_to_standard_error() {
    let outcome = succeeds("demo --summary", &transcript(80, "Release succeeded.\n"));
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    let names: Vec<&str> = lines.iter().map(|line| line[..17].trim_end()).collect();
    assert_eq!(
        names,
        [
            "reserved",
            "committed",
            "commit charge",
            "resident",
            "faults",
            "time"
        ]
    );
    let reserved = &lines[0][17..];
    assert_eq!(
        &lines[1][17..],
        format!("{reserved}: 80 pages of {} KiB", page_size() / 1024)
    );
    assert_eq!(&lines[4][17..], "80, 0 refused");
}

#[test]
fn json_has_the_transcript_and_the_figures() {
    let outcome = run("demo --json");
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    assert_eq!(outcome.stdout.lines().count(), 1);
    let json = outcome.json();
    let expected = transcript(80, "Release succeeded.\n");
    let lines: Vec<&str> = json["transcript"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line.as_str().unwrap())
        .collect();
    assert_eq!(lines, expected.lines().collect::<Vec<_>>());
    assert_eq!(json["page_size_bytes"], page_size());

    let cost = &json["cost"];
    let bytes = 80 * page_size();
    assert_eq!(cost["reserved_bytes"], bytes);
    assert_eq!(cost["committed_bytes"], bytes);
    assert_eq!(cost["faults"], 80);
    assert_eq!(cost["commits"], 80);
    assert_eq!(cost["refused"], 0);
    assert!(cost["elapsed_ns"].as_u64().unwrap() > 0);
    assert_eq!(
        json["exit"],
        serde_json::json!({"reason": "released", "status": 0, "os_code": null, "message": null})
    );
}

/// The region is drawn as it was before its release: with all pages committed, or only the first ones.
#[test]
fn the_picture_follows_the_transcript() {
    for (args, pages, committed) in [
        ("demo --picture --page-limit 8", 8, 8),
        (
            "demo --picture --page-limit 3 --reserve 10MiB",
            (10 << 20) / page_size(),
            3,
        ),
        ("demo --picture --growth 4 --char wide --page-limit 8", 8, 8),
    ] {
        let outcome = run(args);
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{args}");
        let (before, picture) = outcome.stdout.split_once("\n\n").unwrap();
        assert!(
            before.ends_with("Release succeeded.") || before.ends_with("Exiting process."),
            "{args}: {outcome:?}"
        );
        let cells = common::cells(picture);
        let count = |glyphs: &[char]| cells.chars().filter(|char| glyphs.contains(char)).count();
        let per_cell = pages.div_ceil(64 * 24).next_power_of_two();
        let committed: usize = committed;
        // The characters for resident or, if that is not known, committed pages: for a whole cell, and for a part.
        let (whole, part) = (['█', '▒'], ['▁', '▂', '▃', '▄', '▅', '▆', '▇']);
        assert_eq!(
            [count(&whole), count(&part)],
            [
                committed / per_cell,
                usize::from(!committed.is_multiple_of(per_cell))
            ],
            "{args}: {picture}"
        );
        assert_eq!(
            count(&whole) + count(&part),
            committed.div_ceil(per_cell),
            "{args}: {picture}"
        );
        assert_eq!(
            count(&['░']) + count(&whole) + count(&part),
            pages.div_ceil(per_cell),
            "{args}: {picture}"
        );
    }
    // Without a region there is no picture.
    let outcome = run("demo --picture --fail-reserve");
    assert!(!outcome.stdout.contains("\n\n"), "{outcome:?}");
}

#[test]
fn drawings_are_written() {
    let file = |name: &str| {
        std::env::temp_dir().join(format!("elbowroom-demo-{}-{name}", std::process::id()))
    };
    let (svg, html) = (file("a.svg"), file("a.html"));
    let args = format!(
        "demo --page-limit 10 --growth 2 --svg {} --html {}",
        svg.display(),
        html.display()
    );
    succeeds(&args, &transcript(5, "Release succeeded.\n"));
    let read = |path: &std::path::Path| {
        let text = std::fs::read_to_string(path).unwrap();
        std::fs::remove_file(path).unwrap();
        text
    };
    let (svg, html) = (read(&svg), read(&html));
    assert!(
        svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"),
        "{svg}"
    );
    assert!(svg.contains(" committed by 5 page faults<"), "{svg}");
    assert!(
        html.starts_with("<!doctype html>") && html.contains(svg.trim_end()),
        "{html}"
    );
}

#[test]
fn json_tells_what_was_charged() {
    // An emulator's own memory is in the figures, and Wine has no commit charge.
    if is_emulated() || cfg!(not(target_os = "linux")) {
        return;
    }
    let cost = &run("demo --json").json()["cost"];
    let bytes = 80 * page_size() as i64;
    let charged = cost["process_commit_growth_bytes"].as_i64().unwrap();
    // The heap may grow meanwhile, too.
    assert!((bytes..bytes + (256 << 10)).contains(&charged), "{cost}");
    let resident = cost["resident_growth_bytes"].as_i64().unwrap();
    assert!((bytes..bytes + (512 << 10)).contains(&resident), "{cost}");
    assert!(cost["kernel_faults"].as_i64().unwrap() >= 80, "{cost}");
    assert!(
        cost["system_commit_before_bytes"].as_u64().unwrap() > 0,
        "{cost}"
    );
    assert!(
        cost["system_commit_after_bytes"].as_u64().unwrap() > 0,
        "{cost}"
    );
}

#[test]
fn json_tells_how_it_ended() {
    for (args, reason, status, os_code) in [
        ("demo --json --char wide", "out_of_pages", 0, None),
        (
            "demo --json --fail-commit-at 5",
            "commit_failed",
            OUT_OF_MEMORY,
            Some(OUT_OF_MEMORY),
        ),
        ("demo --json --other-fault-at 2", "other_fault", 0, None),
        (
            "demo --json --fail-release",
            "release_failed",
            1,
            Some(OUT_OF_MEMORY),
        ),
        (
            "demo --json --fail-reserve",
            "reserve_failed",
            1,
            Some(OUT_OF_MEMORY),
        ),
    ] {
        let outcome = run(args);
        let exit = &outcome.json()["exit"];
        assert_eq!(outcome.status, status, "{args}");
        assert_eq!(exit["reason"], reason, "{args}");
        assert_eq!(exit["status"], status, "{args}");
        assert_eq!(exit["os_code"].as_i64(), os_code.map(i64::from), "{args}");
        assert!(exit["message"].is_string(), "{args}");
    }
    assert!(run("demo --json --fail-reserve").json()["cost"].is_null());
}

/// The transcript of 4,000 pages is larger than a pipe, so the program still runs when its first lines have been read,
/// and then writes to a pipe without a reader.
#[test]
fn lines_come_when_things_happen_and_a_closed_pipe_ends_it() {
    let mut child = elbowroom("demo --page-limit 4000")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let head: String = lines
        .by_ref()
        .take(3)
        .map(|line| line.unwrap() + "\n")
        .collect();
    assert_eq!(head, transcript(1, ""));
    assert_eq!(child.try_wait().unwrap(), None);
    drop(lines);
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{stderr}");
    assert!(
        stderr.starts_with("elbowroom: cannot write to standard output: "),
        "{stderr}"
    );
    assert!(!stderr.contains("panicked"), "{stderr}");
}

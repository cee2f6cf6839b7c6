//! `elbowroom doctor`: its findings on this machine, and in environments where something is missing.

use crate::common::run;
use elbowroom::{allocation_granularity, page_size};
use serde_json::Value;

/// Returns the finding with this id.
fn finding<'a>(json: &'a Value, id: &str) -> &'a Value {
    let findings = json["findings"].as_array().unwrap();
    findings
        .iter()
        .find(|finding| finding["id"] == id)
        .unwrap_or_else(|| panic!("no {id} in {json}"))
}

#[test]
fn it_finds_what_the_library_finds() {
    let outcome = run("doctor --json");
    let json = outcome.json();
    assert_eq!(outcome.stderr, "");
    assert_eq!(finding(&json, "page_size")["value"], page_size());
    assert_eq!(
        finding(&json, "allocation_granularity")["value"],
        allocation_granularity()
    );
    assert!(
        finding(&json, "largest_reservation")["value"]
            .as_u64()
            .unwrap()
            >= 1 << 30,
        "{json}"
    );
    assert_eq!(finding(&json, "commit_on_touch")["level"], "ok", "{json}");
    let findings = json["findings"].as_array().unwrap();
    for finding in findings {
        let same = findings.iter().filter(|other| other["id"] == finding["id"]);
        assert_eq!(same.count(), 1, "{finding}");
        for field in ["id", "section", "level", "what", "found", "means"] {
            assert!(!finding[field].as_str().unwrap().is_empty(), "{finding}");
        }
        // A warning names a change.
        let is_bad = ["warning", "missing"].contains(&finding["level"].as_str().unwrap());
        assert!(!is_bad || finding["change"].is_string(), "{finding}");
    }
    assert_eq!(outcome.status, i32::from(json["worst"] == "missing"));
}

#[test]
fn the_text_has_a_line_for_each_finding() {
    let (outcome, urgent) = (run("doctor --all"), run("doctor"));
    let json = run("doctor --json").json();
    assert_eq!(outcome.stdout.lines().next(), json["system"].as_str());
    for finding in json["findings"].as_array().unwrap() {
        let what = finding["what"].as_str().unwrap();
        assert!(
            outcome.stdout.contains(&format!(" {what} ")),
            "{what}: {}",
            outcome.stdout
        );
        let level = finding["level"].as_str().unwrap();
        assert_eq!(
            urgent.stdout.contains(&format!("  {level:<9}{what}")),
            level != "ok",
            "{what}: {}",
            urgent.stdout
        );
    }
    // Output to a pipe has no colours, and output for people has short lines.
    assert!(!outcome.stdout.contains('\x1b'));
    assert!(
        outcome
            .stdout
            .lines()
            .all(|line| line.chars().count() <= 120),
        "{}",
        outcome.stdout
    );
    for outcome in [outcome, urgent] {
        let summary = outcome.stdout.lines().nth(1).unwrap();
        assert!(summary.contains(" note"), "{summary}");
    }
}

#[cfg(target_os = "linux")]
mod linux;

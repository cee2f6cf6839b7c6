//! The report with tiny workloads: it completes, and every figure is a number.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Returns the command for the program with these arguments, under an emulator if one is needed.
fn bench(args: &[&str]) -> Command {
    let mut command = elbowroom_testing::command(env!("CARGO_BIN_EXE_elbowroom-bench"));
    command.args(args);
    command
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

#[test]
fn a_quick_report_is_whole() {
    if elbowroom_testing::is_emulated() {
        return eprintln!(
            "an emulator's figures mean nothing, because its clocks and threads are not the machine's"
        );
    }
    let folder = env::temp_dir().join(format!("elbowroom-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let json = folder.join("samples.json");
    let (out, samples) = (folder.to_str().unwrap(), json.to_str().unwrap());
    let output = bench(&["report", "--quick", "--out", out, "--json", samples])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );

    let report: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    let overview = fs::read_to_string(folder.join("RESULTS.md")).unwrap();
    assert!(
        overview.contains("| `push-128m` | elbowroom | Vec |"),
        "{overview}"
    );
    // Closed at once: Windows removes no folder that is being read.
    let own = |folder: &Path| {
        fs::read_dir(folder)
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path()
    };
    let own = own(&folder.join("results"));
    let markdown = fs::read_to_string(own.join("README.md")).unwrap();
    for comparison in list(&report["comparisons"]) {
        let name = comparison["name"].as_str().unwrap();
        let mut measured = 0;
        for contender in list(&comparison["contenders"]) {
            if let Some(why) = contender["taken"]["refusal"].as_str() {
                println!("{name}: {}: {why}", contender["name"]);
                continue;
            }
            let samples = list(&contender["taken"]["samples"]);
            assert_eq!(samples.len(), 3, "{name}: {contender}");
            for sample in samples {
                assert!(sample["wall_ns"].as_u64() > Some(0), "{name}: {contender}");
                // Not every system has a clock for processor time.
                assert_ne!(sample["cpu_ns"].as_u64(), Some(0), "{name}: {contender}");
            }
            measured += 1;
        }
        let is_optional = name.ends_with("mimalloc") || name.starts_with("paged-touch");
        // The library itself works on every system, whatever features it lacks. Plain slices need userfaultfd.
        let ours = list(&comparison["contenders"])
            .iter()
            .find(|contender| contender["name"] == "elbowroom");
        let is_measured = ours.is_none_or(|ours| ours["taken"]["refusal"].is_null());
        assert!(is_measured || is_optional, "{name}: {ours:?}");
        assert!(measured > 0 || is_optional, "{name}");
        let is_memory = name.starts_with("memory-");
        assert!(
            is_memory || markdown.contains(&format!("### `{name}`")),
            "{name} is not in the report"
        );
    }
    for goal in list(&report["comparisons"])
        .iter()
        .flat_map(|comparison| list(&comparison["verdicts"]))
    {
        if let Some(ratio) = goal["measured"]["ratio"].get("median") {
            assert!(
                ratio
                    .as_f64()
                    .is_some_and(|ratio| ratio.is_finite() && ratio > 0.0),
                "{goal}"
            );
        }
    }
    for plot in [
        "cost-per-page",
        "fill-time",
        "push-latency",
        "scaling-regions",
        "scaling-threads",
    ] {
        let svg = fs::read_to_string(own.join(format!("{plot}.svg"))).unwrap();
        assert!(
            svg.contains("<svg") && svg.contains("elbowroom") | svg.contains("a page a fault"),
            "{plot}"
        );
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{plot}");
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn comparisons_are_listed_and_unknown_ones_refused() {
    let output = bench(&["list"]).output().unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success()
            && listed.contains("push-128m")
            && listed.contains("virtual-buffer"),
        "{listed}"
    );
    let refused = bench(&["run", "no-such-thing"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no-such-thing"));
}

#[test]
fn a_limit_that_is_no_number_is_refused() {
    for limit in ["", "0", "64MiB", "-1"] {
        let output = bench(&["list"])
            .env("ELBOWROOM_BENCH_LIMIT_MIB", limit)
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{limit}: {message}");
        assert!(message.contains("a number of MiB"), "{limit}: {message}");
    }
}

/// Files are in the folder that was asked for, and are gone in the end.
#[test]
fn files_of_numbers_are_removed() {
    if elbowroom_testing::is_emulated() {
        eprintln!("skipped: this takes minutes under an emulator");
        return;
    }
    let folder = env::temp_dir().join(format!("elbowroom-bench-data-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let output = bench(&["run", "--quick", "paged-scan", "paged-sort"])
        .env("ELBOWROOM_BENCH_DATA_DIR", &folder)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("| elbowroom |"),
        "{text}"
    );
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    // A folder in which no file can be made is the reason why there is no figure.
    let file = folder.join("file");
    fs::write(&file, "").unwrap();
    let output = bench(&["run", "--quick", "paged-scan"])
        .env("ELBOWROOM_BENCH_DATA_DIR", &file)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("| elbowroom | not measured: ") && text.contains("numbers-"),
        "{text}"
    );
    fs::remove_dir_all(&folder).unwrap();
}

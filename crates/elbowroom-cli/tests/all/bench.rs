//! `elbowroom bench`: every mechanism has its line, measured or with a reason, however little there is to measure.

use crate::common::run;
use elbowroom_testing::is_emulated;
use serde_json::Value;

/// The smallest measurement, because faults are slow under an emulator.
const TINY: &str = "bench --size 2MiB --runs 1";

/// The mechanisms that every system has.
const EVERYWHERE: [&str; 6] = [
    "up-front",
    "adaptive",
    "adaptive-small-pages",
    "page",
    "window-16MiB",
    "filter-thread",
];

/// Returns whether faults or processes are slow on this platform.
fn is_slow() -> bool {
    is_emulated() || cfg!(windows)
}

fn mechanisms(table: &Value) -> &Vec<Value> {
    table["mechanisms"].as_array().unwrap()
}

#[test]
fn the_json_has_every_mechanism() {
    let outcome = run("bench --quick --size 2MiB --runs 2 --json");
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    let json = outcome.json();
    assert_eq!(json["size_bytes"], 2 << 20);
    assert_eq!(json["runs"], 2);
    assert_eq!(json["page_size_bytes"], elbowroom::page_size());
    let tables = json["tables"].as_array().unwrap();
    let touches: Vec<_> = tables
        .iter()
        .map(|table| table["touches"].as_str().unwrap())
        .collect();
    assert_eq!(touches, ["in-order", "scattered"]);
    for table in tables {
        let touched = table["touched_bytes"].as_u64().unwrap();
        assert_eq!(
            touched,
            table["touched_pages"].as_u64().unwrap() * elbowroom::page_size() as u64
        );
        for mechanism in mechanisms(table) {
            let id = mechanism["id"].as_str().unwrap();
            if let Some(why) = mechanism["not_measured"].as_str() {
                assert!(!why.is_empty() && !EVERYWHERE.contains(&id), "{mechanism}");
                assert!(
                    mechanism["wall_ns"].is_null() && mechanism["ratio"].is_null(),
                    "{mechanism}"
                );
                continue;
            }
            assert_eq!(
                mechanism["samples"].as_array().unwrap().len(),
                2,
                "{mechanism}"
            );
            assert!(
                mechanism["page_ns"]["median"].as_f64().unwrap() > 0.0,
                "{mechanism}"
            );
            assert!(
                mechanism["ratio"]["median"].as_f64().unwrap() > 0.0,
                "{mechanism}"
            );
            let committed = mechanism["peak_committed_bytes"].as_u64().unwrap();
            assert!((touched..=2 << 20).contains(&committed), "{mechanism}");
            let is_up_front = id.starts_with("up-front");
            assert!(!is_up_front || committed == 2 << 20, "{mechanism}");
            assert_eq!(
                mechanism["library_faults"].as_f64().unwrap() == 0.0,
                is_up_front,
                "{mechanism}"
            );
        }
        let find = |id: &str| {
            mechanisms(table)
                .iter()
                .find(|mechanism| mechanism["id"] == id)
        };
        for id in
            EVERYWHERE
                .into_iter()
                .chain(["up-front-populated", "up-front-huge", "userfaultfd"])
        {
            assert!(find(id).is_some(), "{id}: {json}");
        }
        assert_eq!(find("up-front").unwrap()["ratio"]["median"], 1.0);
        // One fault for each touched page, and no further pages.
        let page = find("page").unwrap();
        assert_eq!(
            page["library_faults"].as_f64(),
            table["touched_pages"].as_f64()
        );
        assert_eq!(page["peak_committed_bytes"], touched);
    }
}

#[test]
fn a_pipe_gets_a_plain_table() {
    let outcome = run(TINY);
    assert_eq!(
        (outcome.status, outcome.stderr.as_str()),
        (0, ""),
        "no progress bar into a pipe"
    );
    assert!(!outcome.stdout.contains('\u{1b}'), "{outcome:?}");
    assert!(
        outcome
            .stdout
            .lines()
            .all(|line| line.chars().count() <= 120),
        "{outcome:?}"
    );
    for name in [
        "up front, ",
        "on touch, the default",
        "on touch, one page a fault",
        "filter on its own thread",
    ] {
        assert!(
            outcome
                .stdout
                .lines()
                .filter(|line| line.starts_with(name))
                .count()
                >= 2,
            "{name}: {outcome:?}"
        );
    }
    let tables = outcome
        .stdout
        .lines()
        .filter(|line| line.contains("half of runs"))
        .count();
    assert_eq!(tables, 2, "{outcome:?}");
}

#[test]
fn a_drawing_is_written_or_complained_about() {
    let path = std::env::temp_dir().join(format!("elbowroom-bench-{}.svg", std::process::id()));
    let outcome = run(&format!("{TINY} --svg {}", path.display()));
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    let svg = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(
        svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"),
        "{svg}"
    );
    assert!(svg.contains(">on touch, the default<"), "{svg}");

    if is_slow() {
        return;
    }
    let missing = std::env::temp_dir()
        .join("elbowroom-no-such-folder")
        .join("a.svg");
    let outcome = run(&format!("{TINY} --svg {}", missing.display()));
    assert_eq!(outcome.status, 1);
    assert!(
        outcome.stderr.starts_with("elbowroom: cannot write "),
        "{outcome:?}"
    );
    assert!(
        outcome.stdout.contains("on touch, the default"),
        "the table all the same: {outcome:?}"
    );
}

#[test]
fn more_than_there_is_is_refused_before_it_is_taken() {
    for size in ["1PiB", "16383PiB"] {
        let outcome = run(&format!("bench --size {size}"));
        assert_eq!((outcome.status, outcome.stdout.as_str()), (1, ""), "{size}");
        assert!(
            outcome.stderr.contains("is too much: ") && outcome.stderr.contains("smaller --size"),
            "{outcome:?}"
        );
    }
}

/// With hardly any address space, it measures less, or says that it cannot.
#[cfg(target_os = "linux")]
#[test]
fn with_little_memory_it_measures_less_or_refuses() {
    use crate::common::Outcome;
    use std::process::Command;
    if is_emulated() {
        return;
    }
    let limited = |kib: u64| {
        let script = format!(
            "ulimit -v {kib} && exec {} bench --runs 1 --json",
            env!("CARGO_BIN_EXE_elbowroom")
        );
        Outcome::new(Command::new("sh").args(["-c", &script]).output().unwrap())
    };
    let outcome = limited(160 << 10);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    let json = outcome.json();
    let size = json["size_bytes"].as_u64().unwrap();
    assert!((2 << 20..64 << 20).contains(&size), "{json}");
    for table in json["tables"].as_array().unwrap() {
        for mechanism in mechanisms(table) {
            let id = mechanism["id"].as_str().unwrap();
            assert!(
                mechanism["not_measured"].is_null() || !EVERYWHERE.contains(&id),
                "{mechanism}"
            );
        }
    }
    let outcome = limited(48 << 10);
    assert_eq!((outcome.status, outcome.stdout.as_str()), (1, ""));
    assert!(
        outcome.stderr.contains("too little memory") && outcome.stderr.contains("RLIMIT_AS"),
        "{outcome:?}"
    );
}

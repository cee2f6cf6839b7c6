//! Comparison with other tools, and processes in unusual states.

#![allow(unsafe_code, reason = "geteuid")]

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use super::*;
use crate::common::{Outcome, elbowroom};
use elbowroom_map::{Snapshot, Wanted};
use serde_json::Value;

fn region(json: &Value, start: u64) -> &Value {
    let regions = json["regions"].as_array().unwrap();
    regions
        .iter()
        .find(|region| region["start"] == start)
        .unwrap_or_else(|| panic!("nothing at {start:x} in {json}"))
}

/// Waits until a process's program and state are these (proc_pid_stat(5)).
fn wait_for_state(pid: u32, state: &str) {
    while !std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .unwrap()
        .contains(state)
    {
        std::thread::yield_now();
    }
}

/// A process that does nothing, ended when dropped.
struct Sleeper(Child);

impl Sleeper {
    fn new() -> Sleeper {
        let sleeper = Sleeper(Command::new("sleep").arg("1000").spawn().unwrap());
        // It becomes `sleep` some time after the fork, and then is at rest.
        wait_for_state(sleeper.0.id(), "(sleep) S");
        sleeper
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// pmap(1) reads the same files: each mapping has the same size, and as much of it in memory.
#[test]
fn pmap_says_the_same() {
    if !is_known_here() {
        return;
    }
    let sleeper = Sleeper::new();
    let Ok(pmap) = Command::new("pmap")
        .args(["-X", &sleeper.0.id().to_string()])
        .output()
    else {
        return;
    };
    let json = run(&format!("map {} --json", sleeper.0.id())).json();
    let pmap = String::from_utf8(pmap.stdout).unwrap();
    let mut lines = pmap.lines().skip(1);
    let header: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    let column = |name: &str| header.iter().position(|&each| each == name).unwrap();
    let (size, rss) = (column("Size"), column("Rss"));
    let mut compared = 0;
    for mapping in json["mappings"].as_array().unwrap() {
        let start = format!("{:08x}", mapping["start"].as_u64().unwrap());
        let Some(line) = pmap
            .lines()
            .find(|line| line.trim_start().starts_with(&start))
        else {
            panic!("{start} is not in {pmap}")
        };
        let fields: Vec<&str> = line.split_whitespace().collect();
        let bytes = |column: usize| fields[column].parse::<u64>().unwrap() << 10;
        assert_eq!(mapping["reserved_bytes"], bytes(size), "{line}");
        assert_eq!(mapping["resident_bytes"], bytes(rss), "{line}");
        compared += 1;
    }
    assert!(compared > 10, "{pmap}");
}

/// The command prints what the library does.
#[test]
fn the_library_says_the_same() {
    if !is_known_here() {
        return;
    }
    let sleeper = Sleeper::new();
    let pid = sleeper.0.id();
    let snapshot = Snapshot::of_process(pid).unwrap();
    assert_eq!(run(&format!("map {pid}")).stdout, snapshot.to_string());
    assert_eq!(
        run(&format!("map {pid} --all")).stdout,
        format!("{snapshot:#}")
    );
    let stack = snapshot.find(&Wanted::Name("stack".to_owned())).unwrap();
    assert_eq!(
        run(&format!("map {pid} --region stack")).stdout,
        snapshot.pages(stack).unwrap().to_string()
    );
}

#[test]
fn a_process_that_has_ended_is_told() {
    if !is_known_here() {
        return;
    }
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id();
    // A zombie: the process has a number but no memory.
    wait_for_state(pid, ") Z");
    let zombie = run(&format!("map {pid}"));
    child.wait().unwrap();
    let gone = run(&format!("map {pid}"));
    assert_eq!((zombie.status, gone.status), (1, 1));
    assert!(
        zombie.stderr.contains("has no memory of its own"),
        "{}",
        zombie.stderr
    );
    assert!(
        gone.stderr
            .contains(&format!("there is no process {pid}, or it has just ended")),
        "{}",
        gone.stderr
    );
}

/// Only root can become a user without the right to look.
#[test]
fn a_process_that_may_not_be_looked_at_is_told() {
    // SAFETY: no preconditions.
    if !is_known_here() || unsafe { libc::geteuid() } != 0 {
        return;
    }
    let nobody = 65_534;
    let mut command = elbowroom(&format!("map {}", std::process::id()));
    let Ok(output) = command.uid(nobody).gid(nobody).output() else {
        return;
    };
    let outcome = Outcome::new(output);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(
        outcome.stderr.contains("may not be looked at")
            && outcome.stderr.contains("CAP_SYS_PTRACE"),
        "{outcome:?}"
    );
}

#[test]
fn regions_are_found_by_address() {
    if !is_known_here() {
        return;
    }
    let sleeper = Sleeper::new();
    let pid = sleeper.0.id();
    let json = run(&format!("map {pid} --json --region stack")).json();
    let stack = &json["region"];
    let start = stack["start"].as_u64().unwrap();
    assert_eq!(region(&json, start)["kind"], "stack");
    let pages = |state: &str| -> u64 {
        let runs = stack["pages"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|run| run["state"] == state);
        runs.map(|run| run["end"].as_u64().unwrap() - run["start"].as_u64().unwrap())
            .sum()
    };
    assert_eq!(
        pages("resident"),
        stack["resident_bytes"].as_u64().unwrap(),
        "{stack}"
    );
    let by_address = run(&format!("map {pid} --json --region {:#x}", start + 17)).json();
    assert_eq!(by_address["region"], *stack);
}

/// A program may have any name. What would control the display is written as numbers, in every form of the output.
#[test]
fn names_do_not_control_the_display() {
    if !is_known_here() {
        return;
    }
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("elbowroom-names-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let program = folder.join("a\u{202e}b\u{2028}c\u{200b}d\u{1b}[31m<e>");
    // Not a copy: a child that another test starts may hold a file that was just written, which then cannot be run.
    std::fs::hard_link(env!("CARGO_BIN_EXE_elbowroom"), &program).unwrap();
    let (svg, html) = (folder.join("map.svg"), folder.join("map.html"));
    // It prints more than a pipe holds, and waits until that is read.
    let mut child = std::process::Command::new(&program)
        .args(["watch", "--workload", "random", "--json"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = child.stdout.take().unwrap();
    output.read_exact(&mut [0]).unwrap();
    let pid = child.id();
    let mut texts = vec![
        run(&format!(
            "map {pid} --svg {} --html {}",
            svg.display(),
            html.display()
        ))
        .stdout,
        run(&format!("map {pid} --all")).stdout,
        run(&format!("map {pid} --region <e>")).stdout,
        run(&format!("map {pid} --region e")).stderr,
        run(&format!("map {pid} --json")).stdout,
        run(&format!("watch {pid} --once")).stdout,
        run(&format!("watch {pid} --json")).stdout,
    ];
    let json: serde_json::Value = serde_json::from_str(&texts[4]).unwrap();
    assert_eq!(json["program"], program.to_str().unwrap());
    texts.extend([svg, html].map(|file| std::fs::read_to_string(file).unwrap()));
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    for text in texts {
        // `watch` cuts a long path.
        assert!(text.contains("202e") || text.contains('…'), "{text}");
        assert!(
            !text.contains(['\u{202e}', '\u{2028}', '\u{200b}', '\u{1b}']),
            "{text}"
        );
    }
}

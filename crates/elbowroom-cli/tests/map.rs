//! `elbowroom map`: its figures against what was done and against other tools, and its errors.

mod common;

#[cfg(target_os = "linux")]
use std::io::Read;

use common::run;

/// Whether this platform's address spaces can be read here: an emulator's /proc is the host's in part.
fn is_known_here() -> bool {
    common::runner().is_none() && cfg!(any(target_os = "linux", windows))
}

#[test]
fn its_own_sample_is_as_it_was_made() {
    if !is_known_here() {
        return;
    }
    let outcome = run("map --self --region sample --json");
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    let json = outcome.json();
    let page = elbowroom::page_size() as u64;
    let sample = &json["region"];
    assert_eq!(sample["name"], "elbowroom sample");
    assert_eq!(sample["kind"], "named");
    assert_eq!(sample["reserved_bytes"], 256 * page);
    assert_eq!(sample["committed_bytes"], 97 * page);
    assert_eq!(sample["charged_bytes"], 97 * page);
    assert_eq!(sample["resident_bytes"], 65 * page);
    let states: Vec<&str> = sample["pages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["state"].as_str().unwrap())
        .collect();
    assert_eq!(
        states,
        [
            "reserved",
            "resident",
            "committed",
            "reserved",
            "resident",
            "reserved"
        ]
    );

    // The sums are those of the parts.
    for field in [
        "reserved_bytes",
        "committed_bytes",
        "charged_bytes",
        "resident_bytes",
    ] {
        let sum = |parts: &str| -> u64 {
            json[parts]
                .as_array()
                .unwrap()
                .iter()
                .map(|part| part[field].as_u64().unwrap())
                .sum()
        };
        let total = json["total"][field].as_u64().unwrap();
        assert_eq!(
            [sum("mappings"), sum("regions"), sum("kinds")],
            [total; 3],
            "{field}"
        );
    }
}

#[test]
fn a_region_is_drawn() {
    if !is_known_here() {
        return;
    }
    let outcome = run("map --self --region sample");
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    let cells = common::cells(&outcome.stdout);
    let count = |glyph| cells.chars().filter(|&char| char == glyph).count();
    assert_eq!(
        [count('░'), count('▒'), count('█')],
        [159, 32, 65],
        "{}",
        outcome.stdout
    );
    assert!(!outcome.stdout.contains('\x1b'));
}

#[test]
fn drawings_are_written() {
    if !is_known_here() {
        return;
    }
    let file = |name: &str| {
        std::env::temp_dir().join(format!("elbowroom-map-{}-{name}", std::process::id()))
    };
    let (svg_file, html_file) = (file("a.svg"), file("a.html"));
    let outcome = run(&format!(
        "map --self --region sample --svg {} --html {}",
        svg_file.display(),
        html_file.display()
    ));
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    let (svg, html) = (
        std::fs::read_to_string(&svg_file).unwrap(),
        std::fs::read_to_string(&html_file).unwrap(),
    );
    std::fs::remove_file(svg_file).unwrap();
    std::fs::remove_file(html_file).unwrap();
    for text in [&svg, &html] {
        // One path for each state, and in it a shape for each cell.
        let cells = |state: &str| -> usize {
            let paths = text
                .split("<path d=\"")
                .skip(1)
                .filter_map(|path| path.split_once("\" class=\""));
            paths
                .filter(|(_, class)| class.starts_with(state))
                .map(|(path, _)| path.matches('z').count())
                .sum()
        };
        assert_eq!(
            [cells("reserved"), cells("committed"), cells("resident")],
            [159, 32, 65],
            "{text}"
        );
        assert!(text.contains("elbowroom sample (named): "), "{text}");
    }
    assert!(
        html.contains("<td class=\"l n\">elbowroom sample</td>"),
        "{html}"
    );
    let outcome = run("map --self --html /no/such/folder/a.html");
    assert_eq!((outcome.status, outcome.stdout.as_str()), (1, ""));
    assert!(
        outcome
            .stderr
            .starts_with("elbowroom: cannot write /no/such/folder/a.html: "),
        "{outcome:?}"
    );
}

#[test]
fn what_cannot_be_looked_at_is_told() {
    for (args, status, part) in [
        ("map", 2, "required"),
        ("map 0", 2, "0 is not in 1.."),
        ("map x", 2, "invalid digit"),
        ("map 1 --self", 2, "cannot be used with"),
        ("map --self --region 0x", 2, "hexadecimal"),
        ("map --self --json --all", 2, "cannot be used with"),
        (
            "map --self --diff /no/such/file",
            1,
            "elbowroom: cannot read /no/such/file",
        ),
    ] {
        let outcome = run(args);
        assert_eq!(
            (outcome.status, outcome.stdout.as_str()),
            (status, ""),
            "{args}"
        );
        assert!(outcome.stderr.contains(part), "{args}: {}", outcome.stderr);
    }
    if !is_known_here() {
        return;
    }
    // Beyond all process numbers of Linux, and not a multiple of four as those of Windows are.
    for (args, part) in [
        (
            "map 4294967293",
            "there is no process 4294967293, or it has just ended",
        ),
        ("map --self --region nope", "no region is called \"nope\""),
        ("map --self --region 0x10", "nothing is mapped at 0x10"),
    ] {
        let outcome = run(args);
        assert_eq!((outcome.status, outcome.stdout.as_str()), (1, ""), "{args}");
        assert!(
            outcome.stderr.starts_with("elbowroom: ") && outcome.stderr.contains(part),
            "{args}: {}",
            outcome.stderr
        );
    }
}

#[cfg(any(target_os = "linux", windows))]
mod other_processes {
    use super::*;

    use elbowroom::{Growth, Region, Reservation, page_size};
    use serde_json::Value;

    /// A region of 64 pages: 8 touched, 4 more committed, reserved ones at both ends.
    fn region_of_this_process() -> Region {
        let page = page_size();
        let region = Region::builder(64 * page)
            .growth(Growth::Pages(1))
            .build()
            .unwrap();
        region.try_fill(16 * page..24 * page, 1).unwrap();
        region.commit(24 * page..28 * page).unwrap();
        region
    }

    /// The sums over the mappings inside a region, which may be part of a larger one where it has no name.
    fn inside(json: &Value, region: &Region, field: &str) -> u64 {
        let (start, len) = (region.as_ptr().addr() as u64, region.len() as u64);
        let within = |mapping: &&Value| {
            let number = |name: &str| mapping[name].as_u64().unwrap();
            start <= number("start") && number("end") <= start + len
        };
        let mappings = json["mappings"].as_array().unwrap();
        mappings
            .iter()
            .filter(within)
            .map(|mapping| mapping[field].as_u64().unwrap())
            .sum()
    }

    #[test]
    fn another_process_is_seen_to_the_page() {
        if !is_known_here() {
            return;
        }
        let region = region_of_this_process();
        let page = page_size() as u64;
        let outcome = run(&format!("map {} --json", std::process::id()));
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
        let json = outcome.json();
        assert_eq!(inside(&json, &region, "committed_bytes"), 12 * page);
        assert_eq!(inside(&json, &region, "charged_bytes"), 12 * page);
        // Wine tells of other processes' pages only that they are there.
        if cfg!(target_os = "linux") {
            assert_eq!(inside(&json, &region, "resident_bytes"), 8 * page);
            assert_eq!(inside(&json, &region, "dirty_bytes"), 8 * page);
        }
    }

    #[test]
    fn what_changes_is_told() {
        if !is_known_here() {
            return;
        }
        let map = |args: &str| run(&format!("map {} {args}", std::process::id()));
        let file = std::env::temp_dir().join(format!("elbowroom-map-{}.json", std::process::id()));
        let page = page_size();
        // Far from all else, or it would be taken for one with its neighbours, which other tests make and release.
        let reservation = Reservation::builder(64 * page)
            .at(0x20_0000_0000)
            .build()
            .unwrap();
        reservation.commit(16 * page..28 * page).unwrap();
        std::fs::write(&file, map("--json").stdout).unwrap();
        reservation.commit(40 * page..42 * page).unwrap();
        let json = map(&format!("--json --diff {}", file.display())).json();
        let text = map(&format!("--diff {}", file.display()));
        std::fs::write(&file, "{}").unwrap();
        let refused = map(&format!("--diff {}", file.display()));
        std::fs::remove_file(&file).unwrap();

        let regions = json["diff"]["regions"].as_array().unwrap();
        let start = reservation.as_ptr().addr() as u64;
        let ours = regions
            .iter()
            .find(|changed| changed["start"] == start)
            .unwrap_or_else(|| panic!("{json}"));
        assert_eq!(
            (ours["what"].as_str(), ours["kind"].as_str()),
            (Some("changed"), Some("reservation")),
            "{ours}"
        );
        assert_eq!(ours["changes"]["reserved_change_bytes"], 0, "{ours}");
        assert_eq!(
            ours["changes"]["committed_change_bytes"],
            2 * page,
            "{ours}"
        );
        assert_eq!(ours["changes"]["charged_change_bytes"], 2 * page, "{ours}");
        assert_eq!((text.status, text.stderr.as_str()), (0, ""));
        let head = format!("process {} ", std::process::id());
        assert!(
            text.stdout.starts_with(&head)
                && text.stdout.contains(": what has changed\n\n        kind "),
            "{text:?}"
        );
        assert_eq!(refused.status, 1);
        assert!(
            refused
                .stderr
                .contains("is not what `elbowroom map --json` writes"),
            "{}",
            refused.stderr
        );
    }
}

#[cfg(target_os = "linux")]
mod linux {
    #![allow(unsafe_code, reason = "geteuid")]

    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    use super::*;
    use common::{Outcome, elbowroom};
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
        // Ended, and not yet waited for: there is a number, and no memory.
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

    /// Only the administrator can become somebody who may not look.
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
}

/// A program may have any name. What would control the display is written as numbers, in every form of the output.
#[cfg(target_os = "linux")]
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

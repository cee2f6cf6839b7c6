//! `elbowroom map`: its figures, compared with known regions and other tools, and its errors.

use crate::common::{self, run};
use elbowroom_testing::is_emulated;

/// Returns whether address spaces can be read on this platform. An emulator's /proc shows parts of the host's.
fn is_known_here() -> bool {
    !is_emulated() && cfg!(any(target_os = "linux", windows))
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
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    let runs = sample["pages"].as_array().unwrap().iter();
    let runs = runs.map(|run| {
        let pages = (number(&run["end"]) - number(&run["start"])) / page;
        (pages, run["state"].as_str().unwrap())
    });
    let expected = [
        (16, "reserved"),
        (64, "resident"),
        (32, "committed"),
        (80, "reserved"),
        (1, "resident"),
        (63, "reserved"),
    ];
    assert_eq!(runs.collect::<Vec<_>>(), expected);

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

    /// Returns a region of 64 pages: 8 touched, 4 more committed, and reserved ones at both ends.
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

    /// Returns the sum over the mappings inside a region, which may be part of a larger one if it has no name.
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
        // Wine reports no details of other processes' pages.
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
        // It must be far from other memory: the snapshot would merge it with neighbours that other tests make and
        // release.
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
mod linux;

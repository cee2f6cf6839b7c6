//! Screens of models.

use super::figures::{histogram, part_of};
use super::*;
use crate::watch::look::{Bucket, BudgetLook, Ended, Latency};
use crate::watch::model::tests::{fault, model, seed};
use elbowroom::fault::Outcome;
use std::time::Duration;

/// Returns the lines of the screen.
fn screen(model: &Model, ink: Ink, columns: u16, rows: u16) -> Vec<String> {
    let mut buffer = Buffer::empty(Rect::new(0, 0, columns, rows));
    draw(model, ink, buffer.area, &mut buffer);
    crate::watch::rows(&buffer)
}

/// Returns whether pages have 4 KiB. The page size is that of the machine.
fn is_4_kib() -> bool {
    elbowroom::page_size() == 4096
}

#[test]
fn the_seed_in_the_smallest_usual_terminal() {
    if !is_4_kib() {
        return;
    }
    let (mut model, now) = model();
    model.see(
        seed(34),
        [fault(now + Duration::from_millis(7120), 33)],
        0,
        now,
    );
    let lines = screen(&model, Ink::UNICODE, 80, 24);
    let expected = r#"
elbowroom watch  seed: 80 pages, one after the other                    RUNNING
growth 1 page, no commit limit, protection
┌ region "seed", 320 KiB reserved ──────────────────── a cell: a page of 4 KiB ┐
│      0 ███ ███ ███ ███ ███ ███ ███ ███ ███ ███ ███ ███ ███ ███ ███ ███       │
│     16 ███ ███ ███ ███ ███ ███ ███ ███ ███ ███ ███ ███ ███ ███ ███ ███       │
│     32 ███ ◆◆◆ ··· ··· ··· ··· ··· ··· ··· ··· ··· ··· ··· ··· ··· ···       │
│     48 ··· ··· ··· ··· ··· ··· ··· ··· ··· ··· ··· ··· ··· ··· ··· ···       │
│     64 ··· ··· ··· ··· ··· ··· ··· ··· ··· ··· ··· ··· ··· ··· ··· ···       │
│                                                                              │
│                                                                              │
│                                                                              │
└ · reserved 46  ▒ committed 0  █ resident 34  ◆ latest fault ─────────────────┘
┌ memory ─────────────────────────┐┌ how long faults take ─────────────────────┐
│ committed ██▉░░░░ 136 of 320 KiB││           count  1µs  1ms  median    99 % │
│ resident  ██▉░░░░ 136 of 320 KiB││                  ██                       │
│ window    1 page (most: 1)      ││                  ██                       │
│ faults    34                    ││ committed    34  ██        3.1 µs   12 µs │
└─────────────────────────────────┘└───────────────────────────────────────────┘
┌ what happened, the latest first ─────────────────────────────────────────────┐
│    7.12s  seed page 33     committed 1 page     3.4 µs  thread 7             │
│                                                                              │
└──────────────────────────────────────────────────────────────────────────────┘

q quit  ? help  space pause  s step  g growth  l limit  w workload  +/- speed"#;
    for (line, expected) in lines.iter().zip(expected.trim_start_matches('\n').lines()) {
        assert_eq!(line.trim_end(), expected.trim_end(), "{lines:#?}");
    }
}

fn budgets() -> (Model, Vec<Ended>) {
    let (mut model, now) = model();
    let mut look = seed(20);
    for name in ["beta", "gamma"] {
        let mut region = look.regions[0].clone();
        (region.name, region.address) = (name, region.address + (1 << 30));
        look.regions.push(region);
    }
    look.regions[0].name = "alpha";
    let budget = |(depth, name)| BudgetLook {
        name,
        depth,
        committed_bytes: 80 << 10,
        limit_bytes: 640 << 10,
    };
    look.budgets = ["machine", "team", "alpha"]
        .into_iter()
        .enumerate()
        .map(budget)
        .collect();
    let bucket = |below_ns| Bucket { below_ns, count: 1 };
    for outcome in Outcome::ALL.iter().skip(1) {
        let buckets = vec![bucket(200), bucket(20_000_000_000)];
        look.latencies.push(Latency {
            outcome: outcome.name(),
            count: 2,
            buckets,
        });
    }
    let ended = |worker: &'static str, by: &str| Ended {
        worker,
        refused: Some(format!("by budget {by}")),
    };
    look.ended = vec![
        ended("alpha", "alpha"),
        ended("beta", "team"),
        ended("gamma", "machine"),
    ];
    look.workers = 3;
    let ended = look.ended.clone();
    model.see(look, [], 0, now);
    (model, ended)
}

#[test]
fn budgets_and_all_outcomes_have_room() {
    let (model, ended) = budgets();
    for (columns, rows) in [(80, 24), (160, 48)] {
        let lines = screen(&model, Ink::UNICODE, columns, rows);
        let text = lines.join("\n");
        for outcome in Outcome::ALL {
            assert!(text.contains(&format!("│ {:<9}", outcome.name())), "{text}");
        }
        for name in [
            "│ machine   ",
            "│  team     ",
            "│   alpha   ",
            "│ alpha  ",
            "│ beta   ",
            "│ gamma  ",
            "20 s",
        ] {
            assert!(text.contains(name), "{name}: {text}");
        }
        assert!(lines[0].contains(" ENDED "), "{text}");
        let status = "refused: alpha by budget alpha, beta by budget team, gamma by budget machine";
        assert_eq!(lines[usize::from(rows) - 2].trim_end(), status);
        let last = ended.last().unwrap();
        assert!(
            text.contains(&format!("{} was refused by budget machine", last.worker)),
            "{text}"
        );
    }
}

/// The frames are whole, and nothing but Ink::ASCII comes to a terminal that has no more.
#[test]
fn nothing_is_cut_and_ascii_is_ascii() {
    let (ending, _) = budgets();
    let (mut running, now) = model();
    running.see(seed(3), [fault(now, 2)], 0, now);
    let (mut helping, _) = model();
    helping.is_helping = true;
    for model in [&running, &ending, &helping] {
        for (columns, rows) in [LEAST, (80, 24), (100, 30), (160, 48), (300, 90)] {
            let text = screen(model, Ink::ASCII, columns, rows).join("\n");
            assert!(text.is_ascii(), "{text}");
            assert!(columns < 80 || !text.contains('~'), "{text}");
            // Two for each row of boxes; the help hides some, and what happened has no room in the least.
            let edges = text
                .lines()
                .filter(|line| line.starts_with('+') && line.ends_with('+'))
                .count();
            let has_log = text.contains(" what happened");
            let expected = if has_log && columns < WIDE { 6 } else { 4 };
            assert!(edges == expected || model.is_helping, "{text}");
            assert!(has_log || model.is_helping || rows == LEAST.1, "{text}");
            let unicode = screen(model, Ink::UNICODE, columns, rows).join("\n");
            let of = |symbol| unicode.matches(symbol).count();
            if !model.is_helping {
                let boxes = 3 + usize::from(has_log);
                assert_eq!(
                    [of("┌"), of("┐"), of("└"), of("┘")],
                    [boxes; 4],
                    "{unicode}"
                );
            }
        }
    }
}

/// In the least terminal too, every region has its pages, and no figure is cut.
#[test]
fn the_least_terminal_has_what_matters() {
    if !is_4_kib() {
        return;
    }
    let (mut ending, _) = budgets();
    ending.look.latencies.truncate(2);
    let lines = screen(&ending, Ink::UNICODE, LEAST.0, LEAST.1);
    let text = lines.join("\n");
    for name in ["alpha", "beta", "gamma"] {
        let line = lines
            .iter()
            .find(|line| line.starts_with(&format!("│ {name} ")));
        assert!(
            line.is_some_and(|line| line.contains('█')),
            "{name}: {text}"
        );
    }
    assert!(text.contains("count   median "), "{text}");
    let (mut running, now) = model();
    running.see(seed(3), [fault(now, 2)], 0, now);
    let lines = screen(&running, Ink::UNICODE, LEAST.0, LEAST.1);
    let text = lines.join("\n");
    assert!(text.contains("committed 1 page     3.4 µs"), "{text}");
    assert!(
        text.contains("l limit\n") || text.contains("l limit  "),
        "{text}"
    );
    assert!(
        !text.contains("w w") && !text.lines().skip(1).any(|line| line.contains('…')),
        "{text}"
    );
}

/// A large terminal is used: hardly a line is empty, and cells and diagrams are as wide as there is room for.
#[test]
fn a_large_terminal_is_used() {
    if !is_4_kib() {
        return;
    }
    let (mut model, now) = model();
    for step in 0..40 {
        let at = now + Duration::from_secs(step);
        model.see(seed(2 * step), [fault(at, step)], 0, at);
    }
    let lines = screen(&model, Ink::UNICODE, 200, 50);
    let text = lines.join("\n");
    let is_empty = |line: &&String| line.trim_matches(['│', ' ']).is_empty();
    assert!(lines.iter().filter(is_empty).count() <= 12, "{text}");
    let used = |line: &String| line.trim_end_matches(['│', ' ']).chars().count();
    let cells = lines.iter().find(|line| line.contains("0 ███")).unwrap();
    assert!(used(cells) > 180, "{text}");
    // All three boxes stand side by side.
    let boxes = lines
        .iter()
        .find(|line| line.contains(" how long faults take "))
        .unwrap();
    assert!(
        boxes.contains(" memory ") && boxes.contains(" what happened, "),
        "{text}"
    );
    // The scale has two columns for each power of two: 20 between 1 µs and 1 ms.
    let scale = lines.iter().find(|line| line.contains("1ms")).unwrap();
    let at = |text: &str| scale.chars().count() - scale.split(text).nth(1).unwrap().chars().count();
    assert_eq!(at("1ms") - at("1µs"), 20, "{text}");
}

#[test]
fn help_names_every_key() {
    let (mut model, _) = model();
    model.is_helping = true;
    let text = screen(&model, Ink::UNICODE, 80, 24).join("\n");
    for (key, what) in keys::WORKLOAD {
        assert!(text.contains(key) && text.contains(what), "{text}");
    }
    assert!(text.contains("press any key to continue"));
}

#[test]
fn a_terminal_that_is_too_small_is_told_so() {
    let (model, _) = model();
    assert!(screen(&model, Ink::UNICODE, 59, 24)[0].contains("60 by 18 characters are needed"));
    // And nothing panics.
    for (columns, rows) in [(1, 1), (3, 2), (200, 1), (1, 200)] {
        screen(&model, Ink::UNICODE, columns, rows);
    }
}

#[test]
fn histograms_keep_everything() {
    let bucket = |below_ns, count| Bucket { below_ns, count };
    let buckets = vec![
        bucket(1, 1),
        bucket(512, 2),
        bucket(1024, 3),
        bucket(1280, 4),
        bucket(u64::MAX, 5),
    ];
    let latency = Latency {
        outcome: "committed",
        count: 15,
        buckets,
    };
    assert_eq!(histogram(&latency, 9), [6, 4, 0, 0, 0, 0, 0, 0, 5]);
    let wide = histogram(&latency, 18);
    assert_eq!((wide[0], wide[1], wide[2], wide[17]), (3, 3, 4, 5));
    let finest = histogram(&latency, 72);
    assert_eq!(
        (finest[0], finest[3], finest[7], finest[8], finest[71]),
        (1, 2, 3, 4, 5)
    );
}

#[test]
fn parts_share_a_unit_if_they_can() {
    assert_eq!(
        [part_of(60 << 10, 320 << 10), part_of(4096, 1 << 20)],
        ["60 of 320 KiB", "4 KiB of 1 MiB"]
    );
}

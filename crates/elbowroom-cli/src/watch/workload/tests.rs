//! Keys, models and their screens.

use std::time::{Duration, Instant};

use elbowroom::Growth;
use elbowroom::fault::{Histogram, Outcome};
use elbowroom_map::{Run, State};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::figures::{histogram, part_of};
use super::model::{Entry, LOG};
use super::*;
use crate::args::Means;
use crate::watch::ink::Ink;
use crate::watch::scene::{self, LEAST};

fn settings(workload: Workload) -> Settings {
    Settings::new(workload, Means::Protection)
}

/// Returns a workload that has ended.
fn ended(workload: Workload) -> Model {
    let mut running = Running::new(settings(workload), false, HURRY).unwrap();
    running.stage.wait();
    running.model.speed = 0;
    running.tick(running.model.began);
    running.model
}

fn page() -> u64 {
    elbowroom::page_size() as u64
}

/// Returns a model that has only this look.
fn model(workload: Workload, look: Look) -> Model {
    let now = Instant::now();
    let mut model = Model::new(settings(workload), false, 0, now);
    model.see(look, [], 0, now);
    model
}

/// Returns the workload of Microsoft's program after 34 faults.
fn seed() -> Model {
    let mut look = ended(Workload::Seed).look;
    look.ended.clear();
    let region = &mut look.regions[0];
    let state = [(0, 34, State::Resident), (34, 80, State::Reserved)];
    let runs = state.map(|(start, end, state)| Run::new(start * page(), end * page(), state));
    region.pages = runs.to_vec();
    (region.committed_bytes, region.resident_bytes) = (34 * page(), Some(34 * page()));
    region.faults = 34;
    let latency = &mut look.latencies[0];
    latency.times = Histogram::default();
    for at in 0..34 {
        let nanoseconds = if at % 2 == 0 { 3000 } else { 12_000 };
        latency.times.add(Duration::from_nanos(nanoseconds));
    }
    let mut model = model(Workload::Seed, look.clone());
    let fault = fault(&model, model.began + Duration::from_millis(7120), 33);
    model.see(look, [fault], 0, model.began);
    model
}

fn fault(model: &Model, at: Instant, number: u64) -> Fault {
    Fault {
        at,
        duration: Duration::from_nanos(3400),
        thread: 7,
        region: model.look.regions[0].address,
        offset: number * page(),
        outcome: Outcome::Committed,
        committed_bytes: page(),
    }
}

/// Returns three workers that were refused by three budgets, and all outcomes.
fn budgets() -> Model {
    let mut look = ended(Workload::Budget).look;
    for region in &mut look.regions {
        region.pages = vec![Run::new(0, region.reserved_bytes, State::Resident)];
    }
    look.latencies
        .resize(Outcome::ALL.len(), look.latencies[0].clone());
    for (latency, outcome) in look.latencies.iter_mut().zip(Outcome::ALL) {
        latency.outcome = outcome.name();
    }
    let budgets = [("alpha", "alpha"), ("beta", "team"), ("gamma", "machine")];
    for (ended, (worker, budget)) in look.ended.iter_mut().zip(budgets) {
        ended.worker = worker.to_owned();
        ended.refused = Some(format!("by budget {budget}"));
    }
    model(Workload::Budget, look)
}

/// Returns the lines of the screen.
fn screen(model: &Model, ink: Ink, (columns, rows): (u16, u16)) -> Vec<String> {
    let mut buffer = Buffer::empty(Rect::new(0, 0, columns, rows));
    scene::draw(model, false, ink, buffer.area, &mut buffer);
    crate::watch::rows(&buffer)
}

/// Asserts that a text has these parts, which semicolons separate.
#[track_caller]
fn assert_has(text: &str, parts: &str) {
    for part in parts.split(';') {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn the_seed_in_the_smallest_usual_terminal() {
    if page() != 4096 {
        return;
    }
    let lines = screen(&seed(), Ink::UNICODE, (80, 24));
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
│ window    1 page, most 1        ││                  ██                       │
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

/// All regions, figures and outcomes have room, also in the least terminal.
#[test]
fn every_size_has_the_figures() {
    let (budgets, paged, seed) = (budgets(), ended(Workload::Paged), seed());
    for size in [(160, 48), (80, 24), LEAST] {
        let text = |model| screen(model, Ink::UNICODE, size).join("\n");
        let has_log = |text: &str, part: &str| {
            assert_eq!(text.contains(part), size != LEAST, "{part}: {text}");
        };
        let budgets = text(&budgets);
        let outcomes = Outcome::ALL.map(|outcome| format!("│ {:<9}", outcome.name()));
        assert_has(&budgets, &outcomes.join(";"));
        assert_has(
            &budgets,
            "│ machine   ;│  team     ;│   alpha   ;window    ;faults    ",
        );
        assert_has(
            &budgets,
            "│ alpha  ██;│ beta   ██;│ gamma  ██; ENDED ;count ;median ; 99 % ",
        );
        assert_has(
            &budgets,
            "\nrefused: alpha by budget alpha, beta by budget team, gamma",
        );
        // The units of two figures of the title and of the three budgets.
        assert!(budgets.matches("iB").count() >= 5, "{budgets}");
        has_log(&budgets, "gamma was refused by budget machine");

        let paged = text(&paged);
        assert_has(
            &paged,
            "resident limit 4 MiB of a file of 32 MiB, pages of 64 KiB",
        );
        assert_has(
            &paged,
            "array, 32 MiB reserved;· reserved 4;resident  ; of 4 MiB;dirty ",
        );
        assert_has(
            &paged,
            "in flight ;read ;written ;evictions ;hits ;misses ;stalled ",
        );
        has_log(&paged, " written, ");

        let seed = text(&seed);
        assert_has(
            &seed,
            "committed 1 page     3.4 µs;1 page, most 1;l limit;34",
        );
        let is_cut = seed.lines().skip(1).any(|line| line.contains('…'));
        assert!(!is_cut, "{seed}");
    }
}

/// The frames are whole, and a terminal that shows nothing else gets only ASCII.
#[test]
fn frames_are_whole_and_ascii_is_ascii() {
    for model in [&seed(), &budgets(), &ended(Workload::Paged)] {
        for size in [LEAST, (80, 24), (100, 30), (160, 48), (300, 90)] {
            let ascii = screen(model, Ink::ASCII, size).join("\n");
            assert!(ascii.is_ascii(), "{ascii}");
            assert!(size == LEAST || !ascii.contains('~'), "{ascii}");
            let text = screen(model, Ink::UNICODE, size).join("\n");
            let boxes = ["┌", "┐", "└", "┘"].map(|corner| text.matches(corner).count());
            // The log has no room in the least terminal.
            let has_log = text.contains("┌ what happened");
            assert!(has_log || size == LEAST, "{text}");
            assert_eq!(boxes, [3 + usize::from(has_log); 4], "{text}");
        }
    }
}

/// A large terminal is used: hardly a line is empty, and cells and diagrams are as wide as there is room for.
#[test]
fn a_large_terminal_is_used() {
    if page() != 4096 {
        return;
    }
    let mut model = seed();
    for step in 0..40 {
        let at = model.began + Duration::from_secs(step);
        let fault = fault(&model, at, step);
        model.see(model.look.clone(), [fault], 0, at);
    }
    let lines = screen(&model, Ink::UNICODE, (200, 50));
    let text = lines.join("\n");
    let trimmed = |line: &String| line.trim_matches(['│', ' ']).chars().count();
    assert!(
        lines.iter().filter(|line| trimmed(line) == 0).count() <= 12,
        "{text}"
    );
    let line = |part: &str| lines.iter().find(|line| line.contains(part)).unwrap();
    assert!(trimmed(line("0 ███")) > 170, "{text}");
    // All three boxes stand side by side.
    assert_has(line(" how long faults take "), " memory ; what happened, ");
    // The scale has two columns for each power of two: 20 between 1 µs and 1 ms.
    let scale = line("1ms").split("1ms").next().unwrap();
    let between = scale.split("1µs").nth(1).unwrap();
    assert_eq!(
        "1µs".chars().count() + between.chars().count(),
        20,
        "{text}"
    );
}

#[test]
fn the_help_and_the_message_of_a_small_terminal() {
    let model = seed();
    let mut buffer = Buffer::empty(Rect::new(0, 0, LEAST.0, LEAST.1));
    scene::draw(&model, true, Ink::UNICODE, buffer.area, &mut buffer);
    let text = crate::watch::rows(&buffer).join("\n");
    for line in model.frame().help.lines() {
        assert_has(&text, &format!("│ {line} ;press any key to continue"));
    }
    let text = screen(&model, Ink::UNICODE, (59, 24)).join("\n");
    assert_has(&text, "60 by 18 characters are needed");
    // Nothing panics.
    for size in [(1, 1), (3, 2), (200, 1), (1, 200)] {
        screen(&model, Ink::UNICODE, size);
    }
}

#[test]
fn histograms_have_all_values() {
    let mut latency = seed().look.latencies.remove(0);
    latency.times = Histogram::default();
    for (nanoseconds, count) in [(0, 1), (511, 2), (1023, 3), (1279, 4), (u64::MAX, 5)] {
        (0..count).for_each(|_| latency.times.add(Duration::from_nanos(nanoseconds)));
    }
    assert_eq!(histogram(&latency, 9), [6, 4, 0, 0, 0, 0, 0, 0, 5]);
    let wide = histogram(&latency, 18);
    assert_eq!([0, 1, 2, 17].map(|at| wide[at]), [3, 3, 4, 5]);
    let finest = histogram(&latency, 72);
    assert_eq!([0, 3, 7, 8, 71].map(|at| finest[at]), [1, 2, 3, 4, 5]);
    assert_eq!(part_of(60 << 10, 320 << 10), "60 of 320 KiB");
    assert_eq!(part_of(4096, 1 << 20), "4 KiB of 1 MiB");
    assert_eq!(part_of(544 << 10, 1280 << 10), "0.5 of 1.3 MiB");
    assert_eq!(part_of(1023 << 10, 1 << 20), "1 of 1 MiB");
    assert_eq!(part_of(0, 1 << 20), "0 B of 1 MiB");
    assert_eq!(part_of(0, 0), "0 of 0 B");
}

#[test]
fn rates_are_of_the_last_second() {
    let mut model = Model::new(settings(Workload::Seed), false, 0, Instant::now());
    assert_eq!(model.rate(), None);
    let mut look = seed().look;
    for tick in 0..40 {
        // A fault each 25 ms, from the start of the third second on.
        look.regions[0].faults = 4 * u64::saturating_sub(tick, 20);
        let at = model.began + Duration::from_millis(100 * tick);
        model.see(look.clone(), [], 0, at);
    }
    let rate = model.rate().unwrap();
    assert!((rate - 40.0).abs() < 1.0, "{rate}");
    assert!(
        model.rates().ends_with(&[12, 12, 12, 12]),
        "{:?}",
        model.rates()
    );
}

#[test]
fn events_are_windows_and_the_latest_touch() {
    let mut model = seed();
    let now = model.began;
    let mut faults = [0, 33, 60, 50].map(|number| fault(&model, now, number));
    faults[0].committed_bytes = 16 * page();
    (faults[1].committed_bytes, faults[1].outcome) = (0, Outcome::Limited);
    // Not of these regions, and of the same address before they were there.
    faults[2].region = 1;
    faults[3].at -= Duration::from_secs(1);
    let limited = Entry::Fault(faults[1].clone());
    model.see(model.look.clone(), faults, 3, now);
    let windows = (model.window_bytes, model.largest_window_bytes);
    assert_eq!(windows, (Some(16 * page()), 16 * page()));
    assert_eq!(model.latest, Some((0, 33 * page())));
    assert_eq!(model.log.back(), Some(&limited));
    assert_eq!(model.status(), "3 faults came too fast to be listed");
    let many = (0..1000).map(|number| fault(&model, now, number % 80));
    let many: Vec<Fault> = many.collect();
    model.see(model.look.clone(), many, 0, now);
    assert_eq!((model.log.len(), model.window_bytes), (LOG, Some(page())));
}

/// Presses keys, and returns the state, the status and the settings after each.
fn press(running: &mut Running, keys: &str) -> Vec<(&'static str, String, Settings)> {
    let after = keys.chars().map(|key| {
        running.press(KeyCode::Char(key), running.model.began);
        let frame = running.model.frame();
        (frame.state, frame.status, running.model.settings)
    });
    after.collect()
}

#[test]
fn keys_pause_and_step_until_the_end() {
    let mut running = Running::new(settings(Workload::Seed), true, 0).unwrap();
    let states: Vec<_> = press(&mut running, "   s")
        .iter()
        .map(|after| after.0)
        .collect();
    assert_eq!(states, ["RUNNING", "PAUSED", "RUNNING", "PAUSED"]);
    press(&mut running, "+--");
    assert_eq!(running.model.speed, -1);
    press(&mut running, &"+".repeat(20));
    assert_eq!(running.model.speed, *SPEEDS.end());
    press(&mut running, " ");
    running.stage.wait();
    running.tick(running.model.began);
    assert_eq!(running.model.status(), "all touches are done");
    let (state, status, _) = press(&mut running, "s").remove(0);
    assert_eq!(
        (state, status.as_str()),
        ("ENDED", "no touches are left; r restarts")
    );
    let (state, status, _) = press(&mut running, " r").remove(1);
    assert_eq!((state, status.as_str()), ("PAUSED", "restarted"));
    assert_eq!(running.model.look.sum(|region| region.committed_bytes), 0);
}

#[test]
fn growth_limit_and_workload_need_new_regions_and_the_status_says_so() {
    let mut running = Running::new(settings(Workload::Threads), true, 0).unwrap();
    let after = press(&mut running, "glwgl");
    let statuses = [
        "growth 1 page: new regions were made, as growth stays",
        "commit limit half of it: new regions were made, as limits stay",
        "",
        "an array has no growth",
        "resident limit 2 MiB: a new array was made, as limits stay",
    ];
    assert!(
        after.iter().map(|after| after.1.as_str()).eq(statuses),
        "{after:?}"
    );
    assert_eq!((after[1].2.growth, after[1].2.limit), (Growth::Pages(1), 2));
    assert_eq!(after[3].2, settings(Workload::Paged));
    let array = running.model.look.array.unwrap();
    assert_eq!(array.limit_bytes, 2 << 20);
}

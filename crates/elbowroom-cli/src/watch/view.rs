//! A workload on the screen: a function of the model.

use elbowroom_map::State;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Padding, Paragraph, Widget};

use super::format::{count, cut, grouped, time};
use super::ink::Ink;
use super::keys;
use super::look::Latency;
use super::model::{Entry, Fault, Model};
use super::pages::{Pages, Strip};
use super::workload::growth_words;
use crate::size::human;

/// Smaller terminals are told so.
pub(super) const LEAST: (u16, u16) = (60, 18);

/// The columns of the box with figures, at least.
const LEAST_FIGURES: u16 = 30;

/// The whole screen.
pub(super) fn draw(model: &Model, ink: Ink, area: Rect, buffer: &mut Buffer) {
    if is_too_small(area, buffer) {
        return;
    }
    let [header, body, footer] =
        Layout::vertical([Constraint::Length(2), Constraint::Min(0), Constraint::Length(2)]).areas(area);
    draw_header(model, ink, header, buffer);
    draw_body(model, ink, body, buffer);
    draw_footer(&model.status(), KEYS, ink, footer, buffer);
    if model.is_helping {
        draw_help(&keys::WORKLOAD, ink, area, buffer);
    }
}

/// What is worth printing where there are no keys: the header and what lies between.
pub(super) fn draw_once(model: &Model, ink: Ink, area: Rect, buffer: &mut Buffer) {
    let [header, body, footer] =
        Layout::vertical([Constraint::Length(2), Constraint::Min(0), Constraint::Length(1)]).areas(area);
    draw_header(model, ink, header, buffer);
    draw_body(model, ink, body, buffer);
    draw_footer(&model.status(), "", ink, footer, buffer);
}

const KEYS: &str = "q quit  ? help  space pause  s step  g growth  l limit  w workload  +/- speed";

/// Whether nothing can be shown, which is then said.
pub(super) fn is_too_small(area: Rect, buffer: &mut Buffer) -> bool {
    let is_too_small = area.width < LEAST.0 || area.height < LEAST.1;
    if is_too_small {
        let text = format!("{} by {} characters are needed; q quits", LEAST.0, LEAST.1);
        Paragraph::new(text).render(area, buffer);
    }
    is_too_small
}

pub(super) fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

/// What is going on, and on the right whether it goes on.
pub(super) fn draw_title(title: &str, state: &str, ink: Ink, area: Rect, buffer: &mut Buffer) {
    let colour = match state {
        "RUNNING" | "FOLLOWING" => Color::Cyan,
        "PAUSED" => Color::Yellow,
        _ => Color::Magenta,
    };
    let room = usize::from(area.width).saturating_sub(state.len() + 2);
    Line::styled(cut(title, room, ink.is_unicode), bold()).render(area, buffer);
    let style = ink.colour(colour).add_modifier(Modifier::BOLD | Modifier::REVERSED);
    Line::styled(format!(" {state} "), style).right_aligned().render(area, buffer);
}

fn draw_header(model: &Model, ink: Ink, area: Rect, buffer: &mut Buffer) {
    let [title, settings] = Layout::vertical([Constraint::Length(1); 2]).areas(area);
    let workload = model.settings.workload;
    draw_title(
        &format!("elbowroom watch  {}: {}", workload.name(), workload.title()),
        model.state(),
        ink,
        title,
        buffer,
    );
    let backend = model.look.regions.first().map_or("", |region| region.backend.as_str());
    let speed = match model.speed {
        0 => String::new(),
        1.. => format!(", {} times as fast", 1u64 << model.speed),
        _ => format!(", {} times as slow", 1u64 << -model.speed),
    };
    let text = format!("{}, {}, {backend}{speed}", growth_words(model.settings.growth), model.settings.limit.words());
    Line::raw(cut(&text, usize::from(area.width), ink.is_unicode)).render(settings, buffer);
}

pub(super) fn draw_footer(status: &str, keys: &str, ink: Ink, area: Rect, buffer: &mut Buffer) {
    let columns = usize::from(area.width);
    let status_line = Rect { height: 1.min(area.height), ..area };
    Line::styled(cut(status, columns, ink.is_unicode), bold()).render(status_line, buffer);
    if area.height > 1 {
        let keys_line = Rect { y: area.y + 1, height: 1, ..area };
        Line::raw(cut(keys, columns, ink.is_unicode)).render(keys_line, buffer);
    }
}

pub(super) fn draw_help(keys: &[(&str, &str)], ink: Ink, area: Rect, buffer: &mut Buffer) {
    let width = 66.min(area.width);
    let height = (keys.len() as u16 + 4).min(area.height);
    let window = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(window, buffer);
    let mut lines: Vec<Line<'_>> = keys.iter().map(|(key, what)| Line::raw(format!(" {key:<10}{what}"))).collect();
    lines.push(Line::raw(""));
    lines.push(Line::raw(" any key goes on"));
    Paragraph::new(lines).block(ink.block(Line::styled(" keys ", bold()))).render(window, buffer);
}

fn draw_body(model: &Model, ink: Ink, area: Rect, buffer: &mut Buffer) {
    let middle = figure_lines(model).max(model.look.latencies.len() as u16 + 1) + 2;
    let log = if area.height > 30 { area.height / 4 } else { 4 };
    let [pages, middle, log] =
        Layout::vertical([Constraint::Min(3), Constraint::Length(middle), Constraint::Length(log)]).areas(area);
    let strips = model.look.regions.iter().enumerate().map(|(at, region)| Strip {
        name: region.name,
        runs: &region.pages,
        latest: model.latest.filter(|latest| latest.0 == at && latest.1 < region.reserved_bytes).map(|latest| latest.1),
    });
    let title = match &model.look.regions[..] {
        [region] => format!("region {:?}, {} reserved", region.name, human(region.reserved_bytes)),
        regions => format!("{} regions, {} reserved", regions.len(), human(model.look.reserved_bytes())),
    };
    let page_size_bytes = elbowroom::page_size() as u64;
    let knows_resident = model.look.resident_bytes().is_some();
    Pages { title, strips: strips.collect(), page_size_bytes, knows_resident, ink }.render(pages, buffer);

    // What the right one has to have, and what it can use.
    let right = if area.width >= 110 { area.width / 2 } else { 45.min(area.width - LEAST_FIGURES) };
    let [figures, latencies] = Layout::horizontal([Constraint::Min(0), Constraint::Length(right)]).areas(middle);
    draw_figures(model, ink, figures, buffer);
    draw_latencies(&model.look.latencies, ink, latencies, buffer);
    draw_log(model, ink, log, buffer);
}

/// The lines that [`draw_figures`] needs.
fn figure_lines(model: &Model) -> u16 {
    match model.look.budgets.len() {
        0 => 4,
        budgets => budgets as u16 + 2,
    }
}

/// `60 of 320 KiB`.
fn part_of(part: u64, whole: u64) -> String {
    let (whole_text, part_text) = (human(whole).to_string(), human(part).to_string());
    match (part_text.split_once(' '), whole_text.split_once(' ')) {
        (Some((number, unit)), Some((_, unit_of_whole))) if unit == unit_of_whole => {
            format!("{number} of {whole_text}")
        }
        _ => format!("{part_text} of {whole_text}"),
    }
}

/// A label, a bar, and its figures.
fn bar_line(label: &str, part: u64, whole: u64, style: Style, ink: Ink, columns: usize) -> Line<'static> {
    let text = part_of(part, whole);
    // As long as the others, if their text is as long as usual.
    let bar = columns.saturating_sub(10 + 1 + text.len().max(14));
    Line::from(vec![
        Span::raw(format!("{label:<10}")),
        Span::styled(ink.bar(part, whole, bar), style),
        Span::raw(format!(" {text}")),
    ])
}

fn draw_figures(model: &Model, ink: Ink, area: Rect, buffer: &mut Buffer) {
    let look = &model.look;
    let columns = usize::from(area.width.saturating_sub(3));
    let committed_style = ink.style(State::Committed);
    let resident_style = ink.style(State::Resident);
    let mut lines = Vec::new();
    for budget in &look.budgets {
        let label = format!("{}{}", " ".repeat(budget.depth), budget.name);
        lines.push(bar_line(&label, budget.committed_bytes, budget.limit_bytes, committed_style, ink, columns));
    }
    if look.budgets.is_empty() {
        let (committed, limit) = (look.committed_bytes(), look.commit_limit_bytes());
        lines.push(bar_line("committed", committed, limit, committed_style, ink, columns));
        lines.push(match look.resident_bytes() {
            Some(resident) => bar_line("resident", resident, limit, resident_style, ink, columns),
            None => Line::raw("resident  not told by the system"),
        });
    }
    let mut faults = format!("{:<10}{}", "faults", grouped(look.faults()));
    let rates = model.rates(columns);
    if !rates.is_empty() {
        faults += &format!(", {:.0}/s ", model.rate());
    }
    let room = columns.saturating_sub(faults.len());
    let sparks = ink.sparks(&rates[rates.len().saturating_sub(room)..]);
    lines.push(Line::from(vec![Span::raw(faults), Span::styled(sparks, ink.colour(Color::Cyan))]));
    let pages = |bytes: u64| bytes / elbowroom::page_size() as u64;
    lines.push(Line::raw(match model.window_bytes {
        Some(bytes) => {
            let most = grouped(pages(model.largest_window_bytes));
            format!("{:<10}{} (most: {most})", "window", count(pages(bytes), "page"))
        }
        None => format!("{:<10}none yet", "window"),
    }));
    let title = if look.budgets.is_empty() { " memory " } else { " budgets " };
    let block = ink.block(Line::styled(title, bold())).padding(Padding::left(1));
    Paragraph::new(lines).block(block).render(area, buffer);
}

/// The columns of a histogram, from 256 ns on, each so many powers of two wide.
fn histogram(latency: &Latency, columns: usize, powers: u32) -> Vec<u64> {
    let mut sums = vec![0; columns];
    for bucket in &latency.buckets {
        // What is in it is shorter than `below_ns`.
        let column = (bucket.below_ns.saturating_sub(1) / 256).max(1).ilog2() / powers;
        if let Some(sum) = sums.get_mut((column as usize).min(columns - 1)) {
            *sum += bucket.count;
        }
    }
    sums
}

fn draw_latencies(latencies: &[Latency], ink: Ink, area: Rect, buffer: &mut Buffer) {
    let is_wide = area.width >= 54;
    let (columns, powers) = if is_wide { (18, 1) } else { (9, 2) };
    let scale = match (is_wide, ink.is_unicode) {
        (false, true) => " 1µs  1ms",
        (false, false) => " 1us  1ms",
        (true, true) => "  1µs       1ms   ",
        (true, false) => "  1us       1ms   ",
    };
    let mut lines = vec![Line::styled(format!("{:<9}{:>6} {scale}{:>8}{:>8}", "", "count", "median", "99 %"), bold())];
    for latency in latencies {
        let sparks = ink.sparks(&histogram(latency, columns, powers));
        lines.push(Line::from(vec![
            Span::raw(format!("{:<9}{:>6} ", latency.outcome, grouped(latency.count))),
            Span::styled(sparks, ink.colour(Color::Cyan)),
            Span::raw(format!(
                "{:>8}{:>8}",
                time(latency.percentile(0.5), ink.is_unicode),
                time(latency.percentile(0.99), ink.is_unicode)
            )),
        ]));
    }
    if latencies.is_empty() {
        lines.push(Line::raw("no fault yet"));
    }
    let block = ink.block(Line::styled(" how long faults take ", bold()));
    let block = block.padding(Padding::horizontal(1));
    Paragraph::new(lines).block(block).render(area, buffer);
}

fn draw_log(model: &Model, ink: Ink, area: Rect, buffer: &mut Buffer) {
    let rows = usize::from(area.height.saturating_sub(2));
    let columns = usize::from(area.width.saturating_sub(4));
    let line = |entry: &Entry| match entry {
        Entry::Fault(fault) => Line::raw(cut(&fault_line(model, fault, ink), columns, ink.is_unicode)),
        Entry::Ended(ended) => {
            let text = match &ended.refused {
                Some(why) => format!("{:>8}  {} was refused {why}, and has ended", "", ended.worker),
                None => format!("{:>8}  {} has ended: all its touches are done", "", ended.worker),
            };
            Line::styled(cut(&text, columns, ink.is_unicode), bold())
        }
    };
    // The latest first.
    let lines: Vec<Line<'_>> = model.log.iter().rev().take(rows).map(line).collect();
    let block = ink.block(Line::styled(" what happened, the latest first ", bold()));
    let block = block.padding(Padding::horizontal(1));
    Paragraph::new(lines).block(block).render(area, buffer);
}

fn fault_line(model: &Model, fault: &Fault, ink: Ink) -> String {
    let page = elbowroom::page_size() as u64;
    let regions = &model.look.regions;
    let name = regions.iter().find(|region| region.address == fault.region).map_or("", |region| region.name);
    let longest = regions.iter().map(|region| region.name.len()).max().unwrap_or(0);
    let since = fault.at.saturating_duration_since(model.began).as_secs_f64();
    let outcome = match fault.committed_bytes {
        0 => fault.outcome.name().to_owned(),
        bytes => format!("{} {}", fault.outcome.name(), count(bytes / page, "page")),
    };
    let duration = time(fault.duration, ink.is_unicode);
    format!(
        "{since:>7.2}s  {name:<longest$} page {:<7}{outcome:<21}{duration:>7}  thread {}",
        grouped(fault.offset / page),
        fault.thread
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::look::{Bucket, BudgetLook, Ended};
    use crate::watch::model::tests::{fault, model, seed};
    use elbowroom::fault::Outcome;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use std::time::Duration;

    const UNICODE: Ink = Ink { is_unicode: true, is_coloured: false };
    const ASCII: Ink = Ink { is_unicode: false, is_coloured: false };

    /// The lines of the screen.
    fn screen(model: &Model, ink: Ink, columns: u16, rows: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| draw(model, ink, frame.area(), frame.buffer_mut())).unwrap();
        let buffer = terminal.backend().buffer();
        (0..rows).map(|y| (0..columns).map(|x| buffer[(x, y)].symbol()).collect()).collect()
    }

    /// The library's page is that of the machine that the test runs on.
    fn is_4_kib() -> bool {
        elbowroom::page_size() == 4096
    }

    #[test]
    fn the_seed_in_the_smallest_usual_terminal() {
        if !is_4_kib() {
            return;
        }
        let (mut model, now) = model();
        model.see(seed(34), [fault(now + Duration::from_millis(7120), 33)], 0, now);
        let lines = screen(&model, UNICODE, 80, 24);
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
│ resident  ██▉░░░░ 136 of 320 KiB││ committed    34  ██        3.1 µs   12 µs │
│ faults    34                    ││                                           │
│ window    1 page (most: 1)      ││                                           │
└─────────────────────────────────┘└───────────────────────────────────────────┘
┌ what happened, the latest first ─────────────────────────────────────────────┐
│    7.12s  seed page 33     committed 1 page      3.4 µs  thread 7            │
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
        let budget = |(depth, name)| BudgetLook { name, depth, committed_bytes: 80 << 10, limit_bytes: 640 << 10 };
        look.budgets = ["machine", "team", "alpha"].into_iter().enumerate().map(budget).collect();
        let bucket = |below_ns| Bucket { below_ns, count: 1 };
        for outcome in Outcome::ALL.iter().skip(1) {
            let buckets = vec![bucket(200), bucket(20_000_000_000)];
            look.latencies.push(Latency { outcome: outcome.name(), count: 2, buckets });
        }
        let ended = |worker: &'static str, by: &str| Ended { worker, refused: Some(format!("by budget {by}")) };
        look.ended = vec![ended("alpha", "alpha"), ended("beta", "team"), ended("gamma", "machine")];
        look.workers = 3;
        let ended = look.ended.clone();
        model.see(look, [], 0, now);
        (model, ended)
    }

    #[test]
    fn budgets_and_all_outcomes_have_room() {
        let (model, ended) = budgets();
        for (columns, rows) in [(80, 24), (160, 48)] {
            let lines = screen(&model, UNICODE, columns, rows);
            let text = lines.join("\n");
            for outcome in Outcome::ALL {
                assert!(text.contains(&format!("│ {:<9}", outcome.name())), "{text}");
            }
            for name in ["│ machine   ", "│  team     ", "│   alpha   ", "│ alpha  ", "│ beta   ", "│ gamma  ", "20 s"]
            {
                assert!(text.contains(name), "{name}: {text}");
            }
            assert!(lines[0].contains(" ENDED "), "{text}");
            let status = "refused: alpha by budget alpha, beta by budget team, gamma by budget machine";
            assert_eq!(lines[usize::from(rows) - 2].trim_end(), status);
            let last = ended.last().unwrap();
            assert!(text.contains(&format!("{} was refused by budget machine", last.worker)), "{text}");
        }
    }

    /// The frames are whole, and nothing but ASCII comes to a terminal that has no more.
    #[test]
    fn nothing_is_cut_and_ascii_is_ascii() {
        let (ending, _) = budgets();
        let (mut running, now) = model();
        running.see(seed(3), [fault(now, 2)], 0, now);
        let (mut helping, _) = model();
        helping.is_helping = true;
        for model in [&running, &ending, &helping] {
            for (columns, rows) in [LEAST, (80, 24), (100, 30), (160, 48), (300, 90)] {
                let text = screen(model, ASCII, columns, rows).join("\n");
                assert!(text.is_ascii(), "{text}");
                assert!(columns < 80 || !text.contains('~'), "{text}");
                let edges = text.lines().filter(|line| line.starts_with('+') && line.ends_with('+')).count();
                assert!(edges == 6 || model.is_helping, "{text}");
                let unicode = screen(model, UNICODE, columns, rows).join("\n");
                let of = |symbol| unicode.matches(symbol).count();
                // One of each for each box; the help hides some.
                if !model.is_helping {
                    assert_eq!([of("┌"), of("┐"), of("└"), of("┘")], [4; 4], "{unicode}");
                }
            }
        }
    }

    #[test]
    fn help_names_every_key() {
        let (mut model, _) = model();
        model.is_helping = true;
        let text = screen(&model, UNICODE, 80, 24).join("\n");
        for (key, what) in keys::WORKLOAD {
            assert!(text.contains(key) && text.contains(what), "{text}");
        }
        assert!(text.contains("any key goes on"));
    }

    #[test]
    fn a_terminal_that_is_too_small_is_told_so() {
        let (model, _) = model();
        assert!(screen(&model, UNICODE, 59, 24)[0].contains("60 by 18 characters are needed"));
        // And nothing panics.
        for (columns, rows) in [(1, 1), (3, 2), (200, 1), (1, 200)] {
            screen(&model, UNICODE, columns, rows);
        }
    }

    #[test]
    fn histograms_keep_everything() {
        let bucket = |below_ns, count| Bucket { below_ns, count };
        let buckets = vec![bucket(1, 1), bucket(512, 2), bucket(1024, 3), bucket(1280, 4), bucket(u64::MAX, 5)];
        let latency = Latency { outcome: "committed", count: 15, buckets };
        assert_eq!(histogram(&latency, 9, 2), [6, 4, 0, 0, 0, 0, 0, 0, 5]);
        let wide = histogram(&latency, 18, 1);
        assert_eq!((wide[0], wide[1], wide[2], wide[17]), (3, 3, 4, 5));
    }

    #[test]
    fn parts_share_a_unit_if_they_can() {
        assert_eq!([part_of(60 << 10, 320 << 10), part_of(4096, 1 << 20)], ["60 of 320 KiB", "4 KiB of 1 MiB"]);
    }
}

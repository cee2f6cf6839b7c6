//! The boxes with figures: memory, budgets or an array, and the durations of faults.

use elbowroom_map::State;
use ratatui::buffer::Buffer;
use ratatui::layout::{Offset, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Padding, Paragraph, Widget};

use super::look::Latency;
use super::model::Model;
use crate::size::{Size, count, grouped};
use crate::watch::ink::{BOLD, Ink};

/// A figure on a line: text, or a part of a whole, which has a bar with the colour of a state.
pub(super) enum Figure {
    Text(String),
    Part(u64, u64, State),
}
use Figure::{Part, Text};

/// Returns the title of the box with figures, and the figures with their labels. The history of the last one is drawn.
pub(super) fn figures(model: &Model) -> (&'static str, Vec<(String, Figure)>) {
    let look = &model.look;
    let mut figures = Vec::new();
    let mut add = |label: &str, figure| figures.push((label.to_owned(), figure));
    let rate = model
        .rate()
        .map_or(String::new(), |rate| format!(", {rate:.0}/s"));
    let changing = Text(grouped(look.faults()) + &rate);
    if let Some(array) = &look.array {
        let limit = array.limit_bytes;
        add(
            "resident",
            Part(array.resident_bytes, limit, State::Resident),
        );
        add("dirty", Part(array.dirty_bytes, limit, State::Committed));
        add("in flight", Text(Size(array.in_flight_bytes).to_string()));
        add("read", Text(Size(array.read_bytes).to_string()));
        add("written", Text(Size(array.written_bytes).to_string()));
        add("evictions", Text(grouped(array.evictions)));
        add("hits", Text(grouped(array.hits)));
        add("misses", changing);
        return ("array", figures);
    }
    for budget in &look.budgets {
        let label = format!("{}{}", " ".repeat(budget.depth), budget.name);
        let (part, whole) = (budget.committed_bytes, budget.limit_bytes);
        add(&label, Part(part, whole, State::Committed));
    }
    if look.budgets.is_empty() {
        let limit = look.sum(|region| region.commit_limit_bytes);
        let committed = look.sum(|region| region.committed_bytes);
        add("committed", Part(committed, limit, State::Committed));
        add(
            "resident",
            match look.resident_bytes() {
                Some(resident) => Part(resident, limit, State::Resident),
                None => Text("not reported".to_owned()),
            },
        );
    }
    let pages = |bytes: u64| bytes / elbowroom::page_size() as u64;
    let window = model.window_bytes.map(|bytes| count(pages(bytes), "page"));
    let most = grouped(pages(model.largest_window_bytes));
    let window = window.map(|window| format!("{window}, most {most}"));
    add("window", Text(window.unwrap_or("none yet".to_owned())));
    add("faults", changing);
    let is_memory = look.budgets.is_empty();
    (if is_memory { "memory" } else { "budgets" }, figures)
}

/// Returns a text such as `60 of 320 KiB`, in the unit of the whole if the part is not nothing in it.
pub(super) fn part_of(part: u64, whole: u64) -> String {
    let [text, of] = [part, whole].map(|bytes| Size(bytes).to_string());
    let unit_bytes = 1_u64 << (whole.max(1).ilog2() / 10 * 10);
    let tenths = format!("{:.1}", part as f64 / unit_bytes as f64);
    match (text.split_once(' '), of.split_once(' ')) {
        (Some((number, unit)), Some((_, of_unit))) if unit == of_unit => {
            format!("{number} of {of}")
        }
        (_, Some((_, of_unit))) if of_unit != "B" && tenths != "0.0" => {
            format!("{} of {of}", tenths.trim_end_matches(".0"))
        }
        _ => format!("{text} of {of}"),
    }
}

pub(super) fn draw_figures(model: &Model, ink: Ink, area: Rect, buffer: &mut Buffer) {
    let (title, figures) = figures(model);
    let block = ink.block(title).padding(Padding::left(1));
    let inner = block.inner(area);
    let texts = figures.iter().map(|(_, figure)| match figure {
        Text(text) => text.clone(),
        &Part(part, whole, _) => part_of(part, whole),
    });
    let texts: Vec<String> = texts.collect();
    let is_part = |at: &usize| matches!(figures[*at].1, Part(..));
    let parts = (0..figures.len()).filter(is_part);
    let longest = parts.map(|at| texts[at].len()).max().unwrap_or(0).max(14);
    let columns = usize::from(inner.width).saturating_sub(11 + longest);
    let lines = figures.iter().zip(texts).map(|((label, figure), text)| {
        let mut spans = vec![Span::raw(format!("{label:<10}"))];
        if let (&Part(part, whole, state), 1..) = (figure, columns) {
            spans.push(Span::styled(
                ink.bar(part, whole, columns),
                ink.style(state),
            ));
            spans.push(Span::raw(" "));
        }
        spans.push(Span::raw(text));
        Line::from(spans)
    });
    let lines: Vec<Line<'_>> = lines.collect();
    // Behind the last figure, and as high as there is room below.
    let above = lines.len().saturating_sub(1) as u16;
    let used = lines.last().map_or(0, |line| line.width() as u16 + 1);
    Paragraph::new(lines).block(block).render(area, buffer);
    let corner = inner.offset(Offset::new(used.into(), above.into()));
    ink.sparks(&model.rates(), corner.intersection(inner), buffer);
}

/// The powers of two that a histogram shows, from 256 ns on.
const POWERS: usize = 18;

/// Returns the columns of a histogram: `columns` of them for all the powers of two, which have four parts each.
pub(super) fn histogram(latency: &Latency, columns: usize) -> Vec<u64> {
    let mut sums = vec![0; columns];
    for (below, count) in latency.times.buckets() {
        let below = u64::try_from(below.as_nanos()).unwrap_or(u64::MAX);
        let longest = below.saturating_sub(1).max(256);
        let power = longest.ilog2();
        let part = ((u128::from(longest) * 4) >> power) as usize - 4;
        let at = ((power as usize - 8) * 4 + part).min(4 * POWERS - 1);
        if let Some(sum) = sums.get_mut(at * columns / (4 * POWERS)) {
            *sum += count;
        }
    }
    sums
}

/// The columns of the table without the histogram.
const COLUMNS: u16 = 32;

/// Returns the columns of the largest histogram that has room in `room`.
fn histogram_columns(room: u16) -> usize {
    let columns = [4 * POWERS, 2 * POWERS, POWERS, POWERS / 2];
    let fits = |columns: &usize| *columns <= room.into();
    columns.into_iter().find(fits).unwrap_or(0)
}

/// Returns the width of the box of latencies with the largest histogram that has room in `room`.
pub(super) fn latencies_width(room: u16) -> u16 {
    let others = COLUMNS + 4;
    others + histogram_columns(room.saturating_sub(others)) as u16
}

/// Draws a table of the outcomes: the median, the 99th percentile, and a histogram if there is room.
pub(super) fn draw_latencies(model: &Model, ink: Ink, area: Rect, buffer: &mut Buffer) {
    let latencies = &model.look.latencies;
    let (title, none) = match model.look.array {
        None => ("how long faults take", "no fault yet"),
        Some(_) => ("how long stalls take", "no stall yet"),
    };
    let block = ink.block(title);
    let block = block.padding(Padding::horizontal(1));
    let inner = block.inner(area);
    block.render(area, buffer);
    if latencies.is_empty() {
        return Line::raw(none).render(inner, buffer);
    }
    let columns = histogram_columns(inner.width.saturating_sub(COLUMNS));
    let height = match columns {
        0 => 1,
        _ => ((inner.height - 1) / latencies.len() as u16).clamp(1, 12),
    };
    let (us, us_at, ms_at) = (["1us", "1µs"], 2 * columns / POWERS, 12 * columns / POWERS);
    let us = us[usize::from(ink.is_unicode)];
    let scale = match columns {
        0 => String::new(),
        _ => format!("{:us_at$}{us:<1$}1ms", "", ms_at - us_at),
    };
    // The least box has the times closer.
    let gap = usize::from(inner.width >= COLUMNS);
    let time = 7 + gap;
    let line = |[outcome, count, middle, median, tail]: [&str; 5]| {
        let start = format!("{outcome:<9}{count:>6}{:gap$}{middle:<columns$}", "");
        format!("{start}{median:>time$}{tail:>time$}")
    };
    let width = usize::from(inner.width);
    let head = line(["", "count", &scale, "median", "99 %"]);
    buffer.set_stringn(inner.x, inner.y, head, width, BOLD);
    let fitting = usize::from((inner.height - 1) / height);
    for (at, latency) in latencies.iter().take(fitting).enumerate() {
        let top = inner.y + 1 + at as u16 * height;
        let place = Rect::new(inner.x + 16, top, columns as u16, height);
        let [median, tail] = [0.5, 0.99].map(|part| ink.time(latency.times.percentile(part)));
        let count = grouped(latency.times.count());
        let line = line([latency.outcome, &count, "", &median, &tail]);
        buffer.set_stringn(inner.x, place.bottom() - 1, line, width, Style::new());
        ink.sparks(&histogram(latency, columns), place, buffer);
    }
}

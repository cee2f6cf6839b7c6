//! The boxes with figures: memory or budgets, and the durations of faults.

use elbowroom_map::State;
use ratatui::buffer::Buffer;
use ratatui::layout::{Margin, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Padding, Paragraph, Widget};

use crate::size::{count, grouped, human};
use crate::watch::format::time;
use crate::watch::ink::{Ink, bold};
use crate::watch::look::Latency;
use crate::watch::model::Model;

/// Returns the number of lines that [`draw_figures`] needs.
pub(super) fn figure_lines(model: &Model) -> u16 {
    match model.look.budgets.len() {
        0 => 4,
        budgets => budgets as u16 + 2,
    }
}

/// Returns a text such as `60 of 320 KiB`.
pub(super) fn part_of(part: u64, whole: u64) -> String {
    let (whole_text, part_text) = (human(whole), human(part));
    match (part_text.split_once(' '), whole_text.split_once(' ')) {
        (Some((number, unit)), Some((_, unit_of_whole))) if unit == unit_of_whole => {
            format!("{number} of {whole_text}")
        }
        _ => format!("{part_text} of {whole_text}"),
    }
}

/// Returns a line with a label, a bar, and figures.
fn bar_line(
    label: &str,
    part: u64,
    whole: u64,
    style: Style,
    ink: Ink,
    columns: usize,
) -> Line<'static> {
    let text = part_of(part, whole);
    // As long as the others, if their text is as long as usual.
    let bar = columns.saturating_sub(10 + 1 + text.len().max(14));
    Line::from(vec![
        Span::raw(format!("{label:<10}")),
        Span::styled(ink.bar(part, whole, bar), style),
        Span::raw(format!(" {text}")),
    ])
}

pub(super) fn draw_figures(model: &Model, ink: Ink, area: Rect, buffer: &mut Buffer) {
    let look = &model.look;
    let columns = usize::from(area.width.saturating_sub(3));
    let committed_style = ink.style(State::Committed);
    let resident_style = ink.style(State::Resident);
    let mut lines = Vec::new();
    for budget in &look.budgets {
        let label = format!("{}{}", " ".repeat(budget.depth), budget.name);
        lines.push(bar_line(
            &label,
            budget.committed_bytes,
            budget.limit_bytes,
            committed_style,
            ink,
            columns,
        ));
    }
    if look.budgets.is_empty() {
        let (committed, limit) = (look.committed_bytes(), look.commit_limit_bytes());
        lines.push(bar_line(
            "committed",
            committed,
            limit,
            committed_style,
            ink,
            columns,
        ));
        lines.push(match look.resident_bytes() {
            Some(resident) => bar_line("resident", resident, limit, resident_style, ink, columns),
            None => Line::raw("resident  not told by the system"),
        });
    }
    let pages = |bytes: u64| bytes / elbowroom::page_size() as u64;
    lines.push(Line::raw(match model.window_bytes {
        Some(bytes) => {
            let most = grouped(pages(model.largest_window_bytes));
            format!(
                "{:<10}{} (most: {most})",
                "window",
                count(pages(bytes), "page")
            )
        }
        None => format!("{:<10}none yet", "window"),
    }));
    let mut faults = format!("{:<10}{}", "faults", grouped(look.faults()));
    let rates = model.rates(columns);
    if !rates.is_empty() {
        faults += &format!(", {:.0}/s ", model.rate());
    }
    // The rates are drawn behind it, as high as there is room below.
    let inner = area.inner(Margin::new(2, 1));
    let above = (lines.len() as u16).min(inner.height);
    let rate_area = Rect {
        x: inner.x + (faults.len() as u16).min(inner.width),
        y: inner.y + above,
        width: inner.width.saturating_sub(faults.len() as u16),
        height: inner.height - above,
    };
    lines.push(Line::raw(faults));
    let title = if look.budgets.is_empty() {
        " memory "
    } else {
        " budgets "
    };
    let block = ink
        .block(Line::styled(title, bold()))
        .padding(Padding::left(1));
    Paragraph::new(lines).block(block).render(area, buffer);
    let points = rates.len().saturating_sub(usize::from(rate_area.width));
    ink.sparks(&rates[points..], rate_area, buffer);
}

/// The powers of two that a histogram shows, from 256 ns on.
const POWERS: usize = 18;

/// Returns the columns of a histogram: `columns` of them for all the powers of two, which have four parts each.
pub(super) fn histogram(latency: &Latency, columns: usize) -> Vec<u64> {
    let mut sums = vec![0; columns];
    for bucket in &latency.buckets {
        // What is in it is shorter than `below_ns`.
        let longest = (bucket.below_ns.saturating_sub(1)).max(256);
        let power = longest.ilog2();
        let part = ((u128::from(longest) * 4) >> power) as usize - 4;
        let at = ((power as usize - 8) * 4 + part).min(4 * POWERS - 1);
        if let Some(sum) = sums.get_mut(at * columns / (4 * POWERS)) {
            *sum += bucket.count;
        }
    }
    sums
}

/// Returns the columns of the largest histogram that has room in `room`.
fn histogram_columns(room: usize) -> usize {
    [4 * POWERS, 2 * POWERS, POWERS, POWERS / 2]
        .into_iter()
        .find(|&columns| columns <= room)
        .unwrap_or(0)
}

/// Returns the width of the box of latencies with the largest histogram that has room in `room`.
pub(super) fn latencies_width(room: u16) -> u16 {
    const OTHERS: u16 = 4 + 32;
    OTHERS + histogram_columns(room.saturating_sub(OTHERS).into()) as u16
}

/// Draws a table of the outcomes, with what there is room for: the median, the 99th percentile, a histogram.
pub(super) fn draw_latencies(latencies: &[Latency], ink: Ink, area: Rect, buffer: &mut Buffer) {
    let block = ink.block(Line::styled(" how long faults take ", bold()));
    let block = block.padding(Padding::horizontal(1));
    let inner = block.inner(area);
    block.render(area, buffer);
    if latencies.is_empty() {
        Line::raw("no fault yet").render(inner, buffer);
        return;
    }
    let width = usize::from(inner.width);
    let has_tail = width > 31;
    let columns = histogram_columns(width.saturating_sub(if has_tail { 32 } else { 24 }));
    // Behind the histogram.
    let end = |median: &str, tail: &str| match has_tail {
        true => format!("{median:>8}{tail:>8}"),
        false => format!("{median:>8}"),
    };
    let mut scale = " ".repeat(columns);
    for (text, power) in [(if ink.is_unicode { "1µs" } else { "1us" }, 2), ("1ms", 12)] {
        let at = power * columns / POWERS;
        if columns > 0 {
            let before: String = scale.chars().take(at).collect();
            scale = format!("{before:<at$}{text}");
        }
    }
    let head = format!(
        "{:<9}{:>6} {scale:<columns$}{}",
        "",
        "count",
        end("median", "99 %")
    );
    buffer.set_stringn(inner.x, inner.y, head, width, bold());
    let height = (inner.height.saturating_sub(1) / latencies.len() as u16).clamp(1, 12);
    let height = if columns > 0 { height } else { 1 };
    for (at, latency) in latencies.iter().enumerate() {
        let top = inner.y + 1 + at as u16 * height;
        if top + height > inner.bottom() {
            break;
        }
        let time = |part| time(latency.percentile(part), ink.is_unicode);
        let line = format!(
            "{:<9}{:>6} {:columns$}{}",
            latency.outcome,
            grouped(latency.count),
            "",
            end(&time(0.5), &time(0.99))
        );
        buffer.set_stringn(inner.x, top + height - 1, line, width, Style::new());
        let place = Rect {
            x: inner.x + 16,
            y: top,
            width: columns as u16,
            height,
        };
        ink.sparks(&histogram(latency, columns), place, buffer);
    }
}

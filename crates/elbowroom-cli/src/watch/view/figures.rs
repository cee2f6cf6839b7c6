//! The boxes with figures: memory or budgets, and how long faults take.

use elbowroom_map::State;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
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

/// `60 of 320 KiB`.
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
    let mut faults = format!("{:<10}{}", "faults", grouped(look.faults()));
    let rates = model.rates(columns);
    if !rates.is_empty() {
        faults += &format!(", {:.0}/s ", model.rate());
    }
    let room = columns.saturating_sub(faults.len());
    let sparks = ink.sparks(&rates[rates.len().saturating_sub(room)..]);
    lines.push(Line::from(vec![
        Span::raw(faults),
        Span::styled(sparks, ink.colour(Color::Cyan)),
    ]));
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
    let title = if look.budgets.is_empty() {
        " memory "
    } else {
        " budgets "
    };
    let block = ink
        .block(Line::styled(title, bold()))
        .padding(Padding::left(1));
    Paragraph::new(lines).block(block).render(area, buffer);
}

/// Returns the columns of a histogram that starts at 256 ns, each `powers` powers of two wide.
pub(super) fn histogram(latency: &Latency, columns: usize, powers: u32) -> Vec<u64> {
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

pub(super) fn draw_latencies(latencies: &[Latency], ink: Ink, area: Rect, buffer: &mut Buffer) {
    let is_wide = area.width >= 54;
    let (columns, powers) = if is_wide { (18, 1) } else { (9, 2) };
    let scale = match (is_wide, ink.is_unicode) {
        (false, true) => " 1µs  1ms",
        (false, false) => " 1us  1ms",
        (true, true) => "  1µs       1ms   ",
        (true, false) => "  1us       1ms   ",
    };
    let mut lines = vec![Line::styled(
        format!(
            "{:<9}{:>6} {scale}{:>8}{:>8}",
            "", "count", "median", "99 %"
        ),
        bold(),
    )];
    for latency in latencies {
        let sparks = ink.sparks(&histogram(latency, columns, powers));
        lines.push(Line::from(vec![
            Span::raw(format!(
                "{:<9}{:>6} ",
                latency.outcome,
                grouped(latency.count)
            )),
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

//! A workload on the screen: a function of the model.

mod figures;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier};
use ratatui::text::Line;
use ratatui::widgets::{Clear, Padding, Paragraph, Widget};

use super::format::{cut, time};
use super::ink::{Ink, bold};
use super::keys;
use super::model::{Entry, Fault, Model};
use super::pages::{Pages, Strip};
use super::workload::growth_words;
use crate::size::{count, grouped, human};
use figures::{draw_figures, draw_latencies, figure_lines, latencies_width};

/// The least size of a terminal; a smaller one shows a message.
pub(super) const LEAST: (u16, u16) = (60, 18);

/// The columns of the box with figures, at least.
const LEAST_FIGURES: u16 = 30;

/// From this width on, all boxes with words stand side by side.
const WIDE: u16 = 160;
/// The columns of the log then.
const LOG: u16 = 74;

/// Draws the whole screen.
pub(super) fn draw(model: &Model, ink: Ink, area: Rect, buffer: &mut Buffer) {
    if is_too_small(area, buffer) {
        return;
    }
    let [header, body, footer] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Min(0),
        Constraint::Length(2),
    ])
    .areas(area);
    draw_header(model, ink, header, buffer);
    draw_body(model, ink, body, buffer);
    draw_footer(&model.status(), &KEYS, ink, footer, buffer);
    if model.is_helping {
        draw_help(&keys::WORKLOAD, ink, area, buffer);
    }
}

/// Draws the screen without the keys, for a single print.
pub(super) fn draw_once(model: &Model, ink: Ink, area: Rect, buffer: &mut Buffer) {
    let [header, body, footer] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_header(model, ink, header, buffer);
    draw_body(model, ink, body, buffer);
    draw_footer(&model.status(), &[], ink, footer, buffer);
}

const KEYS: [&str; 8] = [
    "q quit",
    "? help",
    "space pause",
    "s step",
    "g growth",
    "l limit",
    "w workload",
    "+/- speed",
];

/// Returns whether the screen is too small, and says so on it.
pub(super) fn is_too_small(area: Rect, buffer: &mut Buffer) -> bool {
    let is_too_small = area.width < LEAST.0 || area.height < LEAST.1;
    if is_too_small {
        let text = format!("{} by {} characters are needed; q quits", LEAST.0, LEAST.1);
        Paragraph::new(text).render(area, buffer);
    }
    is_too_small
}

/// Draws the title, and the state on the right.
pub(super) fn draw_title(title: &str, state: &str, ink: Ink, area: Rect, buffer: &mut Buffer) {
    let colour = match state {
        "RUNNING" | "FOLLOWING" => Color::Cyan,
        "PAUSED" => Color::Yellow,
        _ => Color::Magenta,
    };
    let room = usize::from(area.width).saturating_sub(state.len() + 2);
    Line::styled(cut(title, room, ink.is_unicode), bold()).render(area, buffer);
    let style = ink
        .colour(colour)
        .add_modifier(Modifier::BOLD | Modifier::REVERSED);
    Line::styled(format!(" {state} "), style)
        .right_aligned()
        .render(area, buffer);
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
    let backend = model
        .look
        .regions
        .first()
        .map_or("", |region| region.backend.as_str());
    let speed = match model.speed {
        0 => String::new(),
        1.. => format!(", {} times as fast", 1u64 << model.speed),
        _ => format!(", {} times as slow", 1u64 << -model.speed),
    };
    let text = format!(
        "{}, {}, {backend}{speed}",
        growth_words(model.settings.growth),
        model.settings.limit.words()
    );
    Line::raw(cut(&text, usize::from(area.width), ink.is_unicode)).render(settings, buffer);
}

pub(super) fn draw_footer(status: &str, keys: &[&str], ink: Ink, area: Rect, buffer: &mut Buffer) {
    let columns = usize::from(area.width);
    let status_line = Rect {
        height: 1.min(area.height),
        ..area
    };
    Line::styled(cut(status, columns, ink.is_unicode), bold()).render(status_line, buffer);
    if area.height > 1 {
        let keys_line = Rect {
            y: area.y + 1,
            height: 1,
            ..area
        };
        // Those that fit: the help has all.
        let mut line = String::new();
        for key in keys {
            if line.len() + key.len() <= columns {
                line += &format!("{key}  ");
            }
        }
        Line::raw(line).render(keys_line, buffer);
    }
}

pub(super) fn draw_help(keys: &[(&str, &str)], ink: Ink, area: Rect, buffer: &mut Buffer) {
    let width = 66.min(area.width);
    let height = (keys.len() as u16 + 4).min(area.height);
    let window = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    Clear.render(window, buffer);
    let mut lines: Vec<Line<'_>> = keys
        .iter()
        .map(|(key, what)| Line::raw(format!(" {key:<10}{what}")))
        .collect();
    lines.push(Line::raw(""));
    lines.push(Line::raw(" press any key to continue"));
    Paragraph::new(lines)
        .block(ink.block(Line::styled(" keys ", bold())))
        .render(window, buffer);
}

fn draw_body(model: &Model, ink: Ink, area: Rect, buffer: &mut Buffer) {
    let boxes = figure_lines(model).max(model.look.latencies.len() as u16 + 1) + 2;
    // A line for each region, or more for a single one.
    let least = (model.look.regions.len() as u16).max(3) + 2;
    let boxes = boxes.min(area.height.saturating_sub(least));
    let is_wide = area.width >= WIDE;
    let (boxes, log) = match area.height.saturating_sub(boxes + least) {
        // Side by side.
        _ if is_wide => (boxes.max(area.height / 3), 0),
        // No room for a line in it.
        0..3 => (boxes, 0),
        spare if area.height > 30 => (boxes, spare.min(area.height / 4)),
        spare => (boxes, spare.min(4)),
    };
    let [pages, middle, below] = Layout::vertical([
        Constraint::Min(3),
        Constraint::Length(boxes),
        Constraint::Length(log),
    ])
    .areas(area);
    let strips = model
        .look
        .regions
        .iter()
        .enumerate()
        .map(|(at, region)| Strip {
            name: region.name,
            runs: &region.pages,
            latest: model
                .latest
                .filter(|latest| latest.0 == at && latest.1 < region.reserved_bytes)
                .map(|latest| latest.1),
        });
    let title = match &model.look.regions[..] {
        [region] => format!(
            "region {:?}, {} reserved",
            region.name,
            human(region.reserved_bytes)
        ),
        regions => format!(
            "{} regions, {} reserved",
            regions.len(),
            human(model.look.reserved_bytes())
        ),
    };
    let page_size_bytes = elbowroom::page_size() as u64;
    let knows_resident = model.look.resident_bytes().is_some();
    Pages {
        title,
        strips: strips.collect(),
        page_size_bytes,
        knows_resident,
        ink,
    }
    .render(pages, buffer);

    let layout = if is_wide {
        Layout::horizontal([
            Constraint::Min(0),
            Constraint::Length(latencies_width(area.width - LOG - LEAST_FIGURES)),
            Constraint::Length(LOG),
        ])
    } else {
        // What the right one has to have, and what it can use.
        let right = latencies_width(area.width / 2).max(45.min(area.width - LEAST_FIGURES));
        Layout::horizontal([
            Constraint::Min(0),
            Constraint::Length(right),
            Constraint::Length(0),
        ])
    };
    let [figures, latencies, beside] = layout.areas(middle);
    draw_figures(model, ink, figures, buffer);
    draw_latencies(&model.look.latencies, ink, latencies, buffer);
    draw_log(model, ink, if is_wide { beside } else { below }, buffer);
}

fn draw_log(model: &Model, ink: Ink, area: Rect, buffer: &mut Buffer) {
    let rows = usize::from(area.height.saturating_sub(2));
    let columns = usize::from(area.width.saturating_sub(4));
    let line = |entry: &Entry| match entry {
        Entry::Fault(fault) => Line::raw(fault_line(model, fault, columns, ink)),
        Entry::Ended(ended) => {
            let text = match &ended.refused {
                Some(why) => format!(
                    "{:>8}  {} was refused {why}, and has ended",
                    "", ended.worker
                ),
                None => format!(
                    "{:>8}  {} has ended: all its touches are done",
                    "", ended.worker
                ),
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

fn fault_line(model: &Model, fault: &Fault, columns: usize, ink: Ink) -> String {
    let page = elbowroom::page_size() as u64;
    let regions = &model.look.regions;
    let name = regions
        .iter()
        .find(|region| region.address == fault.region)
        .map_or("", |region| region.name);
    let longest = regions
        .iter()
        .map(|region| region.name.len())
        .max()
        .unwrap_or(0);
    let since = fault
        .at
        .saturating_duration_since(model.began)
        .as_secs_f64();
    let outcome = match fault.committed_bytes {
        0 => fault.outcome.name().to_owned(),
        bytes => format!("{} {}", fault.outcome.name(), count(bytes / page, "page")),
    };
    let duration = time(fault.duration, ink.is_unicode);
    let line = format!(
        "{since:>7.2}s  {name:<longest$} page {:<7}{outcome:<20}{duration:>7}",
        grouped(fault.offset / page),
    );
    let thread = format!("  thread {}", fault.thread);
    match line.chars().count() + thread.len() <= columns {
        true => line + &thread,
        false => cut(&line, columns, ink.is_unicode),
    }
}

#[cfg(test)]
mod tests;

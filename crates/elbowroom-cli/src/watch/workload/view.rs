//! A workload on the screen: a function of the model.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Padding, Paragraph, Widget};

use super::figures::{draw_figures, draw_latencies, figures, latencies_width};
use super::model::{Entry, Fault, Model};
use crate::size::{Size, count, grouped};
use crate::watch::ink::{BOLD, Ink};
use crate::watch::pages::{Pages, Strip, listed};
use crate::watch::scene::{Frame, View};
use elbowroom_map::State;

/// The columns of the box with figures, at least.
const LEAST_FIGURES: u16 = 27;

/// From this width on, all boxes with words stand side by side.
pub(super) const WIDE: u16 = 160;
/// The columns of the log then.
const LOG: u16 = 74;

impl View for Model {
    fn frame(&self) -> Frame {
        Frame {
            title: self.settings.title(),
            state: self.state(),
            status: self.status(),
            keys: "q quit  ? help  space pause  s step  g growth  l limit  w workload  +/- speed",
            help: "\
space     pause or continue
s, right  pause, and permit one more fault or miss
g         new regions, growth 1, 4, 16 pages, adaptive
l         new regions, limit none, half, a quarter
w         the next workload
r         restart
+, -      twice as fast, half as fast
?, h, F1  this help
q, Esc    quit
Ctrl-C    quit",
        }
    }

    fn draw(&self, ink: Ink, area: Rect, buffer: &mut Buffer) {
        let line = Constraint::Length(1);
        let [settings, area] = Layout::vertical([line, Constraint::Min(0)]).areas(area);
        let text = ink.cut(&self.settings_text(), settings.width.into());
        Line::raw(text).render(settings, buffer);

        let lines = (figures(self).1.len() as u16).max(self.look.latencies.len() as u16 + 1);
        // A line for each region, or more for a single one.
        let least = (self.look.regions.len() as u16).max(if lines > 6 { 2 } else { 3 }) + 2;
        let boxes = (lines + 2).min(area.height.saturating_sub(least));
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
        self.draw_pages(ink, pages, buffer);
        let log = if is_wide { LOG } else { 0 };
        let room = area.width - log - LEAST_FIGURES;
        let latencies = match is_wide {
            true => latencies_width(room),
            false => latencies_width(area.width / 2).max(45).min(room),
        };
        let [left, latencies, right] = Layout::horizontal([
            Constraint::Min(0),
            Constraint::Length(latencies),
            Constraint::Length(log),
        ])
        .areas(middle);
        draw_figures(self, ink, left, buffer);
        draw_latencies(self, ink, latencies, buffer);
        self.draw_log(ink, if is_wide { right } else { below }, buffer);
    }
}

impl Model {
    fn settings_text(&self) -> String {
        let speed = match self.speed {
            0 => String::new(),
            1.. => format!(", {} times as fast", 1u64 << self.speed),
            _ => format!(", {} times as slow", 1u64 << -self.speed),
        };
        let limit = self.settings.limit_text();
        match (&self.look.array, self.look.regions.first()) {
            (Some(array), _) => {
                let (file, page) = (Size(array.bytes), Size(array.page_bytes));
                format!("{limit} of a file of {file}, pages of {page}{speed}")
            }
            (None, region) => {
                let backend = region.map_or("", |region| region.backend);
                let growth = self.settings.growth_text();
                format!("growth {growth}, {limit}, {backend}{speed}")
            }
        }
    }

    fn draw_pages(&self, ink: Ink, area: Rect, buffer: &mut Buffer) {
        let look = &self.look;
        let reserved = Size(look.sum(|region| region.reserved_bytes));
        let (mut strips, mut page_size_bytes) = (Vec::new(), elbowroom::page_size() as u64);
        let (title, listed) = match (&look.array, &look.regions[..]) {
            (Some(array), _) => {
                page_size_bytes = array.page_bytes;
                strips.push(Strip::new(&array.pages));
                let title = format!("array, {} reserved", Size(array.bytes));
                (title, &[State::Reserved, State::Resident][..])
            }
            (None, regions) => {
                for (at, region) in regions.iter().enumerate() {
                    let is_here =
                        |&(of, byte): &(usize, u64)| at == of && byte < region.reserved_bytes;
                    strips.push(Strip {
                        name: &region.name,
                        runs: &region.pages,
                        latest: self.latest.filter(is_here).map(|latest| latest.1),
                    });
                }
                let title = match regions {
                    [region] => format!("region {:?}, {reserved} reserved", region.name),
                    _ => format!("{} regions, {reserved} reserved", regions.len()),
                };
                (title, listed(look.resident_bytes().is_some()))
            }
        };
        Pages {
            title,
            strips,
            page_size_bytes,
            listed,
            ink,
        }
        .render(area, buffer);
    }

    fn draw_log(&self, ink: Ink, area: Rect, buffer: &mut Buffer) {
        let rows = usize::from(area.height.saturating_sub(2));
        let columns = usize::from(area.width.saturating_sub(4));
        let line = |entry: &Entry| match entry {
            Entry::Fault(fault) => Line::raw(self.fault_line(fault, columns, ink)),
            Entry::Paged(since, text) => {
                let text = format!("{:>7.2}s  {text}", since.as_secs_f64());
                Line::raw(ink.cut(&text, columns))
            }
            Entry::Ended(ended) => {
                let (gap, worker) = (" ".repeat(10), &ended.worker);
                let text = match &ended.refused {
                    Some(why) => format!("{gap}{worker} was refused {why}, and has ended"),
                    None => format!("{gap}{worker} has ended: all its touches are done"),
                };
                Line::styled(ink.cut(&text, columns), BOLD)
            }
        };
        // The latest first.
        let lines: Vec<Line<'_>> = self.log.iter().rev().take(rows).map(line).collect();
        let block = ink.block("what happened, the latest first");
        let log = Paragraph::new(lines).block(block.padding(Padding::horizontal(1)));
        log.render(area, buffer);
    }

    fn fault_line(&self, fault: &Fault, columns: usize, ink: Ink) -> String {
        let page = elbowroom::page_size() as u64;
        let regions = &self.look.regions;
        let region = regions.iter().find(|region| region.address == fault.region);
        let name = region.map_or("", |region| &region.name);
        let longest = regions
            .iter()
            .map(|region| region.name.len())
            .max()
            .unwrap_or(0);
        let since = fault.at.saturating_duration_since(self.began).as_secs_f64();
        let mut outcome = fault.outcome.name().to_owned();
        if fault.committed_bytes > 0 {
            outcome += &format!(" {}", count(fault.committed_bytes / page, "page"));
        }
        let (number, time) = (grouped(fault.offset / page), ink.time(fault.duration));
        let line =
            format!("{since:>7.2}s  {name:<longest$} page {number:<7}{outcome:<20}{time:>7}");
        let thread = format!("  thread {}", fault.thread);
        match line.chars().count() + thread.len() <= columns {
            true => line + &thread,
            false => ink.cut(&line, columns),
        }
    }
}

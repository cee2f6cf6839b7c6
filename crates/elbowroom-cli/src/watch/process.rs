//! The displayed state of another process, and the effects of keys. It knows neither threads nor terminals.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use elbowroom_map::{FigureColumns, Figures, Kind, Region, Run, escaped};
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Padding, Paragraph, Widget};
use serde::Serialize;

use super::ink::{Ink, bold};
use super::keys::{self, Key};
use super::pages::{Pages, Strip};
use super::view::{draw_footer, draw_help, draw_title, is_too_small};
use crate::size::{Sizes, count, human};

/// The points of the history that are kept.
const SAMPLES: usize = 256;

/// The widths of columns of the table.
const KIND_COLUMNS: usize = 12;
const FIGURE_COLUMNS: usize = 11;
const CHANGE_COLUMNS: usize = 12;

/// A process at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Seen {
    pub(super) program: String,
    pub(super) page_size_bytes: u64,
    pub(super) total: Figures,
    pub(super) regions: Vec<Region>,
    /// The pages of the region that starts here, or why they are not known.
    #[serde(skip)]
    pub(super) pages: Option<(u64, Result<Vec<Run>, String>)>,
}

/// The displayed state.
pub(super) struct Process {
    pid: u32,
    seen: Seen,
    /// The reason why nothing new comes any more.
    end: Option<String>,
    pub(super) is_paused: bool,
    is_helping: bool,
    /// The start of the region whose pages are shown.
    pub(super) chosen: Option<u64>,
    /// The resident size of each region when it was first seen, by start address.
    first: BTreeMap<u64, u64>,
    /// The resident size of all regions, from old to new.
    resident: VecDeque<u64>,
}

const KEYS: [&str; 4] = ["q quit", "? help", "space pause", "up/down choose a region"];

impl Process {
    pub(super) fn new(pid: u32, seen: Seen) -> Process {
        let mut process = Process {
            pid,
            seen: Seen {
                regions: Vec::new(),
                ..seen.clone()
            },
            end: None,
            is_paused: false,
            is_helping: false,
            chosen: None,
            first: BTreeMap::new(),
            resident: VecDeque::new(),
        };
        process.see(Ok(seen));
        process
    }

    /// Takes in the present state, or the reason why there is none.
    pub(super) fn see(&mut self, seen: Result<Seen, String>) {
        let mut seen = match seen {
            Ok(seen) => seen,
            Err(why) => {
                self.end = Some(why);
                return;
            }
        };
        seen.regions.sort_by_key(|region| {
            // Reservations, named or not, are what this is about; they stay where they are in the list.
            let group = match region.kind {
                Kind::Named => 0,
                Kind::Reservation => 1,
                _ => 2,
            };
            (
                group,
                Reverse(if group < 2 {
                    None
                } else {
                    region.figures.resident_bytes
                }),
                region.start,
            )
        });
        for region in &seen.regions {
            self.first
                .entry(region.start)
                .or_insert(region.figures.resident_bytes.unwrap_or(0));
        }
        self.resident
            .push_back(seen.total.resident_bytes.unwrap_or(0));
        if self.resident.len() > SAMPLES {
            self.resident.pop_front();
        }
        let is_there = |start| seen.regions.iter().any(|region| region.start == start);
        if !self.chosen.is_some_and(is_there) {
            // Of the first kind, the one that most is going on in.
            let first = seen.regions.first().map(|region| region.kind);
            let of_first = seen
                .regions
                .iter()
                .filter(|region| Some(region.kind) == first);
            self.chosen = of_first
                .max_by_key(|region| (region.figures.resident_bytes, region.end - region.start))
                .map(|region| region.start);
        }
        self.seen = seen;
    }

    /// Handles a key. Returns false to quit.
    pub(super) fn key(&mut self, key: Key) -> bool {
        if self.is_helping && key != Key::Interrupt {
            self.is_helping = false;
            return true;
        }
        match key {
            Key::Quit | Key::Interrupt => return false,
            Key::Help => self.is_helping = true,
            Key::Pause => self.is_paused = !self.is_paused,
            Key::Up => self.choose(|at| at.saturating_sub(1)),
            Key::Down => self.choose(|at| at + 1),
            _ => {}
        }
        true
    }

    /// Returns whether the pages of the chosen region are known.
    pub(super) fn has_pages(&self) -> bool {
        self.seen
            .pages
            .as_ref()
            .is_some_and(|pages| Some(pages.0) == self.chosen)
    }

    fn chosen_at(&self) -> Option<usize> {
        self.seen
            .regions
            .iter()
            .position(|region| Some(region.start) == self.chosen)
    }

    fn choose(&mut self, step: impl Fn(usize) -> usize) {
        let at = step(self.chosen_at().unwrap_or(0));
        if let Some(region) = self.seen.regions.get(at) {
            self.chosen = Some(region.start);
        }
    }

    fn state(&self) -> &'static str {
        match () {
            () if self.end.is_some() => "ENDED",
            () if self.is_paused => "PAUSED",
            () => "FOLLOWING",
        }
    }

    fn status(&self) -> String {
        match (&self.end, &self.seen.pages) {
            (Some(why), _) => format!("{why}; this is the last snapshot"),
            (None, Some((_, Err(why)))) => why.clone(),
            _ => String::new(),
        }
    }

    /// Draws the whole screen.
    pub(super) fn draw(&self, ink: Ink, area: Rect, buffer: &mut Buffer) {
        if is_too_small(area, buffer) {
            return;
        }
        self.draw_parts(&KEYS, ink, area, buffer);
        if self.is_helping {
            draw_help(&keys::PROCESS, ink, area, buffer);
        }
    }

    /// Draws the whole screen with other words in place of the keys.
    pub(super) fn draw_parts(&self, keys: &[&str], ink: Ink, area: Rect, buffer: &mut Buffer) {
        let table = (area.height * 2 / 5).max(6);
        let [header, pages, table, footer] = Layout::vertical([
            Constraint::Length(2),
            Constraint::Min(3),
            Constraint::Length(table),
            Constraint::Length(2),
        ])
        .areas(area);
        self.draw_header(ink, header, buffer);
        self.draw_pages(ink, pages, buffer);
        self.draw_table(ink, table, buffer);
        draw_footer(&self.status(), keys, ink, footer, buffer);
    }

    fn draw_header(&self, ink: Ink, area: Rect, buffer: &mut Buffer) {
        let [title, sums] = Layout::vertical([Constraint::Length(1); 2]).areas(area);
        let program = escaped(&self.seen.program);
        let words = format!("elbowroom watch  process {} {program}", self.pid);
        draw_title(&words, self.state(), ink, title, buffer);
        let total = &self.seen.total;
        let size = |bytes: Option<u64>| bytes.map_or("?".to_owned(), human);
        let text = format!(
            "reserved {}, committed {}, resident {}  ",
            human(total.reserved_bytes),
            human(total.committed_bytes),
            size(total.resident_bytes)
        );
        let used = (text.len() as u16).min(sums.width);
        let room = Rect {
            x: sums.x + used,
            width: sums.width - used,
            ..sums
        };
        Line::raw(text).render(sums, buffer);
        // What changes is little beside what is there.
        let least = self.resident.iter().min().copied().unwrap_or(0);
        let points = self.resident.len().saturating_sub(usize::from(room.width));
        let rises: Vec<u64> = self
            .resident
            .iter()
            .skip(points)
            .map(|bytes| bytes - least)
            .collect();
        ink.sparks(&rises, room, buffer);
    }

    fn draw_pages(&self, ink: Ink, area: Rect, buffer: &mut Buffer) {
        let region = self.chosen_at().and_then(|at| self.seen.regions.get(at));
        let runs = match &self.seen.pages {
            Some((start, Ok(runs))) if Some(*start) == self.chosen => &runs[..],
            _ => &[],
        };
        let title = match region {
            Some(region) => {
                let size = human(region.end - region.start);
                format!("{}, {size} at {:x}", region.label(escaped), region.start)
            }
            None => "no region".to_owned(),
        };
        let strips = vec![Strip {
            name: "",
            runs,
            latest: None,
        }];
        let knows_resident = region.is_some_and(|region| region.figures.resident_bytes.is_some());
        Pages {
            title,
            strips,
            page_size_bytes: self.seen.page_size_bytes,
            knows_resident,
            ink,
        }
        .render(area, buffer);
    }

    fn draw_table(&self, ink: Ink, area: Rect, buffer: &mut Buffer) {
        let rows = usize::from(area.height.saturating_sub(3)).max(1);
        let columns = usize::from(area.width.saturating_sub(4));
        let chosen = self.chosen_at().unwrap_or(0);
        // The chosen one is in view.
        let top = (chosen + 1).saturating_sub(rows);
        let first_of = |region: &Region| self.first.get(&region.start).copied().unwrap_or(0);
        let change =
            |region: &Region| Some(region.figures.resident_bytes? as i64 - first_of(region) as i64);
        let shown = || self.seen.regions.iter().enumerate().skip(top).take(rows);
        // Beside the mark, the kind, the change, and a name.
        let names = if columns < 100 { 14 } else { 40 };
        let total = self.seen.total.bytes();
        let figures = FigureColumns::fitting(
            std::array::from_fn(|at| at < 2 || total[at] != Some(0)),
            FIGURE_COLUMNS,
            columns.saturating_sub(2 + KIND_COLUMNS + CHANGE_COLUMNS + 2 + names),
        );
        let sizes = Sizes::of(shown().flat_map(|(_, region)| {
            let change = change(region).map(i64::unsigned_abs);
            let bytes: Vec<u64> = figures.of(region.figures.bytes()).flatten().collect();
            bytes.into_iter().chain(change)
        }));
        let line = |mark: &str, kind: &str, figures: String, change: &str| {
            format!("{mark} {kind:<KIND_COLUMNS$}{figures}{change:>CHANGE_COLUMNS$}  ")
        };
        let header = line(" ", "kind", figures.line(Figures::NAMES), "change") + "name";
        let mut lines = vec![Line::styled(header, bold())];
        for (at, region) in shown() {
            let is_chosen = at == chosen;
            let text = line(
                if is_chosen { ">" } else { " " },
                region.kind.word(),
                figures.line(region.figures.bytes().map(|bytes| sizes.cell(bytes))),
                &sizes.change_cell(change(region)),
            );
            let room = columns.saturating_sub(text.chars().count());
            let name = region.title(room);
            let name = if ink.is_unicode {
                name
            } else {
                name.replace('…', "~")
            };
            let style = match is_chosen {
                true => Style::new().add_modifier(Modifier::REVERSED),
                false => Style::new(),
            };
            lines.push(Line::styled(text + &name, style));
        }
        let title = format!(
            " {}, and how resident memory has changed ",
            count(self.seen.regions.len() as u64, "region")
        );
        let block = ink
            .block(Line::styled(title, bold()))
            .padding(Padding::horizontal(1));
        Paragraph::new(lines).block(block).render(area, buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use elbowroom_map::State;

    const PAGE: u64 = 4096;

    fn region(start: u64, pages: u64, kind: Kind, name: &str, resident: u64) -> Region {
        let figures = Figures {
            reserved_bytes: pages * PAGE,
            committed_bytes: resident * PAGE,
            resident_bytes: Some(resident * PAGE),
            ..Figures::NONE
        };
        Region {
            start,
            end: start + pages * PAGE,
            kind,
            name: name.to_owned(),
            allocation: None,
            mappings: 1,
            figures,
        }
    }

    fn seen(resident: u64) -> Seen {
        let regions = vec![
            region(0x1000, 10, Kind::Image, "/bin/some\x1b[31mthing", 5),
            region(0x10_0000, 64, Kind::Named, "log", resident),
            region(0x90_0000, 2048, Kind::Named, "sparse", 1),
            region(0xf0_0000, 4, Kind::Heap, "[heap]", 4),
        ];
        let total = Figures {
            resident_bytes: Some((resident + 10) * PAGE),
            ..Figures::NONE
        };
        let runs = vec![
            Run::new(0x90_0000, 0x90_0000 + PAGE, State::Resident),
            Run::new(0x90_0000 + PAGE, 0x90_0000 + 2048 * PAGE, State::Reserved),
        ];
        let pages = Some((0x90_0000, Ok(runs)));
        Seen {
            program: "/bin/some\nthing".to_owned(),
            page_size_bytes: PAGE,
            total,
            regions,
            pages,
        }
    }

    fn screen(process: &Process, columns: u16, rows: u16) -> Vec<String> {
        let mut buffer = Buffer::empty(Rect::new(0, 0, columns, rows));
        process.draw(Ink::UNICODE, buffer.area, &mut buffer);
        crate::watch::rows(&buffer)
    }

    #[test]
    fn regions_of_this_kind_come_first_and_changes_are_told() {
        let mut process = Process::new(7, seen(0));
        process.see(Ok(seen(16)));
        for (columns, rows) in [(80, 24), (160, 48)] {
            let lines = screen(&process, columns, rows);
            let text = lines.join("\n");
            assert!(
                lines[0].contains("process 7 /bin/some\\u{a}thing")
                    && lines[0].contains(" FOLLOWING "),
                "{text}"
            );
            assert!(text.contains("sparse (named), 8 MiB at 900000"), "{text}");
            assert!(text.contains("> named"), "{text}");
            let at = |name: &str| lines.iter().position(|line| line.contains(name)).unwrap();
            assert!(
                at("+64 KiB  log") < at("-  sparse") && at("-  sparse") < at("mthing"),
                "{text}"
            );
            assert!(
                text.contains("· reserved 2,047  ▒ committed 0  █ resident 1"),
                "{text}"
            );
            assert!(!text.contains('\x1b'));
        }
    }

    #[test]
    fn keys_choose_and_the_chosen_one_stays_in_view() {
        let mut process = Process::new(7, seen(0));
        assert_eq!(process.chosen, Some(0x90_0000));
        assert!(process.key(Key::Up) && process.key(Key::Up));
        assert_eq!(process.chosen, Some(0x10_0000));
        for _ in 0..10 {
            assert!(process.key(Key::Down));
        }
        assert_eq!(process.chosen, Some(0xf0_0000));
        let lines = screen(&process, 60, 18);
        assert!(
            lines.iter().any(|line| line.contains("> heap")),
            "{lines:#?}"
        );
        // Gone, another is chosen.
        let mut later = seen(0);
        later.regions.pop();
        process.see(Ok(later));
        assert_eq!(process.chosen, Some(0x90_0000));
        assert!(!process.key(Key::Quit));
    }

    #[test]
    fn the_end_is_told_and_what_was_seen_last_stays() {
        let mut process = Process::new(7, seen(0));
        process.see(Err("there is no process 7, or it has just ended".to_owned()));
        let text = screen(&process, 80, 24).join("\n");
        assert!(
            text.contains(" ENDED ") && text.contains("there is no process 7"),
            "{text}"
        );
        assert!(text.contains("sparse"), "{text}");
        process.key(Key::Help);
        assert!(
            screen(&process, 80, 24)
                .join("\n")
                .contains("choose the region")
        );
    }

    #[test]
    fn the_table_has_what_there_is_room_for() {
        let mut seen = seen(3);
        seen.total.dirty_bytes = Some(PAGE);
        seen.regions[0].name = "/a/long/path/".repeat(20) + "libthing.so";
        let mut process = Process::new(7, seen);
        process.key(Key::Down);
        process.key(Key::Down);
        for (columns, rows) in [(60, 18), (80, 24), (200, 50)] {
            let text = screen(&process, columns, rows).join("\n");
            assert!(text.contains("change  name"), "{text}");
            assert!(text.contains("libthing.so"), "{text}");
            assert_eq!(
                text.contains("reserved  committed"),
                columns >= 80,
                "{text}"
            );
            assert_eq!(text.contains(" dirty "), columns >= 200, "{text}");
        }
    }
}

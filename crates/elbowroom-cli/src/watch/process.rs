//! Another process. A thread reads it twice a second, so that the screen does not wait for a large process.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::process;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use elbowroom_map::{FigureColumns, Figures, Kind, Region, Run, Snapshot, Wanted, escaped};
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::KeyCode;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Padding, Paragraph, Widget};
use serde::Serialize;

use super::ink::{BOLD, Ink};
use super::pages::{Pages, Strip, listed};
use super::scene::{Frame, Scene, View};
use super::screen;
use crate::output;
use crate::size::{Size, Sizes, count};

const INTERVAL: Duration = Duration::from_millis(500);

/// The points of the history that are kept.
const SAMPLES: usize = 256;

/// The widths of columns of the table.
const KIND_COLUMNS: usize = 12;
const FIGURE_COLUMNS: usize = 11;
const CHANGE_COLUMNS: usize = 12;

/// A process at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Seen {
    pid: u32,
    program: String,
    page_size_bytes: u64,
    total: Figures,
    regions: Vec<Region>,
    /// The pages of the region that starts here, or the reason why they are not known.
    #[serde(skip)]
    pages: Option<(u64, Result<Vec<Run>, String>)>,
}

impl Seen {
    /// Reads a process, and the pages of its region that starts at `wanted`.
    fn read(pid: u32, wanted: Option<u64>) -> Result<Seen, String> {
        let snapshot = Snapshot::of_process(pid).map_err(|error| error.to_string())?;
        let pages = wanted.and_then(|start| {
            let region = snapshot.find(&Wanted::Address(start)).ok()?;
            let pages = snapshot.pages((region.start == start).then_some(region)?);
            Some((
                start,
                pages
                    .map(|pages| pages.runs)
                    .map_err(|error| error.to_string()),
            ))
        });
        Ok(Seen {
            pid,
            total: snapshot.total(),
            regions: snapshot.regions(),
            program: snapshot.program,
            page_size_bytes: snapshot.page_size_bytes,
            pages,
        })
    }
}

/// Returns one snapshot as a JSON object.
pub(super) fn json(pid: u32) -> Result<String, String> {
    Seen::read(pid, None).map(|seen| output::json(&seen))
}

pub(super) fn run(pid: u32) -> Result<i32, String> {
    let mut process = Process::read(pid)?;
    let (wanted, wanted_here) = mpsc::channel();
    let (seen_here, seen) = mpsc::channel();
    let first = process.chosen;
    let read = move || read(pid, first, &wanted_here, &seen_here);
    // The thread is not joined: it ends when its channels are closed, and has no effect otherwise.
    let thread = thread::Builder::new().name("reader".to_owned()).spawn(read);
    thread.map_err(|error| format!("cannot start a thread: {error}"))?;
    process.reader = Some(Reader { wanted, seen });
    screen::run(&mut process)
}

/// Reads the process at intervals, and at once if another region is wanted.
fn read(
    pid: u32,
    mut start: Option<u64>,
    wanted: &Receiver<Option<u64>>,
    seen: &Sender<Result<Seen, String>>,
) {
    loop {
        match wanted.recv_timeout(INTERVAL) {
            // Only the latest of many.
            Ok(first) => start = wanted.try_iter().last().unwrap_or(first),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let read = Seen::read(pid, start);
        let is_end = read.is_err();
        if seen.send(read).is_err() || is_end {
            return;
        }
    }
}

/// The displayed state.
pub(super) struct Process {
    seen: Seen,
    /// The reason why nothing new comes any more.
    end: Option<String>,
    is_paused: bool,
    /// The start of the region whose pages are shown.
    chosen: Option<u64>,
    /// The resident size of each region when it was first seen, by start address.
    first: BTreeMap<u64, u64>,
    /// The resident size of all regions, from old to new.
    resident: Vec<u64>,
    reader: Option<Reader>,
}

/// The channels of the thread that reads the process.
struct Reader {
    /// The region whose pages are wanted.
    wanted: Sender<Option<u64>>,
    seen: Receiver<Result<Seen, String>>,
}

impl Process {
    /// Reads the process twice, the second time with the pages of the region that was chosen.
    ///
    /// # Errors
    /// Fails if the process cannot be read. The message says how to solve that.
    pub(super) fn read(pid: u32) -> Result<Process, String> {
        if pid == process::id() {
            let why = "this is the process itself; without a PID it shows regions of its own";
            return Err(why.to_owned());
        }
        let mut process = Process::new(Seen::read(pid, None)?);
        process.see(Ok(Seen::read(pid, process.chosen)?));
        Ok(process)
    }

    fn new(seen: Seen) -> Process {
        let mut process = Process {
            seen: seen.clone(),
            end: None,
            is_paused: false,
            chosen: None,
            first: BTreeMap::new(),
            resident: Vec::new(),
            reader: None,
        };
        process.see(Ok(seen));
        process
    }

    /// Takes in the present state, or the reason why there is none.
    fn see(&mut self, seen: Result<Seen, String>) {
        let mut seen = match seen {
            Ok(seen) => seen,
            Err(why) => {
                self.end = Some(why);
                return;
            }
        };
        // Reservations come first, with or without a name, and keep their places in the list.
        seen.regions.sort_by_key(|region| {
            let resident = Some(Reverse(region.figures.resident_bytes));
            match region.kind {
                Kind::Named => (0, None, region.start),
                Kind::Reservation => (1, None, region.start),
                _ => (2, resident, region.start),
            }
        });
        for region in &seen.regions {
            let resident = region.figures.resident_bytes.unwrap_or(0);
            self.first.entry(region.start).or_insert(resident);
        }
        self.resident.push(seen.total.resident_bytes.unwrap_or(0));
        let old = self.resident.len().saturating_sub(SAMPLES);
        self.resident.drain(..old);
        let is_there = |start| seen.regions.iter().any(|region| region.start == start);
        if !self.chosen.is_some_and(is_there) {
            // Of the first kind, the region with the most resident memory.
            let kind = seen.regions.first().map(|region| region.kind);
            let size = |region: &&Region| {
                let is_first = Some(region.kind) == kind;
                (
                    is_first,
                    region.figures.resident_bytes,
                    region.end - region.start,
                )
            };
            self.chosen = seen
                .regions
                .iter()
                .max_by_key(size)
                .map(|region| region.start);
        }
        self.seen = seen;
    }

    /// Returns the pages of the chosen region, if they are known.
    fn pages(&self) -> Option<&Result<Vec<Run>, String>> {
        let (start, pages) = self.seen.pages.as_ref()?;
        (Some(*start) == self.chosen).then_some(pages)
    }

    fn chosen_at(&self) -> Option<usize> {
        let mut regions = self.seen.regions.iter();
        regions.position(|region| Some(region.start) == self.chosen)
    }

    fn draw_sums(&self, ink: Ink, area: Rect, buffer: &mut Buffer) {
        let total = &self.seen.total;
        let resident = total
            .resident_bytes
            .map_or("?".to_owned(), |bytes| Size(bytes).to_string());
        let (reserved, committed) = (Size(total.reserved_bytes), Size(total.committed_bytes));
        let text = format!("reserved {reserved}, committed {committed}, resident {resident}  ");
        let length = Constraint::Length(text.len() as u16);
        let [sums, sparks] = Layout::horizontal([length, Constraint::Min(0)]).areas(area);
        Line::raw(text).render(sums, buffer);
        // The change is little beside the whole.
        let least = self.resident.iter().min().copied().unwrap_or(0);
        let rises: Vec<u64> = self.resident.iter().map(|bytes| bytes - least).collect();
        ink.sparks(&rises, sparks, buffer);
    }

    fn draw_pages(&self, ink: Ink, area: Rect, buffer: &mut Buffer) {
        let region = self.chosen_at().and_then(|at| self.seen.regions.get(at));
        let runs = match self.pages() {
            Some(Ok(runs)) => &runs[..],
            _ => &[],
        };
        let title = region.map_or("no region".to_owned(), |region| {
            let size = Size(region.end - region.start);
            format!("{}, {size} at {:x}", region.label(escaped), region.start)
        });
        let knows_resident = region.is_some_and(|region| region.figures.resident_bytes.is_some());
        Pages {
            title,
            strips: vec![Strip::new(runs)],
            page_size_bytes: self.seen.page_size_bytes,
            listed: listed(knows_resident),
            ink,
        }
        .render(area, buffer);
    }

    fn draw_table(&self, ink: Ink, area: Rect, buffer: &mut Buffer) {
        let rows = usize::from(area.height.saturating_sub(3)).max(1);
        let columns = usize::from(area.width.saturating_sub(4));
        let chosen = self.chosen_at().unwrap_or(0);
        // The chosen region is in view.
        let top = (chosen + 1).saturating_sub(rows);
        let shown = || self.seen.regions.iter().enumerate().skip(top).take(rows);
        let change = |region: &Region| {
            let first = self.first.get(&region.start).copied().unwrap_or(0);
            Some(region.figures.resident_bytes? as i64 - first as i64)
        };
        // Beside the mark, the kind, the change, and a name.
        let names = if columns < 100 { 14 } else { 40 };
        let others = 2 + KIND_COLUMNS + CHANGE_COLUMNS + 2 + names;
        let total = self.seen.total.bytes();
        let wanted = std::array::from_fn(|at| at < 2 || total[at] != Some(0));
        let room = columns.saturating_sub(others);
        let figures = FigureColumns::fitting(wanted, FIGURE_COLUMNS, room);
        let sizes = Sizes::of(shown().flat_map(|(_, region)| {
            let bytes: Vec<u64> = figures.of(region.figures.bytes()).flatten().collect();
            let change = change(region).map(i64::unsigned_abs);
            bytes.into_iter().chain(change)
        }));
        let line = |mark: &str, kind: &str, figures: String, change: &str| {
            format!("{mark} {kind:<KIND_COLUMNS$}{figures}{change:>CHANGE_COLUMNS$}  ")
        };
        let header = line(" ", "kind", figures.line(Figures::NAMES), "change") + "name";
        let mut lines = vec![Line::styled(header, BOLD)];
        for (at, region) in shown() {
            let (mark, style) = match at == chosen {
                true => (">", Style::new().add_modifier(Modifier::REVERSED)),
                false => (" ", Style::new()),
            };
            let cells = figures.line(region.figures.bytes().map(|bytes| sizes.cell(bytes)));
            let change = sizes.change_cell(change(region));
            let text = line(mark, region.kind.word(), cells, &change);
            let mut name = region.title(columns.saturating_sub(text.chars().count()));
            if !ink.is_unicode {
                name = name.replace('…', "~");
            }
            lines.push(Line::styled(text + &name, style));
        }
        let regions = count(self.seen.regions.len() as u64, "region");
        let block = ink.block(&format!("{regions}, and how resident memory has changed"));
        let table = Paragraph::new(lines).block(block.padding(Padding::horizontal(1)));
        table.render(area, buffer);
    }
}

impl Scene for Process {
    fn view(&self) -> &dyn View {
        self
    }

    fn tick(&mut self, _: Instant) {
        let reader = self.reader.iter();
        let read: Vec<_> = reader.flat_map(|reader| reader.seen.try_iter()).collect();
        for seen in read {
            // While paused, only the end of the process and pages that were asked for are shown.
            let are_asked_for = |seen: &Seen| {
                let start = seen.pages.as_ref().map(|pages| pages.0);
                start == self.chosen && self.pages().is_none()
            };
            if !self.is_paused || seen.as_ref().map_or(true, are_asked_for) {
                self.see(seen);
            }
        }
    }

    fn press(&mut self, key: KeyCode, _: Instant) {
        let at = self.chosen_at().unwrap_or(0);
        let at = match key {
            KeyCode::Up | KeyCode::Char('k') => at.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => at + 1,
            _ => {
                self.is_paused ^= key == KeyCode::Char(' ');
                return;
            }
        };
        let Some(region) = self.seen.regions.get(at) else {
            return;
        };
        self.chosen = Some(region.start);
        if let Some(reader) = &self.reader {
            // The end of the thread is reported by the other channel.
            let _ = reader.wanted.send(self.chosen);
        }
    }
}

impl View for Process {
    fn frame(&self) -> Frame {
        let Seen { pid, program, .. } = &self.seen;
        Frame {
            title: format!("elbowroom watch  process {pid} {}", escaped(program)),
            state: match (&self.end, self.is_paused) {
                (Some(_), _) => "ENDED",
                (None, true) => "PAUSED",
                (None, false) => "FOLLOWING",
            },
            status: match (&self.end, self.pages()) {
                (Some(why), _) => format!("{why}; this is the last snapshot"),
                (None, Some(Err(why))) => why.clone(),
                _ => String::new(),
            },
            keys: "q quit  ? help  space pause  up/down choose a region",
            help: "\
up, down  choose the region whose pages are shown
space     pause or continue
?, h, F1  this help
q, Esc    quit
Ctrl-C    quit",
        }
    }

    fn draw(&self, ink: Ink, area: Rect, buffer: &mut Buffer) {
        let table = (area.height * 2 / 5 + 1).max(6);
        let [sums, pages, table] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Min(3),
            Constraint::Length(table),
        ])
        .areas(area);
        self.draw_sums(ink, sums, buffer);
        self.draw_pages(ink, pages, buffer);
        self.draw_table(ink, table, buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::scene;
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
        let runs = vec![
            Run::new(0x90_0000, 0x90_0000 + PAGE, State::Resident),
            Run::new(0x90_0000 + PAGE, 0x90_0000 + 2048 * PAGE, State::Reserved),
        ];
        Seen {
            pid: 7,
            program: "/bin/some\nthing".to_owned(),
            page_size_bytes: PAGE,
            total: Figures::NONE,
            regions,
            pages: Some((0x90_0000, Ok(runs))),
        }
    }

    fn text(process: &Process, columns: u16, rows: u16) -> String {
        let mut buffer = Buffer::empty(Rect::new(0, 0, columns, rows));
        scene::draw(process, false, Ink::UNICODE, buffer.area, &mut buffer);
        crate::watch::rows(&buffer).join("\n")
    }

    #[test]
    fn named_regions_come_first_and_changes_are_shown() {
        let mut process = Process::new(seen(0));
        process.see(Ok(seen(16)));
        for (columns, rows) in [(80, 24), (160, 48)] {
            let text = text(&process, columns, rows);
            let mut from = 0;
            for part in [
                "process 7 /bin/some\\u{a}thing",
                " FOLLOWING ",
                "sparse (named), 8 MiB at 900000",
                "· reserved 2,047  ▒ committed 0  █ resident 1",
                "+64 KiB  log",
                "> named",
                "-  sparse",
                "mthing",
            ] {
                let at = text[from..].find(part);
                from += at.unwrap_or_else(|| panic!("{part}: {text}"));
            }
            assert!(!text.contains('\x1b'));
        }
    }

    #[test]
    fn keys_choose_and_the_chosen_region_stays_in_view() {
        let mut process = Process::new(seen(0));
        assert_eq!(process.chosen, Some(0x90_0000));
        for (key, chosen) in [(KeyCode::Up, 0x10_0000), (KeyCode::Down, 0xf0_0000)] {
            (0..10).for_each(|_| process.press(key, Instant::now()));
            assert_eq!(process.chosen, Some(chosen));
        }
        let text = text(&process, 60, 18);
        assert!(text.contains("> heap"), "{text}");
        // Without it, another is chosen.
        let mut later = seen(0);
        later.regions.pop();
        process.see(Ok(later));
        assert_eq!(process.chosen, Some(0x90_0000));
    }

    #[test]
    fn the_table_has_as_many_columns_as_fit_and_stays_after_the_end() {
        let mut seen = seen(3);
        seen.total.resident_bytes = Some(PAGE);
        seen.total.dirty_bytes = Some(PAGE);
        seen.regions[0].name = "/a/long/path/".repeat(20) + "libthing.so";
        let mut process = Process::new(seen);
        process.see(Err("there is no process 7".to_owned()));
        (0..2).for_each(|_| process.press(KeyCode::Down, Instant::now()));
        for (columns, rows) in [(60, 18), (80, 24), (200, 50)] {
            let text = text(&process, columns, rows);
            let has = |part| text.contains(part);
            assert!(
                has(" ENDED ") && has("there is no process 7; this is"),
                "{text}"
            );
            assert!(has("change  name") && has("libthing.so"), "{text}");
            assert_eq!(has("reserved  committed"), columns >= 80, "{text}");
            assert_eq!(has(" dirty "), columns >= 200, "{text}");
        }
    }
}

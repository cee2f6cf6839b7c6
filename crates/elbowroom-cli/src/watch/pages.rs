//! The pages of regions as cells, which are as large as the room allows.

use std::cmp::Reverse;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::format::cut;
use super::ink::Ink;
use crate::size::{count, grouped, human};
use elbowroom_map::{Picture, Run, State};

/// The columns to the left of the cells, at least: the number of a page may need more.
const LABEL: u16 = 8;

/// A region to be drawn.
pub(super) struct Strip<'a> {
    pub(super) name: &'a str,
    pub(super) runs: &'a [Run],
    /// The position of the latest fault, in the same unit as the runs.
    pub(super) latest: Option<u64>,
}

/// A frame with the pages of regions, and a legend below.
pub(super) struct Pages<'a> {
    pub(super) title: String,
    pub(super) strips: Vec<Strip<'a>>,
    pub(super) page_size_bytes: u64,
    /// Whether the system reports which pages are in memory.
    pub(super) knows_resident: bool,
    pub(super) ink: Ink,
}

/// The layout of cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Grid {
    /// The columns to the left of the cells.
    label: u16,
    per_line: usize,
    /// Lines of cells of each region.
    lines: usize,
    /// The size of a cell, with the gap behind it.
    columns: u16,
    rows: u16,
}

impl Grid {
    /// Returns the layout for regions of at most `pages` pages, each in `rows` rows. Cells are as large as the room
    /// allows.
    fn new(pages: u64, columns: u16, rows: u16) -> Grid {
        let label = Grid::label(pages);
        let columns = columns.saturating_sub(label + 1);
        let most = (columns / 16 * 16).max(16);
        // A cell stands for a power of two.
        let mut cells = pages.max(1);
        while cells > u64::from(most) * u64::from(rows.max(1)) {
            cells = cells.div_ceil(2);
        }
        let grid = |per_line: u16| {
            let lines = cells.div_ceil(u64::from(per_line)) as u16;
            let width = (columns / per_line).max(1);
            // A character is twice as high as wide.
            let height = (rows / lines).min(width.div_ceil(2)).max(1);
            Grid {
                label,
                per_line: usize::from(per_line),
                lines: usize::from(lines.min(rows)),
                columns: width,
                rows: height,
            }
        };
        // Whatever there is room for; then lines that begin at round numbers; then few cells in a line.
        (16..=most)
            .step_by(16)
            .filter(|&per_line| cells <= u64::from(per_line) * u64::from(rows))
            .map(grid)
            .min_by_key(|grid| {
                let (size, per_line) = (grid.columns * grid.rows, grid.per_line);
                (Reverse(size), !per_line.is_power_of_two(), per_line)
            })
            .unwrap_or_else(|| grid(most))
    }

    /// Returns the columns that the number of any page needs.
    fn label(pages: u64) -> u16 {
        LABEL.max(pages.to_string().len() as u16 + 1)
    }

    fn cells(self) -> u64 {
        (self.per_line * self.lines) as u64
    }
}

impl Widget for Pages<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let ink = self.ink;
        let inner = Rect {
            x: area.x + 1,
            y: area.y + 1,
            width: area.width.saturating_sub(2),
            height: area.height.saturating_sub(2),
        };
        let pages = |strip: &Strip<'_>| {
            let (first, last) = (
                strip.runs.first().map_or(0, |run| run.start),
                strip.runs.last().map_or(0, |run| run.end),
            );
            (last - first) / self.page_size_bytes
        };
        let most = self.strips.iter().map(pages).max().unwrap_or(0);
        let strips = self.strips.len().max(1) as u16;
        let grid = Grid::new(most, inner.width, inner.height / strips);

        let mut totals = [0u64; State::ALL.len()];
        let mut scale = 1;
        let is_marked = self.strips.iter().any(|strip| strip.latest.is_some());
        let height = grid.lines as u16 * grid.rows;
        for (at, strip) in self.strips.iter().enumerate() {
            let picture = Picture::new(strip.runs, self.page_size_bytes, grid.cells().max(1));
            scale = scale.max(picture.pages_per_cell);
            for (total, pages) in totals.iter_mut().zip(picture.totals()) {
                *total += pages;
            }
            let top = inner.y + at as u16 * (inner.height / strips);
            let room = Rect {
                y: top,
                height: height.min(inner.bottom().saturating_sub(top)),
                ..inner
            };
            let is_named = self.strips.len() > 1;
            draw_cells(strip, &picture, grid, is_named, ink, room, buffer);
        }

        let unit = match scale {
            1 => format!(" a cell: a page of {} ", human(self.page_size_bytes)),
            pages => format!(
                " a cell: {} of {} ",
                count(pages, "page"),
                human(self.page_size_bytes)
            ),
        };
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let title_columns = usize::from(inner.width).saturating_sub(unit.chars().count());
        let title = Line::styled(
            format!(
                " {} ",
                cut(&self.title, title_columns.saturating_sub(2), ink.is_unicode)
            ),
            bold,
        );
        let mut block = ink.block(title).title(Line::from(unit).right_aligned());
        if totals != [0; State::ALL.len()] {
            block = block.title_bottom(legend(
                &totals,
                self.knows_resident,
                scale > 1,
                is_marked,
                ink,
            ));
        }
        block.render(area, buffer);
    }
}

fn draw_cells(
    strip: &Strip<'_>,
    picture: &Picture,
    grid: Grid,
    is_named: bool,
    ink: Ink,
    area: Rect,
    buffer: &mut Buffer,
) {
    // A gap between cells that are large enough for one.
    let width = if grid.columns >= 3 {
        grid.columns - 1
    } else {
        grid.columns
    };
    let height = if grid.rows >= 3 {
        grid.rows - 1
    } else {
        grid.rows
    };
    let latest = strip
        .latest
        .map(|latest| ((latest - picture.start) / picture.cell_bytes()) as usize);
    for (line, cells) in picture.cells.chunks(grid.per_line).enumerate() {
        let y = area.y + line as u16 * grid.rows;
        if y >= area.bottom() {
            return;
        }
        let label = match is_named {
            true if line == 0 => format!(
                " {}",
                cut(strip.name, usize::from(grid.label) - 2, ink.is_unicode)
            ),
            true => String::new(),
            // The number of its first page.
            false => format!(
                "{:>1$}",
                line as u64 * grid.per_line as u64 * picture.pages_per_cell,
                usize::from(grid.label) - 1
            ),
        };
        buffer.set_stringn(
            area.x,
            y,
            label,
            usize::from(grid.label.min(area.width)),
            Style::new(),
        );
        for (column, cell) in cells.iter().enumerate() {
            let state = Picture::foremost(cell);
            let (glyph, style) = match latest == Some(line * grid.per_line + column) {
                true => (ink.latest(), ink.latest_style()),
                false => (ink.cell(cell), ink.style(state)),
            };
            for dx in 0..width {
                for dy in 0..height {
                    let at = (
                        area.x + grid.label + column as u16 * grid.columns + dx,
                        y + dy,
                    );
                    let is_inside = at.0 < area.right() && at.1 < area.bottom();
                    if let Some(place) = buffer.cell_mut(at).filter(|_| is_inside) {
                        place.set_char(glyph).set_style(style);
                    }
                }
            }
        }
    }
}

fn legend(
    totals: &[u64; State::ALL.len()],
    knows_resident: bool,
    is_grouped: bool,
    is_marked: bool,
    ink: Ink,
) -> Line<'static> {
    let mut spans = vec![Span::raw(" ")];
    for (&state, &pages) in State::ALL.iter().zip(totals) {
        let is_always_told = match state {
            State::Reserved | State::Committed => true,
            State::Resident => knows_resident,
            _ => false,
        };
        if pages > 0 || is_always_told {
            spans.push(Span::styled(ink.glyph(state).to_string(), ink.style(state)));
            spans.push(Span::raw(format!(" {} {}  ", state.word(), grouped(pages))));
        }
    }
    if is_grouped {
        spans.push(Span::raw(format!(
            "{} a part  ",
            ink.cell(&[1, 0, 0, 1, 0, 0])
        )));
    }
    if is_marked {
        spans.push(Span::styled(ink.latest().to_string(), ink.latest_style()));
        spans.push(Span::raw(" latest fault "));
    }
    Line::from(spans)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::rows;

    const PAGE: u64 = 4096;
    fn strip<'a>(name: &'a str, runs: &'a [Run], latest: Option<u64>) -> Strip<'a> {
        Strip { name, runs, latest }
    }

    fn pages(strips: Vec<Strip<'_>>, ink: Ink) -> Pages<'_> {
        Pages {
            title: "pages".to_owned(),
            strips,
            page_size_bytes: PAGE,
            knows_resident: true,
            ink,
        }
    }

    fn drawn(pages: Pages<'_>, columns: u16, lines: u16) -> Vec<String> {
        let mut buffer = Buffer::empty(Rect::new(0, 0, columns, lines));
        pages.render(buffer.area, &mut buffer);
        rows(&buffer)
    }

    #[test]
    fn cells_are_as_large_as_there_is_room_for() {
        let grid = |pages, columns, rows| {
            let Grid {
                per_line,
                lines,
                columns,
                rows,
                ..
            } = Grid::new(pages, columns + Grid::label(pages) + 1, rows);
            (per_line, lines, columns, rows)
        };
        assert_eq!(grid(80, 69, 7), (16, 5, 4, 1));
        assert_eq!(grid(80, 149, 24), (16, 5, 9, 4));
        assert_eq!(grid(80, 189, 30), (16, 5, 11, 6));
        assert_eq!(grid(128, 69, 2), (64, 2, 1, 1));
        assert_eq!(grid(8192, 69, 7), (64, 4, 1, 1));
        assert_eq!(grid(8192, 149, 24), (128, 16, 1, 1));
        assert_eq!(grid(4096, 189, 24), (176, 24, 1, 1));
        assert_eq!(grid(1 << 40, 300, 24), (256, 16, 1, 1));
        // Nothing divides by nothing.
        assert_eq!(grid(0, 0, 0), (16, 0, 1, 1));
    }

    #[test]
    fn groups_of_pages_show_which_part_of_them_is_committed() {
        let runs = [
            Run::new(0, PAGE, State::Resident),
            Run::new(PAGE, 4096 * PAGE, State::Reserved),
        ];
        let lines = drawn(
            pages(vec![strip("large", &runs, None)], Ink::UNICODE),
            80,
            10,
        );
        let line = |y: usize| &lines[y];
        assert!(line(0).contains("a cell: 8 pages of 4 KiB"), "{}", line(0));
        assert!(
            line(1).contains(" 0 ▁·····") && line(8).contains("3584 ·····"),
            "{}",
            line(1)
        );
        assert!(line(9).contains("▄ a part"), "{}", line(9));
    }

    #[test]
    fn the_numbers_of_pages_are_whole() {
        let first = 0x7000_0000_0000;
        for (bytes, columns) in [(1u64 << 40, 80), (1 << 46, 80), (1 << 40, 60)] {
            let runs = [Run::new(first, first + bytes, State::Reserved)];
            let lines = drawn(pages(vec![strip("", &runs, None)], Ink::ASCII), columns, 10);
            let label = |line: &String| line[1..].trim_start().split(' ').next()?.parse().ok();
            let labels: Vec<u64> = lines[1..9].iter().filter_map(label).collect();
            let step = bytes / PAGE / 8;
            assert_eq!(labels, (0..8).map(|line| line * step).collect::<Vec<_>>());
        }
    }

    /// Whatever the size: nothing is written outside, and all that fits is there.
    #[test]
    fn any_size_will_do() {
        let mut runs = Vec::new();
        Run::new(0, 40 * PAGE, State::Resident).push(&mut runs);
        Run::new(40 * PAGE, 80 * PAGE, State::Reserved).push(&mut runs);
        for width in [2, 3, 9, 20, 60, 80, 200] {
            for height in [2, 3, 4, 8, 40] {
                for strips in [0, 1, 3] {
                    let strips = (0..strips).map(|_| strip("region", &runs, Some(39 * PAGE)));
                    let pages = pages(strips.collect(), Ink::ASCII);
                    let mut buffer = Buffer::empty(Rect::new(0, 0, 220, 60));
                    let area = Rect::new(5, 5, width, height);
                    pages.render(area, &mut buffer);
                    for y in 0..60 {
                        for x in 0..220 {
                            assert!(
                                area.contains((x, y).into()) || buffer[(x, y)].symbol() == " ",
                                "{width}x{height}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn each_page_is_a_cell() {
        let mut runs = Vec::new();
        Run::new(0, 17 * PAGE, State::Resident).push(&mut runs);
        Run::new(17 * PAGE, 20 * PAGE, State::Committed).push(&mut runs);
        Run::new(20 * PAGE, 80 * PAGE, State::Reserved).push(&mut runs);
        let strips = vec![strip("seed", &runs, Some(17 * PAGE + 5))];
        let lines = drawn(pages(strips, Ink::ASCII), 80, 8);
        assert!(
            lines[0].contains(" pages ") && lines[0].contains("a cell: a page of 4 KiB"),
            "{lines:#?}"
        );
        let full = format!("|{:>7} {}", 0, "### ".repeat(16));
        assert_eq!(lines[1].trim_end_matches(['|', ' ']), full.trim_end());
        let second = format!("|{:>7} ### @@@ ooo ooo {}", 16, "... ".repeat(12));
        assert_eq!(lines[2].trim_end_matches(['|', ' ']), second.trim_end());
        assert!(
            lines[7].contains(". reserved 60  o committed 3  # resident 17  @ latest fault"),
            "{lines:#?}"
        );
    }

    /// Without figures on resident pages, the legend does not mention them. Without known pages, it is empty.
    #[test]
    fn unknown_states_are_not_shown() {
        let legend = |runs: &[Run]| {
            let pages = Pages {
                knows_resident: false,
                ..pages(vec![strip("seed", runs, None)], Ink::ASCII)
            };
            drawn(pages, 60, 8).remove(7)
        };
        let known = legend(&[
            Run::new(0, 3 * PAGE, State::Committed),
            Run::new(3 * PAGE, 8 * PAGE, State::Reserved),
        ]);
        assert!(
            known.contains(". reserved 5  o committed 3  ---"),
            "{known}"
        );
        assert!(legend(&[]).starts_with("+---"), "{}", legend(&[]));
    }
}

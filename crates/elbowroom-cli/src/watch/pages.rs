//! The pages of regions as cells, which are as large as the room allows.

use std::cmp::Reverse;

use elbowroom_map::{Picture, Run, State};
use ratatui::buffer::Buffer;
use ratatui::layout::{Margin, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::ink::Ink;
use crate::size::{Size, count, grouped};

/// The columns to the left of the cells, at least: the number of a page may need more.
const LABEL: u16 = 8;

/// A region to be drawn.
pub(super) struct Strip<'a> {
    pub(super) name: &'a str,
    pub(super) runs: &'a [Run],
    /// The position of the latest fault, in the same unit as the runs.
    pub(super) latest: Option<u64>,
}

impl<'a> Strip<'a> {
    /// Returns the only region of a picture, without a mark.
    pub(super) fn new(runs: &'a [Run]) -> Strip<'a> {
        Strip {
            name: "",
            runs,
            latest: None,
        }
    }
}

/// A frame with the pages of regions, and a legend below.
pub(super) struct Pages<'a> {
    pub(super) title: String,
    pub(super) strips: Vec<Strip<'a>>,
    pub(super) page_size_bytes: u64,
    /// The states that the legend lists even if no page has them.
    pub(super) listed: &'static [State],
    pub(super) ink: Ink,
}

/// Returns the states of a region's pages that a legend always lists.
pub(super) fn listed(knows_resident: bool) -> &'static [State] {
    let all = &[State::Reserved, State::Committed, State::Resident];
    if knows_resident { all } else { &all[..2] }
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
    /// Returns the layout for regions of at most `pages` pages, each in `rows` rows.
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
        // The largest cells; then lines that begin at round numbers; then few cells in a line.
        let fits = |per_line: &u16| cells <= u64::from(*per_line) * u64::from(rows);
        let grids = (16..=most).step_by(16).filter(fits).map(grid);
        let best = grids.min_by_key(|grid| {
            let (size, per_line) = (grid.columns * grid.rows, grid.per_line);
            (Reverse(size), !per_line.is_power_of_two(), per_line)
        });
        best.unwrap_or_else(|| grid(most))
    }

    /// Returns the columns that the number of any page needs.
    fn label(pages: u64) -> u16 {
        LABEL.max(pages.to_string().len() as u16 + 1)
    }
}

impl Widget for Pages<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let ink = self.ink;
        let inner = area.inner(Margin::new(1, 1));
        let pages = |strip: &Strip<'_>| {
            let first = strip.runs.first().map_or(0, |run| run.start);
            let end = strip.runs.last().map_or(first, |run| run.end);
            (end - first) / self.page_size_bytes
        };
        let most = self.strips.iter().map(pages).max().unwrap_or(0);
        let rows = inner.height / self.strips.len().max(1) as u16;
        let grid = Grid::new(most, inner.width, rows);
        let cells = (grid.per_line * grid.lines).max(1) as u64;

        let mut totals = [0u64; State::ALL.len()];
        let mut scale = 1;
        for (at, strip) in self.strips.iter().enumerate() {
            let picture = Picture::new(strip.runs, self.page_size_bytes, cells);
            scale = scale.max(picture.pages_per_cell);
            for (total, pages) in totals.iter_mut().zip(picture.totals()) {
                *total += pages;
            }
            let room = Rect {
                y: inner.y + at as u16 * rows,
                height: grid.lines as u16 * grid.rows,
                ..inner
            };
            let is_named = self.strips.len() > 1;
            draw_cells(
                strip,
                &picture,
                grid,
                is_named,
                ink,
                room.intersection(inner),
                buffer,
            );
        }

        let page = Size(self.page_size_bytes);
        let unit = match scale {
            1 => format!(" a cell: a page of {page} "),
            pages => format!(" a cell: {} of {page} ", count(pages, "page")),
        };
        let room = |unit: &str| usize::from(inner.width).saturating_sub(unit.chars().count() + 2);
        let unit = if self.title.chars().count() <= room(&unit) {
            unit
        } else {
            format!(" a cell: {} ", Size(scale * self.page_size_bytes))
        };
        let room = room(&unit);
        let mut block = ink.block(&ink.cut(&self.title, room));
        block = block.title(Line::from(unit).right_aligned());
        if totals != [0; State::ALL.len()] {
            block = block.title_bottom(self.legend(&totals, scale > 1, inner.width.into()));
        }
        block.render(area, buffer);
    }
}

impl Pages<'_> {
    /// Returns the legend, in at most `columns`.
    fn legend(
        &self,
        totals: &[u64; State::ALL.len()],
        is_grouped: bool,
        columns: usize,
    ) -> Line<'static> {
        let ink = self.ink;
        let mut spans = vec![Span::raw(" ")];
        for (&state, &pages) in State::ALL.iter().zip(totals) {
            if pages > 0 || self.listed.contains(&state) {
                spans.push(Span::styled(ink.glyph(state).to_string(), ink.style(state)));
                spans.push(Span::raw(format!(" {} {}  ", state.word(), grouped(pages))));
            }
        }
        if is_grouped {
            let part = ink.cell(&[1, 0, 0, 1, 0, 0]);
            spans.push(Span::raw(format!("{part} a part  ")));
        }
        if self.strips.iter().any(|strip| strip.latest.is_some()) {
            let (glyph, style) = ink.latest();
            spans.push(Span::styled(glyph.to_string(), style));
            let used: usize = spans.iter().map(Span::width).sum();
            let name = [" latest fault ", " latest "];
            let name = name.into_iter().find(|name| used + name.len() <= columns);
            spans.push(Span::raw(name.unwrap_or_default()));
        }
        Line::from(spans)
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
    // There is a gap between cells that are large enough for one.
    let gap = |size: u16| size - u16::from(size >= 3);
    let (width, height) = (gap(grid.columns), gap(grid.rows));
    let latest = strip
        .latest
        .map(|latest| (latest - picture.start) / picture.cell_bytes());
    let columns = usize::from(grid.label);
    for (line, cells) in picture.cells.chunks(grid.per_line).enumerate() {
        let y = area.y + line as u16 * grid.rows;
        if y >= area.bottom() {
            return;
        }
        let first = line * grid.per_line;
        let label = match (is_named, line) {
            (true, 0) => format!(" {}", ink.cut(strip.name, columns - 2)),
            (true, _) => String::new(),
            // The number of its first page.
            (false, _) => format!("{:>1$}", first as u64 * picture.pages_per_cell, columns - 1),
        };
        buffer.set_stringn(
            area.x,
            y,
            label,
            columns.min(area.width.into()),
            Style::new(),
        );
        for (column, cell) in cells.iter().enumerate() {
            let (glyph, style) = match latest == Some((first + column) as u64) {
                true => ink.latest(),
                false => (ink.cell(cell), ink.style(Picture::foremost(cell))),
            };
            let x = area.x + grid.label + column as u16 * grid.columns;
            let place = Rect::new(x, y, width, height).intersection(area);
            for position in place.positions() {
                buffer[position].set_char(glyph).set_style(style);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::rows;

    const PAGE: u64 = 4096;

    fn strip(runs: &[Run], latest: Option<u64>) -> Strip<'_> {
        Strip {
            name: "region",
            runs,
            latest,
        }
    }

    fn pages(strips: Vec<Strip<'_>>, ink: Ink) -> Pages<'_> {
        Pages {
            title: "pages".to_owned(),
            strips,
            page_size_bytes: PAGE,
            listed: listed(true),
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
            let grid = Grid::new(pages, columns + Grid::label(pages) + 1, rows);
            (grid.per_line, grid.lines, grid.columns, grid.rows)
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

    fn runs(parts: &[(u64, State)]) -> Vec<Run> {
        let mut runs = Vec::new();
        for &(end, state) in parts {
            let start = runs.last().map_or(0x7000_0000_0000, |run: &Run| run.end);
            Run::new(start, 0x7000_0000_0000 + end * PAGE, state).push(&mut runs);
        }
        runs
    }

    #[test]
    fn groups_of_pages_show_which_part_of_them_is_committed() {
        let runs = runs(&[(1, State::Resident), (4096, State::Reserved)]);
        let lines = drawn(pages(vec![strip(&runs, None)], Ink::UNICODE), 80, 10);
        for (line, part) in [
            (0, "a cell: 8 pages of 4 KiB"),
            (1, " 0 ▁·····"),
            (8, "3584 ·····"),
            (9, "▄ a part"),
        ] {
            assert!(lines[line].contains(part), "{lines:#?}");
        }
    }

    #[test]
    fn the_numbers_of_pages_are_whole() {
        for (many, columns) in [(1u64 << 28, 80), (1 << 34, 80), (1 << 28, 60)] {
            let runs = runs(&[(many, State::Reserved)]);
            let lines = drawn(pages(vec![strip(&runs, None)], Ink::ASCII), columns, 10);
            let label = |line: &String| {
                line[1..]
                    .trim_start()
                    .split(' ')
                    .next()?
                    .parse::<u64>()
                    .ok()
            };
            let labels = lines[1..9].iter().filter_map(label);
            assert!(labels.eq((0..8).map(|line| line * many / 8)), "{lines:#?}");
        }
    }

    /// Whatever the size: nothing is written outside, and all that fits is there.
    #[test]
    fn every_size_is_drawn() {
        let runs = runs(&[(40, State::Resident), (80, State::Reserved)]);
        let latest = Some(runs[0].end - PAGE);
        let (widths, heights) = ([2, 3, 9, 20, 60, 80, 200], [2, 3, 4, 8, 40]);
        for at in 0..widths.len() * heights.len() * 3 {
            let (width, height) = (widths[at % 7], heights[at / 7 % 5]);
            let strips = (0..at / 35).map(|_| strip(&runs, latest));
            let mut buffer = Buffer::empty(Rect::new(0, 0, 220, 60));
            let area = Rect::new(5, 5, width, height);
            pages(strips.collect(), Ink::ASCII).render(area, &mut buffer);
            let mut outside = { buffer.area }.positions().filter(|&at| !area.contains(at));
            assert!(outside.all(|at| buffer[at].symbol() == " "), "{area}");
        }
    }

    #[test]
    fn each_page_is_a_cell() {
        let states = [
            (17, State::Resident),
            (20, State::Committed),
            (80, State::Reserved),
        ];
        let runs = runs(&states);
        let latest = Some(runs[0].end + 5);
        let lines = drawn(pages(vec![strip(&runs, latest)], Ink::ASCII), 80, 8);
        let second = format!("|{:>7} ### @@@ ooo ooo {}", 16, "... ".repeat(12));
        for (line, part) in [
            (0, "+ pages -----"),
            (0, " a cell: a page of 4 KiB +"),
            (1, &format!("|{:>7} {}", 0, "### ".repeat(16))),
            (2, &second),
            (
                7,
                ". reserved 60  o committed 3  # resident 17  @ latest fault",
            ),
        ] {
            assert!(lines[line].contains(part), "{lines:#?}");
        }
    }

    /// The legend has no resident pages where they are not known, and is empty without pages.
    #[test]
    fn unknown_states_are_not_shown() {
        let known = runs(&[(3, State::Committed), (8, State::Reserved)]);
        for (runs, start) in [
            (&known[..], "+ . reserved 5  o committed 3  --"),
            (&[], "+---"),
        ] {
            let pages = Pages {
                listed: listed(false),
                ..pages(vec![strip(runs, None)], Ink::ASCII)
            };
            let legend = drawn(pages, 60, 8).remove(7);
            assert!(legend.starts_with(start), "{legend}");
        }
    }
}

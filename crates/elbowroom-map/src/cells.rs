//! A picture in characters.

use std::fmt::{self, Write};

use anstyle::AnsiColor;
use elbowroom::Size;

use crate::pages::{Run, State};
use crate::picture::{Counts, Picture};
use crate::size::{Sizes, count};
use crate::text::Paint;
use crate::wrap::{COLUMNS, wrap};

/// The width of an address and of the gap behind it.
const ADDRESS_COLUMNS: usize = 14;
/// The lines of cells that a terminal has room for.
const LINES: usize = 24;
/// The characters for a cell of which only a part is not reserved, from little to much.
const PARTS: [char; 7] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇'];

/// Returns the cells in a line of `columns`: a multiple of 16, so that lines begin at round addresses.
fn cells_in_line(columns: usize) -> usize {
    match columns.saturating_sub(ADDRESS_COLUMNS) {
        most @ 16.. => most / 16 * 16,
        most => most.checked_ilog2().map_or(1, |bits| 1 << bits),
    }
}

fn glyph(state: State) -> (char, Option<AnsiColor>) {
    match state {
        State::Reserved => ('░', None),
        State::Committed => ('▒', Some(AnsiColor::Yellow)),
        State::Swapped => ('s', Some(AnsiColor::Red)),
        State::Resident => ('█', Some(AnsiColor::Blue)),
        State::Huge => ('H', Some(AnsiColor::Green)),
        State::Guard => ('x', Some(AnsiColor::Red)),
    }
}

/// Returns the character of a cell, and its colour.
fn look(cell: &Counts) -> (char, Option<AnsiColor>) {
    let (whole, colour) = glyph(Picture::foremost(cell));
    let part = Picture::level(cell, PARTS.len());
    (part.map_or(whole, |level| PARTS[level]), colour)
}

fn painted(paint: Paint, (glyph, colour): (char, Option<AnsiColor>), times: usize) -> String {
    let cells: String = std::iter::repeat_n(glyph, times).collect();
    colour.map_or_else(|| cells.clone(), |colour| paint.colour(colour, &cells))
}

fn legend(picture: &Picture, paint: Paint, columns: usize) -> String {
    let mut text = String::new();
    let page_size = picture.page_size_bytes;
    let totals = picture.totals();
    let sizes = Sizes::of(totals.map(|pages| pages * page_size));
    for (&state, &pages) in State::ALL.iter().zip(&totals) {
        if pages > 0 {
            let _ = writeln!(
                text,
                "  {} {:<10}{:>10}  {}",
                painted(paint, glyph(state), 1),
                state.word(),
                sizes.text(pages * page_size),
                count(pages, "page")
            );
        }
    }
    let page = Size(page_size);
    let scale = match picture.pages_per_cell {
        1 => format!("A character is a page of {page}."),
        pages => format!(
            "A character is {} ({} of {page}). It shows the last state in this list that one of these pages has. Its \
             height is the share of pages that are more than reserved.",
            Size(picture.cell_bytes()),
            count(pages, "page")
        ),
    };
    for line in wrap(&scale, columns.saturating_sub(2)) {
        let _ = writeln!(text, "  {line}");
    }
    text
}

impl Picture {
    /// Returns the picture of adjacent runs that is drawn best in lines of at most `columns`.
    pub fn fitting(runs: &[Run], page_size_bytes: u64, columns: usize) -> Picture {
        Picture::new(
            runs,
            page_size_bytes,
            (cells_in_line(columns) * LINES) as u64,
        )
    }

    /// Returns the picture as text: lines of one character per cell, with addresses, and a legend. A line has at most
    /// `columns`, if an address and one cell fit in it.
    pub fn draw(&self, paint: Paint, columns: usize) -> String {
        let mut text = String::new();
        let mut at = self.start;
        for line in self.cells.chunks(cells_in_line(columns)) {
            let _ = write!(text, "{at:>12x}  ");
            for run in line.chunk_by(|a, b| look(a) == look(b)) {
                text += &painted(paint, look(&run[0]), run.len());
            }
            text.push('\n');
            at += line.len() as u64 * self.cell_bytes();
        }
        text + &legend(self, paint, columns)
    }
}

impl fmt::Display for Picture {
    /// Writes the picture in 80 columns without colours.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.draw(Paint::Plain, COLUMNS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_drawn() {
        let page = 4096;
        let runs = [
            Run::new(0x10_0000, 0x10_0000 + 3 * page, State::Resident),
            Run::new(0x10_0000 + 3 * page, 0x10_0000 + 4 * page, State::Committed),
            Run::new(0x10_0000 + 4 * page, 0x10_0000 + 70 * page, State::Reserved),
        ];
        let picture = Picture::fitting(&runs, page, COLUMNS);
        let text = picture.draw(Paint::Plain, COLUMNS);
        let expected = format!(
            "      100000  ███▒{}\n      140000  {}\n  ░ reserved     264 KiB  66 pages\n  \
             ▒ committed      4 KiB  1 page\n  █ resident      12 KiB  3 pages\n  A character is a page of 4 KiB.\n",
            "░".repeat(60),
            "░".repeat(6)
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn large_ranges_fit() {
        let runs = [
            Run::new(0, 1 << 40, State::Reserved),
            Run::new(1 << 40, (1 << 40) + 4096, State::Guard),
        ];
        for columns in [45, 60, COLUMNS, 120, 200] {
            let picture = Picture::fitting(&runs, 4096, columns);
            let text = picture.draw(Paint::Plain, columns);
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(
                widest <= columns && 4 * widest > 3 * columns,
                "{columns}: {text}"
            );
            assert!(text.lines().count() <= LINES + 7, "{columns}: {text}");
        }
        let picture = Picture::fitting(&runs, 4096, COLUMNS);
        let text = picture.draw(Paint::Colours, COLUMNS).replace("\n  ", " ");
        assert!(
            text.contains("\x1b[31mx\x1b[0m") && text.contains("the last state in this list"),
            "{text}"
        );
    }

    #[test]
    fn a_cell_is_shaded_by_its_share() {
        let runs = [
            Run::new(0, 5 << 20, State::Resident),
            Run::new(5 << 20, 1 << 30, State::Reserved),
        ];
        let picture = Picture::fitting(&runs, 4096, COLUMNS);
        assert_eq!(picture.cell_bytes(), 1 << 20);
        let text = Picture::fitting(&runs, 8192, 60).draw(Paint::Plain, 60);
        assert!(text.starts_with("           0  ██▄░"), "{text}");
    }
}

//! A picture in characters.

use std::fmt::{self, Write};

use anstyle::AnsiColor;
use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

use crate::pages::State;
use crate::picture::Picture;
use crate::size::human;
use crate::text::Paint;

/// The width of a text that nothing is known of.
pub(crate) const COLUMNS: usize = 80;
/// The width of an address and of the gap behind it.
const ADDRESS_COLUMNS: usize = 14;
/// The lines of cells that a terminal has room for.
const LINES: usize = 24;

/// Returns the cells in a line of `columns`: a power of two, so that lines begin at round addresses.
fn cells_in_line(columns: usize) -> usize {
    let most = columns.saturating_sub(ADDRESS_COLUMNS);
    most.checked_ilog2().map_or(1, |bits| 1 << bits)
}

/// Returns the number of cells that a terminal of `columns` can show.
pub(crate) fn cells_max(columns: usize) -> u64 {
    (cells_in_line(columns) * LINES) as u64
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

/// Returns the picture as lines with their addresses, and a legend.
fn draw(picture: &Picture, paint: Paint, columns: usize) -> String {
    let mut text = String::new();
    let mut at = picture.start;
    for line in picture.cells.chunks(cells_in_line(columns)) {
        let _ = write!(text, "{at:>12x}  ");
        for run in line.chunk_by(|a, b| Picture::foremost(a) == Picture::foremost(b)) {
            let (glyph, colour) = glyph(Picture::foremost(&run[0]));
            let cells: String = std::iter::repeat_n(glyph, run.len()).collect();
            text += &colour.map_or_else(|| cells.clone(), |colour| paint.colour(colour, &cells));
        }
        text.push('\n');
        at += line.len() as u64 * picture.cell_bytes();
    }
    text += &legend(picture, paint, columns);
    text
}

fn legend(picture: &Picture, paint: Paint, columns: usize) -> String {
    let mut text = String::new();
    for (state, &pages) in State::ALL.iter().zip(&picture.totals()) {
        if pages > 0 {
            let (glyph, colour) = glyph(*state);
            let glyph = glyph.to_string();
            let glyph = colour.map_or_else(|| glyph.clone(), |colour| paint.colour(colour, &glyph));
            let size = human(pages * picture.page_size_bytes);
            let _ = writeln!(
                text,
                "  {glyph} {:<10}{size:>10}  {pages} page{}",
                state.word(),
                if pages == 1 { "" } else { "s" }
            );
        }
    }
    let page = human(picture.page_size_bytes);
    let scale = match picture.pages_per_cell {
        1 => format!("A character is a page of {page}."),
        pages => format!(
            "A character is {} ({pages} pages of {page}), and shows the last of these that any of them is.",
            human(picture.cell_bytes())
        ),
    };
    let lines = Options::new(columns)
        .initial_indent("  ")
        .subsequent_indent("  ")
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    text += &textwrap::fill(&scale, lines);
    text.push('\n');
    text
}

impl Picture {
    /// Returns the picture as text: lines of characters, one a cell, and what they mean. A line has at most
    /// `columns`, if that is room for an address and one cell.
    pub fn draw(&self, paint: Paint, columns: usize) -> String {
        draw(self, paint, columns)
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
    use crate::pages::Run;

    #[test]
    fn pages_are_drawn() {
        let page = 4096;
        let runs = [
            Run::new(0x10_0000, 0x10_0000 + 3 * page, State::Resident),
            Run::new(0x10_0000 + 3 * page, 0x10_0000 + 4 * page, State::Committed),
            Run::new(0x10_0000 + 4 * page, 0x10_0000 + 70 * page, State::Reserved),
        ];
        let picture = Picture::new(&runs, page, cells_max(COLUMNS));
        let text = draw(&picture, Paint::Plain, COLUMNS);
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
        for columns in [45, 60, COLUMNS, 200] {
            let picture = Picture::new(&runs, 4096, cells_max(columns));
            let text = draw(&picture, Paint::Plain, columns);
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(
                widest <= columns && 2 * widest > columns,
                "{columns}: {text}"
            );
            assert!(text.lines().count() <= LINES + 7, "{columns}: {text}");
        }
        let picture = Picture::new(&runs, 4096, cells_max(COLUMNS));
        let text = draw(&picture, Paint::Colours, COLUMNS).replace("\n  ", " ");
        assert!(
            text.contains("\x1b[31mx\x1b[0m") && text.contains("shows the last of these"),
            "{text}"
        );
    }
}

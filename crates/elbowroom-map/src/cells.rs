//! A picture in characters.

use std::fmt::{self, Write};

use anstyle::AnsiColor;

use crate::pages::State;
use crate::picture::Picture;
use crate::size::human;
use crate::text::Paint;

/// The cells in a line.
const COLUMNS: usize = 64;
/// At most so many lines, unless that would be less than a cell a page.
const LINES: usize = 24;

/// As many cells as a terminal can show: what [`Picture::draw`] is for.
pub(crate) const CELLS_MAX: u64 = (COLUMNS * LINES) as u64;

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
fn draw(picture: &Picture, paint: Paint) -> String {
    let mut text = String::new();
    let mut at = picture.start;
    for line in picture.cells.chunks(COLUMNS) {
        let _ = write!(text, "  {at:>14x}  ");
        for run in line.chunk_by(|a, b| Picture::foremost(a) == Picture::foremost(b)) {
            let (glyph, colour) = glyph(Picture::foremost(&run[0]));
            let cells: String = std::iter::repeat_n(glyph, run.len()).collect();
            text += &colour.map_or_else(|| cells.clone(), |colour| paint.colour(colour, &cells));
        }
        text.push('\n');
        at += line.len() as u64 * picture.cell_bytes();
    }
    text += &legend(picture, paint);
    text
}

fn legend(picture: &Picture, paint: Paint) -> String {
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
    let _ = match picture.pages_per_cell {
        1 => writeln!(text, "  A character is a page of {page}."),
        pages => writeln!(
            text,
            "  A character is {} ({pages} pages of {page}), and shows the last of these that any of them is.",
            human(picture.cell_bytes())
        ),
    };
    text
}

impl Picture {
    /// Returns the picture as text: lines of characters, one a cell, and what they mean.
    pub fn draw(&self, paint: Paint) -> String {
        draw(self, paint)
    }
}

impl fmt::Display for Picture {
    /// Writes the picture without colours.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.draw(Paint::Plain))
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
        let text = draw(&Picture::new(&runs, page, CELLS_MAX), Paint::Plain);
        let expected = format!(
            "          100000  ███▒{}\n          140000  {}\n  ░ reserved     264 KiB  66 pages\n  \
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
        let text = draw(&Picture::new(&runs, 4096, CELLS_MAX), Paint::Colours);
        assert!(text.lines().count() <= LINES + 4, "{text}");
        assert!(
            text.contains("\x1b[31mx\x1b[0m") && text.contains("shows the last of these"),
            "{text}"
        );
    }
}

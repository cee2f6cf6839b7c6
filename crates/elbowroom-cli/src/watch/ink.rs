//! Characters and colours. Colours only repeat what characters say.

use elbowroom_map::{Counts, Picture, State, bar};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::{bar as bars, border};
use ratatui::text::Line;
use ratatui::widgets::{Block, Sparkline, Widget};

use crate::os;

/// The abilities of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ink {
    /// Whether it shows Unicode.
    pub(super) is_unicode: bool,
    pub(super) is_coloured: bool,
}

const ASCII_BORDER: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

const ASCII_BARS: bars::Set<'static> = bars::Set {
    full: "@",
    seven_eighths: "#",
    three_quarters: "*",
    five_eighths: "+",
    half: "=",
    three_eighths: "-",
    one_quarter: ":",
    one_eighth: ".",
    empty: " ",
};

pub(super) fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

impl Ink {
    /// Returns the abilities according to the locale and NO_COLOR (no-color.org).
    pub(super) fn for_output() -> Ink {
        Ink {
            is_unicode: os::is_utf8(),
            is_coloured: !anstyle_query::no_color(),
        }
    }

    pub(super) fn glyph(self, state: State) -> char {
        let (unicode, ascii) = match state {
            State::Reserved => ('·', '.'),
            State::Committed => ('▒', 'o'),
            State::Swapped => ('s', 's'),
            State::Resident => ('█', '#'),
            State::Huge => ('H', 'H'),
            State::Guard => ('x', 'x'),
        };
        if self.is_unicode { unicode } else { ascii }
    }

    /// Returns the character for the latest fault.
    pub(super) fn latest(self) -> char {
        if self.is_unicode { '◆' } else { '@' }
    }

    /// Returns blue and orange-like colours, which colour-blind people can also distinguish.
    pub(super) fn style(self, state: State) -> Style {
        self.colour(match state {
            State::Reserved => Color::DarkGray,
            State::Committed => Color::Yellow,
            State::Swapped => Color::Red,
            State::Resident => Color::Blue,
            State::Huge => Color::Cyan,
            State::Guard => Color::Red,
        })
    }

    pub(super) fn colour(self, colour: Color) -> Style {
        if self.is_coloured {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }

    pub(super) fn latest_style(self) -> Style {
        self.colour(Color::Magenta).add_modifier(Modifier::BOLD)
    }

    /// Returns a frame around a part of the screen.
    pub(super) fn block<'a>(self, title: impl Into<Line<'a>>) -> Block<'a> {
        let set = if self.is_unicode {
            border::PLAIN
        } else {
            ASCII_BORDER
        };
        Block::bordered()
            .border_set(set)
            .border_style(self.colour(Color::DarkGray))
            .title(title)
    }

    /// Returns the character of a cell of pages. Of one that is reserved in part, it shows how much is not.
    pub(super) fn cell(self, cell: &Counts) -> char {
        let levels: &[char] = match self.is_unicode {
            true => &['▁', '▂', '▃', '▄', '▅', '▆', '▇'],
            false => &['-', '=', '+'],
        };
        Picture::level(cell, levels.len()).map_or_else(
            || self.glyph(Picture::foremost(cell)),
            |level| levels[level],
        )
    }

    /// Returns a bar of `columns` that shows a part of a whole.
    pub(super) fn bar(self, part: u64, whole: u64, columns: usize) -> String {
        let bar = bar(part.min(whole), whole, columns, self.is_unicode);
        let empty = columns - bar.chars().count();
        bar + &if self.is_unicode { "░" } else { "." }.repeat(empty)
    }

    /// Draws a column for each value, relative to the largest, from the left. A value above 0 is always visible.
    pub(super) fn sparks(self, values: &[u64], area: Rect, buffer: &mut Buffer) {
        let steps = 8 * u64::from(area.height);
        let most = values.iter().copied().max().unwrap_or(0).max(1);
        let step = |&value: &u64| {
            (u128::from(value) * u128::from(steps)).div_ceil(u128::from(most)) as u64
        };
        let set = if self.is_unicode {
            bars::NINE_LEVELS
        } else {
            ASCII_BARS
        };
        Sparkline::default()
            .data(values.iter().map(step).collect::<Vec<_>>())
            .max(steps)
            .bar_set(set)
            .style(self.colour(Color::Cyan))
            .render(area, buffer);
    }
}

#[cfg(test)]
impl Ink {
    pub(super) const UNICODE: Ink = Ink {
        is_unicode: true,
        is_coloured: false,
    };
    pub(super) const ASCII: Ink = Ink {
        is_unicode: false,
        is_coloured: false,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_told_apart_without_colours() {
        for ink in [Ink::UNICODE, Ink::ASCII] {
            let mut glyphs: Vec<char> = State::ALL
                .into_iter()
                .map(|state| ink.glyph(state))
                .collect();
            glyphs.push(ink.latest());
            glyphs.push(ink.cell(&[1, 0, 0, 1, 0, 0]));
            let count = glyphs.len();
            glyphs.sort_unstable();
            glyphs.dedup();
            assert_eq!(glyphs.len(), count);
        }
        assert!(
            State::ALL
                .into_iter()
                .all(|state| Ink::ASCII.glyph(state).is_ascii())
        );
        assert_eq!(Ink::ASCII.style(State::Committed), Style::new());
    }

    #[test]
    fn bars_and_diagrams_show_small_values() {
        assert_eq!(
            [Ink::ASCII.bar(0, 10, 4), Ink::ASCII.bar(20, 10, 4)],
            ["....", "####"]
        );
        assert_eq!(Ink::UNICODE.bar(5, 10, 4), "██░░");
        let cell = |ink: Ink, reserved, resident| ink.cell(&[reserved, 0, 0, resident, 0, 0]);
        assert_eq!(
            [(127, 1), (64, 64), (1, 127)].map(|(a, b)| cell(Ink::UNICODE, a, b)),
            ['▁', '▄', '▇']
        );
        assert_eq!(
            [cell(Ink::ASCII, 127, 1), cell(Ink::ASCII, 1, 127)],
            ['-', '+']
        );
        let sparks = |ink: Ink, values: &[u64], rows| {
            let mut buffer = Buffer::empty(Rect::new(0, 0, 4, rows));
            ink.sparks(values, buffer.area, &mut buffer);
            crate::watch::rows(&buffer).join("/")
        };
        assert_eq!(sparks(Ink::UNICODE, &[0, 1, 500, 1000], 1), " ▁▄█");
        assert_eq!(sparks(Ink::UNICODE, &[0, 1, 500, 1000], 2), "   █/ ▁██");
        assert_eq!(sparks(Ink::ASCII, &[1, 8], 1), ".@  ");
        assert_eq!(sparks(Ink::ASCII, &[], 1), "    ");
    }
}

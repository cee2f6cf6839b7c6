//! Characters and colours. Everything that a colour tells a character tells as well.

use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border::{self, Set};
use ratatui::text::Line;
use ratatui::widgets::Block;

use crate::os;
use elbowroom_map::State;

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ink {
    /// More than ASCII.
    pub(super) is_unicode: bool,
    pub(super) is_coloured: bool,
}

const ASCII_BORDER: Set<'static> = Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

pub(super) fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

impl Ink {
    /// By the locale, and by NO_COLOR (no-color.org).
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

    /// Blue and orange-like colours, which nearly everybody can tell apart.
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

    /// For a cell of several pages of which only this part is committed.
    pub(super) fn partly(self, part: u64, whole: u64) -> char {
        let levels = if self.is_unicode {
            "▁▂▃▄▅▆▇"
        } else {
            "-=+"
        };
        let count = levels.chars().count() as u64;
        let level = (part * count / whole.max(1)).min(count - 1);
        levels.chars().nth(level as usize).unwrap_or(' ')
    }

    /// Returns a bar of `columns` that shows a part of a whole.
    pub(super) fn bar(self, part: u64, whole: u64, columns: usize) -> String {
        let steps = if self.is_unicode { 8 } else { 1 };
        let all = columns * steps;
        let filled = match whole {
            0 => 0,
            _ => (u128::from(part.min(whole)) * all as u128 / u128::from(whole)) as usize,
        };
        // What is not nothing shows.
        let filled = filled.max(usize::from(part > 0)).min(all);
        let (full, empty) = if self.is_unicode {
            ("█", "░")
        } else {
            ("#", ".")
        };
        let mut bar = full.repeat(filled / steps);
        bar.extend("▏▎▍▌▋▊▉".chars().nth((filled % steps).wrapping_sub(1)));
        bar + &empty.repeat(columns - filled.div_ceil(steps))
    }

    /// Returns a small diagram: a column for each value, relative to the largest.
    pub(super) fn sparks(self, values: &[u64]) -> String {
        let levels = if self.is_unicode {
            " ▁▂▃▄▅▆▇█"
        } else {
            " .:-=+*#@"
        };
        let levels: Vec<char> = levels.chars().collect();
        let most = values.iter().copied().max().unwrap_or(0).max(1);
        let level = |value: u64| (u128::from(value) * 8).div_ceil(u128::from(most)) as usize;
        values.iter().map(|&value| levels[level(value)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNICODE: Ink = Ink {
        is_unicode: true,
        is_coloured: true,
    };
    const ASCII: Ink = Ink {
        is_unicode: false,
        is_coloured: false,
    };

    #[test]
    fn states_are_told_apart_without_colours() {
        for ink in [UNICODE, ASCII] {
            let mut glyphs: Vec<char> = State::ALL
                .into_iter()
                .map(|state| ink.glyph(state))
                .collect();
            glyphs.push(ink.latest());
            glyphs.push(ink.partly(1, 2));
            let count = glyphs.len();
            glyphs.sort_unstable();
            glyphs.dedup();
            assert_eq!(glyphs.len(), count);
        }
        assert!(
            State::ALL
                .into_iter()
                .all(|state| ASCII.glyph(state).is_ascii())
        );
        assert_eq!(ASCII.style(State::Committed), Style::new());
    }

    #[test]
    fn bars_and_diagrams_show_what_is_not_nothing() {
        assert_eq!(ASCII.bar(0, 10, 4), "....");
        assert_eq!(ASCII.bar(1, 1 << 40, 4), "#...");
        assert_eq!(ASCII.bar(5, 10, 4), "##..");
        assert_eq!(ASCII.bar(10, 10, 4), "####");
        assert_eq!(ASCII.bar(20, 10, 4), "####");
        assert_eq!(ASCII.bar(1, 0, 4), "#...");
        assert_eq!(UNICODE.bar(5, 10, 4), "██░░");
        assert_eq!(UNICODE.bar(1, 1 << 40, 2), "▏░");
        assert_eq!(UNICODE.bar(15, 16, 2), "█▉");
        assert_eq!([UNICODE.bar(0, 1, 2), UNICODE.bar(1, 1, 2)], ["░░", "██"]);
        assert_eq!(
            [
                UNICODE.partly(1, 128),
                UNICODE.partly(64, 128),
                UNICODE.partly(127, 128)
            ],
            ['▁', '▄', '▇']
        );
        assert_eq!([ASCII.partly(1, 128), ASCII.partly(127, 128)], ['-', '+']);
        assert_eq!(UNICODE.sparks(&[0, 1, 500, 1000]), " ▁▄█");
        assert_eq!(UNICODE.sparks(&[]), "");
        assert_eq!(ASCII.sparks(&[0, 0]), "  ");
    }
}

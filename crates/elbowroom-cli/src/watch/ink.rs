//! Characters, colours, and the text form of times.

use std::time::Duration;

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
    pub(super) is_unicode: bool,
    /// Whether colours are shown. They only repeat what characters say.
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

pub(super) const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

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

    /// Returns the colour of a state: blue, or like orange, which colour-blind people can also distinguish.
    pub(super) fn style(self, state: State) -> Style {
        self.colour(match state {
            State::Reserved => Color::DarkGray,
            State::Committed => Color::Yellow,
            State::Swapped | State::Guard => Color::Red,
            State::Resident => Color::Blue,
            State::Huge => Color::Cyan,
        })
    }

    pub(super) fn colour(self, colour: Color) -> Style {
        match self.is_coloured {
            true => Style::new().fg(colour),
            false => Style::new(),
        }
    }

    /// Returns the character for the latest fault, and its style.
    pub(super) fn latest(self) -> (char, Style) {
        let glyph = if self.is_unicode { '◆' } else { '@' };
        (glyph, self.colour(Color::Magenta).patch(BOLD))
    }

    /// Returns a frame around a part of the screen.
    pub(super) fn block<'a>(self, title: &str) -> Block<'a> {
        let set = if self.is_unicode {
            border::PLAIN
        } else {
            ASCII_BORDER
        };
        Block::bordered()
            .border_set(set)
            .border_style(self.colour(Color::DarkGray))
            .title(Line::styled(format!(" {title} "), BOLD))
    }

    /// Returns the character of a cell of pages. Of one that is reserved in part, it shows how much is not.
    pub(super) fn cell(self, cell: &Counts) -> char {
        let levels: &[char] = match self.is_unicode {
            true => &['▁', '▂', '▃', '▄', '▅', '▆', '▇'],
            false => &['-', '=', '+'],
        };
        let level = Picture::level(cell, levels.len());
        level.map_or_else(
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

    /// Draws a column for each of the last values, relative to the largest, from the left. A value above 0 is visible.
    pub(super) fn sparks(self, values: &[u64], area: Rect, buffer: &mut Buffer) {
        let values = &values[values.len().saturating_sub(area.width.into())..];
        let steps = 8 * u64::from(area.height);
        let most = u128::from(values.iter().copied().max().unwrap_or(0).max(1));
        let step = |&value: &u64| (u128::from(value) * u128::from(steps)).div_ceil(most) as u64;
        let bars = match self.is_unicode {
            true => bars::NINE_LEVELS,
            false => ASCII_BARS,
        };
        Sparkline::default()
            .data(values.iter().map(step).collect::<Vec<_>>())
            .max(steps)
            .bar_set(bars)
            .style(self.colour(Color::Cyan))
            .render(area, buffer);
    }

    /// Returns a time in the largest unit that leaves at least 1, with at least two digits.
    pub(super) fn time(self, time: Duration) -> String {
        let nanoseconds = time.as_nanos();
        let (unit, name) = match nanoseconds {
            0..1_000 => return format!("{nanoseconds} ns"),
            1_000..1_000_000 => (1e3, if self.is_unicode { "µs" } else { "us" }),
            1_000_000..1_000_000_000 => (1e6, "ms"),
            _ => (1e9, "s"),
        };
        match nanoseconds as f64 / unit {
            value if value < 9.95 => format!("{value:.1} {name}"),
            value => format!("{value:.0} {name}"),
        }
    }

    /// Returns a text cut to `columns` characters, with a mark if it was cut.
    pub(super) fn cut(self, text: &str, columns: usize) -> String {
        if text.chars().count() <= columns {
            return text.to_owned();
        }
        let mark = if self.is_unicode { '…' } else { '~' };
        let kept = text.chars().take(columns.saturating_sub(1));
        kept.chain([mark]).take(columns).collect()
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
    fn states_differ_without_colours() {
        for ink in [Ink::UNICODE, Ink::ASCII] {
            let mut glyphs = State::ALL.map(|state| ink.glyph(state)).to_vec();
            assert!(ink.is_unicode || glyphs.iter().all(char::is_ascii));
            glyphs.extend([ink.latest().0, ink.cell(&[1, 0, 0, 1, 0, 0])]);
            let count = glyphs.len();
            glyphs.sort_unstable();
            glyphs.dedup();
            assert_eq!(glyphs.len(), count);
        }
        assert_eq!(Ink::ASCII.style(State::Committed), Style::new());
    }

    #[test]
    fn bars_and_diagrams_show_small_values() {
        let bars = [Ink::ASCII.bar(0, 10, 4), Ink::ASCII.bar(20, 10, 4)];
        assert_eq!(bars, ["....", "####"]);
        assert_eq!(Ink::UNICODE.bar(5, 10, 4), "██░░");
        let cell = |ink: Ink, reserved, resident| ink.cell(&[reserved, 0, 0, resident, 0, 0]);
        let cells = [(127, 1), (64, 64), (1, 127)].map(|(a, b)| cell(Ink::UNICODE, a, b));
        assert_eq!(cells, ['▁', '▄', '▇']);
        assert_eq!([127, 1].map(|a| cell(Ink::ASCII, a, 128 - a)), ['-', '+']);
        for (ink, values, rows, expected) in [
            (Ink::UNICODE, &[9, 0, 1, 500, 1000][..], 1, " ▁▄█"),
            (Ink::UNICODE, &[0, 1, 500, 1000], 2, "   █/ ▁██"),
            (Ink::ASCII, &[1, 8], 1, ".@  "),
            (Ink::ASCII, &[], 1, "    "),
        ] {
            let mut buffer = Buffer::empty(Rect::new(0, 0, 4, rows));
            ink.sparks(values, buffer.area, &mut buffer);
            assert_eq!(crate::watch::rows(&buffer).join("/"), expected);
        }
    }

    #[test]
    fn texts_are_short() {
        for (nanoseconds, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (9_949, "9.9 µs"),
            (9_951, "10 µs"),
            (12_345_678, "12 ms"),
            (3_000_000_000, "3.0 s"),
        ] {
            assert_eq!(Ink::UNICODE.time(Duration::from_nanos(nanoseconds)), text);
        }
        assert_eq!(Ink::ASCII.time(Duration::from_micros(3)), "3.0 us");
        let cut = |columns| Ink::UNICODE.cut("abcd", columns);
        assert_eq!([cut(0), cut(3), cut(4)], ["", "ab…", "abcd"]);
        assert_eq!(Ink::ASCII.cut("abcd", 3), "ab~");
    }
}

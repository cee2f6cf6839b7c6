//! Writing to the terminal: without a panic when nobody listens, and in colours where they are wanted.

use std::env;
use std::fmt;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use crate::os;

/// Writes a line to standard output, at once.
pub(crate) fn line(line: impl fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Tells the user of a failure.
pub(crate) fn complain(message: impl fmt::Display) {
    note(format_args!("elbowroom: {message}"));
}

/// Writes a line to standard error. There is nobody to tell if that fails.
pub(crate) fn note(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes a whole file.
pub(crate) fn write_file(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// The colours of a terminal, by their numbers in ECMA-48.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Blue = 34,
}

/// Whether to paint. Nothing is told by colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Colours,
}

impl Paint {
    /// For standard output: plain into a file or pipe, with NO_COLOR set (no-color.org), and on a dumb terminal.
    pub(crate) fn for_output() -> Paint {
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        if !refused && !dumb && io::stdout().is_terminal() && os::enable_colours() {
            Paint::Colours
        } else {
            Paint::Plain
        }
    }

    pub(crate) fn colour(self, colour: Colour, text: &str) -> String {
        self.style(colour as u8, text)
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.style(1, text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.style(2, text)
    }

    fn style(self, number: u8, text: &str) -> String {
        match self {
            Paint::Plain => text.to_owned(),
            Paint::Colours => format!("\x1b[{number}m{text}\x1b[0m"),
        }
    }
}

impl From<Paint> for elbowroom_map::Paint {
    fn from(paint: Paint) -> elbowroom_map::Paint {
        match paint {
            Paint::Plain => elbowroom_map::Paint::Plain,
            Paint::Colours => elbowroom_map::Paint::Colours,
        }
    }
}

/// Breaks a text between words into lines of at most so many characters. A longer word has a line of its own.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("aa bb cc dd", 5), ["aa bb", "cc dd"]);
        assert_eq!(wrap("aaaaaaaa b", 5), ["aaaaaaaa", "b"]);
        assert_eq!(wrap("ää ää", 5), ["ää ää"]);
        assert!(wrap(" ", 5).is_empty());
    }
}

//! Output to the terminal and to files. A closed pipe is an error and not a panic.

use std::fmt;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

pub(crate) use anstyle::AnsiColor as Colour;
pub(crate) use elbowroom_map::{Paint, wrap};

use elbowroom_map::is_hidden;
use serde::Serialize;
use terminal_size::{Width, terminal_size_of};

/// The columns that are drawn where there is no terminal to fit.
pub(crate) const COLUMNS: usize = 80;

/// Writes a line to standard output, at once.
pub(crate) fn line(line: impl fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Prints a text that is the whole output of a command, and returns the exit status.
pub(crate) fn print(text: impl fmt::Display) -> Result<i32, String> {
    line(text).map(|()| 0).map_err(cannot_print)
}

/// Returns the message for a failure to write to standard output.
pub(crate) fn cannot_print(error: io::Error) -> String {
    format!("cannot write to standard output: {error}")
}

/// Returns the JSON of plain data, with characters that cannot be seen escaped.
pub(crate) fn json(data: &impl Serialize) -> String {
    // PANIC: serialising fails only for map keys that are not strings and for custom errors. Plain data has neither.
    let json = serde_json::to_string(data).expect("plain data");
    // Outside strings JSON has only ASCII, so these characters are in strings and can be escaped.
    let mut escaped = String::with_capacity(json.len());
    for char in json.chars() {
        if is_hidden(char) {
            for unit in char.encode_utf16(&mut [0; 2]) {
                escaped += &format!("\\u{unit:04x}");
            }
        } else {
            escaped.push(char);
        }
    }
    escaped
}

/// Reports a failure to the user.
pub(crate) fn complain(message: impl fmt::Display) {
    note_fitted(format_args!("elbowroom: {message}"));
}

/// Writes a text to standard error, in lines that fit its terminal.
pub(crate) fn note_fitted(text: impl fmt::Display) {
    let columns = terminal_size_of(io::stderr()).map(|(Width(columns), _)| columns.into());
    note(fitted(&text.to_string(), columns));
}

/// Returns a text whose lines fit a terminal of `columns`, if there is one: longer ones are broken between words.
pub(crate) fn fitted(text: &str, columns: Option<usize>) -> String {
    let columns = columns.unwrap_or(usize::MAX);
    let fit = |line: &str| match line.chars().count() > columns {
        true => wrap(line, columns).join("\n"),
        false => line.to_owned(),
    };
    text.lines().map(fit).collect::<Vec<_>>().join("\n")
}

/// Writes a line to standard error. A failure is ignored, because it cannot be reported.
pub(crate) fn note(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes a whole file.
pub(crate) fn write_file(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Writes those files that are asked for.
pub(crate) fn write_files<const N: usize>(
    files: [(&Option<PathBuf>, &dyn Fn() -> String); N],
) -> Result<(), String> {
    for (path, text) in files {
        if let Some(path) = path {
            write_file(path, &text())?;
        }
    }
    Ok(())
}

/// Returns whether standard output shows colours. A file, a pipe and a dumb terminal do not, and none does if NO_COLOR
/// is set (no-color.org).
pub(crate) fn paint() -> Paint {
    let is_wanted = !anstyle_query::no_color() && anstyle_query::term_supports_color();
    // On Windows, escape sequences must be enabled for the console.
    let is_able = || anstyle_query::windows::enable_ansi_colors().unwrap_or(true);
    if is_wanted && io::stdout().is_terminal() && is_able() {
        Paint::Colours
    } else {
        Paint::Plain
    }
}

/// Returns how wide the terminal is that standard output goes to, if it is one.
pub(crate) fn columns() -> Option<usize> {
    let (Width(columns), _) = terminal_size_of(io::stdout())?;
    Some(usize::from(columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_and_others_stay() {
        let text = "a   b\n\nsome long words here";
        assert_eq!(fitted(text, None), text);
        assert_eq!(fitted(text, Some(10)), "a   b\n\nsome long\nwords here");
    }

    #[test]
    fn what_cannot_be_seen_is_escaped_in_json() {
        let name = "a\u{202e}b\u{e0041}\n";
        let text = json(&name);
        assert_eq!(text, r#""a\u202eb\udb40\udc41\n""#);
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), name);
    }
}

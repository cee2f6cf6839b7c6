//! Help and errors of the command line that fit the terminal.

use std::process;

use terminal_size::{Width, terminal_size};

use crate::output;

/// The width of help in a wider terminal, and without one.
const COLUMNS_MAX: usize = 100;

/// Returns a command line whose help fits the terminal.
pub(super) fn fitted(command: clap::Command) -> clap::Command {
    let terminal = terminal_size().map(|(Width(columns), _)| usize::from(columns));
    let columns = terminal.map_or(COLUMNS_MAX, |columns| columns.min(COLUMNS_MAX));
    // clap wraps all other texts.
    with_examples(command, columns).term_width(columns)
}

fn with_examples(command: clap::Command, columns: usize) -> clap::Command {
    let help = command.get_after_help().map(ToString::to_string);
    let command = match help {
        Some(help) => command.after_help(examples(&help, columns)),
        None => command,
    };
    command.mut_subcommands(|command| with_examples(command, columns))
}

/// Puts the descriptions of examples below them, if there is no room at their side.
fn examples(help: &str, columns: usize) -> String {
    let is_wide = |line: &str| parts(line).is_some() && line.chars().count() > columns;
    if !help.lines().any(is_wide) {
        return help.to_owned();
    }
    let lines = help.lines().map(|line| match parts(line) {
        Some((example, description)) => format!("  {example}\n      {description}"),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the example and the description in a line that has both.
fn parts(line: &str) -> Option<(&str, &str)> {
    let (example, description) = line.strip_prefix("  ")?.split_once("  ")?;
    Some((example, description.trim_start()))
}

/// Prints an error, or the help or the version that was asked for, and ends the process.
pub(super) fn end(error: &clap::Error) -> ! {
    if !error.use_stderr() {
        error.exit();
    }
    output::note_fitted(error.render());
    process::exit(error.exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_of_examples_go_below_them() {
        let help = "A note.\n\nExamples:\n  a 1    the first\n  a longer one | b";
        assert_eq!(examples(help, 18), help);
        let narrow = "A note.\n\nExamples:\n  a 1\n      the first\n  a longer one | b";
        assert_eq!(examples(help, 17), narrow);
    }
}

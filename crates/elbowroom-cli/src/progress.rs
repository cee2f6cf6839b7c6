//! The progress of long work, on standard error if that is a terminal.

use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

const BAR_COLUMNS: usize = 24;
/// The columns that every terminal has.
const COLUMNS: usize = 79;

/// A bar, until it is dropped.
pub(crate) struct Progress {
    is_shown: bool,
    steps: usize,
    done: usize,
}

impl Progress {
    pub(crate) fn new(steps: usize) -> Progress {
        let is_dumb = env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        Progress {
            is_shown: io::stderr().is_terminal() && !is_dumb,
            steps,
            done: 0,
        }
    }

    /// Shows the next step.
    pub(crate) fn step(&mut self, next: impl Display) {
        if self.is_shown {
            // A failure cannot be reported.
            let bar = bar(self.done, self.steps, &next.to_string());
            let _ = write!(io::stderr(), "\r{bar:<COLUMNS$}");
        }
        self.done += 1;
    }
}

/// Removes the bar.
impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r{:COLUMNS$}\r", "");
        }
    }
}

fn bar(done: usize, steps: usize, next: &str) -> String {
    let filled = done * BAR_COLUMNS / steps.max(1);
    let bar = "#".repeat(filled) + &".".repeat(BAR_COLUMNS - filled);
    let line = format!("[{bar}] {:3} %  {next}", done * 100 / steps.max(1));
    line.chars().take(COLUMNS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_one_line() {
        assert_eq!(bar(0, 10, "a"), "[........................]   0 %  a");
        assert_eq!(bar(5, 10, "a"), "[############............]  50 %  a");
        assert_eq!(bar(10, 10, ""), "[########################] 100 %  ");
        assert_eq!(bar(0, 0, &"ä".repeat(100)).chars().count(), COLUMNS);
    }
}

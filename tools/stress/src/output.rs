//! Output for people.

use std::fmt;
use std::io::{self, Write};

/// Writes a line to standard output without buffering.
pub(crate) fn line(line: impl fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Writes a failure to standard error.
pub(crate) fn complain(message: impl fmt::Display) {
    note(format_args!("elbowroom-stress: {message}"));
}

/// Writes a line to standard error. Ignores a failure of the output.
pub(crate) fn note(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

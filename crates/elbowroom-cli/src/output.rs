//! Writing to the terminal without a panic when nobody listens.

use std::fmt;
use std::io::{self, Write};

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

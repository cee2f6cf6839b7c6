//! The one line on standard error when a touch outside an accessor is refused.

use std::fmt::{self, Write};

use super::Refusal;
use crate::error::Cause;
use crate::os::{self, Trap};
use crate::region::Core;

/// A line on the stack: formatting into it allocates nothing. What does not fit is cut.
struct Line {
    bytes: [u8; 512],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.len..];
        let len = text.len().min(room.len());
        room[..len].copy_from_slice(&text.as_bytes()[..len]);
        self.len += len;
        Ok(())
    }
}

/// Says which region, which byte and why. Async-signal-safe.
pub(super) fn refused(region: &Core, trap: &Trap, refusal: Refusal) {
    let mut line = Line { bytes: [0; 512], len: 0 };
    // Writing to a `Line` never fails.
    let _ = write!(
        line,
        "elbowroom: cannot resolve a {} at {:#x}, byte {} of region {:?} ({}): ",
        trap.access(),
        trap.address(),
        region.offset_of(trap.address()),
        region.name(),
        trap.code(),
    );
    let _ = match refusal.cause(&region.figures()) {
        // The system's text for a code comes from functions that allocate.
        Cause::Os(code) => write!(line, "the system refused to commit, error {}", code.0),
        cause => write!(line, "{cause}"),
    };
    let _ = writeln!(line, ". Not in an accessor (try_read, try_write, ...): the fault is passed on.");
    // A line that was cut still ends.
    if line.len == line.bytes.len() {
        line.bytes[line.len - 1] = b'\n';
    }
    os::write_stderr(&line.bytes[..line.len]);
}

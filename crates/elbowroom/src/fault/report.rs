//! The line on standard error for a refused touch outside an accessor.

use std::fmt::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::owner::Owner;
use crate::error::{Cause, Operation};
use crate::os::{self, Trap};
use crate::plain::FaultAccess;

/// A line on the stack: formatting into it allocates nothing. What does not fit is cut off.
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

/// How many lines are written in a second: a program that recovers from refused touches may have very many.
const LINES_PER_SECOND: u64 = 10;

/// Which lines are written.
struct Limiter {
    // The second that the last line was in, times 256, plus how many were written in it, at most LINES_PER_SECOND.
    second_and_lines: AtomicU64,
    left_out: AtomicU64,
}

static LIMITER: Limiter = Limiter::new();

impl Limiter {
    const fn new() -> Limiter {
        Limiter {
            second_and_lines: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }
    }

    /// Returns how many lines were left out since the last one, if one may be written in this second.
    fn admit(&self, second: u64) -> Option<u64> {
        let admitted = |before: u64| match before / 256 == second {
            true if before % 256 == LINES_PER_SECOND => None,
            true => Some(before + 1),
            false => Some(second * 256 + 1),
        };
        let relaxed = Ordering::Relaxed;
        let result = self
            .second_and_lines
            .fetch_update(relaxed, relaxed, admitted);
        match result {
            Ok(_) => Some(self.left_out.swap(0, relaxed)),
            Err(_) => {
                self.left_out.fetch_add(1, relaxed);
                None
            }
        }
    }
}

/// When the first handler was installed.
static START: OnceLock<Instant> = OnceLock::new();

/// Prepares what [`refused`] needs. Not async-signal-safe.
pub(super) fn prepare() {
    START.get_or_init(Instant::now);
}

/// Writes which region, which byte and why, unless the region is not to be reported or too many lines have been written
/// in this second. Async-signal-safe.
pub(super) fn refused(owner: &dyn Owner, trap: &Trap, cause: Cause) {
    if !owner.reports_refusals() {
        return;
    }
    let second = START.get().map_or(0, |start| start.elapsed().as_secs());
    let Some(left_out) = LIMITER.admit(second) else {
        return;
    };
    let mut line = Line {
        bytes: [0; 512],
        len: 0,
    };
    let offset = trap.address() - owner.addresses().start;
    // Writing to a `Line` never fails.
    let _ = write!(
        line,
        "elbowroom: cannot resolve a {} at {:#x}, byte {offset} of region {:?} ({}): ",
        trap.access(),
        trap.address(),
        owner.name(),
        trap.code(),
    );
    let operation = match trap.access() {
        FaultAccess::Write => Operation::Write,
        FaultAccess::Read | FaultAccess::Execute => Operation::Read,
    };
    let error = owner.error(operation, offset..offset + 1, cause);
    let _ = match cause.code() {
        // The system's text for a code comes from functions that allocate.
        Some(code) if !error.is_out_of_mappings() => {
            write!(line, "the system refused to commit, error {}", code.0)
        }
        _ => write!(line, "{}", error.why()),
    };
    let _ = write!(
        line,
        ". Not in an accessor (try_read, try_write, ...): the fault is passed on."
    );
    let _ = match left_out {
        0 => writeln!(line),
        _ => writeln!(line, " ({left_out} such lines were left out.)"),
    };
    // A line that was cut off still ends.
    if line.len == line.bytes.len() {
        line.bytes[line.len - 1] = b'\n';
    }
    os::write_stderr(&line.bytes[..line.len]);
}

/// Writes that a filter has overrun its stack. Async-signal-safe.
pub(super) fn overrun() {
    os::write_stderr(
        b"elbowroom: a filter has overrun its stack of 128 KiB; with RegionBuilder::filter_threads it has a thread's\n",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_left_out_and_counted() {
        let limiter = Limiter::new();
        let written = |second, tries| {
            (0..tries)
                .filter(|_| limiter.admit(second).is_some())
                .count()
        };
        assert_eq!(written(0, 900), 10);
        assert_eq!(limiter.admit(1), Some(890));
        assert_eq!(written(1, 900), 9);
        assert_eq!(limiter.admit(7), Some(891));
        assert_eq!(limiter.admit(8), Some(0));
    }
}

//! The line on standard error for a refused touch outside an accessor.

use std::fmt::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::owner::Owner;
use crate::error::{Cause, Operation};
use crate::os::{self, Trap};
use crate::plain::FaultAccess;

/// A line on the stack. Formatting into it allocates nothing, and truncates text that does not fit.
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

/// The largest number of lines in a second. A program that recovers from refused touches may have very many of them.
const LINES_PER_SECOND: u64 = 10;

/// Limits the rate of lines.
struct Limiter {
    // The second of the last line, times 256, plus the number of lines in that second, at most LINES_PER_SECOND.
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

    /// Returns the number of lines left out since the last one, or `None` if this second has had its lines.
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

/// The time at which the first handler was installed.
static START: OnceLock<Instant> = OnceLock::new();

/// Prepares the clock for [`refused`]. Not async-signal-safe.
pub(super) fn prepare() {
    START.get_or_init(Instant::now);
}

/// Writes the region, the byte and the cause of a refusal, unless the region is not reported or this second has had its
/// lines. Async-signal-safe.
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
    // A truncated line still ends with a newline.
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

//! Reports whether faults reach the library. A program can check this before it relies on its regions.

use std::fmt;

use super::dispatcher;
use crate::os;
pub use crate::plain::Place;

/// One way in which the system reports faults.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Handler {
    /// `"SIGSEGV"`, `"SIGBUS"`, or `"vectored exception handler"`.
    pub kind: &'static str,
    /// The place of the library's handler.
    pub place: Place,
}

/// The place of the library's handlers, and other conditions for a touch to reach its region. Returned by [`status()`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The library's place for each way in which faults are reported.
    pub handlers: Vec<Handler>,
    /// The system's numbers of the threads of this process that block SIGSEGV or SIGBUS. If such a thread touches an
    /// uncommitted page, the process is killed (sigprocmask(2)). On Linux with /proc mounted, this covers all threads;
    /// elsewhere, only the calling thread. Empty on Windows. On Linux, a thread that blocks the signals only for a
    /// moment, as a thread does while it starts another, is not listed; if any thread blocks them, the call takes a few
    /// milliseconds.
    pub blocking_threads: Vec<u64>,
    /// The size of the calling thread's alternate signal stack, in bytes; 0 without one. The handler needs 8 KiB of it,
    /// or as much of the thread's own stack. `None` on Windows, which has no such stacks.
    pub alternate_stack_bytes: Option<usize>,
}

impl Status {
    /// Returns whether a touch of an uncommitted page reaches its region, as far as the system tells.
    pub fn is_good(&self) -> bool {
        let stands = |handler: &Handler| !matches!(handler.place, Place::Displaced | Place::Absent);
        self.handlers.iter().all(stands) && self.blocking_threads.is_empty()
    }
}

/// Returns the place of the library's fault handler, and the threads that block its signals.
///
/// ```
/// use elbowroom::{Region, fault};
///
/// let region = Region::new(1 << 20)?;
/// let status = fault::status();
/// if !status.is_good() {
///     eprint!("touches may not reach their regions:\n{status}");
/// }
/// # assert!(status.handlers.iter().all(|handler| handler.place != fault::Place::Absent));
/// # Ok::<(), elbowroom::Error>(())
/// ```
///
/// # Platform differences
/// Windows does not tell the order in which vectored handlers are called.
pub fn status() -> Status {
    Status {
        handlers: dispatcher::places()
            .into_iter()
            .map(|(kind, place)| Handler { kind, place })
            .collect(),
        blocking_threads: os::threads_that_block_faults(),
        alternate_stack_bytes: os::alternate_stack_bytes(),
    }
}

impl fmt::Display for Status {
    /// Writes a line for each finding.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Handler { kind, place } in &self.handlers {
            writeln!(f, "{kind}: {place}")?;
        }
        match &self.blocking_threads[..] {
            [] => writeln!(f, "threads that block these signals: none")?,
            threads => writeln!(
                f,
                "threads that block these signals, and die of a touch: {threads:?}"
            )?,
        }
        match self.alternate_stack_bytes {
            Some(0) => writeln!(f, "alternate signal stack of this thread: none"),
            Some(bytes) => writeln!(f, "alternate signal stack of this thread: {bytes} bytes"),
            None => Ok(()),
        }
    }
}

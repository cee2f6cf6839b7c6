//! Whether faults will come to us: what a program can ask before it trusts its regions.

use std::fmt;

use crate::os;

/// Where this library's fault handler stands among those of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Place {
    /// Not installed: no [`Region`](crate::Region) lives.
    Absent,
    /// The system calls it first.
    First,
    /// Another handler was put in front, and passes on what is not its own: ours has been called by it since.
    Behind,
    /// Another handler was put in front, and has not passed anything on so far. Either it never does, and then every
    /// fault in a region is a crash; or nothing has faulted since. The next region that is made puts ours in front
    /// again.
    Displaced,
    /// Installed; where, the system does not tell (Windows, where it was the first when it was installed).
    Installed,
}

/// One way in which the system reports faults.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Handler {
    /// `"SIGSEGV"`, `"SIGBUS"`, or `"vectored exception handler"`.
    pub kind: &'static str,
    /// Where ours stands.
    pub place: Place,
}

/// What stands between a touch and its region. Made by [`status()`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Each way in which faults are reported.
    pub handlers: Vec<Handler>,
    /// The system's numbers of the threads of this process that block SIGSEGV or SIGBUS: a touch of an uncommitted page
    /// by one of them kills the process (sigprocmask(2)). Of all threads on Linux, where /proc is mounted; elsewhere
    /// only the calling one. Empty on Windows. (A thread that is just starting another one blocks all signals for that
    /// moment.)
    pub blocking_threads: Vec<u64>,
    /// The size of the calling thread's alternate signal stack, in bytes: 0 without one. The handler needs 8 KiB of it,
    /// or as much of the thread's own stack. `None` on Windows, where there is no such thing.
    pub alternate_stack_bytes: Option<usize>,
}

impl Status {
    /// Whether a touch of an uncommitted page will reach its region, as far as can be known.
    pub fn is_good(&self) -> bool {
        let stands = |handler: &Handler| !matches!(handler.place, Place::Displaced | Place::Absent);
        self.handlers.iter().all(stands) && self.blocking_threads.is_empty()
    }
}

/// Asks where this library's handler stands, and what may keep faults from it.
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
/// Windows does not tell in which order vectored handlers are called.
pub fn status() -> Status {
    Status {
        handlers: os::handler::places().into_iter().map(|(kind, place)| Handler { kind, place }).collect(),
        blocking_threads: os::threads_that_block_faults(),
        alternate_stack_bytes: os::alternate_stack_bytes(),
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Place::Absent => "not installed (no region lives)",
            Place::First => "first",
            Place::Behind => "behind one that passes on",
            Place::Displaced => "behind one that has passed nothing on so far; make a region to be first again",
            Place::Installed => "installed",
        })
    }
}

impl fmt::Display for Status {
    /// A line for each finding.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Handler { kind, place } in &self.handlers {
            writeln!(f, "{kind}: {place}")?;
        }
        match &self.blocking_threads[..] {
            [] => writeln!(f, "threads that block these signals: none")?,
            threads => writeln!(f, "threads that block these signals, and die of a touch: {threads:?}")?,
        }
        match self.alternate_stack_bytes {
            Some(0) => writeln!(f, "alternate signal stack of this thread: none"),
            Some(bytes) => writeln!(f, "alternate signal stack of this thread: {bytes} bytes"),
            None => Ok(()),
        }
    }
}

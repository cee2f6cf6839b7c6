//! The place of the fault handler.

use std::fmt;

/// The place of this library's fault handler among the handlers of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Place {
    /// Not installed, because there is no living [`Region`](crate::Region).
    Absent,
    /// The system calls it first.
    First,
    /// Another handler is in front, and has forwarded a fault to ours since.
    Behind,
    /// Another handler is in front, and has not forwarded anything so far. Either it never does, and every fault in a
    /// region is then a crash; or nothing has faulted since. Creating a region puts ours in front again.
    Displaced,
    /// Installed, in an unknown place: the system does not tell (Windows, where it was first when it was installed).
    Installed,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Place::Absent => "not installed (no region lives)",
            Place::First => "first",
            Place::Behind => "behind one that passes on",
            Place::Displaced => {
                "behind one that has passed nothing on so far; make a region to be first again"
            }
            Place::Installed => "installed",
        })
    }
}

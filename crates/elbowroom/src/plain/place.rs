//! Where the fault handler stands.

use std::fmt;

/// Where this library's fault handler stands among those of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Place {
    /// Not installed: no [`Region`](crate::Region) lives.
    Absent,
    /// The system calls it first.
    First,
    /// Another handler was put in front, and passes on what is not its own: it has called ours since.
    Behind,
    /// Another handler was put in front, and has not passed anything on so far. Either it never does, and then every
    /// fault in a region is a crash; or nothing has faulted since. The next region that is made puts ours in front
    /// again.
    Displaced,
    /// Installed; where, the system does not tell (Windows, where it was the first when it was installed).
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

//! A limit that the system sets.

use std::path::PathBuf;

/// A limit of the system on the memory of this process. Returned by [`system_limits`](crate::system_limits).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SystemLimit {
    /// The name of the limit, such as `"RLIMIT_AS"` or `"cgroup memory.max"`.
    pub name: &'static str,
    /// The file that holds the limit, if a file does.
    pub file: Option<PathBuf>,
    /// The limit in bytes.
    pub limit_bytes: usize,
    /// The number of bytes that count towards the limit and cannot be reclaimed. The file cache that a control group is
    /// charged for is left out, because the kernel reclaims it before it refuses anything.
    pub used_bytes: usize,
    /// Whether the system refuses memory or ends a process beyond the limit. Beyond a soft limit (`memory.high`), it
    /// slows the processes down.
    pub is_hard: bool,
}

impl SystemLimit {
    /// Returns the number of bytes that the limit leaves.
    pub fn available_bytes(&self) -> usize {
        self.limit_bytes.saturating_sub(self.used_bytes)
    }
}

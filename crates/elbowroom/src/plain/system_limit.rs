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
    /// How many bytes count towards the limit and cannot be taken back: the cache of files that a control group is
    /// charged for is left out, because the kernel takes it back before it refuses anything.
    pub used_bytes: usize,
    /// Whether the system refuses memory past the limit or ends a process. It slows processes down past a soft limit
    /// (`memory.high`).
    pub is_hard: bool,
}

impl SystemLimit {
    /// Returns how many bytes the limit leaves.
    pub fn available_bytes(&self) -> usize {
        self.limit_bytes.saturating_sub(self.used_bytes)
    }
}

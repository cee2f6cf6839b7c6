//! What memory costs at one moment: the figures of the system.

/// The figures at one moment; `None` where this system does not tell.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// What all programs together have committed.
    pub(crate) system_commit_bytes: Option<u64>,
    /// What this process has committed.
    pub(crate) process_commit_bytes: Option<u64>,
    /// What of this process is in physical memory.
    pub(crate) resident_bytes: Option<u64>,
    /// The page faults of this process that the kernel resolved, most by finding it a physical page.
    pub(crate) kernel_faults: Option<u64>,
}

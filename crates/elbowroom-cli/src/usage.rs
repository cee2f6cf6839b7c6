//! The system's figures on memory at one moment.

/// The figures at one moment; `None` if the system does not report one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// The committed memory of all programs together.
    pub(crate) system_commit_bytes: Option<u64>,
    /// The committed memory of this process.
    pub(crate) process_commit_bytes: Option<u64>,
    /// The part of this process that is in physical memory.
    pub(crate) resident_bytes: Option<u64>,
    /// The page faults of this process that the kernel resolved, most by finding it a physical page.
    pub(crate) kernel_faults: Option<u64>,
}

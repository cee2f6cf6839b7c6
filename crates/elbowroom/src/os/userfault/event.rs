//! Events of a userfaultfd, and ways to poison pages.

use crate::plain::FaultAccess;

/// An event: a thread waits for a missing page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Missing {
    /// The address that was touched, or, on older kernels, the first byte of its page.
    pub(crate) address: usize,
    pub(crate) access: FaultAccess,
    pub(crate) flags: u64,
    /// The kernel's number of the waiting thread.
    pub(crate) thread: u64,
}

/// The result of a wait for an event.
#[allow(dead_code, reason = "made where there is userfaultfd")]
pub(crate) enum Next {
    Missing(Missing),
    TimeUp,
    /// The bell was rung, or there is nothing left to wait for.
    End,
}

/// The purpose for which a page was poisoned.
#[allow(dead_code, reason = "made where there is userfaultfd")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poison {
    Guard,
    Protection,
}

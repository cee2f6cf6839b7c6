//! Plain types of the contract with the systems.

use crate::plain::FaultAccess;

/// How a fault is to be handled.
pub(crate) enum Decision {
    /// Continue the thread with its context, which may have been changed.
    Resume,
    /// The fault is not ours, or was refused outside an accessor. The handlers from before ours get it.
    PassOn,
}

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

/// How the wait for an event has ended.
#[allow(dead_code, reason = "made where there is userfaultfd")]
pub(crate) enum Next {
    Missing(Missing),
    TimeUp,
    /// The bell was rung, or there is nothing left to wait for.
    End,
}

/// How a page was poisoned.
#[allow(dead_code, reason = "made where there is userfaultfd")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poison {
    Guard,
    Protection,
}

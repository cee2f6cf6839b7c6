//! Plain types of the contract.

use crate::plain::FaultAccess;

/// What becomes of a fault.
pub(crate) enum Decision {
    /// Continue the thread as its context, which may have changed, says.
    Resume,
    /// The fault is not ours, or was refused outside an accessor: the handlers that were there before ours
    /// are next.
    PassOn,
}

/// An event: a thread waits for a page that is missing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Missing {
    /// The address that was touched, or, on older kernels, the first byte of its page.
    pub(crate) address: usize,
    pub(crate) access: FaultAccess,
    pub(crate) flags: u64,
    /// The kernel's number of the thread that waits.
    pub(crate) thread: u64,
}

/// How the wait for an event has ended.
#[allow(dead_code, reason = "made where there is userfaultfd")]
pub(crate) enum Next {
    Missing(Missing),
    TimeUp,
    /// The bell was rung, or there is nothing to wait for any more.
    End,
}

/// How a page was poisoned.
#[allow(dead_code, reason = "made where there is userfaultfd")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poison {
    Guard,
    Protection,
}

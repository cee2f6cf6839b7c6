//! Plain types of the contract with the systems.

/// The decision how to continue after a fault.
pub(crate) enum Decision {
    /// Continue the thread with its context, which may have been changed.
    Resume,
    /// The fault is not ours, or was refused outside an accessor. The handlers from before ours get it.
    PassOn,
}

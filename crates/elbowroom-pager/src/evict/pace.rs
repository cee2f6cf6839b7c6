//! The pace at which dirty pages are written behind.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The pace at which dirty pages are written behind. After a failure, as on a full disk, each try waits for twice as
/// many changes of pages as the one before.
#[derive(Default)]
pub(crate) struct Pace {
    pause: AtomicUsize,
    left: AtomicUsize,
}

impl Pace {
    /// The longest pause, in changes of pages.
    const PAUSE_MAX: usize = 1 << 20;

    /// Says that a page was changed. Returns whether dirty pages may be written behind now.
    pub(crate) fn is_due(&self) -> bool {
        let waits = self
            .left
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        waits.is_err()
    }

    /// Says that a write has failed.
    pub(super) fn slow_down(&self) {
        let pause = (self.pause.load(Relaxed) * 2).clamp(1, Self::PAUSE_MAX);
        self.pause.store(pause, Relaxed);
        self.left.store(pause, Relaxed);
    }

    /// Says that a write has succeeded.
    pub(super) fn reset(&self) {
        self.pause.store(0, Relaxed);
        self.left.store(0, Relaxed);
    }
}

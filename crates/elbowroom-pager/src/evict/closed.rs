//! Keeps the threads of other arrays away: while an array changes its length, is sorted into, or is dropped.

use std::ops::Range;
use std::sync::PoisonError;

use super::Pool;

/// Keeps the threads of other arrays away from a pool.
pub(crate) struct Closed<'a>(&'a Pool);

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        if let Some(ring) = self.0.sharers.clock().ring(self.0.name) {
            ring.is_closed = false;
        }
    }
}

impl Pool {
    /// Waits for the threads of other arrays that are here, and keeps them away. Until the result is dropped, the array
    /// must not need room: it would wait for its own pages.
    pub(crate) fn close(&self) -> Closed<'_> {
        if let Some(ring) = self.sharers.clock().ring(self.name) {
            ring.is_closed = true;
        }
        // From here on, there are no new visitors.
        let mut count = self.visitors.count();
        while *count > 0 {
            let left = self.visitors.left.wait(count);
            count = left.unwrap_or_else(PoisonError::into_inner);
        }
        Closed(self)
    }

    /// Gives all memory back. The array is not used any more, and what is dirty is lost.
    pub(crate) fn leave(&self) {
        let closed = self.close();
        let mut clock = self.sharers.clock();
        self.frames.clear();
        clock.remove(self.name);
        drop(clock);
        drop(closed);
    }

    /// Forgets pages and what was written to them. No page has a pin, and no thread uses the array: those of other
    /// arrays are kept away.
    pub(crate) fn discard(&self, pages: Range<usize>, _: &Closed<'_>) {
        for page in pages {
            if self.table.try_discard(page) {
                self.expel(page..page + 1);
            }
            debug_assert!(!self.table.look(page).is_resident());
        }
    }
}

//! Longer and shorter arrays.

#![allow(unsafe_code, reason = "clears the end of the last page")]

use bytemuck::{AnyBitPattern, NoUninit};

use super::PagedArray;
use crate::error::{Cause, Error, Operation};
use crate::table::Pin;

impl<T: AnyBitPattern + NoUninit> PagedArray<T> {
    /// Changes the number of elements, and with it the length of the file. New elements are zero. The address stays.
    ///
    /// The array must have been opened with a [`max_len`](super::PagedOptions::max_len) that is large enough, since its
    /// address space is reserved then.
    ///
    /// ```
    /// use elbowroom_pager::{MemoryStore, PagedArray};
    ///
    /// let mut array = PagedArray::<u16>::options()
    ///     .writable(true)
    ///     .max_len(1 << 30)
    ///     .open_store(MemoryStore::new(vec![]))?;
    /// array.resize(1000)?;
    /// array.set(999, 5)?;
    /// array.resize(1_000_000)?;
    /// assert_eq!((array.get(999)?, array.get(1000)?), (5, 0));
    /// # Ok::<(), elbowroom_pager::Error>(())
    /// ```
    ///
    /// # Errors
    /// `is_read_only()`; `is_limit()` beyond `max_len`; `is_unsupported()` if the store has a fixed length, as a `.npy`
    /// file has, or bytes follow the array; `is_pinned()` if a guard of an element that would go was leaked; otherwise
    /// the failure of the store. Then nothing has changed.
    pub fn resize(&mut self, len: usize) -> Result<(), Error> {
        self.check_writable()?;
        let pool = &self.fetch.pool;
        let refuse = |cause: Cause| Err(pool.source.error(Operation::Resize, 0..0, cause));
        if self.is_fixed {
            let reason = "the header of a .npy file says its length, and is not changed";
            return refuse(Cause::Unsupported(reason.into()));
        }
        if len > self.max_len {
            return refuse(Cause::Full(self.max_len));
        }
        let (old, new) = (self.len * size_of::<T>(), len * size_of::<T>());
        let kept = new.div_ceil(pool.frames.page_bytes());
        let gone = kept..pool.frames.pages().max(kept);
        let tail = new..(kept * pool.frames.page_bytes()).min(old).max(new);
        let has_tail = !tail.is_empty();
        if has_tail {
            // Behind the end are zeros, so that they are there when the array grows again.
            self.fetch.pin(kept - 1..kept, Pin::Write)?;
        }
        // From here on the threads of the array use no page: a pin was the last to give them a job, and this borrow is
        // exclusive. Those of arrays with the same budget stay away, too. So none of them writes behind the new end,
        // which would make the store longer again.
        self.fetch.queue.settle();
        let closed = pool.close();
        let resized = if gone.clone().any(|page| pool.table.look(page).is_pinned()) {
            refuse(Cause::Pinned)
        } else {
            pool.source.resize(old, new)
        };
        if resized.is_ok() && has_tail {
            // SAFETY: the page is pinned. Nothing else touches its bytes: the array is borrowed exclusively, and a page
            // with a pin for writing is neither loaded nor written back.
            unsafe { pool.frames.bytes_mut(tail) }.fill(0);
        }
        if has_tail {
            self.fetch.unpin(kept - 1..kept, Pin::Write);
        }
        resized?;
        pool.discard(gone, &closed);
        pool.frames.set_len_bytes(new);
        self.len = len;
        Ok(())
    }
}

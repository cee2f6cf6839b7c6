//! Committing memory of an arena in advance.

use super::super::prefix::Extent;
use super::super::reserved_vec::accept;
use super::blocks::Arena;
use crate::error::Error;

impl Arena {
    /// Returns an arena in which `bytes` are committed.
    ///
    /// Its maximum is that of [`new`](Arena::new), or `bytes` if that is more.
    ///
    /// ```
    /// use elbowroom::Arena;
    ///
    /// let arena = Arena::with_capacity(1 << 20);
    /// let commits = arena.stats().commits;
    /// arena.alloc_slice_fill_default::<u8>(1 << 20);
    /// assert_eq!(arena.stats().commits, commits);
    /// ```
    ///
    /// # Panics
    /// Panics with the text of the error that [`try_with_capacity`](Arena::try_with_capacity) would return.
    #[track_caller]
    pub fn with_capacity(bytes: usize) -> Arena {
        accept(Arena::try_with_capacity(bytes))
    }

    /// Returns an arena as [`with_capacity`](Arena::with_capacity) does, or an error.
    ///
    /// # Errors
    /// `is_out_of_memory()` if the system refuses; `is_invalid_range()` or `is_limit()` if `bytes` is beyond the
    /// address space.
    pub fn try_with_capacity(bytes: usize) -> Result<Arena, Error> {
        let arena = Arena::new();
        arena.try_reserve(bytes)?;
        Ok(arena)
    }

    /// Commits memory for `bytes` more, and ahead of that as the growth policy says.
    ///
    /// Allocations of `bytes` in total, including padding for alignment, then ask neither the system nor the budgets.
    ///
    /// # Panics
    /// Panics with the text of the error that [`try_reserve`](Arena::try_reserve) would return.
    #[track_caller]
    pub fn reserve(&self, bytes: usize) {
        accept(self.try_reserve(bytes));
    }

    /// Commits as [`reserve`](Arena::reserve) does, or returns an error.
    ///
    /// ```
    /// use elbowroom::{Arena, page_size};
    ///
    /// let arena = Arena::with_max_bytes(page_size());
    /// arena.try_reserve(1000)?;
    /// assert!(arena.remaining_capacity() >= 1000);
    /// assert!(arena.try_reserve(page_size() + 1).unwrap_err().is_limit());
    /// # Ok::<(), elbowroom::Error>(())
    /// ```
    ///
    /// # Errors
    /// See [above](Arena#errors).
    pub fn try_reserve(&self, bytes: usize) -> Result<(), Error> {
        if bytes <= self.remaining_capacity() {
            return Ok(());
        }
        if self.stats().reserved_bytes == 0 {
            self.reserve_addresses(self.options(), bytes, 0)?;
        }
        let start = self.next_address();
        // No overflow: both are at most isize::MAX, which no arena reaches.
        let end = start + bytes.min(isize::MAX as usize);
        self.get_ready(start, end, Extent::Later)?.run();
        Ok(())
    }

    /// Returns the number of bytes that can be allocated before the arena commits more, including padding for
    /// alignment.
    pub fn remaining_capacity(&self) -> usize {
        self.stats().committed_bytes - self.allocated_bytes()
    }
}

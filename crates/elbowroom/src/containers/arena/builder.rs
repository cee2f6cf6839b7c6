//! Making an arena.

use super::super::ContainerBuilder;
use super::super::share;
use super::blocks::Arena;
use crate::error::Error;

impl Arena {
    /// Returns an arena whose maximum depends on the free address space: 64 GiB, or less by the rule of
    /// [`ReservedVec::new`](crate::ReservedVec::new).
    ///
    /// Nothing is reserved before the first allocation.
    pub const fn new() -> Arena {
        Arena::unreserved(share::NO_MAX)
    }

    /// Returns an arena that can hold `max_bytes`, rounded up to whole pages.
    ///
    /// The first allocation reserves the addresses for all of it; nothing is reserved before.
    pub const fn with_max_bytes(max_bytes: usize) -> Arena {
        Arena::unreserved(share::told(max_bytes))
    }

    /// Returns a builder for an arena of at most `max_bytes` with a commit limit, a budget, a growth policy or a name.
    ///
    /// ```
    /// use elbowroom::{Arena, Budget};
    ///
    /// let budget = Budget::new(1 << 20);
    /// let arena = Arena::builder(1 << 30).name("request").budget(&budget).build()?;
    /// arena.alloc_slice_fill_default::<u64>(1000);
    /// let refused = arena.try_alloc_slice_fill_default::<u64>(1_000_000).unwrap_err();
    /// assert_eq!(refused.budget(), Some(&budget));
    /// # Ok::<(), elbowroom::Error>(())
    /// ```
    pub fn builder(max_bytes: usize) -> ContainerBuilder<Arena> {
        ContainerBuilder::new(max_bytes)
    }
}

impl ContainerBuilder<Arena> {
    /// Reserves the addresses and builds the arena.
    ///
    /// # Errors
    /// `is_invalid_range()` if the maximum is beyond the address space; `is_out_of_memory()` if there is no free gap of
    /// that size, or if the process's limit on address space is reached (RLIMIT_AS, a job object).
    pub fn build(self) -> Result<Arena, Error> {
        let arena = Arena::with_max_bytes(self.max);
        if self.max > 0 {
            arena.reserve_addresses(Some(self.options), 0, 0)?;
        }
        Ok(arena)
    }
}

impl Default for Arena {
    fn default() -> Arena {
        Arena::new()
    }
}

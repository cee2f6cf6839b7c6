//! Making a vector.

use super::super::ContainerBuilder;
use super::super::share;
use super::ReservedVec;
use crate::error::Error;

impl<T> ReservedVec<T> {
    /// Returns an empty vector whose maximum depends on the free address space.
    ///
    /// Nothing is reserved before the first element. Then the vector reserves 64 GiB. It reserves less if the address
    /// space is limited or if there are hundreds of such vectors, but at least twice the bytes that it needs at that
    /// moment, if the system has them. [`max_len`](ReservedVec::max_len) returns the result. The rule: half of the
    /// address space is left to the rest of the process. Of the part of the other half that containers without a
    /// maximum have not taken, the next such container takes one part in 16 + 2n, where n is their number, rounded down
    /// to a power of two. Memory that is kept for a new container (see [`trim`](crate::trim)) counts as a container.
    pub const fn new() -> ReservedVec<T> {
        ReservedVec::unreserved(share::NO_MAX)
    }

    /// Returns an empty vector that can hold `max_len` elements.
    ///
    /// The first element reserves the addresses for all of them; nothing is reserved before.
    pub const fn with_max_len(max_len: usize) -> ReservedVec<T> {
        ReservedVec::unreserved(if Self::IS_ZERO_SIZED {
            max_len
        } else {
            share::told(max_len)
        })
    }

    /// Returns a builder for a vector of at most `max_len` elements with a commit limit, a budget, a growth policy or a
    /// name.
    ///
    /// ```
    /// use elbowroom::{ReservedVec, page_size};
    ///
    /// let mut bytes = ReservedVec::<u8>::builder(1 << 30).name("input").commit_limit(page_size()).build()?;
    /// bytes.resize(page_size(), 0);
    /// let refused = bytes.try_push(1).unwrap_err();
    /// assert!(refused.error().is_limit());
    /// assert_eq!(refused.into_value(), 1);
    /// # Ok::<(), elbowroom::Error>(())
    /// ```
    pub fn builder(max_len: usize) -> ContainerBuilder<ReservedVec<T>> {
        ContainerBuilder::new(max_len)
    }
}

impl<T> ContainerBuilder<ReservedVec<T>> {
    /// Reserves the addresses and builds the vector.
    ///
    /// # Errors
    /// `is_invalid_range()` if the maximum is beyond the address space; `is_out_of_memory()` if there is no free gap of
    /// that size, or if the process's limit on address space is reached (RLIMIT_AS, a job object).
    pub fn build(self) -> Result<ReservedVec<T>, Error> {
        let mut vec = ReservedVec::with_max_len(self.max);
        if self.max > 0 && !ReservedVec::<T>::IS_ZERO_SIZED {
            // A builder always has a maximum.
            vec.reserve_addresses(Some(self.options), 0)?;
        }
        Ok(vec)
    }
}

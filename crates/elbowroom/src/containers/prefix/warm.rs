//! The memory of prefixes that have ended, kept for those to come.

#![allow(unsafe_code, reason = "releases a mapping that has no owner")]

use super::super::cache::{Bin, Cache, Cached};
use super::inner::Inner;
use crate::error::Error;
use crate::page::PageCount;

/// The memory of containers that are gone.
pub(super) static CACHE: Cache<Inner> = Cache::new();

/// Gives the memory back that is kept warm for containers to come, and returns how many bytes of it were committed.
///
/// A container that is dropped may leave its pages to the next one of its kind, which then grows into them without a
/// system call. At most 16 MiB are kept so in a process, in at most 64 reservations, and charged to no [`Budget`]
/// (what a container has left is refunded to its own). They are given back when nothing has taken them over while some
/// thousand containers came and went, and when the system refuses memory to a container. What containers have named, or
/// asked huge pages for, is not kept. A container that has taken pages over and not grown into them yet holds them,
/// within those 16 MiB, until it ends or shrinks.
///
/// [`Budget`]: crate::Budget
pub fn trim() -> usize {
    CACHE.give_back_all().committed_bytes
}

/// Tries again what the system had no memory for, if there were prefixes kept, which it has then. Under no lock.
pub(super) fn try_twice<T>(mut deed: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    match deed() {
        Err(error) if error.is_out_of_memory() && CACHE.give_back_all().prefixes > 0 => deed(),
        result => result,
    }
}

impl Cached for Inner {
    fn len(&self) -> usize {
        self.mapping.len()
    }

    fn is_plain(&mut self) -> bool {
        self.mapping.name().is_empty() && !self.growing.get_mut().is_advised
    }

    fn warm(&mut self) -> Option<(PageCount, Bin<Inner>)> {
        let committed = self.committed();
        let growing = self.growing.get_mut();
        Some((growing.backed.saturating_sub(committed), growing.bin?))
    }

    fn backed(&mut self) -> PageCount {
        self.growing.get_mut().backed
    }

    fn end(&mut self) {
        self.end();
    }

    fn set_bin(&mut self, bin: Bin<Inner>) {
        self.growing.get_mut().bin = Some(bin);
    }

    fn release(mut self: Box<Self>) -> bool {
        let warm = self.warm();
        let Inner { mapping, .. } = *self;
        // SAFETY: the owner of the prefix is gone, and with it everything that referred to the memory.
        let released = unsafe { mapping.release() };
        if let Some((pages, bin)) = warm {
            bin.uncount(pages);
        }
        !matches!(released, Err((_, false)))
    }
}

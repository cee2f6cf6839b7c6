//! The memory of prefixes that have ended, kept for new ones.

#![allow(unsafe_code, reason = "releases a mapping that has no owner")]

use super::super::cache::{Cache, Cached, Left};
use super::inner::Inner;
use crate::error::Error;
use crate::page::PageCount;

/// The cache of memory of dropped containers.
pub(super) static CACHE: Cache<Inner> = Cache::new();

/// Gives back the memory that is kept for new containers, and returns how many bytes of it were committed.
///
/// A container that is dropped may leave its pages to the next container of its kind, which then grows into them
/// without a system call. A process keeps at most 16 MiB in this way, in at most 64 reservations. They are charged to
/// no [`Budget`]: the dropped container's charge has been refunded. The memory is given back when it has not been taken
/// over while some thousand containers came and went, and when the system refuses memory to a container. Memory of
/// containers that have a name or have asked for huge pages is not kept. A container that has taken pages over and not
/// yet grown into them holds them, within the 16 MiB, until it ends or shrinks.
///
/// [`Budget`]: crate::Budget
///
/// ```
/// drop(elbowroom::ReservedVec::from([1, 2, 3]));
/// println!("{} bytes were kept", elbowroom::trim());
/// ```
pub fn trim() -> usize {
    CACHE.give_back_all().committed_bytes
}

/// Runs `deed`. If the system refuses it and the cache holds memory, gives that back and runs `deed` again. The caller
/// holds no lock.
pub(super) fn try_twice<T>(mut deed: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    match deed() {
        Err(error) if error.is_out_of_memory() && CACHE.give_back_all().prefixes > 0 => deed(),
        result => result,
    }
}

impl Cached for Inner {
    fn left(&mut self) -> Left<Inner> {
        let committed = PageCount::new(*self.committed.get_mut());
        let growing = self.growing.get_mut();
        Left {
            len: self.mapping.len(),
            backed: growing.backed,
            warm: growing.backed.saturating_sub(committed),
            bin: growing.bin,
            is_plain: !growing.is_advised && self.mapping.name().is_empty(),
        }
    }

    fn end(&mut self) {
        self.end();
    }

    fn release(mut self: Box<Self>) -> bool {
        let Left { warm, bin, .. } = self.left();
        let Inner { mapping, .. } = *self;
        // SAFETY: the owner of the prefix is gone, and with it everything that referred to the memory.
        let released = unsafe { mapping.release() };
        if let Some(bin) = bin {
            bin.uncount(warm);
        }
        !matches!(released, Err((_, false)))
    }
}

//! The size of the address space that a container without a maximum reserves.
//!
//! Address space is limited: to 128 TiB on most machines, and to much less if the process has a limit (RLIMIT_AS). So
//! such a container takes a *share*. Take half of the address space, less the shares already taken. The share is one
//! part in 16 + 2n of it, where n is the number of shares taken, and at most 64 GiB. The other half is left to the rest
//! of the process, whatever the number of containers. Each share is a power of two, so that one container can take over
//! the memory of another. A share stays taken while the cache keeps its memory.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::os;
use crate::page;

/// The largest share.
pub(super) const BYTES_MAX: usize = 64 << 30;

/// The divisor of half of the address space for the first share, and its increase for each share taken.
const PARTS: usize = 16;
const PARTS_FOR_EACH: usize = 2;

/// Stands for the maximum of a container that was given none.
pub(super) const NO_MAX: usize = usize::MAX;

/// Returns a maximum that the program has set, changed so that it is never [`NO_MAX`]. Neither value can be reserved.
pub(super) const fn told(max: usize) -> usize {
    if max == NO_MAX { NO_MAX - 1 } else { max }
}

/// The shares that are taken: their number and their bytes.
static TAKEN: AtomicUsize = AtomicUsize::new(0);
static TAKEN_BYTES: AtomicUsize = AtomicUsize::new(0);

/// The address space of the shares and everything else together, as of the last look at the system; 0 before that.
static SPACE_BYTES: AtomicUsize = AtomicUsize::new(0);

/// The next share, as last computed; 0 before that.
static NEXT_BYTES: AtomicUsize = AtomicUsize::new(0);

/// A share that a container has, or that is kept for one. Dropping it gives it back.
pub(super) struct Share {
    bytes: usize,
}

impl Share {
    pub(super) fn take(bytes: usize) -> Share {
        TAKEN.fetch_add(1, Ordering::Relaxed);
        TAKEN_BYTES.fetch_add(bytes, Ordering::Relaxed);
        set_next();
        Share { bytes }
    }

    #[inline(always)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        TAKEN.fetch_sub(1, Ordering::Relaxed);
        TAKEN_BYTES.fetch_sub(self.bytes, Ordering::Relaxed);
        set_next();
    }
}

/// Asks the system again how much address space there is. This is not done for every container, because taking over
/// memory makes no system call.
pub(super) fn look_again() {
    let all = os::address_space();
    let space = match os::addresses_left() {
        Some(left) => all.min(left.saturating_add(TAKEN_BYTES.load(Ordering::Relaxed))),
        None => all,
    };
    SPACE_BYTES.store(space, Ordering::Relaxed);
    set_next();
}

/// Returns the number of bytes that the next container reserves.
pub(super) fn next_bytes() -> usize {
    match NEXT_BYTES.load(Ordering::Relaxed) {
        0 => {
            look_again();
            NEXT_BYTES.load(Ordering::Relaxed)
        }
        bytes => bytes,
    }
}

/// Stores the next share, which changes less often than it is read. If several threads do this at once, one may store a
/// value that is slightly old; the next change corrects it.
fn set_next() {
    let bytes = share(
        SPACE_BYTES.load(Ordering::Relaxed),
        TAKEN.load(Ordering::Relaxed),
        TAKEN_BYTES.load(Ordering::Relaxed),
    );
    NEXT_BYTES.store(bytes, Ordering::Relaxed);
}

fn share(space_bytes: usize, taken: usize, taken_bytes: usize) -> usize {
    let free = (space_bytes / 2).saturating_sub(taken_bytes);
    let part = free / (PARTS + PARTS_FOR_EACH * taken);
    let power = part.checked_ilog2().map_or(0, |bits| 1 << bits);
    power.clamp(page::size(), BYTES_MAX)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Takes shares until there are `count`. Returns the last one and the sum.
    fn take(space: usize, count: usize) -> (usize, usize) {
        (0..count).fold((0, 0), |(_, sum), taken| {
            let next = share(space, taken, sum);
            (next, sum + next)
        })
    }

    #[test]
    fn half_of_the_space_is_left() {
        for space in [200 << 20, 1 << 30, 8 << 30, 1 << 39, 1 << 47] {
            for count in [1, 31, 1000, 10_000] {
                let (last, sum) = take(space, count);
                // At least a page each, however small the space is.
                let least = count * page::size();
                assert!(sum <= space / 2 + least, "{count} of {space}: {sum}");
                assert!(last >= page::size());
            }
        }
    }

    #[test]
    fn shares_are_large_where_there_is_room() {
        assert_eq!(take(1 << 47, 1).0, BYTES_MAX);
        assert_eq!(take(1 << 47, 300).0, BYTES_MAX);
        assert!(take(1 << 47, 10_000).0 >= 128 << 20);
        assert!(take(8 << 30, 1).0 >= 256 << 20);
        assert!(take(1 << 30, 1).0 >= 32 << 20);
        assert!(take(200 << 20, 1).0 >= 4 << 20);
    }
}

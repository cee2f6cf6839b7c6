//! The rule that no fault repeats without end.
//!
//! Some faults are resolved although the library changes nothing: another thread has committed the page meanwhile, or
//! the system says that the access will work. The instruction then runs again. If it faults again at the same address,
//! with nothing changed in between, the library's information was wrong, for example because a sandbox reports a write
//! as a read. After a bounded number of such repeats, the fault ends as it would without this library.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::sync::{thread_hash, thread_token};

/// Whether the resolution of a fault has changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Something changed that lets the access work.
    Made,
    /// Nothing changed: the access is expected to work by now. The number differs after each change of the
    /// owner's pages.
    None { epoch: u64 },
}

/// The limit for repeats of the same fault without progress. A race ends after a few.
const REPEATS_MAX: usize = 10_000;

/// The last fault of a thread that was resolved without progress.
struct Repeat {
    // The token of the thread; 0 if the slot is free.
    thread: AtomicUsize,
    program_counter: AtomicUsize,
    address: AtomicUsize,
    epoch: AtomicU64,
    count: AtomicUsize,
}

/// The slots for repeats. If more threads than this repeat faults at once, they disturb each other's counts.
static REPEATS: [Repeat; 64] = [const {
    Repeat {
        thread: AtomicUsize::new(0),
        program_counter: AtomicUsize::new(0),
        address: AtomicUsize::new(0),
        epoch: AtomicU64::new(0),
        count: AtomicUsize::new(0),
    }
}; 64];

/// Counts a fault of the calling thread that was resolved without progress. Returns whether the same fault
/// has repeated too often. Async-signal-safe.
pub(super) fn is_stuck(program_counter: usize, address: usize, epoch: u64) -> bool {
    let me = thread_token();
    let slot = slot_of(me);
    // Only this thread writes a slot with its token, unless there are more threads here than slots.
    let is_same = slot
        .program_counter
        .swap(program_counter, Ordering::Relaxed)
        == program_counter
        && slot.address.swap(address, Ordering::Relaxed) == address
        && slot.epoch.swap(epoch, Ordering::Relaxed) == epoch;
    if !is_same {
        slot.address.store(address, Ordering::Relaxed);
        slot.epoch.store(epoch, Ordering::Relaxed);
        slot.count.store(0, Ordering::Relaxed);
        return false;
    }
    if slot.count.fetch_add(1, Ordering::Relaxed) < REPEATS_MAX {
        return false;
    }
    slot.count.store(0, Ordering::Relaxed);
    true
}

/// Returns the slot of a thread: its own, a free one, or that of another thread if all are taken.
fn slot_of(thread: usize) -> &'static Repeat {
    let start = thread_hash() % REPEATS.len();
    let slots = || REPEATS[start..].iter().chain(&REPEATS[..start]);
    if let Some(own) = slots().find(|slot| slot.thread.load(Ordering::Relaxed) == thread) {
        return own;
    }
    let take = |slot: &&Repeat| {
        let taken = slot
            .thread
            .compare_exchange(0, thread, Ordering::Relaxed, Ordering::Relaxed);
        taken.is_ok()
    };
    slots().find(take).unwrap_or_else(|| {
        let slot = &REPEATS[start];
        slot.thread.store(thread, Ordering::Relaxed);
        slot
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_fault_without_a_change_is_stuck() {
        // In a separate thread, whose slot no other test uses.
        let counts = std::thread::spawn(|| {
            let until_stuck = |fault: &dyn Fn(usize) -> (usize, usize, u64)| {
                (0..3 * REPEATS_MAX).find(|&n| {
                    let (program_counter, address, epoch) = fault(n);
                    is_stuck(program_counter, address, epoch)
                })
            };
            [
                until_stuck(&|_| (1, 2, 3)),
                until_stuck(&|n| (n, 2, 3)),
                until_stuck(&|n| (1, n, 3)),
                until_stuck(&|n| (1, 2, n as u64)),
            ]
        });
        let expected = [Some(REPEATS_MAX + 1), None, None, None];
        assert_eq!(counts.join().unwrap(), expected);
    }
}

//! A queue of fixed size. Fault handlers put events into it, and one or more threads take them out.
//!
//! Each slot has a number that gives the turn: `position` if it is free for the event of that position, `position + 1`
//! if it holds that event. A writer claims a position by advancing `tail`, fills the slot and publishes it by its
//! number. A reader does the same with `head`. A full queue loses the new event and counts it. (After D. Vyukov's
//! bounded queue. The words of an event are atomics, so nothing here is unsafe.)

use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

#[cfg(all(test, loom))]
mod models;

struct Slot<const WORDS: usize> {
    turn: AtomicUsize,
    // Invariant: accessed only by the thread that has claimed the slot's position, until it passes the turn on.
    words: [AtomicU64; WORDS],
}

/// A queue of events of `WORDS` words each.
pub(super) struct Ring<const WORDS: usize> {
    // Their number is a power of two.
    slots: Box<[Slot<WORDS>]>,
    head: AtomicUsize,
    tail: AtomicUsize,
    lost: AtomicU64,
}

impl<const WORDS: usize> Ring<WORDS> {
    /// Returns a queue with room for at least `capacity` events.
    pub(super) fn new(capacity: usize) -> Ring<WORDS> {
        let capacity = capacity.clamp(2, 1 << 24).next_power_of_two();
        let slot = |turn| Slot {
            turn: AtomicUsize::new(turn),
            words: std::array::from_fn(|_| AtomicU64::new(0)),
        };
        Ring {
            slots: (0..capacity).map(slot).collect(),
            head: AtomicUsize::new(0),
            tail: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
        }
    }

    fn slot(&self, position: usize) -> &Slot<WORDS> {
        &self.slots[position & (self.slots.len() - 1)]
    }

    /// Claims the next position of `end` if its slot's turn is that position plus `offset`.
    fn claim(&self, end: &AtomicUsize, offset: usize) -> Option<usize> {
        let mut position = end.load(Ordering::Relaxed);
        loop {
            // Acquire: sees the writes of the slot's previous user.
            let turn = self.slot(position).turn.load(Ordering::Acquire);
            let ahead = turn.wrapping_sub(position.wrapping_add(offset)) as isize;
            if ahead < 0 {
                return None;
            }
            if ahead > 0 {
                // Another thread has claimed the position.
                position = end.load(Ordering::Relaxed);
                continue;
            }
            let next = position.wrapping_add(1);
            match end.compare_exchange_weak(position, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(position),
                Err(now) => position = now,
            }
        }
    }

    /// Adds an event, or loses and counts it. Async-signal-safe and lock-free.
    pub(super) fn push(&self, event: &[u64; WORDS]) {
        let Some(position) = self.claim(&self.tail, 0) else {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let slot = self.slot(position);
        for (word, value) in slot.words.iter().zip(event) {
            word.store(*value, Ordering::Relaxed);
        }
        // Release: pairs with the reader's claim.
        slot.turn.store(position.wrapping_add(1), Ordering::Release);
    }

    /// Removes the oldest event. Returns `None` if there is none or it is still being written.
    pub(super) fn pop(&self) -> Option<[u64; WORDS]> {
        let position = self.claim(&self.head, 1)?;
        let slot = self.slot(position);
        let event = std::array::from_fn(|index| slot.words[index].load(Ordering::Relaxed));
        // Release: pairs with the claim of the writer one round later.
        slot.turn
            .store(position.wrapping_add(self.slots.len()), Ordering::Release);
        Some(event)
    }

    /// Empties the queue in a forked child, which lacks the threads that were inside a `push`.
    pub(super) fn reset(&self) {
        self.head.store(0, Ordering::Relaxed);
        self.tail.store(0, Ordering::Relaxed);
        for (turn, slot) in self.slots.iter().enumerate() {
            slot.turn.store(turn, Ordering::Relaxed);
        }
    }

    /// Returns the number of lost events.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::Ring;

    const WORDS: usize = 3;

    #[test]
    fn first_in_first_out_and_the_newest_is_lost() {
        let ring = Ring::<WORDS>::new(3);
        assert_eq!(ring.pop(), None);
        for round in 0..10 {
            (0..5).for_each(|n| ring.push(&[10 * round + n; WORDS]));
            let out: Vec<u64> = std::iter::from_fn(|| ring.pop())
                .map(|event| event[WORDS - 1])
                .collect();
            assert_eq!(out, (0..4).map(|n| 10 * round + n).collect::<Vec<_>>());
            assert_eq!(ring.lost(), round + 1);
        }
    }

    #[test]
    fn many_writers_and_readers() {
        let (ring, done) = (Ring::<WORDS>::new(64), AtomicBool::new(false));
        let (writers, each) = (3u64, 20_000u64);
        let read = std::thread::scope(|scope| {
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let mut read = Vec::new();
                        loop {
                            let is_done = done.load(Ordering::Acquire);
                            let before = read.len();
                            read.extend(std::iter::from_fn(|| ring.pop()));
                            if is_done && read.len() == before {
                                return read;
                            }
                        }
                    })
                })
                .collect();
            let writing: Vec<_> = (0..writers)
                .map(|writer| {
                    let ring = &ring;
                    scope.spawn(move || {
                        (0..each).for_each(|n| ring.push(&[writer * each + n; WORDS]))
                    })
                })
                .collect();
            assert!(writing.into_iter().all(|writer| writer.join().is_ok()));
            done.store(true, Ordering::Release);
            readers
                .into_iter()
                .flat_map(|reader| reader.join())
                .flatten()
                .collect::<Vec<_>>()
        });
        assert!(
            read.iter()
                .all(|event| event.iter().all(|word| *word == event[0])),
            "whole"
        );
        let mut values: Vec<u64> = read.iter().map(|event| event[0]).collect();
        values.sort_unstable();
        let len = values.len() as u64;
        values.dedup();
        assert_eq!(values.len() as u64, len, "once");
        assert_eq!(len + ring.lost(), writers * each);
    }
}

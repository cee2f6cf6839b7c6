//! A slot that readers may look into while a writer empties it: the hand-over between the registry and a handler.
//!
//! One word says whether the slot is live and how many readers have it pinned. A reader pins first and then asks
//! whether it was live; the writer kills first and then waits until no pin is left. Every change of the word is a
//! read-modify-write, so the two stand in one order: a pin that comes after the kill sees it and is taken back, a pin
//! that came before is waited for. (The model tests below try every order.)

#![allow(unsafe_code, reason = "hands out a reference whose validity the pin guarantees")]

use std::ops::Deref;
use std::ptr;

use crate::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

const LIVE: usize = 1;
const PIN: usize = 2;

/// A slot for a pointer to a `T`.
pub(super) struct Record<T> {
    // PIN times the number of pins, plus LIVE.
    state: AtomicUsize,
    // Invariant: while LIVE is set, or a pin that was taken under LIVE is held, a valid pointer.
    value: AtomicPtr<T>,
}

impl<T> Record<T> {
    /// An empty slot.
    pub(super) fn new() -> Record<T> {
        Record { state: AtomicUsize::new(0), value: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Puts a value into a slot that is empty.
    ///
    /// # Safety
    /// `value` stays valid until [`kill`](Record::kill) was called and [`is_pinned`](Record::is_pinned) was false after
    /// it. One writer at a time; the slot is not live.
    pub(super) unsafe fn fill(&self, value: *mut T) {
        self.value.store(value, Ordering::Relaxed);
        // Release: whoever sees LIVE sees the value, and what it points at.
        self.state.fetch_or(LIVE, Ordering::Release);
    }

    /// The value, kept valid by the pin; `None` if the slot is empty. Wait-free.
    pub(super) fn pin(&self) -> Option<Pinned<'_, T>> {
        // Acquire: pairs with `fill`.
        let before = self.state.fetch_add(PIN, Ordering::Acquire);
        if before & LIVE == 0 {
            self.state.fetch_sub(PIN, Ordering::Relaxed);
            return None;
        }
        Some(Pinned { record: self, value: self.value.load(Ordering::Relaxed) })
    }

    /// Empties the slot: no new pin succeeds. Those there are stay valid.
    pub(super) fn kill(&self) {
        self.state.fetch_and(!LIVE, Ordering::Relaxed);
    }

    /// In a forked child, where all readers but the calling thread are gone: leaves it that many pins on a live slot.
    pub(super) fn set_pins(&self, pins: usize) {
        self.state.store(pins * PIN + LIVE, Ordering::Relaxed);
    }

    /// Whether a reader may still use the value of a slot that was killed.
    pub(super) fn is_pinned(&self) -> bool {
        // Acquire: what the readers did happens before what the caller does once they are gone.
        self.state.load(Ordering::Acquire) != 0
    }
}

/// The value of a slot, valid while this lives.
pub(crate) struct Pinned<'a, T> {
    record: &'a Record<T>,
    // Invariant: valid, by the record's, until the pin is given back.
    value: *const T,
}

impl<T> Deref for Pinned<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: valid while pinned (invariant); whoever filled the record shares the value from then on.
        unsafe { &*self.value }
    }
}

impl<T> Drop for Pinned<'_, T> {
    fn drop(&mut self) {
        // Release: pairs with `is_pinned`.
        self.record.state.fetch_sub(PIN, Ordering::Release);
    }
}

#[cfg(all(test, loom))]
mod models {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    use super::Record;

    /// A value that the model checker watches: a read beside a write is an error.
    type Value = UnsafeCell<usize>;

    fn read(record: &Record<Value>) -> Option<usize> {
        let pinned = record.pin()?;
        // SAFETY: read while pinned; the checker objects if it is written meanwhile.
        Some(pinned.with(|value| unsafe { *value }))
    }

    /// Empties the slot and then overwrites the value, as freeing it would.
    fn remove(record: &Record<Value>, value: *mut Value) {
        record.kill();
        while record.is_pinned() {
            thread::yield_now();
        }
        // SAFETY: leaked by the test.
        let value = unsafe { &*value };
        // SAFETY: nobody has it pinned; the checker objects if somebody reads it meanwhile.
        value.with_mut(|value| unsafe { *value = 99 });
    }

    fn leak(number: usize) -> *mut Value {
        Box::into_raw(Box::new(UnsafeCell::new(number)))
    }

    #[test]
    fn nobody_reads_what_was_removed() {
        loom::model(|| {
            let record = Arc::new(Record::new());
            let value = leak(7);
            // SAFETY: valid until `remove` overwrites it.
            unsafe { record.fill(value) };
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    let record = Arc::clone(&record);
                    thread::spawn(move || assert!(matches!(read(&record), None | Some(7))))
                })
                .collect();
            remove(&record, value);
            readers.into_iter().for_each(|reader| reader.join().unwrap());
            assert_eq!(read(&record), None);
            // SAFETY: leaked above, and no longer used.
            drop(unsafe { Box::from_raw(value) });
        });
    }

    #[test]
    fn a_reused_record_shows_the_old_value_or_the_new() {
        loom::model(|| {
            let record = Arc::new(Record::new());
            let (old, new) = (leak(1), leak(2));
            // SAFETY: valid until `remove` overwrites it.
            unsafe { record.fill(old) };
            let reader = {
                let record = Arc::clone(&record);
                thread::spawn(move || assert!(matches!(read(&record), None | Some(1 | 2))))
            };
            remove(&record, old);
            // SAFETY: never removed.
            unsafe { record.fill(new) };
            reader.join().unwrap();
            assert_eq!(read(&record), Some(2));
            for value in [old, new] {
                // SAFETY: leaked above, and no longer used.
                drop(unsafe { Box::from_raw(value) });
            }
        });
    }
}

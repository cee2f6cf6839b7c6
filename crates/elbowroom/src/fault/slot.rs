//! A slot that readers can pin while a writer empties it. The registry and the fault handler share values through it.
//!
//! One word holds whether the slot is live, and the number of pins. A reader pins first and then checks whether the
//! slot was live. The writer marks it dead first and then waits until no pin is left. Every change of the word is a
//! read-modify-write, so all changes have one order. A pin after the mark sees the mark and is taken back. The writer
//! waits for a pin before the mark. The model tests try every order.

#![allow(
    unsafe_code,
    reason = "hands out a reference whose validity the pin guarantees"
)]

use std::ops::Deref;
use std::ptr;

use crate::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

#[cfg(all(test, loom))]
mod models;

const LIVE: usize = 1;
const PIN: usize = 2;

/// A slot for a pointer to a `T`.
pub(super) struct Slot<T> {
    // PIN times the number of pins, plus LIVE.
    state: AtomicUsize,
    // Invariant: while LIVE is set, or a pin that was taken under LIVE is held, a valid pointer.
    value: AtomicPtr<T>,
}

impl<T> Slot<T> {
    /// Returns an empty slot.
    pub(super) fn new() -> Slot<T> {
        Slot {
            state: AtomicUsize::new(0),
            value: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Puts a value into a slot that is empty.
    ///
    /// # Safety
    /// `value` stays valid until [`kill`](Slot::kill) was called and [`is_pinned`](Slot::is_pinned) was false after it.
    /// There is one writer at a time, and the slot is not live.
    pub(super) unsafe fn fill(&self, value: *mut T) {
        self.value.store(value, Ordering::Relaxed);
        // Release: a thread that sees LIVE sees the value and the object that it points to.
        self.state.fetch_or(LIVE, Ordering::Release);
    }

    /// Returns the value, kept valid by the pin, or `None` if the slot is empty. Wait-free.
    pub(super) fn pin(&self) -> Option<Pinned<'_, T>> {
        // Acquire: pairs with `fill`.
        let before = self.state.fetch_add(PIN, Ordering::Acquire);
        if before & LIVE == 0 {
            self.state.fetch_sub(PIN, Ordering::Relaxed);
            return None;
        }
        Some(Pinned {
            slot: self,
            value: self.value.load(Ordering::Relaxed),
        })
    }

    /// Empties the slot: no new pin succeeds. Existing pins stay valid.
    pub(super) fn kill(&self) {
        self.state.fetch_and(!LIVE, Ordering::Relaxed);
    }

    /// Sets the number of pins on a live slot in a forked child, where only the calling thread is left of all readers.
    pub(super) fn set_pins(&self, pins: usize) {
        self.state.store(pins * PIN + LIVE, Ordering::Relaxed);
    }

    /// Returns whether a reader may still use the value of a killed slot.
    pub(super) fn is_pinned(&self) -> bool {
        // Acquire: everything that the readers did happens before everything that the caller does after their end.
        self.state.load(Ordering::Acquire) != 0
    }
}

/// The value of a slot, valid while this lives.
pub(crate) struct Pinned<'a, T> {
    slot: &'a Slot<T>,
    // Invariant: valid until the pin is given back, because the slot was live when it was pinned.
    value: *const T,
}

impl<T> Deref for Pinned<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the value is valid while pinned (invariant), and the thread that filled the slot only shares it from
        // then on.
        unsafe { &*self.value }
    }
}

impl<T> Drop for Pinned<'_, T> {
    fn drop(&mut self) {
        // Release: pairs with `is_pinned`.
        self.slot.state.fetch_sub(PIN, Ordering::Release);
    }
}

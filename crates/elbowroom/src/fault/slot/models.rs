//! A slot that is filled, read and emptied, in every order of three threads.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use super::Slot;

/// A value that the model checker watches: a read beside a write is an error.
type Value = UnsafeCell<usize>;

fn read(slot: &Slot<Value>) -> Option<usize> {
    let pinned = slot.pin()?;
    // SAFETY: read while pinned; the checker objects if it is written meanwhile.
    Some(pinned.with(|value| unsafe { *value }))
}

/// Empties the slot and then overwrites the value, as freeing it would.
fn remove(slot: &Slot<Value>, value: *mut Value) {
    slot.kill();
    while slot.is_pinned() {
        thread::yield_now();
    }
    // SAFETY: the test has leaked the value, and frees it after this.
    let value = unsafe { &*value };
    // SAFETY: no pin is left; the checker reports an error if a thread reads the value meanwhile.
    value.with_mut(|value| unsafe { *value = 99 });
}

fn leak(number: usize) -> *mut Value {
    Box::into_raw(Box::new(UnsafeCell::new(number)))
}

#[test]
fn no_reader_gets_a_removed_value() {
    loom::model(|| {
        let slot = Arc::new(Slot::new());
        let value = leak(7);
        // SAFETY: valid until `remove` overwrites it.
        unsafe { slot.fill(value) };
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let slot = Arc::clone(&slot);
                thread::spawn(move || assert!(matches!(read(&slot), None | Some(7))))
            })
            .collect();
        remove(&slot, value);
        readers
            .into_iter()
            .for_each(|reader| reader.join().unwrap());
        assert_eq!(read(&slot), None);
        // SAFETY: this model leaked the value, and nothing uses it any more.
        drop(unsafe { Box::from_raw(value) });
    });
}

#[test]
fn a_reused_slot_shows_the_old_value_or_the_new() {
    loom::model(|| {
        let slot = Arc::new(Slot::new());
        let (old, new) = (leak(1), leak(2));
        // SAFETY: valid until `remove` overwrites it.
        unsafe { slot.fill(old) };
        let reader = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || assert!(matches!(read(&slot), None | Some(1 | 2))))
        };
        remove(&slot, old);
        // SAFETY: the value stays valid, because it is never removed from this slot; the slot is not live.
        unsafe { slot.fill(new) };
        reader.join().unwrap();
        assert_eq!(read(&slot), Some(2));
        for value in [old, new] {
            // SAFETY: this model leaked the value, and nothing uses it any more.
            drop(unsafe { Box::from_raw(value) });
        }
    });
}

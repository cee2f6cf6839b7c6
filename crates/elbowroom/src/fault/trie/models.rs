//! A table that a handler reads while a writer changes it, in every order of two threads.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use super::*;

/// A region of the model. The checker reports an error for a read beside a write, which stands for freeing it.
struct Value {
    addresses: Range<usize>,
    cell: UnsafeCell<usize>,
}

fn leak(addresses: Range<usize>) -> &'static Value {
    Box::leak(Box::new(Value {
        addresses,
        cell: UnsafeCell::new(7),
    }))
}

fn pointer(value: &'static Value) -> *mut Value {
    ptr::from_ref(value).cast_mut()
}

/// Looks an address up as a fault handler does. Returns whether a region holds the address.
fn look(trie: &Trie<Value>, address: usize) -> bool {
    let Some(value) = trie.find(address).and_then(Slot::pin) else {
        return false;
    };
    if !value.addresses.contains(&address) {
        return false;
    }
    // SAFETY: read while pinned; the checker objects if it is written meanwhile.
    assert_eq!(value.cell.with(|value| unsafe { *value }), 7);
    true
}

/// Removes a region, and overwrites it, which stands for freeing it.
fn remove(trie: &Trie<Value>, slot: &'static Slot<Value>, value: &'static Value) {
    trie.store(&value.addresses, None);
    slot.kill();
    while slot.is_pinned() {
        thread::yield_now();
    }
    // SAFETY: no pin is left; the checker reports an error if a thread reads the value meanwhile.
    value.cell.with_mut(|value| unsafe { *value = 99 });
}

/// A span of the level below the root, and one of the level below that.
const WIDE: usize = 1 << (ROOT_SHIFT - NODE_BITS);
const NARROW: usize = WIDE >> NODE_BITS;

#[test]
fn a_lookup_beside_a_replacement_finds_what_is_there_or_nothing() {
    loom::model(|| {
        let trie = Arc::new(Trie::new());
        let (wide, narrow, beside) = (
            leak(0..WIDE),
            leak(NARROW..2 * NARROW),
            leak(WIDE..2 * WIDE),
        );
        let [reused, steady] = [(); 2].map(|()| &*Box::leak(Box::new(Slot::new())));
        // SAFETY: overwritten only after `kill` and the wait for pins.
        unsafe { reused.fill(pointer(wide)) };
        // SAFETY: the value stays valid, because it is never removed; the slot is not live.
        unsafe { steady.fill(pointer(beside)) };
        trie.store(&wide.addresses, Some(reused));
        trie.store(&beside.addresses, Some(steady));
        let reader = {
            let trie = Arc::clone(&trie);
            thread::spawn(move || {
                // Looks into both regions, which exist one after the other, and into the one that stays.
                look(&trie, NARROW + 5);
                assert!(look(&trie, WIDE + 5));
            })
        };
        remove(&trie, reused, wide);
        // The entry that held the slot becomes a node, and the slot belongs to another region.
        // SAFETY: the slot is neither live nor pinned, and the value is never removed.
        unsafe { reused.fill(pointer(narrow)) };
        trie.store(&narrow.addresses, Some(reused));
        assert!(look(&trie, NARROW + 5) && !look(&trie, 5));
        reader.join().unwrap();
        assert!(look(&trie, NARROW) && !look(&trie, 2 * NARROW) && look(&trie, WIDE));
    });
}

#[test]
fn a_thread_that_gets_an_address_finds_its_region() {
    loom::model(|| {
        let trie = Arc::new(Trie::new());
        let value = leak(NARROW..WIDE + NARROW);
        let handed_out = Arc::new(AtomicPtr::new(ptr::null_mut::<u8>()));
        let reader = {
            let (trie, handed_out) = (Arc::clone(&trie), Arc::clone(&handed_out));
            thread::spawn(move || {
                if !handed_out.load(Ordering::Acquire).is_null() {
                    assert!(
                        look(&trie, NARROW) && look(&trie, WIDE + NARROW - 1) && !look(&trie, 0)
                    );
                }
            })
        };
        let slot = &*Box::leak(Box::new(Slot::new()));
        // SAFETY: the value stays valid, because it is never removed; the slot is not live.
        unsafe { slot.fill(pointer(value)) };
        trie.store(&value.addresses, Some(slot));
        handed_out.store(ptr::dangling_mut(), Ordering::Release);
        reader.join().unwrap();
    });
}

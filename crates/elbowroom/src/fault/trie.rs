//! A table from addresses to [`Record`]s that readers walk while a writer changes it.
//!
//! A trie over the address: the top bits index a fixed root, then six bits a level down to 4 KiB. An entry is empty, a
//! deeper node, or the record that was stored for the entry's whole span, so a range of any size takes a handful of
//! entries and a lookup at most six loads, however many ranges there are.
//!
//! Nodes and records are never freed, so a reader that comes by an entry that has just been replaced still reads one.

#![allow(unsafe_code, reason = "lock-free readers follow pointers whose validity is argued here")]

use std::marker::PhantomData;
use std::ops::Range;
use std::ptr;

use super::record::Record;
use crate::sync::atomic::{AtomicPtr, Ordering};

/// Addresses end here: 57 bits is the most any supported processor translates.
const ADDRESS_BITS: u32 = if cfg!(loom) { ROOT_SHIFT } else { 57 };
/// The root's entries span 4 TiB each.
const ROOT_SHIFT: u32 = 42;
const ROOT_ENTRIES: usize = 1 << (ADDRESS_BITS - ROOT_SHIFT);
/// In a model, each entry is something that is watched.
const NODE_BITS: u32 = if cfg!(loom) { 2 } else { 6 };
const NODE_ENTRIES: usize = 1 << NODE_BITS;
/// The span of an entry of the lowest level: no page is smaller.
const LEAF_SHIFT: u32 = 12;

/// Null, a [`Node`], or a [`Record`] with [`RECORD_TAG`] added.
type Entry = AtomicPtr<u8>;
const RECORD_TAG: usize = 1;

struct Node {
    // Invariant: as for `Trie::root`.
    entries: [Entry; NODE_ENTRIES],
}

/// The table.
pub(super) struct Trie<T: 'static> {
    // Invariant: each entry that is not null points at a leaked Node or (tagged) a `Record<T>` that lives for good.
    root: [Entry; ROOT_ENTRIES],
    records: PhantomData<&'static Record<T>>,
}

impl<T> Trie<T> {
    #[cfg(not(loom))]
    pub(super) const fn new() -> Trie<T> {
        Trie { root: [const { AtomicPtr::new(ptr::null_mut()) }; ROOT_ENTRIES], records: PhantomData }
    }

    #[cfg(loom)]
    pub(super) fn new() -> Trie<T> {
        Trie { root: empty(), records: PhantomData }
    }

    /// The record that is stored for the address; one that is just being replaced may still be found. Async-signal-safe
    /// and wait-free.
    pub(super) fn find(&self, address: usize) -> Option<&'static Record<T>> {
        if address >> ADDRESS_BITS != 0 {
            return None;
        }
        let mut shift = ROOT_SHIFT;
        let mut entry = self.root[address >> shift].load(Ordering::Acquire);
        loop {
            if entry.is_null() {
                return None;
            }
            if entry.addr() & RECORD_TAG != 0 {
                let record: *mut Record<T> = entry.map_addr(|address| address - RECORD_TAG).cast();
                // SAFETY: a tagged entry is a record of this type that lives for good (invariant of `root`).
                return Some(unsafe { &*record });
            }
            shift -= NODE_BITS;
            // SAFETY: not null and not a record, so a leaked Node (invariant of `root`); the Acquire load that found it
            // sees its contents.
            let node = unsafe { &*entry.cast::<Node>() };
            entry = node.entries[address >> shift & (NODE_ENTRIES - 1)].load(Ordering::Acquire);
        }
    }

    /// Stores a record for these addresses, which have none, or takes theirs out. One writer at a time, or entries get
    /// lost.
    pub(super) fn store(&self, addresses: &Range<usize>, record: Option<&'static Record<T>>) {
        let tagged = |record| ptr::from_ref::<Record<T>>(record).cast_mut().cast::<u8>().map_addr(|at| at + RECORD_TAG);
        fill(&self.root, ROOT_SHIFT, 0, addresses, record.map_or(ptr::null_mut(), tagged));
    }
}

fn empty<const ENTRIES: usize>() -> [Entry; ENTRIES] {
    std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut()))
}

/// Stores `value` in the entries that cover `addresses`, of a table whose first entry starts at address `base` and
/// whose entries span `1 << shift` bytes.
fn fill(entries: &[Entry], shift: u32, base: usize, addresses: &Range<usize>, value: *mut u8) {
    let first = (addresses.start.max(base) - base) >> shift;
    for (index, entry) in entries.iter().enumerate().skip(first) {
        let start = base + (index << shift);
        if start >= addresses.end {
            return;
        }
        // Only writers store entries, one at a time, so a relaxed load sees the latest.
        let found = entry.load(Ordering::Relaxed);
        let is_node = !found.is_null() && found.addr() & RECORD_TAG == 0;
        let covered = addresses.start <= start && start + (1 << shift) <= addresses.end;
        if covered && !is_node {
            entry.store(value, Ordering::Release);
            continue;
        }
        let node: *mut Node = if is_node {
            found.cast()
        } else {
            let node: *mut Node = Box::leak(Box::new(Node { entries: empty() }));
            entry.store(node.cast(), Ordering::Release);
            node
        };
        // SAFETY: just leaked, or found as a node (invariant of `root`).
        let node = unsafe { &*node };
        debug_assert!(shift > LEAF_SHIFT, "regions are made of pages");
        fill(&node.entries, shift - NODE_BITS, start, addresses, value);
    }
}

#[cfg(all(test, loom))]
mod models {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    /// A region of the model: the checker objects to a read beside a write, as freeing it would be.
    struct Value {
        addresses: Range<usize>,
        cell: UnsafeCell<usize>,
    }

    fn leak(addresses: Range<usize>) -> &'static Value {
        Box::leak(Box::new(Value { addresses, cell: UnsafeCell::new(7) }))
    }

    fn pointer(value: &'static Value) -> *mut Value {
        ptr::from_ref(value).cast_mut()
    }

    /// What a fault handler does: whether a region is found that holds the address.
    fn look(trie: &Trie<Value>, address: usize) -> bool {
        let Some(value) = trie.find(address).and_then(Record::pin) else { return false };
        if !value.addresses.contains(&address) {
            return false;
        }
        // SAFETY: read while pinned; the checker objects if it is written meanwhile.
        assert_eq!(value.cell.with(|value| unsafe { *value }), 7);
        true
    }

    /// Takes a region out, and overwrites it as freeing it would.
    fn remove(trie: &Trie<Value>, record: &'static Record<Value>, value: &'static Value) {
        trie.store(&value.addresses, None);
        record.kill();
        while record.is_pinned() {
            thread::yield_now();
        }
        // SAFETY: nobody has it pinned; the checker objects if somebody reads it meanwhile.
        value.cell.with_mut(|value| unsafe { *value = 99 });
    }

    /// A span of the level below the root, and one of the level below that.
    const WIDE: usize = 1 << (ROOT_SHIFT - NODE_BITS);
    const NARROW: usize = WIDE >> NODE_BITS;

    #[test]
    fn a_lookup_beside_a_replacement_finds_what_is_there_or_nothing() {
        loom::model(|| {
            let trie = Arc::new(Trie::new());
            let (wide, narrow, beside) = (leak(0..WIDE), leak(NARROW..2 * NARROW), leak(WIDE..2 * WIDE));
            let [reused, steady] = [(); 2].map(|()| &*Box::leak(Box::new(Record::new())));
            // SAFETY: overwritten only after `kill` and the wait for pins.
            unsafe { reused.fill(pointer(wide)) };
            // SAFETY: never removed.
            unsafe { steady.fill(pointer(beside)) };
            trie.store(&wide.addresses, Some(reused));
            trie.store(&beside.addresses, Some(steady));
            let reader = {
                let trie = Arc::clone(&trie);
                thread::spawn(move || {
                    // In both that come and go one after the other, and in the one that stays.
                    look(&trie, NARROW + 5);
                    assert!(look(&trie, WIDE + 5));
                })
            };
            remove(&trie, reused, wide);
            // The entry that was a record becomes a node, and the record another's.
            // SAFETY: not live, not pinned; the value is never removed.
            unsafe { reused.fill(pointer(narrow)) };
            trie.store(&narrow.addresses, Some(reused));
            assert!(look(&trie, NARROW + 5) && !look(&trie, 5));
            reader.join().unwrap();
            assert!(look(&trie, NARROW) && !look(&trie, 2 * NARROW) && look(&trie, WIDE));
        });
    }

    #[test]
    fn who_is_handed_an_address_finds_its_region() {
        loom::model(|| {
            let trie = Arc::new(Trie::new());
            let value = leak(NARROW..WIDE + NARROW);
            let handed_out = Arc::new(AtomicPtr::new(ptr::null_mut::<u8>()));
            let reader = {
                let (trie, handed_out) = (Arc::clone(&trie), Arc::clone(&handed_out));
                thread::spawn(move || {
                    if !handed_out.load(Ordering::Acquire).is_null() {
                        assert!(look(&trie, NARROW) && look(&trie, WIDE + NARROW - 1) && !look(&trie, 0));
                    }
                })
            };
            let record = &*Box::leak(Box::new(Record::new()));
            // SAFETY: never removed.
            unsafe { record.fill(pointer(value)) };
            trie.store(&value.addresses, Some(record));
            handed_out.store(ptr::dangling_mut(), Ordering::Release);
            reader.join().unwrap();
        });
    }
}

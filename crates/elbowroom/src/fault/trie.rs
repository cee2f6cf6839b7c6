//! A table from addresses to [`Slot`]s that readers walk while a writer changes it.
//!
//! This is a trie over the address: the top bits index a fixed root, then each level takes six bits, down to 4 KiB. An
//! entry is empty, a deeper node, or the slot that was stored for the entry's whole span. So a range of any size takes
//! a handful of entries, and a lookup takes at most six loads, for any number of ranges.
//!
//! Nodes and slots are never freed. So a reader that follows an entry that was just replaced still reads a node or a
//! slot.

#![allow(
    unsafe_code,
    reason = "lock-free readers follow pointers whose validity is argued here"
)]

use std::marker::PhantomData;
use std::ops::Range;
use std::ptr;

use super::slot::Slot;
use crate::sync::atomic::{AtomicPtr, Ordering};

#[cfg(all(test, loom))]
mod models;

/// The end of the addresses: no supported processor translates more than 57 bits.
const ADDRESS_BITS: u32 = if cfg!(loom) { ROOT_SHIFT } else { 57 };
/// The span of a root entry: 4 TiB.
const ROOT_SHIFT: u32 = 42;
const ROOT_ENTRIES: usize = 1 << (ADDRESS_BITS - ROOT_SHIFT);
/// Small in a model, because the checker watches every entry.
const NODE_BITS: u32 = if cfg!(loom) { 2 } else { 6 };
const NODE_ENTRIES: usize = 1 << NODE_BITS;
/// The span of an entry of the lowest level. No page is smaller.
const LEAF_SHIFT: u32 = 12;

/// Null, a [`Node`], or a [`Slot`] with [`SLOT_TAG`] added.
type Entry = AtomicPtr<u8>;
const SLOT_TAG: usize = 1;

struct Node {
    // Invariant: as for `Trie::root`.
    entries: [Entry; NODE_ENTRIES],
}

/// The table.
pub(super) struct Trie<T: 'static> {
    // Invariant: each entry that is not null points to a leaked Node or (tagged) to a `Slot<T>` that is never freed.
    root: [Entry; ROOT_ENTRIES],
    slots: PhantomData<&'static Slot<T>>,
}

impl<T> Trie<T> {
    #[cfg(not(loom))]
    pub(super) const fn new() -> Trie<T> {
        Trie {
            root: [const { AtomicPtr::new(ptr::null_mut()) }; ROOT_ENTRIES],
            slots: PhantomData,
        }
    }

    #[cfg(loom)]
    pub(super) fn new() -> Trie<T> {
        Trie {
            root: empty(),
            slots: PhantomData,
        }
    }

    /// Returns the slot stored for the address. While it is being replaced, either one may be found. Async-signal-safe
    /// and wait-free.
    pub(super) fn find(&self, address: usize) -> Option<&'static Slot<T>> {
        if address >> ADDRESS_BITS != 0 {
            return None;
        }
        let mut shift = ROOT_SHIFT;
        let mut entry = self.root[address >> shift].load(Ordering::Acquire);
        loop {
            if entry.is_null() {
                return None;
            }
            if entry.addr() & SLOT_TAG != 0 {
                let slot: *mut Slot<T> = entry.map_addr(|address| address - SLOT_TAG).cast();
                // SAFETY: a tagged entry is a slot of this type that is never freed (invariant of `root`).
                return Some(unsafe { &*slot });
            }
            shift -= NODE_BITS;
            // SAFETY: the entry is neither null nor a slot, so it is a leaked Node (invariant of `root`). The Acquire
            // load that found it sees its contents.
            let node = unsafe { &*entry.cast::<Node>() };
            entry = node.entries[address >> shift & (NODE_ENTRIES - 1)].load(Ordering::Acquire);
        }
    }

    /// Stores a slot for addresses that have none, or removes theirs. There must be only one writer at a time, because
    /// entries would get lost otherwise.
    pub(super) fn store(&self, addresses: &Range<usize>, slot: Option<&'static Slot<T>>) {
        let tagged = |slot| {
            ptr::from_ref::<Slot<T>>(slot)
                .cast_mut()
                .cast::<u8>()
                .map_addr(|at| at + SLOT_TAG)
        };
        fill(
            &self.root,
            ROOT_SHIFT,
            0,
            addresses,
            slot.map_or(ptr::null_mut(), tagged),
        );
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
        // Only writers store entries, one at a time, so a relaxed load sees the latest value.
        let found = entry.load(Ordering::Relaxed);
        let is_node = !found.is_null() && found.addr() & SLOT_TAG == 0;
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
        // SAFETY: the node was just leaked, or found as a node (invariant of `root`).
        let node = unsafe { &*node };
        debug_assert!(shift > LEAF_SHIFT, "regions are made of pages");
        fill(&node.entries, shift - NODE_BITS, start, addresses, value);
    }
}

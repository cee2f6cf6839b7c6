//! Which region an address is in, answered inside a fault handler.
//!
//! A trie over the address: the top bits index a fixed root, then six bits a level down to 4 KiB. An entry is empty, a
//! deeper node, or the [`Record`] of the one region that covers the entry's whole span, so a region of any size takes a
//! handful of entries and a lookup at most six loads, however many regions live.
//!
//! Readers never wait and never see freed memory:
//! - nodes and records are never freed, only reused ([`Record`]s through a free list), so a stale pointer still points
//!   at one. What is kept is bounded by the most there ever was at once, and by the address span it was spread over;
//! - a record is *pinned* before its region is looked at. One word holds the pins and whether the record is live: a pin
//!   that finds it dead is taken back, and a record is killed first and its region freed only when no pin is left.
//!
//! A reader that finds a record by a stale entry checks the region's range like any other. A reader that touches a live
//! region finds it: whoever handed out the region's address did so after it was entered here.

#![allow(unsafe_code, reason = "lock-free readers follow pointers whose validity is argued here")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::frames;
use super::record::{Pinned, Record};
use crate::region::Core;
use crate::sync::Lock;

/// Addresses end here: 57 bits is the most any supported processor translates.
const ADDRESS_BITS: u32 = 57;
/// The root's entries span 4 TiB each.
const ROOT_SHIFT: u32 = 42;
const ROOT_ENTRIES: usize = 1 << (ADDRESS_BITS - ROOT_SHIFT);
const NODE_BITS: u32 = 6;
const NODE_ENTRIES: usize = 1 << NODE_BITS;
/// The span of an entry of the lowest level: no page is smaller.
const LEAF_SHIFT: u32 = 12;

/// Null, a [`Node`], or a [`Record`] with [`RECORD_TAG`] added.
type Entry = AtomicPtr<u8>;
const RECORD_TAG: usize = 1;

struct Node {
    // Invariant: each entry that is not null points at a leaked Node or (tagged) a leaked Record.
    entries: [Entry; NODE_ENTRIES],
}

static ROOT: [Entry; ROOT_ENTRIES] = [const { AtomicPtr::new(ptr::null_mut()) }; ROOT_ENTRIES];

/// Serialises writers.
static WRITER: Mutex<Writer> = Mutex::new(Writer { free: Vec::new(), live: BTreeMap::new() });

struct Writer {
    // Neither live nor pinned.
    free: Vec<&'static Record<Core>>,
    // The regions that are entered, by their base.
    live: BTreeMap<usize, &'static Record<Core>>,
}

/// A region that is not freed while this lives.
pub(crate) type Pin = Pinned<'static, Core>;

/// The region whose addresses, guard page included, hold `address`. Async-signal-safe and wait-free.
pub(crate) fn pin(address: usize) -> Option<Pin> {
    if address >> ADDRESS_BITS != 0 {
        return None;
    }
    let mut shift = ROOT_SHIFT;
    let mut entry = ROOT[address >> shift].load(Ordering::Acquire);
    loop {
        if entry.is_null() {
            return None;
        }
        if let Some(record) = as_record(entry) {
            let pin = record.pin()?;
            return pin.addresses().contains(&address).then_some(pin);
        }
        shift -= NODE_BITS;
        // SAFETY: not null and not a record, so a leaked Node (invariant of `entries`, and of the root); the Acquire
        // load that found it sees its contents.
        let node = unsafe { &*entry.cast::<Node>() };
        entry = node.entries[address >> shift & (NODE_ENTRIES - 1)].load(Ordering::Acquire);
    }
}

fn as_record(entry: *mut u8) -> Option<&'static Record<Core>> {
    if entry.addr() & RECORD_TAG == 0 {
        return None;
    }
    let record: *mut Record<Core> = entry.map_addr(|address| address - RECORD_TAG).cast();
    // SAFETY: a tagged entry is a leaked Record (invariant of `entries`, and of the root).
    Some(unsafe { &*record })
}

/// A region's entry in the registry; [`remove`](Entered::remove) takes it out.
pub(crate) struct Entered {
    record: &'static Record<Core>,
    addresses: Range<usize>,
}

/// Enters a region. From here on, faults in its addresses find it.
///
/// # Safety
/// `core` is valid, and stays so until [`Entered::remove`] has returned. No other entered region shares an address with
/// it.
pub(crate) unsafe fn enter(core: NonNull<Core>) -> Entered {
    // SAFETY: valid by the contract.
    let addresses = unsafe { core.as_ref() }.addresses();
    let mut writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
    let record = writer.free.pop().unwrap_or_else(|| Box::leak(Box::new(Record::new())));
    // SAFETY: valid until `Entered::remove`, which kills the record and waits for its pins (contract); a record is
    // filled when it is new or comes from the free list, where it is put when it is neither live nor pinned.
    unsafe { record.fill(core.as_ptr()) };
    let entry = ptr::from_ref(record).cast_mut().cast::<u8>().map_addr(|address| address + RECORD_TAG);
    fill(&ROOT, ROOT_SHIFT, 0, &addresses, entry);
    writer.live.insert(addresses.start, record);
    drop(writer);
    Entered { record, addresses }
}

impl Entered {
    /// Takes the region out, and waits until no handler is looking at it.
    pub(crate) fn remove(self) {
        let mut writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
        fill(&ROOT, ROOT_SHIFT, 0, &self.addresses, ptr::null_mut());
        self.record.kill();
        writer.live.remove(&self.addresses.start);
        drop(writer);
        // Only a touch of a region that is being released, or a wild pointer that hit it, can make this wait at all.
        while self.record.is_pinned() {
            std::thread::yield_now();
        }
        writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
        writer.free.push(self.record);
    }
}

/// Stores `value` in the entries that cover `addresses`, of a table whose first entry starts at address `base` and
/// whose entries span `1 << shift` bytes. The caller holds the writer's lock.
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
            let node = Box::new(Node { entries: [const { AtomicPtr::new(ptr::null_mut()) }; NODE_ENTRIES] });
            let node: *mut Node = Box::leak(node);
            entry.store(node.cast(), Ordering::Release);
            node
        };
        // SAFETY: just leaked, or found as a node (invariant of `entries`).
        let node = unsafe { &*node };
        debug_assert!(shift > LEAF_SHIFT, "regions are made of pages");
        fill(&node.entries, shift - NODE_BITS, start, addresses, value);
    }
}

/// The registry and every region in it, locked across a fork.
pub(super) struct Held {
    writer: MutexGuard<'static, Writer>,
    // The regions' locks, and those of their budgets, each once.
    regions: Vec<Pin>,
    trees: Vec<Arc<Lock<()>>>,
}

/// Waits until nobody is in the middle of anything, and keeps it so.
pub(super) fn hold() -> Held {
    let writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
    let regions: Vec<Pin> = writer.live.values().filter_map(|record| record.pin()).collect();
    let mut trees: Vec<_> = regions.iter().filter_map(|region| region.budget_tree()).collect();
    trees.sort_unstable_by_key(Arc::as_ptr);
    trees.dedup_by_key(|tree| Arc::as_ptr(tree));
    // From here until all are given back nothing is allocated or freed: the allocator may be made of a region.
    regions.iter().for_each(|region| region.hold());
    trees.iter().for_each(|tree| tree.hold());
    Held { writer, regions, trees }
}

impl Held {
    /// In a forked child, after [`let_go`](Held::let_go).
    pub(super) fn reattach(&self) {
        self.regions.iter().for_each(|region| region.reattach());
    }

    pub(super) fn let_go(&self) {
        for tree in &self.trees {
            // SAFETY: taken in `hold`, by this thread or the one that it is a copy of.
            unsafe { tree.let_go() };
        }
        for region in &self.regions {
            // SAFETY: as above.
            unsafe { region.let_go() };
        }
    }

    /// In a forked child: takes off the pins of the threads that it does not have.
    pub(super) fn forget_other_threads(&self) {
        let records = self.writer.live.values();
        for (record, region) in records.zip(&self.regions) {
            // One for each filter or callback that this thread is in, and the one of `hold`.
            record.set_pins(frames::count_mine_for(region) + 1);
        }
    }
}

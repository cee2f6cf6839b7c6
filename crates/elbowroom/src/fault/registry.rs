//! Finds the owner of an address, inside a fault handler.
//!
//! A [`Trie`] leads from an address to the [`Slot`] of the owner there. Readers never wait and never
//! see freed memory:
//! - Nodes and slots are never freed, only reused (slots through a free list), so a stale pointer
//!   still points at a node or a slot. Memory is bounded by the largest number of owners at one time
//!   and by the address span that they were spread over.
//! - A slot is *pinned* before its owner is looked at. One word holds the pins and whether the slot
//!   is live: a pin that finds the slot dead is taken back. A slot is marked dead first, and its
//!   owner freed only when no pin is left.
//!
//! A reader that finds a slot by a stale entry checks the owner's range like any other reader. A
//! reader that touches a live region finds it, because the region was entered here before its address
//! was handed out.

#![allow(
    unsafe_code,
    reason = "lock-free readers follow pointers whose validity is argued here"
)]

use std::collections::BTreeMap;
use std::ops::Range;
use std::ptr::NonNull;

use super::fork::{self, AtFork, Kept, Rank};
use super::frames;
use super::owner::{Owner, OwnerId};
use super::slot::{Pinned, Slot};
use super::trie::Trie;
use crate::budget::Tree;
use crate::sync::{QuietGuard, QuietMutex};

/// An owner in the registry.
pub(crate) struct Entry {
    // Invariant: valid while the slot of this entry is live or pinned.
    owner: NonNull<dyn Owner>,
}

// SAFETY: the entry shares the owner between threads, and `Owner` requires Send and Sync.
unsafe impl Send for Entry {}
// SAFETY: a shared entry gives out only shared references to its owner, and `Owner` requires Sync.
unsafe impl Sync for Entry {}

/// Keeps an owner from being freed.
pub(crate) struct Pin(Pinned<'static, Entry>);

impl Pin {
    /// Returns the owner.
    pub(crate) fn owner(&self) -> &dyn Owner {
        // SAFETY: valid while the slot is pinned (invariant of `Entry::owner`), and this pins it for
        // as long as the reference can live.
        unsafe { self.0.owner.as_ref() }
    }
}

#[cfg(not(loom))]
static TRIE: Trie<Entry> = Trie::new();

#[cfg(loom)]
loom::lazy_static! {
    static ref TRIE: Trie<Entry> = Trie::new();
}

/// Serialises writers.
static WRITER: QuietMutex<Writer> = QuietMutex::new(Writer {
    free: Vec::new(),
    live: BTreeMap::new(),
});

struct Writer {
    // Slots that are neither live nor pinned.
    free: Vec<&'static Slot<Entry>>,
    // The slots of the entered owners, by their first address.
    live: BTreeMap<usize, &'static Slot<Entry>>,
}

fn lock() -> QuietGuard<'static, Writer> {
    // No change under the lock can be left incomplete by a panic.
    WRITER.lock()
}

/// Returns the owner whose addresses hold `address`. Async-signal-safe and wait-free.
pub(crate) fn pin(address: usize) -> Option<Pin> {
    let pin = Pin(TRIE.find(address)?.pin()?);
    pin.owner().addresses().contains(&address).then_some(pin)
}

/// An owner's place in the registry; [`remove`](Entered::remove) takes the owner out.
pub(crate) struct Entered {
    slot: &'static Slot<Entry>,
    addresses: Range<usize>,
    // Invariant: leaked by `enter`, and the value of `slot`; freed by `remove`.
    entry: NonNull<Entry>,
}

// SAFETY: another thread can do what this one could: call `remove`. That changes the slot, by atomics and under WRITER,
// and frees the entry, which was made by the global allocator and is Send.
unsafe impl Send for Entered {}
// SAFETY: the fields are private to this module, and `remove`, the only function that uses them, takes `self`. So
// threads that share one have nothing to do with it.
unsafe impl Sync for Entered {}

/// Enters an owner. From here on, faults in its addresses find it.
///
/// # Safety
/// - `owner` is valid, and stays so until [`Entered::remove`] has returned.
/// - No other owner in the registry shares an address with it.
pub(crate) unsafe fn enter(owner: NonNull<dyn Owner>) -> Entered {
    fork::register(Rank::Registry, &STATE);
    // SAFETY: the caller guarantees that the owner is valid until it is removed.
    let addresses = unsafe { owner.as_ref() }.addresses();
    let entry = NonNull::from(Box::leak(Box::new(Entry { owner })));
    let mut writer = lock();
    let slot = writer
        .free
        .pop()
        .unwrap_or_else(|| Box::leak(Box::new(Slot::new())));
    // SAFETY: the entry is leaked, and freed by `Entered::remove` only after it has marked the slot
    // dead and seen that it is not pinned. A slot that is new or from the free list is neither live
    // nor pinned, and writers hold the lock.
    unsafe { slot.fill(entry.as_ptr()) };
    TRIE.store(&addresses, Some(slot));
    writer.live.insert(addresses.start, slot);
    drop(writer);
    Entered {
        slot,
        addresses,
        entry,
    }
}

impl Entered {
    /// Takes the owner out, and waits until no handler looks at it.
    pub(crate) fn remove(self) {
        let mut writer = lock();
        TRIE.store(&self.addresses, None);
        self.slot.kill();
        writer.live.remove(&self.addresses.start);
        drop(writer);
        // Only a touch of a region that is being released, or a wild pointer that hit the region,
        // can make this wait.
        while self.slot.is_pinned() {
            std::thread::yield_now();
        }
        // SAFETY: leaked by `enter` (invariant) and freed only here, where `self` ends; the slot is
        // dead and not pinned, so no reader has the entry.
        drop(unsafe { Box::from_raw(self.entry.as_ptr()) });
        lock().free.push(self.slot);
    }
}

/// Pins every owner, by address.
///
/// For ordinary code that holds no other pin: releasing an owner waits for these pins.
pub(crate) fn pin_all() -> Vec<Pin> {
    let mut pins = Vec::new();
    loop {
        // Nothing is allocated under the lock, because the global allocator may use a region.
        let writer = lock();
        let count = writer.live.len();
        if count <= pins.capacity() {
            pins.extend(writer.live.values().filter_map(|slot| slot.pin()).map(Pin));
            return pins;
        }
        drop(writer);
        pins.reserve(count + count / 8);
    }
}

/// The locks of the registry, of every owner, and of all their budgets, across a fork.
struct AtForkOfRegistry(Kept<Held>);

static AT_FORK: AtForkOfRegistry = AtForkOfRegistry(Kept::new());

static STATE: &dyn AtFork = &AT_FORK;

struct Held {
    writer: QuietGuard<'static, Writer>,
    owners: Vec<Pin>,
    // Each tree once.
    trees: Vec<Tree>,
}

impl AtFork for AtForkOfRegistry {
    fn hold(&self) {
        let writer = lock();
        let slots = writer.live.values();
        let owners: Vec<Pin> = slots.filter_map(|slot| slot.pin()).map(Pin).collect();
        let mut trees: Vec<_> = owners
            .iter()
            .filter_map(|pin| pin.owner().budget_tree())
            .collect();
        trees.sort_unstable_by_key(Tree::as_ptr);
        trees.dedup_by_key(|tree| Tree::as_ptr(tree));
        // From here until all locks are given back, nothing is allocated or freed, because the global allocator may use
        // a region.
        owners.iter().for_each(|pin| pin.owner().hold());
        trees.iter().for_each(|tree| tree.hold());
        let held = Held {
            writer,
            owners,
            trees,
        };
        // SAFETY: this thread holds WRITER, which every caller of these methods takes first.
        unsafe { self.0.keep(held) };
    }

    fn forget_other_threads(&self) {
        // SAFETY: a fork calls this between `hold` and `let_go`, on the copy of the thread that held.
        let Some(held) = (unsafe { self.0.get() }) else {
            return;
        };
        for (slot, pin) in held.writer.live.values().zip(&held.owners) {
            // One pin for each filter or callback that this thread is in, and the pin of `hold`.
            slot.set_pins(frames::count_mine_for(OwnerId::of(pin.owner())) + 1);
        }
    }

    unsafe fn let_go(&self) {
        // SAFETY: kept in `hold` by this thread or the one that it is a copy of (contract).
        let Some(held) = (unsafe { self.0.take() }) else {
            return;
        };
        for tree in &held.trees {
            // SAFETY: taken in `hold` by this thread or the one that it is a copy of (contract).
            unsafe { tree.let_go() };
        }
        for pin in &held.owners {
            // SAFETY: taken in `hold` by this thread or the one that it is a copy of (contract).
            unsafe { pin.owner().let_go() };
        }
    }

    fn in_child(&self) {
        pin_all().iter().for_each(|pin| pin.owner().in_child());
    }
}

//! Which region an address is in, answered inside a fault handler.
//!
//! A [`Trie`] leads from an address to the [`Record`] of the region that is there. Readers never wait and never see
//! freed memory:
//! - nodes and records are never freed, only reused (records through a free list), so a stale pointer still points at
//!   one. What is kept is bounded by the most there ever was at once, and by the address span it was spread over;
//! - a record is *pinned* before its region is looked at. One word holds the pins and whether the record is live: a pin
//!   that finds it dead is taken back, and a record is killed first and its region freed only when no pin is left.
//!
//! A reader that finds a record by a stale entry checks the region's range like any other. A reader that touches a live
//! region finds it: whoever handed out the region's address did so after it was entered here.

#![allow(unsafe_code, reason = "lock-free readers follow pointers whose validity is argued here")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::frames;
use super::record::{Pinned, Record};
use super::trie::Trie;
use crate::region::Core;
use crate::sync::Lock;

#[cfg(not(loom))]
static TRIE: Trie<Core> = Trie::new();

#[cfg(loom)]
loom::lazy_static! {
    static ref TRIE: Trie<Core> = Trie::new();
}

/// Serialises writers.
static WRITER: Mutex<Writer> = Mutex::new(Writer {
    free: Vec::new(),
    live: BTreeMap::new(),
    #[cfg(feature = "metrics")]
    retired: BTreeMap::new(),
});

struct Writer {
    // Neither live nor pinned.
    free: Vec<&'static Record<Core>>,
    // The regions that are entered, by their base.
    live: BTreeMap<usize, &'static Record<Core>>,
    // The faults of the regions that were removed, by their names.
    #[cfg(feature = "metrics")]
    retired: BTreeMap<Box<str>, Outcomes>,
}

/// How many faults, in the order of `Outcome::ALL`.
#[cfg(feature = "metrics")]
pub(crate) type Outcomes = [u64; super::Outcome::ALL.len()];

/// Keeps the faults of a region that is removed, for those who count all there ever were.
#[cfg(feature = "metrics")]
pub(crate) fn retire(name: &str, outcomes: Outcomes) {
    let mut writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
    match writer.retired.get_mut(name) {
        Some(sums) => sums.iter_mut().zip(outcomes).for_each(|(sum, count)| *sum += count),
        None => drop(writer.retired.insert(name.into(), outcomes)),
    }
}

/// The faults of the regions that are no more, by their names.
#[cfg(feature = "metrics")]
pub(crate) fn retired() -> BTreeMap<Box<str>, Outcomes> {
    WRITER.lock().unwrap_or_else(PoisonError::into_inner).retired.clone()
}

/// A region that is not freed while this lives.
pub(crate) type Pin = Pinned<'static, Core>;

/// The region whose addresses, guard page included, hold `address`. Async-signal-safe and wait-free.
pub(crate) fn pin(address: usize) -> Option<Pin> {
    let pin = TRIE.find(address)?.pin()?;
    pin.addresses().contains(&address).then_some(pin)
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
    TRIE.store(&addresses, Some(record));
    writer.live.insert(addresses.start, record);
    drop(writer);
    Entered { record, addresses }
}

impl Entered {
    /// Takes the region out, and waits until no handler is looking at it.
    pub(crate) fn remove(self) {
        let mut writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
        TRIE.store(&self.addresses, None);
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

/// Every region there is, by address, kept from being freed. For ordinary code, with no other pin held: whoever drops a
/// region waits for these.
pub(crate) fn pin_all() -> Vec<Pin> {
    let mut pins = Vec::new();
    loop {
        // Nothing is allocated under the lock: the allocator may be made of a region.
        let writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
        let count = writer.live.len();
        if count <= pins.capacity() {
            pins.extend(writer.live.values().filter_map(|record| record.pin()));
            return pins;
        }
        drop(writer);
        pins.reserve(count + count / 8);
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

//! The clock: one hand over the pages of all arrays that share a budget.

use std::collections::BTreeMap;
use std::iter;
use std::sync::Weak;

use elbowroom::Budget;

/// An empty slot.
const VACANT: usize = usize::MAX;

/// The committed pages of arrays, a ring for each array. The hand goes through one ring and then through the next.
/// `P` is what an array has.
pub(super) struct Clock<P> {
    rings: BTreeMap<u64, Ring<P>>,
    // The ring where the hand is, or the one before the next.
    hand: u64,
    next: u64,
}

/// The pages of one array.
pub(super) struct Ring<P> {
    pub(super) pool: Weak<P>,
    /// The budget that the pages are charged to.
    budget: Budget,
    // The committed pages, in the order of the hand. A new page takes the slot of the one that went last, which the
    // hand has just passed, if that was of the same array.
    slots: Vec<usize>,
    vacant: Vec<usize>,
    hand: usize,
    /// Absent pages whose memory the system did not take back. It is charged until it does.
    pub(super) stranded: Vec<usize>,
    /// The array is being dropped, resized or sorted into. No thread of another array uses its pages.
    pub(super) is_closed: bool,
}

impl<P> Default for Clock<P> {
    fn default() -> Clock<P> {
        Clock {
            rings: BTreeMap::new(),
            hand: 0,
            next: 0,
        }
    }
}

impl<P> Clock<P> {
    /// Returns a name for a ring.
    pub(super) fn name(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Adds an empty ring.
    pub(super) fn add(&mut self, name: u64, pool: Weak<P>, budget: Budget) {
        let ring = Ring {
            pool,
            budget,
            slots: Vec::new(),
            vacant: Vec::new(),
            hand: 0,
            stranded: Vec::new(),
            is_closed: false,
        };
        self.rings.insert(name, ring);
    }

    pub(super) fn remove(&mut self, name: u64) {
        self.rings.remove(&name);
    }

    /// Returns a ring, which is there from `add` to `remove`.
    pub(super) fn ring(&mut self, name: u64) -> Option<&mut Ring<P>> {
        self.rings.get_mut(&name)
    }

    /// Returns the rings whose pages are charged to the budget, or all.
    pub(super) fn rings(&mut self, budget: Option<&Budget>) -> impl Iterator<Item = &mut Ring<P>> {
        self.rings
            .values_mut()
            .filter(move |ring| ring.is_charged_to(budget))
    }

    /// Returns the ring where the hand is, of those whose pages are charged to the budget, or of all.
    pub(super) fn at_hand(&mut self, budget: Option<&Budget>) -> Option<&mut Ring<P>> {
        let ahead = self.rings.range(self.hand..);
        let mut all = ahead.chain(self.rings.range(..self.hand));
        let (&name, _) = all.find(|(_, ring)| ring.is_charged_to(budget))?;
        self.hand = name;
        self.rings.get_mut(&name)
    }

    /// Moves the hand to the next ring.
    pub(super) fn go_on(&mut self) {
        self.hand += 1;
    }
}

impl<P> Ring<P> {
    fn is_charged_to(&self, budget: Option<&Budget>) -> bool {
        budget.is_none_or(|budget| path(&self.budget).any(|above| above == budget))
    }

    pub(super) fn insert(&mut self, page: usize) {
        match self.vacant.pop() {
            Some(slot) => self.slots[slot] = page,
            None => self.slots.push(page),
        }
    }

    /// Returns how many slots there are, also vacant ones.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Moves the hand over the next slot and returns it, or to the first slot at the end.
    pub(super) fn step(&mut self) -> Option<usize> {
        let slot = self.hand;
        if slot == self.slots.len() {
            self.hand = 0;
            return None;
        }
        self.hand += 1;
        Some(slot)
    }

    /// Moves the hand over the next slot if it has a page that is to be taken.
    pub(super) fn step_if(&mut self, takes: impl FnOnce(usize) -> bool) -> bool {
        let next = self.slots.get(self.hand);
        let is_taken = next.is_some_and(|&page| page != VACANT && takes(page));
        self.hand += usize::from(is_taken);
        is_taken
    }

    /// Makes the slots from this one up to the hand vacant.
    pub(super) fn vacate_to_hand(&mut self, slot: usize) {
        // The first is filled first, so that pages that come in together are in order.
        for slot in (slot..self.hand).rev() {
            self.vacate(slot);
        }
    }

    /// Returns the page in a slot.
    pub(super) fn page(&self, slot: usize) -> Option<usize> {
        Some(self.slots[slot]).filter(|&page| page != VACANT)
    }

    /// Makes a slot vacant.
    pub(super) fn vacate(&mut self, slot: usize) {
        self.slots[slot] = VACANT;
        self.vacant.push(slot);
    }

    /// Returns the slot of a page. It is quick for a page that came in lately.
    pub(super) fn slot_of(&self, page: usize) -> Option<usize> {
        self.slots.iter().rposition(|&other| other == page)
    }

    pub(super) fn pages(&self) -> impl Iterator<Item = usize> + '_ {
        self.slots.iter().copied().filter(|&page| page != VACANT)
    }
}

/// Returns a budget and those above it.
fn path(budget: &Budget) -> impl Iterator<Item = &Budget> {
    iter::successors(Some(budget), |budget| budget.parent())
}

/// Returns the topmost budget.
pub(super) fn root(budget: &Budget) -> &Budget {
    path(budget).last().unwrap_or(budget)
}

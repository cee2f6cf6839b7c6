//! The pages of a region that guards hold.

use crate::page::PageRange;

/// The held ranges of pages, in no particular order. A range is listed once for each guard that holds it.
pub(super) struct Holds {
    ranges: Vec<PageRange>,
}

impl Holds {
    pub(super) const NONE: Holds = Holds { ranges: Vec::new() };

    /// Returns the capacity that the next hold needs.
    pub(super) fn wanted_capacity(&self) -> usize {
        2 * self.ranges.len() + 4
    }

    /// Returns whether there is room for one more. Allocates nothing: without room, the list moves to `spare` if that
    /// is large enough, and `spare` becomes the old list, which the caller drops.
    pub(super) fn has_room(&mut self, spare: &mut Vec<PageRange>) -> bool {
        if self.ranges.len() < self.ranges.capacity() {
            return true;
        }
        if spare.capacity() <= self.ranges.len() {
            return false;
        }
        spare.clear();
        spare.extend_from_slice(&self.ranges);
        std::mem::swap(&mut self.ranges, spare);
        true
    }

    /// Adds a range. There is room for it.
    pub(super) fn add(&mut self, range: PageRange) {
        debug_assert!(self.ranges.len() < self.ranges.capacity());
        self.ranges.push(range);
    }

    /// Removes a range that was added. Allocates and frees nothing.
    pub(super) fn remove(&mut self, range: PageRange) {
        let found = self.ranges.iter().position(|&held| held == range);
        debug_assert!(found.is_some(), "{range:?} is not held");
        if let Some(index) = found {
            self.ranges.swap_remove(index);
        }
    }

    /// Returns whether a page of `range` is held.
    pub(super) fn overlap(&self, range: PageRange) -> bool {
        self.ranges.iter().any(|held| held.overlaps(range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(holds: &mut Holds, range: PageRange) {
        let mut spare = Vec::new();
        while !holds.has_room(&mut spare) {
            spare = Vec::with_capacity(holds.wanted_capacity());
        }
        holds.add(range);
    }

    #[test]
    fn a_page_is_held_until_each_guard_has_let_go() {
        let mut holds = Holds::NONE;
        assert!(!holds.has_room(&mut Vec::new()));
        for first in 0..50 {
            add(&mut holds, PageRange::new(first, first + 3));
        }
        assert!(holds.overlap(PageRange::new(51, 52)));
        assert!(!holds.overlap(PageRange::new(52, 90)));
        assert!(!holds.overlap(PageRange::new(7, 7)), "no page");
        for first in (0..50).rev() {
            holds.remove(PageRange::new(first, first + 3));
            assert!(!holds.overlap(PageRange::new(first + 2, 90)));
            assert_eq!(holds.overlap(PageRange::new(first, first + 2)), first > 0);
        }
        // An empty range holds nothing.
        add(&mut holds, PageRange::new(4, 4));
        assert!(!holds.overlap(PageRange::new(0, 90)));
    }
}

//! Page indices, counts and ranges as types. All rounding between bytes and pages lives here.

use std::ops::Range;

use crate::os;

/// Returns the page size in bytes, a power of two. Async-signal-safe.
#[inline(always)]
pub(crate) fn size() -> usize {
    os::page_size()
}

/// Returns the number of bytes that a full page table covers: the next larger page size, 2 MiB if pages have 4 KiB.
pub(crate) fn huge_size() -> usize {
    os::huge_page_size()
}

#[inline(always)]
fn shift() -> u32 {
    size().trailing_zeros()
}

/// Returns `bytes` rounded up to whole pages, in bytes, or `None` on overflow.
pub(crate) fn round_up(bytes: usize) -> Option<usize> {
    bytes.checked_next_multiple_of(size())
}

/// A number of pages.
///
/// The methods are inlined in unoptimised builds as well, where they would otherwise cost most of the time of a small
/// container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PageCount(usize);

impl PageCount {
    pub(crate) const ZERO: PageCount = PageCount(0);

    #[inline(always)]
    pub(crate) const fn new(pages: usize) -> PageCount {
        PageCount(pages)
    }

    /// Returns the number of pages that fit wholly into `bytes`.
    #[inline(always)]
    pub(crate) fn inside(bytes: usize) -> PageCount {
        PageCount(bytes >> shift())
    }

    /// Returns the number of pages needed to hold `bytes`.
    #[inline(always)]
    pub(crate) fn holding(bytes: usize) -> PageCount {
        // By a shift, because the compiler does not know that the size is a power of two.
        PageCount((bytes >> shift()) + (bytes & (size() - 1) != 0) as usize)
    }

    #[inline(always)]
    pub(crate) const fn get(self) -> usize {
        self.0
    }

    /// Returns the size in bytes. It saturates, so that a count beyond the address space stays beyond it.
    #[inline(always)]
    pub(crate) fn bytes(self) -> usize {
        self.0.saturating_mul(size())
    }

    #[inline(always)]
    pub(crate) const fn saturating_sub(self, other: PageCount) -> PageCount {
        PageCount(self.0.saturating_sub(other.0))
    }

    #[inline(always)]
    pub(crate) const fn min(self, other: PageCount) -> PageCount {
        if self.0 <= other.0 { self } else { other }
    }
}

/// A page of one reservation, counted from its base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PageIndex(usize);

impl PageIndex {
    pub(crate) const fn new(index: usize) -> PageIndex {
        PageIndex(index)
    }

    /// Returns the page that holds byte `offset`.
    pub(crate) fn holding(offset: usize) -> PageIndex {
        PageIndex(offset >> shift())
    }

    pub(crate) const fn get(self) -> usize {
        self.0
    }

    /// Returns the range of this page alone.
    pub(crate) const fn alone(self) -> PageRange {
        PageRange {
            start: self.0,
            end: self.0 + 1,
        }
    }
}

/// Pages `start..end` of one reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageRange {
    // Invariant: start <= end, and end * page size does not overflow.
    start: usize,
    end: usize,
}

impl PageRange {
    pub(crate) const EMPTY: PageRange = PageRange { start: 0, end: 0 };

    /// Returns the pages `start..end`. An inverted range becomes the empty range at `start`.
    ///
    /// Both numbers must come from an existing reservation, so that their bytes are addresses.
    pub(crate) fn new(start: usize, end: usize) -> PageRange {
        PageRange {
            start,
            end: end.max(start),
        }
    }

    /// Returns the pages that `bytes` touches: the start is rounded down, the end rounded up. Returns `None` if the
    /// range is inverted or ends after `len` bytes. An empty range touches no page.
    pub(crate) fn outward(bytes: &Range<usize>, len: usize) -> Option<PageRange> {
        if bytes.start > bytes.end || bytes.end > len {
            return None;
        }
        let start = bytes.start >> shift();
        if bytes.is_empty() {
            return Some(PageRange { start, end: start });
        }
        Some(PageRange {
            start,
            end: round_up(bytes.end)? >> shift(),
        })
    }

    pub(crate) const fn start(self) -> usize {
        self.start
    }

    pub(crate) const fn end(self) -> usize {
        self.end
    }

    pub(crate) const fn count(self) -> PageCount {
        PageCount(self.end - self.start)
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.start == self.end
    }

    pub(crate) const fn contains(self, page: PageIndex) -> bool {
        self.start <= page.0 && page.0 < self.end
    }

    /// Returns whether a page is in both. An empty range has none.
    pub(crate) fn overlaps(self, other: PageRange) -> bool {
        self.start.max(other.start) < self.end.min(other.end)
    }

    /// Returns the range in bytes from the base of the reservation.
    pub(crate) fn bytes(self) -> Range<usize> {
        self.start << shift()..self.end << shift()
    }

    pub(crate) fn byte_len(self) -> usize {
        (self.end - self.start) << shift()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outward_rounds_to_the_pages_touched() {
        let page = size();
        let len = 10 * page;
        let outward = |range| PageRange::outward(&range, len);
        assert_eq!(outward(0..0), Some(PageRange::new(0, 0)));
        assert_eq!(outward(0..1), Some(PageRange::new(0, 1)));
        assert_eq!(outward(page - 1..page + 1), Some(PageRange::new(0, 2)));
        assert_eq!(outward(page..2 * page), Some(PageRange::new(1, 2)));
        assert_eq!(outward(len..len), Some(PageRange::new(10, 10)));
        assert_eq!(outward(len - 1..len), Some(PageRange::new(9, 10)));
    }

    #[test]
    #[expect(
        clippy::reversed_empty_ranges,
        reason = "an inverted range is what is tested"
    )]
    fn outward_refuses_what_is_not_inside() {
        let len = 10 * size();
        assert_eq!(PageRange::outward(&(0..len + 1), len), None);
        assert_eq!(PageRange::outward(&(5..4), len), None);
        assert_eq!(PageRange::outward(&(usize::MAX - 1..usize::MAX), len), None);
        assert_eq!(PageRange::outward(&(usize::MAX..0), len), None);
    }

    #[test]
    fn rounding_up_never_wraps() {
        assert_eq!(round_up(0), Some(0));
        assert_eq!(round_up(1), Some(size()));
        assert_eq!(round_up(usize::MAX), None);
        assert_eq!(
            round_up(usize::MAX - size() + 1),
            Some(usize::MAX - size() + 1)
        );
    }
}

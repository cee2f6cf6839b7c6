//! The set of pages of an array that are known to be committed: one bit a page, read without a lock.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fault::fork_guard;
use crate::page::{self, PageCount, PageIndex, PageRange};

/// The number of bits in a word.
const BITS: usize = u64::BITS as usize;
/// The number of words in a chunk of 64 KiB, for 524,288 pages. A chunk is allocated when the first of its pages is
/// committed.
const CHUNK_WORDS: usize = 8192;

/// A set of pages. It grows through `&self` and shrinks only through `&mut self`.
pub(super) struct Known {
    // The binary logarithm of the page size.
    shift: u32,
    words: usize,
    chunks: Box<[OnceLock<Box<[AtomicU64]>>]>,
}

impl Known {
    /// Returns the empty set, for pages below `total`.
    pub(super) fn new(total: PageCount) -> Known {
        let words = total.get().div_ceil(BITS);
        Known {
            shift: page::size().trailing_zeros(),
            words,
            chunks: (0..words.div_ceil(CHUNK_WORDS))
                .map(|_| OnceLock::new())
                .collect(),
        }
    }

    pub(super) fn contains(&self, page: PageIndex) -> bool {
        self.contains_number(page.get())
    }

    /// Returns whether the set has the page of the byte at `offset`.
    #[inline]
    pub(super) fn contains_byte(&self, offset: usize) -> bool {
        self.contains_number(offset >> self.shift)
    }

    #[inline]
    fn contains_number(&self, page: usize) -> bool {
        self.word(page / BITS) >> (page % BITS) & 1 == 1
    }

    /// Returns the first of `pages` that is not in the set.
    pub(super) fn first_absent(&self, pages: PageRange) -> Option<PageIndex> {
        let absent = parts(pages).find_map(|(index, mask)| {
            let absent = !self.word(index) & mask;
            (absent != 0).then(|| index * BITS + absent.trailing_zeros() as usize)
        });
        absent.map(PageIndex::new)
    }

    /// Adds `pages`, which the caller has seen committed. The commit happens before every access by a thread that finds
    /// them in the set.
    pub(super) fn insert(&self, pages: PageRange) {
        for (index, mask) in parts(pages) {
            // Release: the commit happens before everything that a reader of the bit does next.
            self.chunk(index / CHUNK_WORDS)[index % CHUNK_WORDS].fetch_or(mask, Ordering::Release);
        }
    }

    /// Removes `pages`.
    pub(super) fn remove(&mut self, pages: PageRange) {
        let mut parts = parts(pages).peekable();
        while let Some(&(index, mask)) = parts.peek() {
            let number = index / CHUNK_WORDS;
            match self.chunks[number].get_mut() {
                Some(chunk) => {
                    *chunk[index % CHUNK_WORDS].get_mut() &= !mask;
                    parts.next();
                }
                // No page of this chunk is in the set.
                None => {
                    parts =
                        self::parts(rest_after(pages, (number + 1) * CHUNK_WORDS * BITS)).peekable()
                }
            }
        }
    }

    #[inline]
    fn word(&self, index: usize) -> u64 {
        match self.chunks[index / CHUNK_WORDS].get() {
            // Acquire: pairs with `insert`.
            Some(chunk) => chunk[index % CHUNK_WORDS].load(Ordering::Acquire),
            None => 0,
        }
    }

    /// Returns a chunk, and allocates it if needed.
    fn chunk(&self, number: usize) -> &[AtomicU64] {
        if let Some(chunk) = self.chunks[number].get() {
            return chunk;
        }
        let words = CHUNK_WORDS.min(self.words - number * CHUNK_WORDS);
        let made = (0..words).map(|_| AtomicU64::new(0)).collect();
        // No fork may happen while the `OnceLock` is locked.
        let _inside = fork_guard::enter();
        self.chunks[number].get_or_init(|| made)
    }
}

/// Returns the part of `pages` from page `start` on.
fn rest_after(pages: PageRange, start: usize) -> PageRange {
    PageRange::new(start.min(pages.end()), pages.end())
}

/// Returns the words with the bits of `pages`, each with a mask of these bits.
fn parts(pages: PageRange) -> impl Iterator<Item = (usize, u64)> {
    let mut next = pages.start();
    std::iter::from_fn(move || {
        if next == pages.end() {
            return None;
        }
        let end = pages.end().min((next / BITS + 1) * BITS);
        let part = (
            next / BITS,
            (u64::MAX >> (BITS - (end - next))) << (next % BITS),
        );
        next = end;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn behaves_like_a_vector_of_bools(
            large: bool,
            steps in prop::collection::vec((0usize..400, 0usize..200, any::<bool>()), 1..40),
        ) {
            // For a large set, the model looks at the boundary between two chunks.
            let (total, base) = if large { (CHUNK_WORDS * BITS + 300, CHUNK_WORDS * BITS - 200) } else { (500, 0) };
            let mut known = Known::new(PageCount::new(total));
            let mut model = vec![false; 500];
            for (start, len, insert) in steps {
                let end = (start + len).min(500);
                let pages = PageRange::new(base + start, base + end);
                prop_assert_eq!(
                    known.first_absent(pages).map(PageIndex::get),
                    (start..end).find(|&page| !model[page]).map(|page| base + page)
                );
                if insert { known.insert(pages) } else { known.remove(pages) }
                model[start..end].fill(insert);
                for (page, &expected) in model.iter().enumerate() {
                    prop_assert_eq!(known.contains(PageIndex::new(base + page)), expected);
                }
            }
        }
    }

    #[test]
    fn a_vast_set_costs_nothing_until_used() {
        let pages = 1 << 35;
        let mut known = Known::new(PageCount::new(pages));
        known.remove(PageRange::new(0, pages));
        assert_eq!(
            known.first_absent(PageRange::new(7, pages)),
            Some(PageIndex::new(7))
        );
        known.insert(PageIndex::new(pages - 1).alone());
        assert!(
            known.contains(PageIndex::new(pages - 1))
                && known.contains_byte(pages * page::size() - 1)
        );
        assert!(!known.contains_byte((pages - 1) * page::size() - 1));
        assert_eq!(
            known
                .chunks
                .iter()
                .filter(|chunk| chunk.get().is_some())
                .count(),
            1
        );
    }
}

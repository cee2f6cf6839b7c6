//! The set of committed pages of a region, one bit a page.

use std::ops::Range;
use std::ptr::NonNull;

use super::growth::Layout;
use crate::mapping::Mapping;
use crate::page::{self, PageCount, PageIndex, PageRange};
use crate::plain::OsCode;

/// The number of bits in a word.
const BITS: usize = u64::BITS as usize;
/// The largest table on the heap, in words: 32,768 pages, which is 128 MiB of 4 KiB pages.
const HEAP_WORDS: usize = 512;
/// The number of words in a chunk of 64 KiB, for 524,288 pages. A larger table lies in the region's own mapping, behind
/// the guard page, and is committed in chunks.
const CHUNK_WORDS: usize = 8192;

/// The committed pages of a region.
pub(super) struct PageMap {
    total: PageCount,
    words: Words,
}

enum Words {
    Heap(Box<[u64]>),
    Mapped {
        // Invariant: the first of `chunks.len() * CHUNK_WORDS` words of the mapping that owns this map, used by nothing
        // else. If `chunks[i].is_present()`, chunk i is committed, readable and writable.
        first: NonNull<u64>,
        // The page of the mapping that contains `first`.
        first_page: usize,
        chunks: Box<[Chunk]>,
    },
}

/// A part of a table in the mapping: whether it is present, and how many of its bits are set (none if it is absent).
/// Packed into one small number, because a huge region has very many.
#[derive(Clone, Copy)]
struct Chunk(u32);

impl Chunk {
    const ABSENT: Chunk = Chunk(0);
    const PRESENT: u32 = 1 << 31;

    fn is_present(self) -> bool {
        self.0 & Chunk::PRESENT != 0
    }

    fn set_present(&mut self, present: bool) {
        self.0 = self.committed() | if present { Chunk::PRESENT } else { 0 };
    }

    fn committed(self) -> u32 {
        self.0 & !Chunk::PRESENT
    }
}

// All the bits of a chunk can be counted.
const _: () = assert!(CHUNK_WORDS * BITS < Chunk::PRESENT as usize);

// SAFETY: the pointer is to memory that only this map uses and that is not bound to a thread.
#[allow(unsafe_code, reason = "the invariant of `first`")]
unsafe impl Send for Words {}

/// Returns the number of pages that the table of a region of `total` pages takes in its mapping; 0 for a table on the
/// heap.
pub(super) fn table_pages(total: PageCount) -> PageCount {
    let words = total.get().div_ceil(BITS);
    if words <= HEAP_WORDS {
        return PageCount::ZERO;
    }
    let chunks = words.div_ceil(CHUNK_WORDS);
    PageCount::new(chunks * (chunk_bytes() / page::size()))
}

/// Returns 64 KiB, which is a whole number of pages on every system.
fn chunk_bytes() -> usize {
    CHUNK_WORDS * size_of::<u64>()
}

impl PageMap {
    /// Returns a map of `total` reserved pages. A table that is not on the heap starts at `first_page` of the mapping
    /// and takes [`table_pages`] of it.
    ///
    /// The mapping must be the one passed to [`prepare`](PageMap::prepare), and must outlive the map.
    pub(super) fn new(total: PageCount, mapping: &Mapping, first_page: usize) -> PageMap {
        let words = total.get().div_ceil(BITS);
        if words <= HEAP_WORDS {
            return PageMap {
                total,
                words: Words::Heap(vec![0; words].into()),
            };
        }
        let offset = PageRange::new(0, first_page).byte_len();
        debug_assert!(offset + table_pages(total).bytes() <= mapping.len());
        // SAFETY: the offset is inside the mapping, so the address neither wraps nor is null.
        #[allow(unsafe_code, reason = "points at the table's own pages")]
        let first = unsafe { mapping.base().add(offset) }.cast();
        let chunks = vec![Chunk::ABSENT; words.div_ceil(CHUNK_WORDS)].into();
        PageMap {
            total,
            words: Words::Mapped {
                first,
                first_page,
                chunks,
            },
        }
    }

    /// Makes the bits of `pages` writable, which [`set`](PageMap::set) requires. Allocates nothing on the heap.
    pub(super) fn prepare(&mut self, mapping: &Mapping, pages: PageRange) -> Result<(), OsCode> {
        let Words::Mapped {
            first_page, chunks, ..
        } = &mut self.words
        else {
            return Ok(());
        };
        for index in chunks_of(pages) {
            if !chunks[index].is_present() {
                mapping.commit_bookkeeping(chunk_pages(*first_page, index))?;
                chunks[index].set_present(true);
            }
        }
        Ok(())
    }

    /// Gives back the chunks of the table for `pages` in which no page is committed.
    pub(super) fn trim(&mut self, mapping: &Mapping, pages: PageRange) {
        let Words::Mapped {
            first_page, chunks, ..
        } = &mut self.words
        else {
            return;
        };
        for index in chunks_of(pages) {
            if chunks[index].is_present() && chunks[index].committed() == 0 {
                // SAFETY: these pages of the mapping belong to the table, and no reference into them outlives a method
                // of this map.
                #[allow(unsafe_code, reason = "decommits the table's own pages")]
                let decommitted = unsafe { mapping.decommit(chunk_pages(*first_page, index)) };
                // If the system refuses, the chunk stays present and all zero.
                chunks[index].set_present(decommitted.is_err());
            }
        }
    }

    /// Returns 64 bits; zero if the chunk is absent.
    fn word(&self, index: usize) -> u64 {
        match &self.words {
            Words::Heap(words) => words[index],
            Words::Mapped { first, chunks, .. } if chunks[index / CHUNK_WORDS].is_present() => {
                let word = first.as_ptr().wrapping_add(index);
                // SAFETY: the word is in a chunk that is present (invariant of `first`).
                #[allow(unsafe_code, reason = "reads the table's own words")]
                unsafe {
                    word.read()
                }
            }
            Words::Mapped { .. } => 0,
        }
    }

    /// Sets or clears the bits of `mask` in a word.
    fn write(&mut self, index: usize, mask: u64, committed: bool) {
        let before = self.word(index);
        let after = if committed {
            before | mask
        } else {
            before & !mask
        };
        if before == after {
            // Not written: the chunk may be absent, or not resident.
            return;
        }
        match &mut self.words {
            Words::Heap(words) => words[index] = after,
            Words::Mapped { first, chunks, .. } => {
                let chunk = &mut chunks[index / CHUNK_WORDS];
                assert!(chunk.is_present(), "set without prepare"); // PANIC: `set` is only called after `prepare`.
                chunk.0 = chunk.0 + after.count_ones() - before.count_ones();
                let word = first.as_ptr().wrapping_add(index);
                // SAFETY: the word is in a chunk that is present (invariant of `first`), and `self` is borrowed
                // exclusively.
                #[allow(unsafe_code, reason = "writes the table's own words")]
                unsafe {
                    word.write(after)
                }
            }
        }
    }

    /// Returns the pages of the chunk with the bit of `page`, if none of them is committed.
    fn empty_chunk(&self, page: usize) -> Option<PageRange> {
        let Words::Mapped { chunks, .. } = &self.words else {
            return None;
        };
        let index = page / BITS / CHUNK_WORDS;
        let start = index * CHUNK_WORDS * BITS;
        (chunks[index].committed() == 0).then(|| PageRange::new(start, start + CHUNK_WORDS * BITS))
    }

    pub(super) fn all(&self) -> PageRange {
        PageRange::new(0, self.total.get())
    }

    pub(super) fn is_committed(&self, page: PageIndex) -> bool {
        self.word(page.get() / BITS) >> (page.get() % BITS) & 1 == 1
    }

    /// Returns the runs of equal pages in `pages`, in order, each with whether it is committed.
    pub(super) fn runs(&self, pages: PageRange) -> impl Iterator<Item = (PageRange, bool)> {
        let mut next = pages.start();
        std::iter::from_fn(move || {
            if next == pages.end() {
                return None;
            }
            let committed = self.is_committed(PageIndex::new(next));
            let end = self.run_end(next, pages.end(), committed);
            let run = PageRange::new(next, end);
            next = end;
            Some((run, committed))
        })
    }

    /// Returns the end of the run of pages like `start`, at most `end`.
    fn run_end(&self, start: usize, end: usize, committed: bool) -> usize {
        let flip = if committed { u64::MAX } else { 0 };
        let mut next = start;
        while next < end {
            if let Some(chunk) = self.empty_chunk(next) {
                if committed {
                    return next;
                }
                next = chunk.end();
                continue;
            }
            let unlike = (self.word(next / BITS) ^ flip) >> (next % BITS);
            if unlike != 0 {
                return end.min(next + unlike.trailing_zeros() as usize);
            }
            next = (next / BITS + 1) * BITS;
        }
        end
    }

    /// Returns the run of reserved pages around `page`, which is reserved, within `window`, which contains it.
    pub(super) fn reserved_run(&self, page: PageIndex, window: PageRange) -> PageRange {
        let end = self.run_end(page.get(), window.end(), false);
        let mut start = page.get();
        while start > window.start() {
            let last = start - 1;
            if let Some(chunk) = self.empty_chunk(last) {
                start = chunk.start();
                continue;
            }
            // Moves the bit of the page before `start` to the highest bit.
            let before = self.word(last / BITS) << (BITS - 1 - last % BITS);
            if before != 0 {
                start -= before.leading_zeros() as usize;
                break;
            }
            start = last / BITS * BITS;
        }
        PageRange::new(start.max(window.start()), end)
    }

    /// Returns `run` and the reserved pages around it in the same page tables, for tables in which everything else is
    /// reserved.
    pub(super) fn whole_tables(&self, run: PageRange, layout: Layout) -> PageRange {
        let before = (layout.first + run.start()) % layout.huge.get();
        let start = run.start().saturating_sub(before);
        let after = (layout.first + run.end()).wrapping_neg() % layout.huge.get();
        let end = (run.end() + after).min(self.total.get());
        let is_reserved = |start, end| self.run_end(start, end, false) == end;
        PageRange::new(
            if is_reserved(start, run.start()) {
                start
            } else {
                run.start()
            },
            if is_reserved(run.end(), end) {
                end
            } else {
                run.end()
            },
        )
    }

    /// Returns the number of page tables of the lowest level with committed pages.
    pub(super) fn tables(&self, layout: Layout) -> usize {
        let mut tables = 0;
        // The first table that is not counted yet.
        let mut next = 0;
        for (run, _) in self.runs(self.all()).filter(|&(_, committed)| committed) {
            let first = (layout.first + run.start()) / layout.huge.get();
            let end = (layout.first + run.end()).div_ceil(layout.huge.get());
            tables += end - first.max(next);
            next = end;
        }
        tables
    }

    /// Returns how many of `pages` are committed.
    pub(super) fn count_committed(&self, pages: PageRange) -> PageCount {
        let committed = self.runs(pages).filter(|&(_, committed)| committed);
        PageCount::new(committed.map(|(run, _)| run.count().get()).sum())
    }

    /// Marks all of `pages`. Marking them committed requires [prepared](PageMap::prepare) bits.
    pub(super) fn set(&mut self, pages: PageRange, committed: bool) {
        let mut next = pages.start();
        while next < pages.end() {
            match self.empty_chunk(next) {
                Some(chunk) if !committed => next = chunk.end(),
                _ => {
                    let end = pages.end().min((next / BITS + 1) * BITS);
                    let mask = (u64::MAX >> (BITS - (end - next))) << (next % BITS);
                    self.write(next / BITS, mask, committed);
                    next = end;
                }
            }
        }
    }
}

/// Returns the chunks with the bits of `pages`.
fn chunks_of(pages: PageRange) -> Range<usize> {
    let pages_per_chunk = CHUNK_WORDS * BITS;
    if pages.is_empty() {
        0..0
    } else {
        pages.start() / pages_per_chunk..pages.end().div_ceil(pages_per_chunk)
    }
}

/// Returns the pages of the mapping that a chunk lies in, if the table starts at `first_page`.
fn chunk_pages(first_page: usize, index: usize) -> PageRange {
    let pages = chunk_bytes() / page::size();
    PageRange::new(first_page + index * pages, first_page + (index + 1) * pages)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::os;
    use crate::plain::Placement;

    /// Returns a map and its mapping. Large maps keep their table in it.
    fn map(total: usize) -> (PageMap, Mapping) {
        let total = PageCount::new(total);
        let len = (table_pages(total).get() + 1) * page::size();
        let mapping =
            Mapping::reserve(len, os::granularity(), Placement::Anywhere, Box::default()).unwrap();
        (PageMap::new(total, &mapping, 1), mapping)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn behaves_like_a_vector_of_bools(
            // Either a table on the heap, or a mapped one with two chunks, where the model looks at their boundary.
            large: bool,
            steps in prop::collection::vec((0usize..400, 0usize..200, any::<bool>()), 1..40),
            window in (0usize..400, 0usize..200),
            first in 0usize..64,
        ) {
            let (total, base) = if large { (CHUNK_WORDS * BITS + 300, CHUNK_WORDS * BITS - 200) } else { (600, 0) };
            let (mut map, mapping) = map(total);
            let size = 500;
            let mut model = vec![false; size];
            for (start, len, committed) in steps {
                let (start, end) = (start, (start + len).min(size));
                let pages = PageRange::new(base + start, base + end);
                if committed {
                    map.prepare(&mapping, pages).unwrap();
                }
                map.set(pages, committed);
                map.trim(&mapping, pages);
                model[start..end].fill(committed);

                let whole = PageRange::new(base, base + size);
                let mut seen = Vec::new();
                let mut last = None;
                for (run, committed) in map.runs(whole) {
                    prop_assert_ne!(last, Some(committed), "neighbouring runs differ");
                    last = Some(committed);
                    seen.resize(seen.len() + run.count().get(), committed);
                }
                prop_assert_eq!(&seen, &model);
                prop_assert_eq!(map.count_committed(map.all()).get(), model.iter().filter(|&&bit| bit).count());
                for (page, &committed) in model.iter().enumerate() {
                    prop_assert_eq!(map.is_committed(PageIndex::new(base + page)), committed);
                }

                let layout = Layout { total: PageCount::new(total), huge: PageCount::new(64), first };
                let table_of = |page: usize| (first + base + page) / 64;
                let committed = (0..size).filter(|&page| model[page]);
                let mut tables: Vec<usize> = committed.map(table_of).collect();
                tables.dedup();
                prop_assert_eq!(map.tables(layout), tables.len());

                // Only pages in tables that the model contains whole.
                let cut = PageRange::new(base + start.max(64), base + end.clamp(start.max(64), size - 64));
                let whole = map.whole_tables(cut, layout);
                let before = (base..cut.start())
                    .rev()
                    .take_while(|page| table_of(page - base) == table_of(cut.start() - base));
                let first_in_table = before.last().unwrap_or(cut.start());
                let is_free = (first_in_table..cut.start()).all(|page| !model[page - base]);
                prop_assert_eq!(whole.start(), if is_free { first_in_table } else { cut.start() });
                let after = (cut.end()..base + size)
                    .take_while(|page| table_of(page - base) == table_of(cut.end() - 1 - base));
                let end_of_table = after.last().map_or(cut.end(), |last| last + 1);
                let is_free = (cut.end()..end_of_table).all(|page| !model[page - base]);
                prop_assert_eq!(whole.end(), if is_free { end_of_table } else { cut.end() });

                let (from, until) = (window.0, (window.0 + window.1).min(size));
                if let Some(page) = (from..until).find(|&page| !model[page]) {
                    let run = map.reserved_run(PageIndex::new(base + page), PageRange::new(base + from, base + until));
                    let first = (from..page).rev().take_while(|&page| !model[page]).last().unwrap_or(page);
                    let end = (page..until).find(|&page| model[page]).unwrap_or(until);
                    prop_assert_eq!(run, PageRange::new(base + first, base + end));
                }
            }
        }
    }

    #[test]
    fn a_vast_map_costs_nothing_until_used() {
        let pages = (16usize << 40) / page::size();
        let (mut map, mapping) = map(pages);
        assert_eq!(
            map.runs(map.all()).collect::<Vec<_>>(),
            [(PageRange::new(0, pages), false)]
        );
        let last = PageIndex::new(pages - 1).alone();
        map.prepare(&mapping, last).unwrap();
        map.set(last, true);
        assert_eq!(map.count_committed(map.all()), PageCount::new(1));
        assert_eq!(
            map.reserved_run(PageIndex::new(5), map.all()),
            PageRange::new(0, pages - 1)
        );
        map.set(map.all(), false);
        map.trim(&mapping, map.all());
        assert_eq!(map.runs(map.all()).count(), 1);
        let Words::Mapped { chunks, .. } = &map.words else {
            panic!("a large table is mapped")
        };
        assert!(
            chunks.iter().all(|chunk| !chunk.is_present()),
            "what is not needed is given back"
        );
    }
}

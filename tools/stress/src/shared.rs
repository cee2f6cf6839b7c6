//! Regions that all threads use at once. Only their invariants are known.
//!
//! Every word of eight bytes belongs to one thread, and only that thread writes it. The value encodes the thread and
//! the word. Every thread may decommit every page, so a word is the owner's last value or zero. In the first region
//! only the owner of a page decommits it, so there the owner knows which of the two the word is.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use elbowroom::{Budget, Growth, PageState, Region, Verdict, page_size};

use crate::finding::{Checked, check};
use crate::rng::Rng;

const PAGES: usize = 40;
/// The filter of the third region declines one of this number of pages.
const DECLINES_EACH: usize = 7;
const WORD: usize = 8;

/// The last values that a thread wrote to its words.
pub(crate) type Words = HashMap<(usize, usize), u64>;

/// The shared regions of one round.
pub(crate) struct Shared {
    threads: usize,
    regions: Vec<Region>,
    crowd: Budget,
    // Whether this is a forked child, which has no filter threads.
    is_orphaned: AtomicBool,
}

/// The indices of the regions in the list.
const STEADY: usize = 0;
const FILTERED: usize = 2;

impl Shared {
    /// Makes the shared regions. Their budget is a part of `root` that they can use up.
    pub(crate) fn make(root: &Budget, threads: usize, rng: &mut Rng) -> Checked<Shared> {
        let size = page_size();
        let crowd = Budget::builder(rng.within(PAGES / 2..3 * PAGES) * size)
            .name("crowd")
            .child_of(root)
            .build();
        let builder = || Region::builder(PAGES * size);
        let decide = |page: usize| match page % DECLINES_EACH {
            6 => Verdict::Decline,
            _ => Verdict::Commit,
        };
        let inner = builder().budget(&crowd).growth(Growth::Pages(1)).build();
        let inner = inner.map_err(|error| format!("a shared region: {error}"))?;
        let builders = [
            builder().growth(if rng.one_in(2) {
                Growth::default()
            } else {
                Growth::Pages(1 + rng.below(4))
            }),
            builder()
                .commit_limit((1 + rng.below(PAGES)) * size)
                .growth(Growth::Pages(3))
                .budget(&crowd),
            builder().growth(Growth::Pages(1)).filter(move |fault| {
                let verdict = decide(fault.offset() / page_size());
                if verdict == Verdict::Commit && (fault.offset() / page_size()).is_multiple_of(2) {
                    let _ = fault.commit();
                }
                verdict
            }),
            builder()
                .budget(&crowd)
                .growth(Growth::Pages(5))
                .filter(|_| Verdict::Commit)
                .filter_threads(2),
            builder().growth(Growth::Pages(2)).filter(move |fault| {
                // A nested fault in a shared region; a refusal by the budget is expected.
                let _ = inner.try_write(fault.offset() % inner.len(), 1u8);
                Verdict::Commit
            }),
        ];
        let regions: Result<Vec<Region>, _> = builders
            .into_iter()
            .map(elbowroom::RegionBuilder::build)
            .collect();
        let regions = regions.map_err(|error| format!("a shared region: {error}"))?;
        Ok(Shared {
            threads,
            regions,
            crowd,
            is_orphaned: AtomicBool::new(false),
        })
    }

    /// Marks the regions as those of a forked child, which has no filter threads.
    pub(crate) fn orphan(&self) {
        self.is_orphaned.store(true, Ordering::Relaxed);
    }

    /// Returns the thread that owns a word. In the steady region, whole pages belong to one thread.
    fn owner(&self, which: usize, word: usize) -> usize {
        if which == STEADY {
            word * WORD / page_size() % self.threads
        } else {
            word % self.threads
        }
    }

    /// Returns a random word that belongs to the thread.
    fn own_word(&self, which: usize, thread: usize, rng: &mut Rng) -> usize {
        let words_per_page = page_size() / WORD;
        let page = rng.below(PAGES);
        if which == STEADY {
            let pages = (PAGES - 1 - thread) / self.threads + 1;
            return (page % pages * self.threads + thread) * words_per_page
                + rng.below(words_per_page);
        }
        let word = page * words_per_page + rng.below(words_per_page);
        // The next word of this thread, or the last one.
        let ours = word - word % self.threads + thread;
        if ours < PAGES * words_per_page {
            ours
        } else {
            ours - self.threads
        }
    }

    /// Writes or reads a word that belongs to the thread. Returns whether it was refused.
    pub(crate) fn touch(
        &self,
        thread: usize,
        write: bool,
        rng: &mut Rng,
        words: &mut Words,
    ) -> Checked<bool> {
        let which = rng.below(self.regions.len());
        let word = self.own_word(which, thread, rng);
        let region = &self.regions[which];
        let offset = word * WORD;
        let known = words.get(&(which, word)).copied().unwrap_or(0);
        if write {
            let value =
                (thread as u64 + 1) << 56 | (word as u64) << 32 | u64::from(rng.next() as u32);
            match region.try_write(offset, value) {
                Ok(()) => drop(words.insert((which, word), value)),
                Err(error) => return self.refused(which, offset / page_size(), &error),
            }
        }
        let seen = match region.try_read::<u64>(offset) {
            Ok(seen) => seen,
            Err(error) => return self.refused(which, offset / page_size(), &error),
        };
        let known = if write {
            words.get(&(which, word)).copied().unwrap_or(0)
        } else {
            known
        };
        let is_right = seen == known || (which != STEADY && seen == 0);
        check!(
            is_right,
            "word {word} of shared region {which} is {seen:#x}, should be {known:#x} or decommitted"
        );
        Ok(false)
    }

    /// Reads words of all threads, and checks that they are whole and in the right place.
    pub(crate) fn read(&self, rng: &mut Rng) -> Checked<bool> {
        let which = rng.below(self.regions.len());
        let words = page_size() / WORD;
        let first = rng.below(PAGES * words - 20);
        for word in first..first + 20 {
            match self.regions[which].try_read::<u64>(word * WORD) {
                Ok(0) => {}
                Ok(seen) => {
                    let mark = (self.owner(which, word) as u64 + 1) << 24 | word as u64;
                    check!(
                        seen >> 32 == mark,
                        "word {word} of shared region {which} is {seen:#x}, which no thread wrote"
                    );
                }
                Err(error) => return self.refused(which, word * WORD / page_size(), &error),
            }
        }
        Ok(false)
    }

    fn range(&self, rng: &mut Rng) -> Range<usize> {
        let start = rng.below(PAGES * page_size());
        start..(start + rng.below(6 * page_size())).min(PAGES * page_size())
    }

    pub(crate) fn commit(&self, rng: &mut Rng) -> Checked<bool> {
        let which = rng.below(self.regions.len());
        match self.regions[which].commit(self.range(rng)) {
            Ok(()) => Ok(false),
            Err(error) if error.is_limit() => Ok(true),
            Err(error) => Err(format!("commit of shared region {which}: {error}")),
        }
    }

    pub(crate) fn decommit(
        &self,
        thread: usize,
        rng: &mut Rng,
        words: &mut Words,
    ) -> Checked<bool> {
        let which = rng.below(self.regions.len());
        let mut range = self.range(rng);
        if which == STEADY {
            let page = self.own_word(which, thread, rng) * WORD / page_size();
            range = page * page_size()..(page + 1) * page_size();
        }
        self.regions[which]
            .decommit(range.clone())
            .map_err(|error| format!("decommit: {error}"))?;
        let (first, last) = (range.start / page_size(), range.end.div_ceil(page_size()));
        let is_gone =
            |word: usize| (first..last).contains(&(word * WORD / page_size())) && !range.is_empty();
        if which == STEADY {
            words.retain(|&(region, word), _| region != STEADY || !is_gone(word));
        }
        Ok(false)
    }

    /// Checks that the limits hold at this moment, while other threads work.
    pub(crate) fn look(&self) -> Checked<bool> {
        for (which, region) in self.regions.iter().enumerate() {
            let stats = region.stats();
            check!(
                stats.committed_bytes <= stats.commit_limit_bytes,
                "shared region {which}: {stats:?}"
            );
            let spans = region.spans();
            let committed: usize = committed(&spans).map(|range| range.len()).sum();
            check!(
                committed <= stats.commit_limit_bytes,
                "shared region {which}: {committed} of {stats:?}"
            );
            check!(
                spans
                    .last()
                    .is_some_and(|span| span.range.end == region.len()),
                "{spans:?}"
            );
        }
        let (committed, limit) = (self.crowd.committed_bytes(), self.crowd.limit_bytes());
        check!(
            committed <= limit,
            "the crowd has committed {committed} of {limit}"
        );
        check!(
            self.crowd.peak_bytes() <= limit,
            "the crowd once had committed {}",
            self.crowd.peak_bytes()
        );
        Ok(false)
    }

    fn refused(&self, which: usize, page: usize, error: &elbowroom::Error) -> Checked<bool> {
        let declines = which == FILTERED && page % DECLINES_EACH == DECLINES_EACH - 1;
        let is_expected = error.is_limit() || (error.is_declined() && declines);
        let is_orphaned =
            self.is_orphaned.load(Ordering::Relaxed) && error.to_string().contains("filter thread");
        check!(
            is_expected || is_orphaned,
            "page {page} of shared region {which} was refused: {error}"
        );
        Ok(true)
    }

    /// Checks, while no thread uses the regions, that all figures agree. Releases the regions, checks that nothing
    /// stays charged, and returns the number of their faults.
    pub(crate) fn end(self) -> Checked<u64> {
        let mut faults = 0;
        for (which, region) in self.regions.into_iter().enumerate() {
            let stats = region.stats();
            let spans = region.spans();
            let committed: usize = committed(&spans).map(|range| range.len()).sum();
            check!(
                committed == stats.committed_bytes,
                "shared region {which}: {committed} bytes by its spans, {stats:?}"
            );
            faults += stats.faults;
            region
                .release()
                .map_err(|error| format!("release of shared region {which}: {error}"))?;
        }
        // The regions of the filters were released with them.
        check!(
            self.crowd.committed_bytes() == 0,
            "the crowd's regions are gone: {:?}",
            self.crowd
        );
        Ok(faults)
    }
}

fn committed(spans: &[elbowroom::Span]) -> impl Iterator<Item = &Range<usize>> {
    spans
        .iter()
        .filter(|span| span.state == PageState::Committed)
        .map(|span| &span.range)
}

//! Sorting more than memory holds: sorted runs, and merges of them. Elements are read and written around the pages of
//! the target, so the memory for it is all that a sort takes.

use std::cmp::Ordering;
use std::fmt;

use bytemuck::{AnyBitPattern, NoUninit};
use elbowroom::Budget;

use super::PagedArray;
use crate::error::{Cause, Error, Operation};

mod merge;
mod pass;
mod plan;
mod runs;
mod work;

use plan::Plan;
use work::{Observer, Work};

/// A sort of more elements than memory holds: what it may use. Sorts from one array to another, with a third as scratch
/// space.
///
/// Runs of elements that fit in memory are sorted and written, and then merged, all that fit at once. With little
/// memory this takes several passes.
///
/// ```
/// use elbowroom_pager::{MemoryStore, PagedArray, Sort};
///
/// let numbers: Vec<u64> = (0..100_000).rev().collect();
/// let bytes = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
/// let source = PagedArray::<u64>::options().open_store(MemoryStore::new(bytes))?;
///
/// let sort = Sort::new(64 << 10).threads(2);
/// let new = |len| PagedArray::<u64>::options().writable(true).len(len).open("memory://");
/// let mut target = new(source.len())?;
/// let mut scratch = new(sort.scratch_len::<u64>(source.len()))?;
/// sort.run(&source, &mut target, &mut scratch, |a, b| a.cmp(b))?;
/// assert_eq!(target.slice(..3)?[..], [0, 1, 2]);
/// # Ok::<(), elbowroom_pager::Error>(())
/// ```
#[must_use = "nothing is sorted until `run` is called"]
pub struct Sort<'a> {
    memory_bytes: usize,
    threads: usize,
    budget: Option<Budget>,
    observe: Option<Observer<'a>>,
}

impl<'a> Sort<'a> {
    /// Returns a sort with this much memory for elements. It also uses pages of the source, within its limit.
    pub fn new(memory_bytes: usize) -> Sort<'a> {
        Sort {
            memory_bytes,
            threads: 1,
            budget: None,
            observe: None,
        }
    }

    /// Sets how many threads sort runs, and then merge them, each in its part of the memory. The default is 1. Fewer
    /// merge if the memory is too little for as many.
    pub fn threads(mut self, count: usize) -> Sort<'a> {
        self.threads = count.max(1);
        self
    }

    /// Charges the memory to a budget.
    pub fn budget(mut self, budget: &Budget) -> Sort<'a> {
        self.budget = Some(budget.clone());
        self
    }

    /// Calls a function now and then, with the work that is done and all there is, counted in elements that were
    /// written. If it returns `false`, the sort ends with an error of the kind
    /// [`Interrupted`](std::io::ErrorKind::Interrupted).
    pub fn observe(mut self, observe: impl FnMut(usize, usize) -> bool + Send + 'a) -> Sort<'a> {
        self.observe = Some(Box::new(observe));
        self
    }

    /// Returns how many elements of scratch space a sort of `len` elements takes: none if they fit in the memory, and
    /// else as many.
    pub fn scratch_len<T>(&self, len: usize) -> usize {
        match self.memory_bytes.checked_div(size_of::<T>()) {
            Some(memory) if len > memory => len,
            _ => 0,
        }
    }

    /// Writes the elements of `source` to `target`, in order. `compare` is a total order; equal elements may change
    /// places. Floating-point numbers have one, `total_cmp`, which puts NaN last, or first if its sign is negative.
    ///
    /// The arrays must be over different stores. `target` has the length of the source, and `scratch` at least
    /// [`scratch_len`](Sort::scratch_len). What was in them is gone. What is written is not durable until
    /// [`flush`](PagedArray::flush).
    ///
    /// # Errors
    /// `is_invalid()` if a length is wrong, or the memory holds less than three elements; `is_read_only()`;
    /// `is_limit()` if the budget has no room; `is_pinned()` if a guard of the target or of the scratch was leaked;
    /// otherwise the failure of a store. The contents of the target are unspecified then.
    pub fn run<T>(
        self,
        source: &PagedArray<T>,
        target: &mut PagedArray<T>,
        scratch: &mut PagedArray<T>,
        compare: impl Fn(&T, &T) -> Ordering + Sync,
    ) -> Result<(), Error>
    where
        T: AnyBitPattern + NoUninit + Send + Sync,
    {
        let refuse = |cause| Error::new(Operation::Sort, source.location(), 0..0, cause);
        let invalid = |reason: String| Err(refuse(Cause::Invalid(reason)));
        let len = source.len();
        let Some(plan) = Plan::new(
            self.memory_bytes / size_of::<T>(),
            size_of::<T>(),
            self.threads,
            len,
        ) else {
            return invalid(format!(
                "the memory for it, {} bytes, holds less than three elements",
                self.memory_bytes
            ));
        };
        let scratch_len = self.scratch_len::<T>(len);
        if target.len() != len || scratch.len() < scratch_len {
            return invalid(format!(
                "its {len} elements take a target of as many and a scratch of {scratch_len}, and these have {} and {}",
                target.len(),
                scratch.len()
            ));
        }
        target.forget_pages()?;
        scratch.forget_pages()?;
        let elements = plan.memory.min(len);
        let _charge = match &self.budget {
            None => None,
            Some(budget) => {
                let charge = budget.charge(elements * size_of::<T>());
                Some(charge.map_err(|refusal| refuse(Cause::NoRoom(refusal)))?)
            }
        };
        let mut memory = Vec::new();
        if memory.try_reserve_exact(elements).is_err() {
            return Err(refuse(Cause::Io(std::io::ErrorKind::OutOfMemory.into())));
        }
        memory.resize(elements, T::zeroed());
        let all = len.saturating_mul(1 + plan.passes as usize);
        let work = Work::new(source.location(), all, self.observe);
        // The last pass writes the target, each pass before it the other array.
        let (mut to, mut from) = (&target.fetch.pool.source, &scratch.fetch.pool.source);
        if plan.passes % 2 == 1 {
            (to, from) = (from, to);
        }
        runs::write(
            source,
            to,
            &mut memory,
            &plan,
            self.threads,
            &compare,
            &work,
        )?;
        let mut run = plan.run;
        for _ in 0..plan.passes {
            (to, from) = (from, to);
            let group = run.saturating_mul(plan.fan_in);
            for start in (0..len).step_by(group) {
                let end = len.min(start.saturating_add(group));
                let (stores, range) = ((from, to), start..end);
                let threads = self.threads;
                pass::merge_runs(stores, range, run, &mut memory, threads, &compare, &work)?;
            }
            run = group;
        }
        Ok(())
    }
}

impl fmt::Debug for Sort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sort")
            .field("memory_bytes", &self.memory_bytes)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

impl<T: AnyBitPattern + NoUninit> PagedArray<T> {
    /// Makes all pages absent, with what was written to them, so that the store is written around them.
    fn forget_pages(&mut self) -> Result<(), Error> {
        self.check_writable()?;
        let pool = &self.fetch.pool;
        self.fetch.queue.settle();
        let closed = pool.close();
        let pages = 0..pool.frames.pages();
        if pages.clone().any(|page| pool.table.look(page).is_pinned()) {
            return Err(pool.source.error(Operation::Sort, 0..0, Cause::Pinned));
        }
        pool.discard(pages, &closed);
        Ok(())
    }
}

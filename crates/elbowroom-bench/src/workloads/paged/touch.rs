//! First touches of the pages of one plain slice, whose contents are in memory, so that nothing waits for a disk.

#![allow(unsafe_code, reason = "opens a plain slice")]

use elbowroom::{Size, page_size};
use elbowroom_measure::shuffled;
use elbowroom_pager::{MemoryStore, PagedArray};

use super::super::OURS;
use super::data;
use crate::os::BareUserfault;
use crate::plan::{Comparison, Contender, Scale};
use crate::sample::timed;

const BARE: &str = "a bare userfaultfd";

pub(super) fn comparisons(scale: Scale) -> Vec<Comparison> {
    [
        ("paged-touch-4k", 4 << 10, 32 << 20, false),
        ("paged-touch-4k-random", 4 << 10, 32 << 20, true),
        ("paged-touch-64k", 64 << 10, 128 << 20, false),
        ("paged-touch-64k-random", 64 << 10, 128 << 20, true),
    ]
    .map(|(name, block, len, is_random)| {
        let block: usize = block;
        let case = Case {
            block: block.max(page_size()),
            len: scale.of(len, 1 << 20),
            is_random,
        };
        comparison(name, case)
    })
    .into()
}

#[derive(Clone, Copy)]
struct Case {
    block: usize,
    len: usize,
    is_random: bool,
}

impl Case {
    fn blocks(self) -> usize {
        self.len / self.block
    }

    /// Returns the first number of each block, in the order of the touches.
    fn order(self) -> Vec<usize> {
        let blocks = if self.is_random {
            shuffled(self.blocks())
        } else {
            (0..self.blocks()).collect()
        };
        let first = |block| block * self.block / 8;
        blocks.into_iter().map(first).collect()
    }

    fn contents(self) -> Vec<u8> {
        let numbers: Vec<u64> = data::numbers(self.len).collect();
        bytemuck::cast_slice(&numbers).to_vec()
    }

    /// Returns the sum of the numbers that are touched.
    fn expected(self) -> u64 {
        let numbers = data::numbers(self.len).step_by(self.block / 8);
        numbers.fold(0, u64::wrapping_add)
    }
}

fn comparison(name: &'static str, case: Case) -> Comparison {
    let title = format!(
        "first touches of blocks of {} of a plain slice {}, filled from memory",
        Size(case.block as u64),
        if case.is_random {
            "in random order"
        } else {
            "in order"
        }
    );
    let bare = Contender::new(BARE, move || {
        let (contents, order, expected) = (case.contents(), case.order(), case.expected());
        // Fails early if the system has no such memory.
        BareUserfault::new(vec![0; case.block], case.block)?;
        Ok(Box::new(move || {
            let memory = BareUserfault::new(contents.clone(), case.block);
            let memory = memory.expect("it could be made just before");
            let mut sum = 0_u64;
            let sample = timed(|| {
                let numbers = memory.base().cast::<u64>();
                for &index in &order {
                    // SAFETY: the number is aligned, and inside the memory, which is as long as the contents; the
                    // memory is readable, and nothing writes it after it was filled.
                    sum = sum.wrapping_add(unsafe { numbers.wrapping_add(index).read_volatile() });
                }
            });
            assert_eq!(sum, expected, "the sum of the numbers that were touched");
            sample
        }))
    });
    let contenders = vec![ours(OURS, case, 1), ours("elbowroom, 4 threads", case, 4)];
    Comparison::new(name, title, (case.blocks(), "touch"), contenders)
        .rounds(7)
        .without_memory()
        .limit(BARE, bare)
        .goal(OURS, BARE, 1.2)
}

fn ours(name: &'static str, case: Case, threads: usize) -> Contender {
    Contender::new(name, move || {
        let (contents, order, expected) = (case.contents(), case.order(), case.expected());
        let open = move || {
            let options = PagedArray::<u64>::options()
                .page_size(case.block)
                .threads(threads)
                // Nothing is evicted: there is room for each page and the buffers of the threads.
                .resident_limit(case.len + 2 * threads * case.block);
            // SAFETY: no other code has the bytes of this store, so they never change.
            unsafe { options.open_slice_of_store(MemoryStore::new(contents.clone())) }
        };
        drop(open().map_err(|error| error.to_string())?);
        Ok(Box::new(move || {
            let numbers = open().expect("it could be opened just before");
            let mut sum = 0_u64;
            let sample = timed(|| {
                for &index in &order {
                    sum = sum.wrapping_add(numbers[index]);
                }
            });
            assert_eq!(sum, expected, "the sum of the numbers that were touched");
            sample
        }))
    })
}

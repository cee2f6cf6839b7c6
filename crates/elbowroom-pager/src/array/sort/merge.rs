//! Merges adjacent runs, by a tree of losers (Knuth, volume 3, 5.4.1).

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytemuck::{AnyBitPattern, NoUninit};

use super::work::{Work, read, write};
use crate::error::Error;
use crate::store::Source;

/// Merges runs to one run, which starts at `start` in another store. The memory holds one element more than there are
/// runs, or more. Ends early if `is_over` says so.
pub(super) fn merge<T: AnyBitPattern + NoUninit>(
    (from, to): (&Source, &Source),
    runs: Vec<Range<usize>>,
    mut start: usize,
    memory: &mut [T],
    compare: &impl Fn(&T, &T) -> Ordering,
    work: &Work<'_>,
    is_over: &AtomicBool,
) -> Result<(), Error> {
    let block = memory.len() / (runs.len() + 1);
    let (inputs, output) = memory.split_at_mut(runs.len() * block);
    let blocks = inputs.chunks_exact_mut(block);
    let mut inputs = Vec::with_capacity(runs.len());
    for (rest, block) in runs.into_iter().zip(blocks) {
        let mut input = Input {
            rest,
            block,
            next: 0,
            filled: 0,
        };
        input.fill(from)?;
        inputs.push(input);
    }
    let mut tree = Tree::new(&inputs, compare);
    while !is_over.load(Relaxed) {
        let mut filled = 0;
        for place in &mut *output {
            let input = &mut inputs[tree.winner];
            let Some(head) = input.head() else {
                break;
            };
            *place = *head;
            filled += 1;
            input.next += 1;
            if input.next == input.filled {
                input.fill(from)?;
            }
            tree.replay(&inputs, compare);
        }
        if filled == 0 {
            break;
        }
        write(to, start, &output[..filled])?;
        start += filled;
        work.add(filled)?;
    }
    Ok(())
}

/// A run that is read block by block.
struct Input<'a, T> {
    /// The elements that are not read yet.
    rest: Range<usize>,
    block: &'a mut [T],
    next: usize,
    filled: usize,
}

impl<T: AnyBitPattern + NoUninit> Input<'_, T> {
    /// Reads the next block.
    fn fill(&mut self, from: &Source) -> Result<(), Error> {
        let count = self.rest.len().min(self.block.len());
        (self.next, self.filled) = (0, count);
        if count > 0 {
            read(from, self.rest.start, &mut self.block[..count])?;
            self.rest.start += count;
        }
        Ok(())
    }

    /// Returns the next element, or `None` at the end.
    fn head(&self) -> Option<&T> {
        self.block[..self.filled].get(self.next)
    }
}

/// A tournament tree of losers. The `k` inputs are the leaves `k..2 * k` of a binary tree. Each inner node `1..k` holds
/// the loser of the comparison between the winners of its two subtrees.
struct Tree {
    losers: Vec<usize>,
    winner: usize,
}

impl Tree {
    fn new<T: AnyBitPattern + NoUninit>(
        inputs: &[Input<'_, T>],
        compare: &impl Fn(&T, &T) -> Ordering,
    ) -> Tree {
        let count = inputs.len();
        // The winners of all nodes, from the leaves up.
        let mut winners: Vec<usize> = (0..2 * count)
            .map(|node| node.saturating_sub(count))
            .collect();
        let mut losers = vec![0; count];
        for node in (1..count).rev() {
            let (left, right) = (winners[2 * node], winners[2 * node + 1]);
            let is_left = precedes(inputs, left, right, compare);
            (winners[node], losers[node]) = if is_left {
                (left, right)
            } else {
                (right, left)
            };
        }
        Tree {
            losers,
            winner: winners[1],
        }
    }

    /// Plays the games of the last winner again, whose head is another now.
    fn replay<T: AnyBitPattern + NoUninit>(
        &mut self,
        inputs: &[Input<'_, T>],
        compare: &impl Fn(&T, &T) -> Ordering,
    ) {
        let mut node = (self.winner + inputs.len()) / 2;
        while node > 0 {
            if precedes(inputs, self.losers[node], self.winner, compare) {
                std::mem::swap(&mut self.losers[node], &mut self.winner);
            }
            node /= 2;
        }
    }
}

/// Whether the head of input `a` comes before that of `b`. An input at its end comes last.
fn precedes<T: AnyBitPattern + NoUninit>(
    inputs: &[Input<'_, T>],
    a: usize,
    b: usize,
    compare: &impl Fn(&T, &T) -> Ordering,
) -> bool {
    match (inputs[a].head(), inputs[b].head()) {
        (Some(x), Some(y)) => compare(x, y).then(a.cmp(&b)).is_lt(),
        (head, _) => head.is_some(),
    }
}

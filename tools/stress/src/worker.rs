//! One thread of the stress test: picks operations and does them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use elbowroom::page_size;

use crate::block::Block;
use crate::finding::{Checked, check};
use crate::kinds::{KINDS, Kind, WEIGHTS, what};
use crate::model::Ground;
use crate::os as foreign;
use crate::owned::{Budgets, Deed, Slot};
use crate::rng::Rng;
use crate::shared::{Shared, Words};
use crate::world::{Progress, ROUND_STEPS, TENANT_PAGES, World, is_sparse, lock};

/// The largest number of regions of one thread.
const SLOTS_MAX: usize = 12;
/// The number of operations that are remembered for a finding.
const REMEMBERED: usize = 24;
/// The number of steps of a forked child.
const CHILD_STEPS: usize = 60;
/// The number of bytes that read_from and write_to move at once. For longer ranges, a refusal in the middle has no
/// exact position.
const PIECE: usize = 32 << 10;

pub(crate) struct Worker {
    thread: usize,
    rng: Rng,
    world: Arc<World>,
    ground: Ground,
    budgets: Budgets,
    slots: Vec<Slot>,
    blocks: Vec<Block>,
    shared: Option<Arc<Shared>>,
    words: Words,
    slots_max: usize,
    next_id: u64,
    last: VecDeque<(u64, &'static str, [usize; 3])>,
    is_child: bool,
}

impl Worker {
    pub(crate) fn new(thread: usize, world: Arc<World>) -> Worker {
        let mut rng = Rng::new(world.seed, thread as u64);
        let mut ground = Ground::new();
        let budgets = Budgets::new(&world.root, TENANT_PAGES, &mut ground, &mut rng);
        Worker {
            thread,
            rng,
            world,
            ground,
            budgets,
            slots: Vec::new(),
            blocks: Vec::new(),
            shared: None,
            words: Words::new(),
            slots_max: 0,
            next_id: 1,
            last: VecDeque::new(),
            is_child: false,
        }
    }

    fn progress(&self) -> &Progress {
        &self.world.progress[self.thread]
    }

    /// Returns the last operations, oldest first.
    pub(crate) fn last(&self) -> Vec<String> {
        self.last
            .iter()
            .map(|&(step, name, about)| format!("{step}: {}", what(name, about)))
            .collect()
    }

    /// Runs round after round until the world ends the run.
    pub(crate) fn run(&mut self) -> Checked {
        for round in 0.. {
            self.begin(round)?;
            if self.world.is_over.load(Ordering::Relaxed) {
                break;
            }
            let done = self.progress().steps.load(Ordering::Relaxed);
            for _ in done..self.world.steps_max.min(done + ROUND_STEPS) {
                self.step()?;
                self.progress().steps.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.end_all()?;
        self.wait();
        let left = self.world.root.committed_bytes();
        check!(
            left == 0,
            "all regions are gone, and the topmost budget has {left} bytes"
        );
        Ok(())
    }

    fn wait(&self) -> bool {
        self.progress().is_waiting.store(true, Ordering::Relaxed);
        let is_leader = self.world.barrier.wait().is_leader();
        self.progress().is_waiting.store(false, Ordering::Relaxed);
        is_leader
    }

    /// Hands regions over and takes those of the previous thread. The shared regions are made again.
    fn begin(&mut self, round: u64) -> Checked {
        self.shared = None;
        self.words.clear();
        let is_sparse = is_sparse(self.world.seed, round);
        self.slots_max = if is_sparse { 1 } else { SLOTS_MAX };
        while self.slots.len() > self.slots_max {
            self.release(0)?;
        }
        if let Some(at) = self.slots.iter().position(Slot::is_free_of_budgets) {
            let slot = self.slots.remove(at);
            lock(&self.world.handed_over[self.thread]).push(slot);
        }
        let is_leader = self.wait();
        if is_leader {
            self.world.turn(round)?;
        }
        self.wait();
        self.shared = lock(&self.world.shared).clone();
        let before = (self.thread + self.world.threads - 1) % self.world.threads;
        self.slots
            .append(&mut lock(&self.world.handed_over[before]));
        Ok(())
    }

    /// Does one operation.
    pub(crate) fn step(&mut self) -> Checked {
        let mut at = self.rng.below(WEIGHTS);
        let kind = KINDS.iter().position(|&(_, _, weight)| {
            let is_it = at < weight;
            at = at.saturating_sub(weight);
            is_it
        });
        let index = kind.unwrap_or(0);
        let (kind, name, _) = KINDS[index];
        let slot = if self.slots.is_empty() {
            None
        } else {
            Some(self.rng.below(self.slots.len()))
        };
        let range = slot.map_or(0..0, |at| {
            let longest = match kind {
                Kind::Act(Deed::ReadFrom | Deed::WriteTo) => PIECE,
                _ => 12 * page_size(),
            };
            self.slots[at].range(&mut self.rng, longest)
        });
        let id = slot.map_or(0, |at| self.slots[at].id as usize);
        let about = match kind {
            Kind::Act(_) | Kind::PlainRead | Kind::PlainWrite => [id, range.start, range.end],
            Kind::CommitAll | Kind::Release | Kind::Look => [id, 0, 0],
            _ => [0; 3],
        };
        self.remember(index, name, about);

        let refused = match (kind, slot, &self.shared) {
            (Kind::Make, ..) => self.make()?,
            (Kind::Block, ..) => self.block()?,
            (Kind::Signal, ..) => {
                foreign::signal()?;
                false
            }
            (Kind::Fault, ..) => {
                foreign::fault()?;
                false
            }
            (Kind::Fork, ..) if !self.is_child => {
                self.fork()?;
                false
            }
            (Kind::Release, Some(at), _) => {
                self.release(at)?;
                false
            }
            (Kind::Act(deed), Some(at), _) => {
                self.slots[at].act(deed, range, &mut self.rng, &mut self.ground)?
            }
            (Kind::CommitAll, Some(at), _) => {
                let all = 0..self.slots[at].len();
                self.slots[at].act(Deed::Commit, all, &mut self.rng, &mut self.ground)?
            }
            (Kind::PlainWrite, Some(at), _) => {
                let value = Some(self.rng.next() as u8);
                !self.slots[at].plain(range.start, value, &mut self.ground)?
            }
            (Kind::PlainRead, Some(at), _) => {
                !self.slots[at].plain(range.start, None, &mut self.ground)?
            }
            (Kind::Look, Some(at), _) => {
                self.slots[at].look()?;
                self.budgets
                    .check(&self.ground, self.slots.iter().flat_map(Slot::models))?;
                false
            }
            (Kind::SharedWrite, _, Some(shared)) => {
                let write = !self.rng.one_in(3);
                shared.touch(self.thread, write, &mut self.rng, &mut self.words)?
            }
            (Kind::SharedRead, _, Some(shared)) => shared.read(&mut self.rng)?,
            (Kind::SharedCommit, _, Some(shared)) => shared.commit(&mut self.rng)?,
            (Kind::SharedDecommit, _, Some(shared)) => {
                shared.decommit(self.thread, &mut self.rng, &mut self.words)?
            }
            (Kind::SharedLook, _, Some(shared)) => shared.look()?,
            // There is no region for the operation.
            _ => return Ok(()),
        };
        self.progress().done[index].fetch_add(1, Ordering::Relaxed);
        self.progress().refused[index].fetch_add(u64::from(refused), Ordering::Relaxed);
        Ok(())
    }

    fn remember(&mut self, index: usize, name: &'static str, about: [usize; 3]) {
        let progress = self.progress();
        let step = progress.steps.load(Ordering::Relaxed);
        progress.now.store(index, Ordering::Relaxed);
        for (word, value) in progress.about.iter().zip(about) {
            word.store(value, Ordering::Relaxed);
        }
        self.last.push_back((step, name, about));
        if self.last.len() > REMEMBERED {
            self.last.pop_front();
        }
    }

    fn make(&mut self) -> Checked<bool> {
        if self.slots.len() >= self.slots_max {
            let at = self.rng.below(self.slots.len());
            self.release(at)?;
        }
        // In the forked child of a process with threads, std may be unable to start a thread, because its own lock may
        // be held forever.
        let may_have_threads = !self.is_child;
        let made = Slot::make(
            self.next_id,
            &mut self.rng,
            &mut self.ground,
            &self.budgets,
            may_have_threads,
        )?;
        self.next_id += 1;
        let is_refused = made.is_none();
        self.slots.extend(made);
        Ok(is_refused)
    }

    fn release(&mut self, at: usize) -> Checked {
        let faults = self.slots.swap_remove(at).end(&mut self.ground)?;
        self.progress().faults.fetch_add(faults, Ordering::Relaxed);
        Ok(())
    }

    fn block(&mut self) -> Checked<bool> {
        match self.rng.below(40) {
            0 if !self.blocks.is_empty() => {
                let at = self.rng.below(self.blocks.len());
                self.blocks.swap_remove(at).end()?;
                Ok(false)
            }
            _ if self.blocks.len() < 3 => {
                self.blocks.push(Block::make(&mut self.rng)?);
                Ok(false)
            }
            _ => {
                let at = self.rng.below(self.blocks.len());
                self.blocks[at].act(&mut self.rng)
            }
        }
    }

    /// Forks. The child continues with everything that it inherited, and the parent waits for it.
    fn fork(&mut self) -> Checked {
        foreign::in_child(|| {
            self.is_child = true;
            self.slots.iter_mut().for_each(Slot::orphan);
            if let Some(shared) = &self.shared {
                shared.orphan();
            }
            let result = (0..CHILD_STEPS)
                .try_for_each(|_| self.step())
                .and_then(|()| self.end_all());
            result.map_err(|words| {
                format!(
                    "{words}\nits last operations:\n  {}",
                    self.last().join("\n  ")
                )
            })
        })
    }

    /// Releases everything that the thread owns, and checks that nothing stays charged.
    fn end_all(&mut self) -> Checked {
        while !self.slots.is_empty() {
            self.release(0)?;
        }
        self.budgets
            .check(&self.ground, self.slots.iter().flat_map(Slot::models))?;
        self.blocks.drain(..).try_for_each(Block::end)
    }
}

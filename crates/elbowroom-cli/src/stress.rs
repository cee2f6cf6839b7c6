//! `elbowroom stress`: random operations of many threads, checked against a model.
//!
//! Each thread has regions and reservations of its own, of which everything is known: contents, committed bytes, counts
//! of faults, sums of budgets, and who refuses what (`owned`, `block`, `model`). Beside them are regions that all
//! threads use, of which the invariants are known (`shared`). The threads go in rounds: between two of them nobody is
//! in the middle of anything, sums are compared, and regions change hands. In a sparse round there are no shared
//! regions and next to none of a thread's own, so that the fault handler comes and goes under the others' faults.
//!
//! What a thread does follows from the seed and its number alone, not from what the others do meanwhile.

mod block;
mod model;
mod owned;
mod shared;
mod worker;

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use elbowroom::{Budget, page_size};

use crate::args::Stress;
use crate::os::foreign;
use crate::output::{complain, line, note};
use owned::Slot;
use shared::Shared;
use worker::{KINDS, Worker};

/// What a check answers: an error is a finding, in words.
type Checked<T = ()> = Result<T, String>;

/// A finding unless the condition holds.
macro_rules! check {
    ($holds:expr, $($words:tt)*) => {
        if !$holds {
            return Err(format!($($words)*));
        }
    };
}
use check;

/// Steps of each thread between two moments when nobody is in the middle of anything.
const ROUND_STEPS: u64 = 2000;
/// What the budget of each thread allows, in pages.
const TENANT_PAGES: usize = 300;
/// What all shared regions may have, in pages.
const CROWD_PAGES: usize = 400;
/// A thread that gets nowhere for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Numbers that follow from a seed (splitmix64).
struct Rng(u64);

impl Rng {
    /// The numbers of one of many streams of a seed.
    fn new(seed: u64, stream: u64) -> Rng {
        let mut rng = Rng(seed);
        Rng(rng.next() ^ stream.wrapping_mul(0xd134_2543_de82_ef95))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number less than `bound`, which is not 0.
    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    fn within(&mut self, range: std::ops::Range<usize>) -> usize {
        range.start + self.below(range.len())
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// What a thread is doing and has done, for others to read.
#[derive(Default)]
struct Progress {
    steps: AtomicU64,
    // An index into KINDS, and what the operation is about.
    now: AtomicUsize,
    about: [AtomicUsize; 3],
    done: [AtomicU64; KINDS.len()],
    refused: [AtomicU64; KINDS.len()],
    faults: AtomicU64,
    // It waits for the others to come to the end of the round.
    is_waiting: AtomicBool,
}

/// What the threads share.
struct World {
    seed: u64,
    threads: usize,
    root: Budget,
    progress: Vec<Progress>,
    barrier: Barrier,
    // The regions of this round; none in a sparse one.
    shared: Mutex<Option<Arc<Shared>>>,
    // What each thread hands over to the next.
    handed_over: Vec<Mutex<Vec<Slot>>>,
    steps_max: u64,
    until: Option<Instant>,
    is_over: AtomicBool,
}

/// What a thread found.
struct Finding {
    thread: usize,
    words: String,
    last: Vec<String>,
}

impl World {
    /// Between two rounds, on one thread: nobody has a region of the last round's any more.
    fn turn(&self, round: u64) -> Checked {
        let shared = lock(&self.shared).take().map(Arc::into_inner);
        if let Some(shared) = shared {
            let shared = shared.ok_or("somebody still has the shared regions")?;
            self.progress[0].faults.fetch_add(shared.end()?, Ordering::Relaxed);
        }
        let steps = self.progress[0].steps.load(Ordering::Relaxed);
        let is_over = steps >= self.steps_max || self.until.is_some_and(|until| Instant::now() >= until);
        self.is_over.store(is_over, Ordering::Relaxed);
        if !is_over && !is_sparse(self.seed, round) {
            let mut rng = Rng::new(self.seed ^ round, u64::MAX);
            *lock(&self.shared) = Some(Arc::new(Shared::make(&self.root, self.threads, &mut rng)?));
        }
        Ok(())
    }
}

/// Whether a round is one with next to no regions.
fn is_sparse(seed: u64, round: u64) -> bool {
    Rng::new(seed ^ round, u64::MAX - 1).one_in(4)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the command; the exit status.
pub(crate) fn run(settings: &Stress) -> i32 {
    let Stress { threads, .. } = *settings;
    let seed = settings.seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        now.as_nanos() as u64 ^ u64::from(std::process::id()) << 32
    });
    note(format_args!("elbowroom stress --threads {threads} --seed {seed}"));
    foreign::prepare(seed);
    let until = settings.minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let world = Arc::new(World {
        seed,
        threads,
        root: Budget::builder((threads * TENANT_PAGES + CROWD_PAGES) * page_size()).name("root").build(),
        progress: (0..threads).map(|_| Progress::default()).collect(),
        barrier: Barrier::new(threads),
        shared: Mutex::new(None),
        handed_over: (0..threads).map(|_| Mutex::default()).collect(),
        steps_max: settings.steps.unwrap_or(u64::MAX),
        until,
        is_over: AtomicBool::new(false),
    });
    let start = Instant::now();
    let outcome = watch(&world);
    let result = outcome.and_then(|()| summary(&world, start.elapsed()).map_err(|error| error.to_string()));
    match result {
        Ok(()) => 0,
        Err(words) => {
            complain(words);
            1
        }
    }
}

/// Starts the threads and waits until all have ended, one has found something, or one hangs.
fn watch(world: &Arc<World>) -> Result<(), String> {
    let (sender, findings) = mpsc::channel();
    for thread in 0..world.threads {
        let (world, sender) = (Arc::clone(world), sender.clone());
        let work = move || {
            let mut worker = Worker::new(thread, world);
            let result = panic::catch_unwind(AssertUnwindSafe(|| worker.run()));
            let words = match result {
                Ok(Ok(())) => return,
                Ok(Err(words)) => words,
                Err(_) => "a panic".to_owned(),
            };
            // Nobody hears it if another finding came first.
            let _ = sender.send(Finding { thread, words, last: worker.last() });
            // Its regions may be in any state; the process ends soon.
            std::mem::forget(worker);
        };
        let builder = thread::Builder::new().name(format!("stress {thread}"));
        builder.spawn(work).map_err(|error| format!("cannot start a thread: {error}"))?;
    }
    drop(sender);
    let steps = || world.progress.iter().map(|thread| thread.steps.load(Ordering::Relaxed)).collect::<Vec<_>>();
    let (mut seen, mut since) = (steps(), Instant::now());
    loop {
        match findings.recv_timeout(Duration::from_secs(1)) {
            Ok(finding) => return Err(describe(world, &finding)),
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now = steps();
        if now != seen {
            (seen, since) = (now, Instant::now());
        } else if since.elapsed() >= PATIENCE {
            return Err(hang(world));
        }
    }
}

/// A finding, and how to see it again.
fn describe(world: &World, finding: &Finding) -> String {
    let Finding { thread, words, last } = finding;
    let steps = world.progress[*thread].steps.load(Ordering::Relaxed);
    let (threads, seed, end) = (world.threads, world.seed, steps + ROUND_STEPS);
    let again = format!("elbowroom stress --threads {threads} --seed {seed} --steps {end}");
    let last = last.join("\n  ");
    format!("thread {thread}, step {steps}: {words}\nits last operations:\n  {last}\nto see it again: {again}")
}

fn hang(world: &World) -> String {
    let mut words = format!("no thread got anywhere for {} seconds, seed {}:", PATIENCE.as_secs(), world.seed);
    for (thread, progress) in world.progress.iter().enumerate() {
        let steps = progress.steps.load(Ordering::Relaxed);
        let (_, name, _) = KINDS[progress.now.load(Ordering::Relaxed)];
        let about = progress.about.each_ref().map(|word| word.load(Ordering::Relaxed));
        let doing = if progress.is_waiting.load(Ordering::Relaxed) { "waits for the others after" } else { "is in" };
        words += &format!("\n  thread {thread}, step {steps}, {doing}: {}", worker::what(name, about));
    }
    words
}

/// Prints what was done.
fn summary(world: &World, time: Duration) -> std::io::Result<()> {
    let sum = |of: fn(&Progress) -> &AtomicU64| {
        world.progress.iter().map(|thread| of(thread).load(Ordering::Relaxed)).sum::<u64>()
    };
    line(format_args!("{:<16} {:>12} {:>12}", "operation", "done", "refused"))?;
    for (kind, (_, name, _)) in KINDS.iter().enumerate() {
        let count = |of: fn(&Progress) -> &[AtomicU64; KINDS.len()]| {
            world.progress.iter().map(|thread| of(thread)[kind].load(Ordering::Relaxed)).sum::<u64>()
        };
        line(format_args!("{name:<16} {:>12} {:>12}", count(|of| &of.done), count(|of| &of.refused)))?;
    }
    let (steps, faults) = (sum(|of| &of.steps), sum(|of| &of.faults));
    line(format_args!("{steps} steps and {faults} faults in {:.1} s; nothing found", time.as_secs_f64()))
}

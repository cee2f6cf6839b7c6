//! `elbowroom-stress`: random operations of many threads, checked against a model.
//!
//! Each thread has its own regions and reservations. A model predicts everything about them: contents, committed bytes,
//! counts of faults, sums of budgets, and the cause of each refusal (`owned`, `block`, `model`). Other regions are used
//! by all threads, and only their invariants are known (`shared`). The threads work in rounds. Between two rounds no
//! operation is in progress; then sums are compared, and regions pass to other threads. A sparse round has no shared
//! regions and hardly any others, so that the fault handler is installed and removed while other threads fault.
//!
//! The operations of a thread follow from the seed and its number alone, not from the progress of other threads.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use elbowroom::{Budget, page_size};

use crate::kinds::{self, KINDS};
use crate::os as foreign;
use crate::output::{complain, line, note};
use crate::settings::Settings;
use crate::worker::Worker;
use crate::world::{CROWD_PAGES, Progress, ROUND_STEPS, TENANT_PAGES, World};

/// The time without progress after which a thread counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// A finding of a thread.
struct Finding {
    thread: usize,
    words: String,
    last: Vec<String>,
}

/// Runs the command and returns the exit status.
pub(crate) fn run(settings: &Settings) -> i32 {
    let Settings { threads, .. } = *settings;
    let seed = settings.seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        now.as_nanos() as u64 ^ u64::from(std::process::id()) << 32
    });
    note(format_args!(
        "elbowroom-stress --threads {threads} --seed {seed}"
    ));
    foreign::prepare(seed);
    let until = settings
        .minutes
        .map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let world = Arc::new(World {
        seed,
        threads,
        root: Budget::builder((threads * TENANT_PAGES + CROWD_PAGES) * page_size())
            .name("root")
            .build(),
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
    let result =
        outcome.and_then(|()| summary(&world, start.elapsed()).map_err(|error| error.to_string()));
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
            // Sending fails if another finding came first.
            let _ = sender.send(Finding {
                thread,
                words,
                last: worker.last(),
            });
            // The worker's regions may be in any state, so they are not dropped; the process ends soon.
            std::mem::forget(worker);
        };
        let builder = thread::Builder::new().name(format!("stress {thread}"));
        builder
            .spawn(work)
            .map_err(|error| format!("cannot start a thread: {error}"))?;
    }
    drop(sender);
    let steps = || {
        world
            .progress
            .iter()
            .map(|thread| thread.steps.load(Ordering::Relaxed))
            .collect::<Vec<_>>()
    };
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

/// Returns a description of a finding, with the command that reproduces it.
fn describe(world: &World, finding: &Finding) -> String {
    let Finding {
        thread,
        words,
        last,
    } = finding;
    let steps = world.progress[*thread].steps.load(Ordering::Relaxed);
    let (threads, seed, end) = (world.threads, world.seed, steps + ROUND_STEPS);
    let again = format!("elbowroom-stress --threads {threads} --seed {seed} --steps {end}");
    let last = last.join("\n  ");
    format!(
        "thread {thread}, step {steps}: {words}\nits last operations:\n  {last}\nto see it again: {again}"
    )
}

fn hang(world: &World) -> String {
    let mut words = format!(
        "no thread got anywhere for {} seconds, seed {}:",
        PATIENCE.as_secs(),
        world.seed
    );
    for (thread, progress) in world.progress.iter().enumerate() {
        let steps = progress.steps.load(Ordering::Relaxed);
        let (_, name, _) = KINDS[progress.now.load(Ordering::Relaxed)];
        let about = progress
            .about
            .each_ref()
            .map(|word| word.load(Ordering::Relaxed));
        let doing = if progress.is_waiting.load(Ordering::Relaxed) {
            "waits for the others after"
        } else {
            "is in"
        };
        words += &format!(
            "\n  thread {thread}, step {steps}, {doing}: {}",
            kinds::what(name, about)
        );
    }
    words
}

/// Prints the operations that were done.
fn summary(world: &World, time: Duration) -> std::io::Result<()> {
    let sum = |of: fn(&Progress) -> &AtomicU64| {
        world
            .progress
            .iter()
            .map(|thread| of(thread).load(Ordering::Relaxed))
            .sum::<u64>()
    };
    line(format_args!(
        "{:<16} {:>12} {:>12}",
        "operation", "done", "refused"
    ))?;
    for (kind, (_, name, _)) in KINDS.iter().enumerate() {
        let count = |of: fn(&Progress) -> &[AtomicU64; KINDS.len()]| {
            world
                .progress
                .iter()
                .map(|thread| of(thread)[kind].load(Ordering::Relaxed))
                .sum::<u64>()
        };
        line(format_args!(
            "{name:<16} {:>12} {:>12}",
            count(|of| &of.done),
            count(|of| &of.refused)
        ))?;
    }
    let (steps, faults) = (sum(|of| &of.steps), sum(|of| &of.faults));
    line(format_args!(
        "{steps} steps and {faults} faults in {:.1} s; nothing found",
        time.as_secs_f64()
    ))
}

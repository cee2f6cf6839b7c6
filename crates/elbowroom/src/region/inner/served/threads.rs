//! The threads that commit pages for threads waiting in the kernel: [`Backend::UserfaultMonitor`].
//!
//! One thread, the reader, reads the kernel's reports, and commits if there is no filter to ask. It never runs the
//! program's code, so it always gets to the next report. Filters and the callbacks of budgets run on the workers. A
//! worker that touches its own region would wait for itself. It is recognised by its number, and its touch is refused.
//!
//! [`Backend::UserfaultMonitor`]: crate::Backend::UserfaultMonitor

use std::collections::VecDeque;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::poisoned;
use super::region::ServedRegion;
use crate::error::{Cause, Reason};
use crate::fault::fork;
use crate::os::userfault::{Missing, Next};
use crate::os::{self, SignalsBlocked};

/// The number of tasks that can wait for a worker. Each waiting thread has one task, so this many threads can wait
/// without having to touch again.
const JOBS_MAX: usize = 256;

/// A task of a worker.
enum Job {
    /// Ask the filter about a touch, and resolve it.
    Judge(Missing),
    /// Call the pending callbacks of budgets.
    RunCallbacks,
}

/// The result of adding a job.
enum Pushed {
    Waits,
    /// The queue is full.
    Full,
    /// No worker is left, because the filter has panicked.
    FilterGone,
}

struct Jobs {
    // Never grows beyond its initial capacity. The reader must not allocate: the global allocator may use the region
    // that it serves, and the waiting thread may hold the allocator's lock.
    queue: VecDeque<Job>,
    // False once the filter has panicked.
    is_open: bool,
}

struct Shared {
    region: ServedRegion,
    jobs: Mutex<Jobs>,
    // Notified for each job, and when the service stops.
    more: Condvar,
    // The numbers of the workers; 0 for a worker that has not started.
    workers: Box<[AtomicU64]>,
    is_stopping: AtomicBool,
}

/// The threads that serve a region. Dropping it ends them.
pub(in crate::region) struct Service {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    // A forked child has a copy of this object, but no threads.
    generation: usize,
}

impl Service {
    /// Starts the reader and `workers` workers, at least one.
    pub(in crate::region) fn start(region: ServedRegion, workers: usize) -> io::Result<Service> {
        let shared = Arc::new(Shared {
            region,
            jobs: Mutex::new(Jobs {
                queue: VecDeque::with_capacity(JOBS_MAX),
                is_open: true,
            }),
            more: Condvar::new(),
            workers: (0..workers.max(1)).map(|_| AtomicU64::new(0)).collect(),
            is_stopping: AtomicBool::new(false),
        });
        // On an early return, its drop ends the threads that have started.
        let mut service = Service {
            shared,
            threads: Vec::new(),
            generation: fork::generation(),
        };
        service.spawn("reader", Shared::read)?;
        for index in 0..service.shared.workers.len() {
            service.spawn("monitor", move |shared| shared.work(index))?;
        }
        Ok(service)
    }

    fn spawn(&mut self, what: &str, run: impl FnOnce(&Shared) + Send + 'static) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let name = format!("{what} {}", shared.region.name().replace('\0', "_"));
        self.threads
            .push(thread::Builder::new().name(name).spawn(move || {
                // No signal may interrupt a thread that holds the region's lock.
                let _signals = SignalsBlocked::new();
                run(&shared);
            })?);
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if fork::generation() != self.generation {
            // The threads belong to the parent, and one of them may have held the lock.
            return self.threads.drain(..).for_each(std::mem::forget);
        }
        self.shared.is_stopping.store(true, Ordering::Relaxed);
        if let Some(events) = self.shared.region.events() {
            events.ring();
        }
        // Under the lock, so that no worker is between its check and its sleep.
        drop(self.shared.lock());
        self.shared.more.notify_all();
        for thread in self.threads.drain(..) {
            // The panic of a thread has been reported already.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    /// Adds a job for the workers.
    fn push(&self, job: Job) -> Pushed {
        let mut jobs = self.lock();
        if !jobs.is_open {
            return Pushed::FilterGone;
        }
        if jobs.queue.len() == JOBS_MAX {
            return Pushed::Full;
        }
        jobs.queue.push_back(job);
        // Before the worker wakes up, which takes it.
        drop(jobs);
        self.more.notify_one();
        Pushed::Waits
    }

    /// Runs the reader.
    fn read(&self) {
        let Some(events) = self.region.events() else {
            return;
        };
        loop {
            let time = self.region.has_poisoned().then_some(poisoned::TIME);
            match events.next(time) {
                Next::Missing(missing) => self.handle(&missing),
                Next::TimeUp => {}
                Next::End => return,
            }
            if time.is_some() {
                self.region.cure_expired();
            }
        }
    }

    fn handle(&self, missing: &Missing) {
        let is_worker = |worker: &AtomicU64| worker.load(Ordering::Relaxed) == missing.thread;
        if !self.region.has_filter() {
            let resolved = self
                .region
                .resolve(missing, |_| Err(Reason::FilterThreadGone.into()));
            if let Err(cause) = resolved {
                self.refuse(missing, cause);
            }
            if self.region.has_pending_callbacks() {
                // A worker whose callback panicked has ended the process. If the queue is full, the last job runs the
                // callbacks.
                self.push(Job::RunCallbacks);
            }
        } else if self.workers.iter().any(is_worker) {
            self.refuse(missing, Reason::InOwnFilter.into());
        } else {
            match self.push(Job::Judge(*missing)) {
                Pushed::Waits => {}
                Pushed::FilterGone => self.refuse(missing, Reason::FilterThreadGone.into()),
                // The thread touches again, and the kernel reports it again.
                Pushed::Full => self.region.wake(missing),
            }
        }
    }

    fn refuse(&self, missing: &Missing, cause: Cause) {
        // An older kernel needs a mapping for it, and there may be none left at the moment.
        while !self.region.poison(missing, cause) && !self.is_stopping() {
            thread::sleep(poisoned::TIME);
        }
    }

    /// Runs a worker.
    fn work(&self, index: usize) {
        self.workers[index].store(os::thread_number(), Ordering::Relaxed);
        while let Some(job) = self.next_job() {
            if let Job::Judge(missing) = job {
                self.judge(&missing);
            }
            self.region.run_pending_callbacks();
        }
    }

    fn next_job(&self) -> Option<Job> {
        let mut jobs = self.lock();
        loop {
            if self.is_stopping() {
                return None;
            }
            match jobs.queue.pop_front() {
                Some(job) => return Some(job),
                None => jobs = self.more.wait(jobs).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn judge(&self, missing: &Missing) {
        let mut has_panicked = false;
        let result = self.region.resolve(missing, |fault| {
            let ask = AssertUnwindSafe(|| self.region.ask_filter(fault));
            let verdict = panic::catch_unwind(ask);
            verdict.unwrap_or_else(|payload| {
                // Dropping the payload could panic again.
                std::mem::forget(payload);
                has_panicked = true;
                Err(Reason::FilterThreadGone.into())
            })
        });
        if let Err(cause) = result {
            self.refuse(missing, cause);
        }
        if has_panicked {
            self.close();
        }
    }

    /// Closes the queue, and refuses the jobs in it.
    fn close(&self) {
        let mut jobs = self.lock();
        jobs.is_open = false;
        let left = std::mem::take(&mut jobs.queue);
        drop(jobs);
        for job in left {
            if let Job::Judge(missing) = job {
                self.refuse(&missing, Reason::FilterThreadGone.into());
            }
        }
    }
}

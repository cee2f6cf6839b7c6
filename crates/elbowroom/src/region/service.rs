//! Threads that commit pages for whoever waits for them, be it the kernel: [`Backend::UserfaultMonitor`].
//!
//! One thread reads what the kernel reports, and commits where there is nobody to ask. It never runs code of the
//! program's, so it always gets to the next report. A filter, and the callbacks of budgets, run on the workers. A
//! worker that touches its own region is told apart by its number, and refused: it would wait for itself.
//!
//! [`Backend::UserfaultMonitor`]: super::Backend::UserfaultMonitor

#![allow(unsafe_code, reason = "the threads share the region with its owner, without counting")]

use std::collections::VecDeque;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::{Core, barred};
use crate::fault::{Refusal, fork};
use crate::os::{self, Missing, Next, SignalsBlocked, Userfault};

/// What a worker does.
enum Job {
    /// Asks the filter about a touch, and resolves it.
    Judge(Missing),
    /// Calls the callbacks of budgets that are due.
    TellBudgets,
}

struct Jobs {
    queue: VecDeque<Job>,
    // The filter has not panicked.
    is_open: bool,
}

struct Shared {
    // Invariant: valid until the service has been dropped.
    core: NonNull<Core>,
    userfault: Arc<Userfault>,
    jobs: Mutex<Jobs>,
    // Notified of each job, and when the service stops.
    more: Condvar,
    // The numbers of the workers; 0 until it has started.
    workers: Box<[AtomicU64]>,
    is_stopping: AtomicBool,
}

// SAFETY: `Core` is Sync, and valid as long as the threads have this (invariant).
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// The threads that serve a region. Dropping it ends them.
pub(super) struct Service {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    // A forked child has a copy of this, and no threads.
    generation: usize,
}

impl Service {
    /// Starts the reader and so many workers, at least one.
    ///
    /// # Safety
    /// `core` is valid until the service has been dropped; `userfault` is what its pages are attached to.
    pub(super) unsafe fn start(core: NonNull<Core>, userfault: Arc<Userfault>, workers: usize) -> io::Result<Service> {
        let shared = Arc::new(Shared {
            core,
            userfault,
            jobs: Mutex::new(Jobs { queue: VecDeque::new(), is_open: true }),
            more: Condvar::new(),
            workers: (0..workers.max(1)).map(|_| AtomicU64::new(0)).collect(),
            is_stopping: AtomicBool::new(false),
        });
        // Dropped on an early return, it ends the threads there are.
        let mut service = Service { shared, threads: Vec::new(), generation: fork::generation() };
        service.spawn("reader", Shared::read)?;
        for index in 0..service.shared.workers.len() {
            service.spawn("monitor", move |shared| shared.work(index))?;
        }
        Ok(service)
    }

    fn spawn(&mut self, what: &str, run: impl FnOnce(&Shared) + Send + 'static) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let name = format!("{what} {}", shared.core().name().replace('\0', "_"));
        self.threads.push(thread::Builder::new().name(name).spawn(move || {
            // As in the handler, whose work this is: no signal interrupts who holds a region's lock.
            let _signals = SignalsBlocked::new();
            run(&shared);
        })?);
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if fork::generation() != self.generation {
            // The threads are the parent's, and one of them may have held the lock.
            return self.threads.drain(..).for_each(std::mem::forget);
        }
        self.shared.is_stopping.store(true, Ordering::Relaxed);
        self.shared.userfault.ring();
        // Under the lock, so that no worker is between its look and its sleep.
        drop(self.shared.lock());
        self.shared.more.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn core(&self) -> &Core {
        // SAFETY: valid until the service has been dropped (invariant), which waits for the threads that have this.
        unsafe { self.core.as_ref() }
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    /// Adds a job for the workers; false if the filter is gone.
    fn push(&self, job: Job) -> bool {
        let mut jobs = self.lock();
        if jobs.is_open {
            jobs.queue.push_back(job);
            self.more.notify_one();
        }
        jobs.is_open
    }

    /// What the reader does.
    fn read(&self) {
        loop {
            let time = self.core().has_barred().then_some(barred::TIME);
            match self.userfault.next(time) {
                Next::Missing(missing) => self.handle(&missing),
                Next::TimeUp => {}
                Next::End => return,
            }
            self.core().unbar_expired();
        }
    }

    fn handle(&self, missing: &Missing) {
        let is_worker = |worker: &AtomicU64| worker.load(Ordering::Relaxed) == missing.thread;
        if !self.core().has_filter() {
            if let Err(refusal) = self.core().serve(missing, |_| Err(Refusal::MonitorGone)) {
                self.refuse(missing, refusal);
            }
            if self.core().is_any_budget_due() {
                // A worker that panicked has ended the process.
                self.push(Job::TellBudgets);
            }
        } else if self.workers.iter().any(is_worker) {
            self.refuse(missing, Refusal::InOwnFilter);
        } else if !self.push(Job::Judge(*missing)) {
            self.refuse(missing, Refusal::MonitorGone);
        }
    }

    fn refuse(&self, missing: &Missing, refusal: Refusal) {
        // An older kernel needs a mapping for it, of which there may be none just now.
        while !self.core().bar(missing, refusal) && !self.is_stopping() {
            thread::sleep(barred::TIME);
        }
    }

    /// What a worker does.
    fn work(&self, index: usize) {
        self.workers[index].store(os::thread_number(), Ordering::Relaxed);
        while let Some(job) = self.next_job() {
            if let Job::Judge(missing) = job {
                self.judge(&missing);
            }
            self.core().tell_budgets_apart();
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
        let result = self.core().serve(missing, |fault| {
            let core = self.core();
            let verdict = panic::catch_unwind(AssertUnwindSafe(|| core.ask_filter_noted(fault)));
            verdict.unwrap_or_else(|payload| {
                // Dropping it could panic again.
                std::mem::forget(payload);
                has_panicked = true;
                Err(Refusal::MonitorGone)
            })
        });
        if let Err(refusal) = result {
            self.refuse(missing, refusal);
        }
        if has_panicked {
            self.close();
        }
    }

    /// Takes no more jobs, and refuses those there are.
    fn close(&self) {
        let mut jobs = self.lock();
        jobs.is_open = false;
        let left = std::mem::take(&mut jobs.queue);
        drop(jobs);
        for job in left {
            if let Job::Judge(missing) = job {
                self.refuse(&missing, Refusal::MonitorGone);
            }
        }
    }
}

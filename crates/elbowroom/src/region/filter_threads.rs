//! Threads of a region's own that run its filter while the thread that faulted waits.
//!
//! A thread that faults puts a request, which lies on its own stack, into the queue and sleeps until the
//! request is answered. A filter thread takes the request out, runs the filter, and answers. The queue is a
//! list through the requests, so nothing is allocated for it. Its lock is held for a few loads and stores.
//!
//! Every request is answered. If the filter panics, its thread closes the queue and answers all requests in
//! it. A closed queue takes no more requests. A forked child, which lacks the threads, does not ask them.

#![allow(
    unsafe_code,
    reason = "requests lie on the stacks of the threads that wait for them"
)]

use std::panic::{self, AssertUnwindSafe};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use super::filter::{Fault, Verdict};
use crate::error::{Cause, Reason};
use crate::fault::{fork, frames};
use crate::os::{self, SignalsBlocked};
use crate::sync::Lock;

/// No answer yet.
const WAITING: u32 = 0;
const COMMIT: u32 = 1;
const DECLINE: u32 = 2;
/// No filter thread is left to answer.
const GONE: u32 = 3;

/// A request to a filter thread, on the stack of the thread that faulted.
struct Request {
    // Invariant: valid until `answer` is no longer WAITING.
    fault: *const Fault<'static>,
    answer: AtomicU32,
    // Invariant: null, or the next request in the queue; touched only under the lock of the queue.
    next: *mut Request,
}

/// The requests that no filter thread has taken yet, in order.
struct Queue {
    // Invariant: both null, or the ends of a list of requests whose threads wait.
    first: *mut Request,
    last: *mut Request,
    is_open: bool,
}

// SAFETY: the pointers are to requests that stay valid until they are answered (invariant of `first` and
// `last`), and whichever thread has the queue may answer them.
unsafe impl Send for Queue {}

struct Shared {
    queue: Lock<Queue>,
    // Changes with each request and when the queue is closed; filter threads sleep on it.
    bell: AtomicU32,
}

/// The filter threads of a region. Dropping it ends them.
pub(super) struct FilterThreads {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    // A forked child has a copy of this, and no threads.
    generation: usize,
}

impl FilterThreads {
    /// Starts `threads` of them, at least one.
    pub(super) fn start(threads: usize, name: &str) -> std::io::Result<FilterThreads> {
        let queue = Queue {
            first: ptr::null_mut(),
            last: ptr::null_mut(),
            is_open: true,
        };
        let shared = Arc::new(Shared {
            queue: Lock::new(queue),
            bell: AtomicU32::new(0),
        });
        // Dropped on an early return, it ends the threads that have started.
        let mut started = FilterThreads {
            shared,
            threads: Vec::new(),
            generation: fork::generation(),
        };
        for _ in 0..threads.max(1) {
            let shared = Arc::clone(&started.shared);
            let thread = thread::Builder::new().name(format!("filter {}", name.replace('\0', "_")));
            started.threads.push(thread.spawn(move || {
                // As in the fault handler: no signal interrupts a holder of the region's lock.
                let _signals = SignalsBlocked::new();
                shared.serve();
            })?);
        }
        Ok(started)
    }

    /// Asks a filter thread to run the filter, and waits for its verdict. Async-signal-safe; the caller has
    /// asynchronous signals blocked.
    pub(super) fn ask(&self, fault: &Fault<'_>) -> Result<Verdict, Cause> {
        if fork::generation() != self.generation {
            return Err(Reason::FilterThreadGone.into());
        }
        let fault: *const Fault<'_> = fault;
        let mut request = Request {
            fault: fault.cast(),
            answer: AtomicU32::new(WAITING),
            next: ptr::null_mut(),
        };
        let request: *mut Request = &mut request;
        {
            let mut queue = self.shared.queue.lock_in_handler();
            if !queue.is_open {
                return Err(Reason::FilterThreadGone.into());
            }
            queue.push(request);
        }
        self.shared.ring();
        // SAFETY: this function's own; from here on only read, by both sides.
        let answer = unsafe { &(*request).answer };
        loop {
            match answer.load(Ordering::Acquire) {
                WAITING => os::wait(answer, WAITING),
                COMMIT => return Ok(Verdict::Commit),
                DECLINE => return Ok(Verdict::Decline),
                _ => return Err(Reason::FilterThreadGone.into()),
            }
        }
    }
}

impl Drop for FilterThreads {
    fn drop(&mut self) {
        if fork::generation() != self.generation {
            // The threads are the parent's, and so are the requests, which lie on their stacks.
            return self.threads.drain(..).for_each(std::mem::forget);
        }
        self.shared.close();
        for thread in self.threads.drain(..) {
            // A filter thread that panicked has said so; and one that drops its own region cannot wait for itself.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl Shared {
    fn ring(&self) {
        self.bell.fetch_add(1, Ordering::Release);
        os::wake_one(&self.bell);
    }

    /// Takes no more requests, declines those there are, and lets the threads end.
    fn close(&self) {
        let mut queue = self.queue.lock();
        queue.is_open = false;
        while let Some(request) = queue.pop() {
            answer(request, GONE);
        }
        drop(queue);
        // Each filter thread that wakes passes it on (see `serve`).
        self.ring();
    }

    /// What a filter thread thread does.
    fn serve(&self) {
        loop {
            let bell = self.bell.load(Ordering::Acquire);
            let (request, is_open) = {
                let mut queue = self.queue.lock();
                (queue.pop(), queue.is_open)
            };
            match request {
                Some(request) => {
                    let reply = judge(request);
                    answer(request, reply);
                    if reply == GONE {
                        return self.close();
                    }
                }
                // The bell changed since, if there was a request after the look.
                None if is_open => os::wait(&self.bell, bell),
                None => return os::wake_one(&self.bell),
            }
        }
    }
}

/// Runs the filter; GONE if it panicked.
fn judge(request: *mut Request) -> u32 {
    // SAFETY: the request is from the queue and not answered, so its thread waits and it is valid.
    let fault = unsafe { (*request).fault };
    // SAFETY: valid until the request is answered (invariant of `Request::fault`), which happens after this.
    let fault = unsafe { &*fault };
    let verdict = panic::catch_unwind(AssertUnwindSafe(|| {
        frames::note(fault.region().id(), || fault.region().ask_filter(fault))
    }));
    match verdict {
        Ok(Ok(Verdict::Commit)) => COMMIT,
        // A filter thread is in no other filter, so it waits for a frame and is not refused one.
        Ok(Ok(Verdict::Decline) | Err(_)) => DECLINE,
        Err(payload) => {
            // Dropping it could panic again.
            std::mem::forget(payload);
            GONE
        }
    }
}

/// Answers a request. It is not to be touched after: the thread that waits may have returned.
fn answer(request: *mut Request, reply: u32) {
    // SAFETY: the request is not answered yet, so its thread waits and it is valid.
    let answer = unsafe { &(*request).answer };
    let word: *const AtomicU32 = answer;
    answer.store(reply, Ordering::Release);
    os::wake_one(word);
}

impl Queue {
    fn push(&mut self, request: *mut Request) {
        if self.first.is_null() {
            self.first = request;
        } else {
            // SAFETY: in the queue, so its thread waits and it is valid; the lock of the queue is held.
            unsafe { (*self.last).next = request };
        }
        self.last = request;
    }

    fn pop(&mut self) -> Option<*mut Request> {
        if self.first.is_null() {
            return None;
        }
        let request = self.first;
        // SAFETY: in the queue, so its thread waits and it is valid; the lock of the queue is held.
        self.first = unsafe { (*request).next };
        Some(request)
    }
}

//! Threads of a region that run its filter while the faulting thread waits.
//!
//! A faulting thread puts a request, which lies on its own stack, into the queue, and sleeps until the request is
//! answered. A filter thread takes the request out, runs the filter, and answers. The queue is a list linked through
//! the requests, so it needs no allocation. Its lock is held for a few loads and stores.
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

/// A request to a filter thread, on the stack of the faulting thread.
struct Request {
    // Invariant: valid until `answer` is no longer WAITING.
    fault: *const Fault<'static>,
    answer: AtomicU32,
    // Invariant: null, or the next request in the queue; accessed only under the lock of the queue.
    next: *mut Request,
}

/// The requests that no filter thread has taken yet, in order of arrival.
struct Queue {
    // Invariant: both are null, or they are the ends of a list of requests whose threads wait.
    first: *mut Request,
    last: *mut Request,
    is_open: bool,
}

// SAFETY: the pointers are to requests that stay valid until they are answered (invariant of `first` and `last`). Any
// thread that holds the queue may answer them.
unsafe impl Send for Queue {}

struct Shared {
    queue: Lock<Queue>,
    // Changes with each request and when the queue is closed. Filter threads sleep on it.
    bell: AtomicU32,
}

/// The filter threads of a region. Dropping it ends them.
pub(super) struct FilterThreads {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    // A forked child has a copy of this object, but no threads.
    generation: usize,
}

impl FilterThreads {
    /// Starts `threads` filter threads, at least one.
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
        // On an early return, its drop ends the threads that have started.
        let mut started = FilterThreads {
            shared,
            threads: Vec::new(),
            generation: fork::generation(),
        };
        for _ in 0..threads.max(1) {
            let shared = Arc::clone(&started.shared);
            let thread = thread::Builder::new().name(format!("filter {}", name.replace('\0', "_")));
            started.threads.push(thread.spawn(move || {
                // No signal may interrupt a thread that holds the region's lock.
                let _signals = SignalsBlocked::new();
                shared.serve();
            })?);
        }
        Ok(started)
    }

    /// Asks a filter thread to run the filter, and waits for its verdict. Async-signal-safe. The caller has
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
        // SAFETY: the request is on this function's stack; from here on, both sides only read this field.
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
            // The threads belong to the parent, and so do the requests, which lie on their stacks.
            return self.threads.drain(..).for_each(std::mem::forget);
        }
        self.shared.close();
        for thread in self.threads.drain(..) {
            // A panic of a filter thread has been reported already. A filter thread that drops its own region cannot
            // wait for itself.
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

    /// Closes the queue, declines the waiting requests, and lets the threads end.
    fn close(&self) {
        let mut queue = self.queue.lock();
        queue.is_open = false;
        while let Some(request) = queue.pop() {
            answer(request, GONE);
        }
        drop(queue);
        // Each filter thread that wakes passes the wake on (see `serve`).
        self.ring();
    }

    /// Runs a filter thread.
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
                // If a request came after the look at the queue, the bell has changed, and this does not sleep.
                None if is_open => os::wait(&self.bell, bell),
                None => return os::wake_one(&self.bell),
            }
        }
    }
}

/// Runs the filter. Returns GONE if it panicked.
fn judge(request: *mut Request) -> u32 {
    // SAFETY: the request was in the queue and is not answered, so its thread waits and it is valid.
    let fault = unsafe { (*request).fault };
    // SAFETY: the fault is valid until the request is answered (invariant of `Request::fault`), which happens later.
    let fault = unsafe { &*fault };
    let verdict = panic::catch_unwind(AssertUnwindSafe(|| {
        frames::note(fault.region().id(), || fault.region().ask_filter(fault))
    }));
    match verdict {
        Ok(Ok(Verdict::Commit)) => COMMIT,
        // A filter thread is in no other filter, so it waits for a frame and is never refused one.
        Ok(Ok(Verdict::Decline) | Err(_)) => DECLINE,
        Err(payload) => {
            // Dropping the payload could panic again.
            std::mem::forget(payload);
            GONE
        }
    }
}

/// Answers a request. The request must not be accessed afterwards, because the waiting thread may have returned.
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
            // SAFETY: the request is in the queue, so its thread waits and it is valid; the lock of the queue is held.
            unsafe { (*self.last).next = request };
        }
        self.last = request;
    }

    fn pop(&mut self) -> Option<*mut Request> {
        if self.first.is_null() {
            return None;
        }
        let request = self.first;
        // SAFETY: the request is in the queue, so its thread waits and it is valid; the lock of the queue is held.
        self.first = unsafe { (*request).next };
        Some(request)
    }
}

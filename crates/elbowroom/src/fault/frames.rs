//! The stacks on which filters run, and the record of the filters that each thread runs.
//!
//! A frame is a stack of the library's own (see the platform's `FilterStack`) and a note of the
//! thread that is on it. Their number is fixed, so taking a frame is lock-free and allocates nothing
//! except, the first time, its stack.

#![allow(
    unsafe_code,
    reason = "threads that fault share the frames without a lock"
)]

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::panic::{self, AssertUnwindSafe};
use std::process;

use super::owner::OwnerId;
use crate::error::{Cause, Reason};
use crate::os::{self, FilterStack};
use crate::page;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{thread_token, yield_now};

#[cfg(all(test, loom))]
mod models;

/// The number of filters that may run at once. A further thread waits until one of them ends. If that thread is itself
/// in a filter, its touch is refused instead, because threads could wait for each other.
const FRAMES_MAX: usize = if cfg!(loom) { 2 } else { 1024 };

/// The work of a thread on a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    /// Runs the filter of the owner.
    Filter,
    /// Runs a callback that a fault of the owner has caused.
    Callback,
}

struct Frame {
    // The token of the thread that has the frame; 0 if the frame is free.
    thread: AtomicUsize,
    // The owner whose fault the thread handles.
    owner: AtomicUsize,
    is_filter: AtomicBool,
    // The page below the stack, which a filter touches when it overruns the stack; 0 before the stack exists.
    guard_page: AtomicUsize,
    // Invariant: accessed only by the thread that has the frame. Mapped on first use and never unmapped.
    stack: UnsafeCell<Option<FilterStack>>,
}

// SAFETY: the atomics may be shared; `stack` belongs to the thread that moved `thread` from 0 to its
// own token (invariant).
unsafe impl Sync for Frame {}

// A macro, because in a model atomics have no constant constructor.
macro_rules! free_frame {
    () => {
        Frame {
            thread: AtomicUsize::new(0),
            owner: AtomicUsize::new(OwnerId::NONE.get()),
            is_filter: AtomicBool::new(false),
            guard_page: AtomicUsize::new(0),
            stack: UnsafeCell::new(None),
        }
    };
}

#[cfg(not(loom))]
static FRAMES: [Frame; FRAMES_MAX] = [const { free_frame!() }; FRAMES_MAX];

/// No frame from this index on was ever taken, so a search ends here.
#[cfg(not(loom))]
static USED: AtomicUsize = AtomicUsize::new(0);

#[cfg(loom)]
loom::lazy_static! {
    static ref FRAMES: [Frame; FRAMES_MAX] = [(); FRAMES_MAX].map(|()| free_frame!());
    static ref USED: AtomicUsize = AtomicUsize::new(0);
}

/// A frame that the calling thread has.
struct Taken(&'static Frame);

impl Taken {
    /// Takes a free frame, and returns it with its index.
    fn try_take() -> Option<(usize, Taken)> {
        let me = thread_token();
        let take = |frame: &Frame| {
            // Acquire: sees the stack as the previous thread left it.
            let taken = frame
                .thread
                .compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed);
            taken.is_ok()
        };
        let mut frames = FRAMES.iter().enumerate();
        let (index, frame) = frames.find(|(_, frame)| take(frame))?;
        Some((index, Taken(frame)))
    }

    fn take(owner: OwnerId, work: Work) -> Result<Taken, Cause> {
        loop {
            if let Some((index, taken)) = Taken::try_take() {
                taken.0.owner.store(owner.get(), Ordering::Relaxed);
                let is_filter = work == Work::Filter;
                taken.0.is_filter.store(is_filter, Ordering::Relaxed);
                USED.fetch_max(index + 1, Ordering::Relaxed);
                return Ok(taken);
            }
            if mine().next().is_some() {
                return Err(Reason::TooManyFilters.into());
            }
            yield_now();
        }
    }

    fn stack(&mut self) -> Result<&FilterStack, Cause> {
        // SAFETY: this thread has the frame (invariant of `stack`). Only this function touches the cell,
        // and it borrows the one `Taken` of the frame exclusively, so no other reference lives.
        let stack = unsafe { &mut *self.0.stack.get() };
        match stack {
            Some(stack) => Ok(stack),
            None => {
                let made = FilterStack::new().map_err(Cause::os)?;
                self.0
                    .guard_page
                    .store(made.guard_page(), Ordering::Relaxed);
                Ok(stack.insert(made))
            }
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.owner.store(OwnerId::NONE.get(), Ordering::Relaxed);
        self.0.thread.store(0, Ordering::Release);
    }
}

/// Returns the frames of the calling thread. A thread sees its own stores, and other threads do not store its token.
fn mine() -> impl Iterator<Item = &'static Frame> {
    let me = thread_token();
    let used = &FRAMES[..USED.load(Ordering::Relaxed)];
    used.iter()
        .filter(move |frame| frame.thread.load(Ordering::Relaxed) == me)
}

fn mine_for(owner: OwnerId) -> impl Iterator<Item = &'static Frame> {
    mine().filter(move |frame| frame.owner.load(Ordering::Relaxed) == owner.get())
}

/// Returns whether the calling thread is inside a filter of this owner.
pub(crate) fn is_inside_filter_of(owner: OwnerId) -> bool {
    mine_for(owner).any(|frame| frame.is_filter.load(Ordering::Relaxed))
}

/// Returns whether the calling thread is inside a fault of this owner, in a filter or a callback.
pub(crate) fn is_inside_fault_of(owner: OwnerId) -> bool {
    mine_for(owner).next().is_some()
}

/// Returns how many frames the calling thread has for this owner.
pub(super) fn count_mine_for(owner: OwnerId) -> usize {
    mine_for(owner).count()
}

/// Returns whether this address is in the page below the stack of a filter that the calling thread runs.
pub(super) fn is_overrun(address: usize) -> bool {
    let page = address & !(page::size() - 1);
    page != 0 && mine().any(|frame| frame.guard_page.load(Ordering::Relaxed) == page)
}

/// Frees in a forked child the frames of the threads that the child lacks.
pub(super) fn forget_other_threads() {
    let me = thread_token();
    for frame in FRAMES.iter() {
        if frame.thread.load(Ordering::Relaxed) != me {
            frame.thread.store(0, Ordering::Release);
        }
    }
}

/// Runs `filter` on the current stack, and notes that this thread is in a filter of `owner`.
pub(crate) fn note<R>(owner: OwnerId, filter: impl FnOnce() -> R) -> Result<R, Cause> {
    let _frame = Taken::take(owner, Work::Filter)?;
    Ok(filter())
}

/// Runs a filter of `owner` on a stack of the library's own.
///
/// A panic in the filter ends the process: there is no frame to unwind to between the handler and the faulting
/// instruction.
pub(crate) fn run_filter<R>(owner: OwnerId, filter: impl FnOnce() -> R) -> Result<R, Cause> {
    run(owner, Work::Filter, filter)
}

/// Runs, like [`run_filter`], a callback that a fault of `owner` has caused.
pub(crate) fn run_callback<R>(owner: OwnerId, callback: impl FnOnce() -> R) -> Result<R, Cause> {
    run(owner, Work::Callback, callback)
}

fn run<R>(owner: OwnerId, work: Work, filter: impl FnOnce() -> R) -> Result<R, Cause> {
    let mut frame = Taken::take(owner, work)?;
    let stack = frame.stack()?;
    // SAFETY: this thread has just taken the frame of the stack, and makes no other call on it.
    unsafe { call_on(stack, filter) }.ok_or(Reason::Filter.into())
}

/// Calls `work` on `stack`. The result is always `Some`: `work` returns, or a panic in it has ended the
/// process.
///
/// # Safety
/// No other call is on the stack.
unsafe fn call_on<R, F: FnOnce() -> R>(stack: &FilterStack, work: F) -> Option<R> {
    struct Job<F, R> {
        work: Option<F>,
        result: Option<R>,
    }

    extern "C" fn call<F: FnOnce() -> R, R>(job: *mut c_void) {
        // SAFETY: `call_on` passes a pointer to its own Job of these types, and does not touch it
        // until this function has returned.
        let job = unsafe { &mut *job.cast::<Job<F, R>>() };
        let Some(work) = job.work.take() else { return };
        match panic::catch_unwind(AssertUnwindSafe(work)) {
            Ok(result) => job.result = Some(result),
            Err(_) => {
                let text = b"elbowroom: a filter panicked; there is nowhere to unwind to, so the process aborts\n";
                os::write_stderr(text);
                process::abort();
            }
        }
    }

    let mut job = Job {
        work: Some(work),
        result: None,
    };
    // SAFETY: no other call is on the stack (contract). `call` takes a pointer to a `Job` of these
    // types, which outlives the call, and catches every unwind.
    unsafe { stack.run(call::<F, R>, (&raw mut job).cast()) };
    job.result
}

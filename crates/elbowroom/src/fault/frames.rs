//! Where filters run, and which filters a thread is in.
//!
//! A frame is a stack of the library's own (see the platform's `FilterStack`) and a note of who is on it. There is a
//! fixed number of them, so that taking one is lock-free and allocates nothing but, the first time, its stack.

#![allow(unsafe_code, reason = "frames are shared by whoever faults, without a lock")]

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::panic::{self, AssertUnwindSafe};
use std::process;
use std::ptr;

use super::Refusal;
use crate::os::{self, FilterStack};
use crate::region::Core;
use crate::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use crate::sync::{thread_token, yield_now};

/// How many filters may run at once. A further thread waits for one of them to end, unless it is in a filter itself:
/// then it is refused, or threads might wait for each other.
const FRAMES_MAX: usize = if cfg!(loom) { 2 } else { 1024 };

/// What a thread does on a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    /// Runs the filter of its region.
    Filter,
    /// Runs something else while its region is being looked at.
    Callback,
}

struct Frame {
    // The token of the thread that owns the frame; 0 if it is free.
    thread: AtomicUsize,
    // The region that the thread is in the fault of.
    region: AtomicPtr<Core>,
    is_filter: AtomicBool,
    // Invariant: touched only by the owner. Mapped when first needed, kept for good.
    stack: UnsafeCell<Option<FilterStack>>,
}

// SAFETY: the atomics are shared by nature; `stack` belongs to whoever moved `thread` from 0 to its own token.
unsafe impl Sync for Frame {}

/// Not a function: a model's atomics are not made by constant ones.
macro_rules! free_frame {
    () => {
        Frame {
            thread: AtomicUsize::new(0),
            region: AtomicPtr::new(ptr::null_mut()),
            is_filter: AtomicBool::new(false),
            stack: UnsafeCell::new(None),
        }
    };
}

#[cfg(not(loom))]
static FRAMES: [Frame; FRAMES_MAX] = [const { free_frame!() }; FRAMES_MAX];

/// Frames for what has nothing to do with regions. A handler of somebody else's that never returns (siglongjmp) keeps
/// its own for good, which must not cost a filter's.
#[cfg(not(loom))]
static APART: [Frame; 16] = [const { free_frame!() }; 16];

/// Frames from here on have never been owned, so nobody need look at them.
#[cfg(not(loom))]
static USED: AtomicUsize = AtomicUsize::new(0);

#[cfg(loom)]
loom::lazy_static! {
    static ref FRAMES: [Frame; FRAMES_MAX] = [(); FRAMES_MAX].map(|()| free_frame!());
    static ref APART: [Frame; 1] = [free_frame!()];
    static ref USED: AtomicUsize = AtomicUsize::new(0);
}

/// A frame owned by the calling thread.
struct Owned(&'static Frame);

impl Owned {
    /// Takes a free frame, and its index.
    fn try_take(frames: &'static [Frame]) -> Option<(usize, Owned)> {
        let me = thread_token();
        // Acquire: sees the stack as the last owner left it.
        let take = |frame: &Frame| frame.thread.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed).is_ok();
        frames.iter().enumerate().find(|(_, frame)| take(frame)).map(|(index, frame)| (index, Owned(frame)))
    }

    fn take(region: &Core, work: Work) -> Result<Owned, Refusal> {
        loop {
            if let Some((index, owned)) = Owned::try_take(&FRAMES[..]) {
                owned.0.region.store(ptr::from_ref(region).cast_mut(), Ordering::Relaxed);
                owned.0.is_filter.store(work == Work::Filter, Ordering::Relaxed);
                USED.fetch_max(index + 1, Ordering::Relaxed);
                return Ok(owned);
            }
            if mine().next().is_some() {
                return Err(Refusal::TooManyFilters);
            }
            yield_now();
        }
    }

    fn stack(&self) -> Result<&FilterStack, Refusal> {
        // SAFETY: this thread owns the frame, and this function is the only place that touches the cell.
        let stack = unsafe { &mut *self.0.stack.get() };
        match stack {
            Some(stack) => Ok(stack),
            None => Ok(stack.insert(FilterStack::new().map_err(Refusal::Os)?)),
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.region.store(ptr::null_mut(), Ordering::Relaxed);
        self.0.thread.store(0, Ordering::Release);
    }
}

/// The frames of the calling thread. What it wrote itself it sees; what others write meanwhile is not about it.
fn mine() -> impl Iterator<Item = &'static Frame> {
    let me = thread_token();
    let used = &FRAMES[..USED.load(Ordering::Relaxed)];
    used.iter().filter(move |frame| frame.thread.load(Ordering::Relaxed) == me)
}

fn mine_for(region: &Core) -> impl Iterator<Item = &'static Frame> {
    let region = ptr::from_ref(region).cast_mut();
    mine().filter(move |frame| frame.region.load(Ordering::Relaxed) == region)
}

/// Whether the calling thread is inside a filter of this region.
pub(crate) fn is_inside_filter_of(region: &Core) -> bool {
    mine_for(region).any(|frame| frame.is_filter.load(Ordering::Relaxed))
}

/// Whether the calling thread is inside a fault of this region, in a filter or a callback.
pub(crate) fn is_inside_fault_of(region: &Core) -> bool {
    mine_for(region).next().is_some()
}

/// How many frames of the calling thread are for this region.
pub(super) fn count_mine_for(region: &Core) -> usize {
    mine_for(region).count()
}

/// In a forked child: frees the frames of the threads that it does not have.
pub(super) fn forget_other_threads() {
    let me = thread_token();
    for frame in FRAMES.iter().chain(&APART[..]) {
        if frame.thread.load(Ordering::Relaxed) != me {
            frame.thread.store(0, Ordering::Release);
        }
    }
}

/// Runs `filter` right here, noting that this thread is in a filter of `region`.
pub(crate) fn note<R>(region: &Core, filter: impl FnOnce() -> R) -> Result<R, Refusal> {
    let _frame = Owned::take(region, Work::Filter)?;
    Ok(filter())
}

/// Runs a filter of `region` on a stack of the library's own. A panic in it ends the process: there is no frame to
/// unwind to between the handler and the instruction that faulted.
pub(crate) fn run_filter<R>(region: &Core, filter: impl FnOnce() -> R) -> Result<R, Refusal> {
    run(region, Work::Filter, filter)
}

/// Runs something else that a fault of `region` has brought about, in the same way.
pub(crate) fn run_callback<R>(region: &Core, callback: impl FnOnce() -> R) -> Result<R, Refusal> {
    run(region, Work::Callback, callback)
}

fn run<R>(region: &Core, work: Work, filter: impl FnOnce() -> R) -> Result<R, Refusal> {
    let frame = Owned::take(region, work)?;
    let stack = frame.stack()?;
    // SAFETY: this thread owns the frame, and is on it once.
    unsafe { call_on(stack, filter) }.ok_or(Refusal::Filter)
}

/// Runs something that has nothing to do with regions on a stack of the library's own. False, without having run it, if
/// there is none to be had.
#[allow(dead_code, reason = "only where handlers have a small stack of their own")]
pub(crate) fn run_apart(work: impl FnOnce()) -> bool {
    let Some((_, frame)) = Owned::try_take(&APART[..]) else { return false };
    let Ok(stack) = frame.stack() else { return false };
    // SAFETY: this thread owns the frame, and is on it once.
    unsafe { call_on(stack, work) }.is_some()
}

/// Calls `work` on `stack`. Always `Some`: `work` returns, or a panic in it has ended the process.
///
/// # Safety
/// Nobody else is on the stack.
unsafe fn call_on<R, F: FnOnce() -> R>(stack: &FilterStack, work: F) -> Option<R> {
    struct Job<F, R> {
        work: Option<F>,
        result: Option<R>,
    }

    extern "C" fn call<F: FnOnce() -> R, R>(job: *mut c_void) {
        // SAFETY: `call_on` passes a pointer to its own Job of these very types, and waits.
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

    let mut job = Job { work: Some(work), result: None };
    // SAFETY: nobody else is on the stack (contract); `call` is of the types of `job`, and catches every unwind.
    unsafe { stack.run(call::<F, R>, (&raw mut job).cast()) };
    job.result
}

#[cfg(all(test, loom))]
mod models {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    /// What a frame's owner has to itself: the checker objects to two at once.
    struct Stacks([UnsafeCell<usize>; FRAMES_MAX]);

    impl Stacks {
        fn new() -> Arc<Stacks> {
            Arc::new(Stacks([(); FRAMES_MAX].map(|()| UnsafeCell::new(0))))
        }

        /// Uses the frame that the caller owns.
        fn visit(&self, owned: &Owned) {
            let index = FRAMES.iter().position(|frame| ptr::eq(frame, owned.0)).unwrap();
            // SAFETY: the checker objects if another thread is here.
            self.0[index].with_mut(|visits| unsafe { *visits += 1 });
        }
    }

    #[test]
    fn a_frame_has_one_owner_and_nobody_sees_anothers() {
        loom::model(|| {
            let (stacks, region, elsewhere) = (Stacks::new(), Core::for_model(), Core::for_model());
            let visit = |stacks: &Stacks, mine: &Core, theirs: &Core, work| {
                let owned = Owned::take(mine, work).unwrap();
                stacks.visit(&owned);
                assert!(is_inside_fault_of(mine) && !is_inside_filter_of(theirs));
                assert_eq!((is_inside_filter_of(mine), count_mine_for(mine)), (work == Work::Filter, 1));
                drop(owned);
                assert!(!is_inside_fault_of(mine));
            };
            let other = {
                let (stacks, region, elsewhere) = (Arc::clone(&stacks), region.clone(), elsewhere.clone());
                thread::spawn(move || visit(&stacks, &elsewhere, &region, Work::Callback))
            };
            visit(&stacks, &region, &elsewhere, Work::Filter);
            other.join().unwrap();
            assert!(FRAMES.iter().all(|frame| frame.thread.load(Ordering::Relaxed) == 0));
        });
    }

    #[test]
    fn a_thread_waits_for_a_frame_and_one_that_has_one_is_refused() {
        loom::model(|| {
            let (stacks, region) = (Stacks::new(), Core::for_model());
            // Two frames; this thread holds one and wants another, the other thread wants one.
            let outer = Owned::take(&region, Work::Filter).unwrap();
            stacks.visit(&outer);
            let other = {
                let (stacks, region) = (Arc::clone(&stacks), region.clone());
                thread::spawn(move || stacks.visit(&Owned::take(&region, Work::Filter).unwrap()))
            };
            match Owned::take(&region, Work::Filter) {
                Ok(inner) => {
                    stacks.visit(&inner);
                    assert_eq!(count_mine_for(&region), 2);
                }
                Err(refusal) => assert_eq!(refusal, Refusal::TooManyFilters),
            }
            drop(outer);
            other.join().unwrap();
            assert_eq!(count_mine_for(&region), 0);
        });
    }
}

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
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use super::Refusal;
use crate::os::{self, FilterStack};
use crate::region::Core;

/// How many filters may run at once; a further thread waits for one of them to end.
const FRAMES_MAX: usize = 1024;

struct Frame {
    // The token of the thread that owns the frame; 0 if it is free.
    thread: AtomicUsize,
    // The region whose filter that thread runs on it; null if it runs something else.
    region: AtomicPtr<Core>,
    // Invariant: touched only by the owner. Mapped when first needed, kept for good.
    stack: UnsafeCell<Option<FilterStack>>,
}

// SAFETY: the atomics are shared by nature; `stack` belongs to whoever moved `thread` from 0 to its own token.
unsafe impl Sync for Frame {}

static FRAMES: [Frame; FRAMES_MAX] = [const {
    Frame { thread: AtomicUsize::new(0), region: AtomicPtr::new(ptr::null_mut()), stack: UnsafeCell::new(None) }
}; FRAMES_MAX];

/// Frames from here on have never been owned, so nobody need look at them.
static USED: AtomicUsize = AtomicUsize::new(0);

/// A frame owned by the calling thread.
struct Owned(&'static Frame);

impl Owned {
    fn take(region: Option<&Core>) -> Owned {
        let me = os::thread_token();
        loop {
            for (index, frame) in FRAMES.iter().enumerate() {
                // Acquire: sees the stack as the last owner left it.
                if frame.thread.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                    let region = region.map_or(ptr::null_mut(), |region| ptr::from_ref(region).cast_mut());
                    frame.region.store(region, Ordering::Relaxed);
                    USED.fetch_max(index + 1, Ordering::Relaxed);
                    return Owned(frame);
                }
            }
            std::thread::yield_now();
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

/// Whether the calling thread is inside a filter of this region.
pub(crate) fn is_inside_filter_of(region: &Core) -> bool {
    let me = os::thread_token();
    let region = ptr::from_ref(region).cast_mut();
    // What this thread wrote it sees; what others write meanwhile is not about this thread.
    FRAMES[..USED.load(Ordering::Relaxed)]
        .iter()
        .any(|frame| frame.thread.load(Ordering::Relaxed) == me && frame.region.load(Ordering::Relaxed) == region)
}

/// Runs `filter` right here, noting that this thread is in a filter of `region`.
pub(crate) fn note<R>(region: &Core, filter: impl FnOnce() -> R) -> R {
    let _frame = Owned::take(Some(region));
    filter()
}

/// Runs a filter of `region`, or a callback that is no region's, on a stack of the library's own. A panic in it ends
/// the process: there is no frame to unwind to between the handler and the instruction that faulted.
pub(crate) fn run<R>(region: Option<&Core>, filter: impl FnOnce() -> R) -> Result<R, Refusal> {
    struct Job<F, R> {
        filter: Option<F>,
        result: Option<R>,
    }

    extern "C" fn call<F: FnOnce() -> R, R>(job: *mut c_void) {
        // SAFETY: `run` passes a pointer to its own Job of these very types, and waits.
        let job = unsafe { &mut *job.cast::<Job<F, R>>() };
        let Some(filter) = job.filter.take() else { return };
        match panic::catch_unwind(AssertUnwindSafe(filter)) {
            Ok(result) => job.result = Some(result),
            Err(_) => {
                os::write_stderr(
                    b"elbowroom: a filter panicked; there is nowhere to unwind to, so the process aborts\n",
                );
                process::abort();
            }
        }
    }

    fn trampoline<F: FnOnce() -> R, R>(_: &Job<F, R>) -> extern "C" fn(*mut c_void) {
        call::<F, R>
    }

    let frame = Owned::take(region);
    let stack = frame.stack()?;
    let mut job = Job { filter: Some(filter), result: None };
    let function = trampoline(&job);
    // SAFETY: this thread owns the frame and is on it once; `function` is `call` for the types of `job`, and catches
    // every unwind.
    unsafe { stack.run(function, (&raw mut job).cast()) };
    // `call` has stored a result, or it would not have come back.
    job.result.ok_or(Refusal::Filter)
}

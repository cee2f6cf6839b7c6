//! Forks by a program that has fork handlers, or from a signal handler.

use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use elbowroom::{Growth, Region, page_size};

use super::{action, region};
use crate::common::{is_emulated, times};

/// Fork handlers that were registered before those of the library, so they run inside them.
pub(super) fn fork_handlers() {
    use elbowroom::{AppendVec, Backend, Budget};
    use std::sync::OnceLock;

    static TOUCHED: OnceLock<(Vec<Region>, AppendVec<usize>)> = OnceLock::new();
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn touch() {
        let Some((regions, pushed)) = TOUCHED.get() else {
            return;
        };
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        for region in regions {
            region.try_write(call * page_size(), 1u8).unwrap();
            region.commit(0..(call + 2) * page_size()).unwrap();
        }
        for _ in 0..page_size() {
            pushed.push(call);
        }
    }
    // SAFETY: functions that live for good.
    let result = unsafe { libc::pthread_atfork(Some(touch), Some(touch), Some(touch)) };
    assert_eq!(result, 0);

    let budget = Budget::new(1 << 30);
    let make = |backend| {
        let builder = Region::builder(64 * page_size()).growth(Growth::Pages(1));
        builder.budget(&budget).backend(backend).build()
    };
    let mut regions = vec![make(Backend::Protection).unwrap()];
    // Where the system has it.
    regions.extend(make(Backend::Userfault));
    let pushed = AppendVec::builder(1 << 20).budget(&budget).build().unwrap();
    assert!(TOUCHED.set((regions, pushed)).is_ok());
    for _ in 0..3 {
        // SAFETY: the child does what is safe after a fork of a process with one thread, and leaves by _exit.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        let (regions, pushed) = TOUCHED.get().unwrap();
        let calls = CALLS.load(Ordering::Relaxed);
        for region in regions {
            region.try_write(63 * page_size(), 1u8).unwrap();
            assert_eq!(region.stats().committed_bytes, (calls + 2) * page_size());
            region.decommit(63 * page_size()..region.len()).unwrap();
        }
        assert_eq!(pushed.len(), calls * page_size());
        if child == 0 {
            // SAFETY: _exit(2) has no preconditions. It ends the child without the parent's destructors.
            unsafe { libc::_exit(0) };
        }
        let mut status = -1;
        // SAFETY: a child of this process, and a live status.
        unsafe { libc::waitpid(child, &mut status, 0) };
        assert_eq!(status, 0);
    }
}

/// A signal handler forks while the thread that it interrupts makes and releases regions.
pub(super) fn forking_signal_handler() {
    if is_emulated() {
        // A fork takes an emulator's own locks, which the interrupted thread may hold.
        return;
    }
    extern "C" fn fork_and_wait(_: i32) {
        // SAFETY: the process has one thread, and the child leaves at once.
        match unsafe { libc::fork() } {
            // SAFETY: _exit(2) has no preconditions; it ends the child.
            0 => unsafe { libc::_exit(0) },
            child => {
                let mut status = -1;
                // SAFETY: a child of this process, and a live status.
                unsafe { libc::waitpid(child, &mut status, 0) };
                assert_eq!(status, 0);
            }
        }
    }
    let mut forking = action(fork_and_wait as *const () as usize);
    forking.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: a handler of the type that its flags say.
    unsafe { libc::sigaction(libc::SIGALRM, &forking, ptr::null_mut()) };
    for n in 0..times(1000) {
        // Once each, a little later every time, so that the signal arrives at every point.
        let after = |tv_usec| libc::timeval { tv_sec: 0, tv_usec };
        let timer = libc::itimerval {
            it_interval: after(0),
            it_value: after(1 + (n % 100) as libc::suseconds_t),
        };
        // SAFETY: setitimer(2) reads a live timer.
        unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, ptr::null_mut()) };
        let region = region();
        region.try_write(0, 1u8).unwrap();
    }
}

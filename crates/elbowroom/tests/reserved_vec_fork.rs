//! A forked child finds no lock of a container's held, whatever the other threads were in the middle of.

#![cfg(unix)]
#![allow(unsafe_code, reason = "fork, waitpid and _exit are C functions")]

mod common;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use elbowroom::{Budget, Growth, ReservedVec, page_size};

/// Grows, shrinks and drops, charged to a budget that others use as well.
fn work(budget: &Budget) {
    let builder = ReservedVec::builder(64 * page_size()).budget(budget).growth(Growth::Pages(1));
    let mut vec: ReservedVec<u8> = builder.build().unwrap();
    for pages in 1..8 {
        vec.resize(pages * page_size(), 1);
    }
    vec.truncate(1);
    vec.shrink_to_fit();
    // And some that come and go.
    for len in 1..8 {
        let mut small = ReservedVec::with_max_len(1000);
        small.resize(len, 7);
        assert_eq!(small.iter().sum::<usize>(), 7 * len);
    }
}

/// The exit code of a child, or `None` if it hangs (it is killed: it may have alarms blocked) or ends in another way.
fn exit_code(child: libc::pid_t) -> Option<i32> {
    let begun = Instant::now();
    let mut status = 0;
    loop {
        // SAFETY: a child of ours, and a status that is live.
        match unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) } {
            0 if begun.elapsed() > Duration::from_secs(60) => {
                // SAFETY: it has not been waited for, so it is still the same process.
                unsafe { libc::kill(child, libc::SIGKILL) };
                // SAFETY: as above.
                unsafe { libc::waitpid(child, &mut status, 0) };
                return None;
            }
            0 => std::thread::sleep(Duration::from_millis(1)),
            _ => return libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
        }
    }
}

#[test]
fn children_grow_for_themselves() {
    // Many levels, so that a charge takes a while and a fork comes in the middle of one.
    let top = Budget::new(1 << 30);
    let budget = (0..1000).fold(top, |budget, _| budget.child(1 << 30));
    let shared = Mutex::new(ReservedVec::<u8>::builder(64 * page_size()).budget(&budget).build().unwrap());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    work(&budget);
                }
            });
        }
        let _over = common::SetWhenDropped(&is_over);
        for _ in 0..common::times(100) {
            // Nobody else is inside, so that the child can use it.
            let mut vec = shared.lock().unwrap();
            // SAFETY: the child does what is safe after the fork of a program with threads and an allocator that, as
            // glibc's and macOS's, sees to forks itself; and leaves by _exit.
            let child = unsafe { libc::fork() };
            assert!(child >= 0);
            if child == 0 {
                vec.resize(20 * page_size(), 1);
                work(&budget);
                elbowroom::trim();
                // SAFETY: ends the child without the parent's destructors.
                unsafe { libc::_exit(17) };
            }
            assert_eq!(exit_code(child), Some(17));
            vec.clear();
            vec.shrink_to_fit();
        }
    });
    drop(shared);
    assert_eq!(budget.committed_bytes(), 0);
}

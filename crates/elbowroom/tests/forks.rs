//! A forked child finds every lock of a container free, whatever the other threads were doing.

// The models of loom do without `AppendVec`.
#![cfg(all(unix, not(loom)))]
#![allow(unsafe_code, reason = "fork, waitpid and _exit are C functions")]

mod common;

use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use elbowroom::{AppendVec, Budget, Growth, ReservedVec, page_size};

/// Grows, shrinks and drops vectors, charged to a budget that other threads use as well.
fn work(budget: &Budget) {
    let builder = ReservedVec::builder(64 * page_size())
        .budget(budget)
        .growth(Growth::Pages(1));
    let mut vec: ReservedVec<u8> = builder.build().unwrap();
    for pages in 1..8 {
        vec.resize(pages * page_size(), 1);
    }
    vec.truncate(1);
    vec.shrink_to_fit();
    // Some vectors that are made and dropped at once.
    for len in 1..8 {
        let mut small = ReservedVec::with_max_len(1000);
        small.resize(len, 7);
        assert_eq!(small.iter().sum::<usize>(), 7 * len);
    }
}

/// The exit status of a child that has found everything in order.
const IN_ORDER: i32 = 17;

/// Waits for a child, and checks that it has found everything in order.
fn expect_order(child: libc::pid_t) {
    let begun = Instant::now();
    let mut status = 0;
    // SAFETY: a child of this process, and a status that is live.
    while unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) } == 0 {
        if begun.elapsed() < Duration::from_secs(60) {
            thread::sleep(Duration::from_millis(1));
            continue;
        }
        // It may have alarms blocked.
        // SAFETY: it has not been waited for, so it is still the same process.
        unsafe { libc::kill(child, libc::SIGKILL) };
        // SAFETY: a child of this process, and a status that is live.
        unsafe { libc::waitpid(child, &mut status, 0) };
        // Seen once in some hundred runs under QEMU 7.2. A fork may leave a lock of the emulator held in the child. A
        // lock of the library would also be found on real hardware.
        assert!(common::is_emulated(), "the child hangs");
        return;
    }
    assert!(libc::WIFEXITED(status), "the child died: {status:#x}");
    assert_eq!(libc::WEXITSTATUS(status), IN_ORDER);
}

#[test]
fn children_grow_for_themselves() {
    // Many levels, so that a charge takes a while and forks happen during charges.
    let top = Budget::new(1 << 30);
    let budget = (0..1000).fold(top, |budget, _| budget.child(1 << 30));
    let shared = Mutex::new(
        ReservedVec::<u8>::builder(64 * page_size())
            .budget(&budget)
            .build()
            .unwrap(),
    );
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    work(&budget);
                }
            });
        }
        let _over = common::SetWhenDropped(&is_over);
        for _ in 0..common::times(100) {
            // No other thread is inside, so the child can use it.
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
                unsafe { libc::_exit(IN_ORDER) };
            }
            expect_order(child);
            vec.clear();
            vec.shrink_to_fit();
        }
    });
    drop(shared);
    assert_eq!(budget.committed_bytes(), 0);
}

/// The thread and the number of the push, with a check sum that a torn element would not have.
struct Entry {
    thread: u64,
    number: u64,
    check: u64,
}

impl Entry {
    fn new(thread: u64, number: u64) -> Entry {
        Entry {
            thread,
            number,
            check: thread.rotate_left(32) ^ !number,
        }
    }

    fn is_whole(&self) -> bool {
        self.check == self.thread.rotate_left(32) ^ !self.number
    }
}

/// The maximum of a vector. Threads stop pushing at half of it.
const MANY: usize = 1 << 18;

/// Pushes in all ways until it is told to stop.
fn push(vec: &AppendVec<Entry>, thread: u64, is_over: &AtomicBool) {
    // The length alone is no bound: it does not grow while the other thread is stopped in the middle of a push.
    let mut last = 0;
    for number in 0.. {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        if last.max(vec.len()) > MANY / 2 {
            thread::yield_now();
        } else if number % 100 == 99 {
            // Leaves a hole for the next push.
            let panicking = AssertUnwindSafe(|| {
                vec.push_with(|_| panic::resume_unwind(Box::new(())));
            });
            assert!(panic::catch_unwind(panicking).is_err());
        } else {
            let (index, _) = vec.push(Entry::new(thread, number));
            assert_eq!(vec[index].number, number);
            last = index;
        }
    }
}

/// Uses a vector in the child of a fork.
fn push_in_child(vec: &AppendVec<Entry>) {
    const CHILD: u64 = 99;
    let before = vec.len();
    let indices: Vec<usize> = (0..500)
        .map(|number| vec.push(Entry::new(CHILD, number)).0)
        .collect();
    for (number, &index) in (0..).zip(&indices) {
        assert!(vec[index].is_whole() && (vec[index].thread, vec[index].number) == (CHILD, number));
    }
    vec.reserve(1000);
    assert!(vec.len() >= before && vec.as_slice().iter().all(Entry::is_whole));
    // Each element behind that is there completely or not at all.
    assert!(
        (0..vec.capacity())
            .filter_map(|index| vec.get(index))
            .all(Entry::is_whole)
    );
    let mine = (0..vec.capacity())
        .filter_map(|index| vec.get(index))
        .filter(|entry| entry.thread == CHILD);
    assert_eq!(mine.count(), indices.len());
}

#[test]
fn children_push_to_a_vector_that_others_were_pushing_to() {
    for round in 0..common::times(60) {
        // Grows often, so that a fork comes in the middle of it now and then.
        let budget = Budget::new(1 << 30);
        let vec = AppendVec::builder(MANY)
            .budget(&budget)
            .growth(Growth::Pages(1))
            .build()
            .unwrap();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let _over = common::SetWhenDropped(&is_over);
            for thread in 0..2 {
                let (vec, is_over) = (&vec, &is_over);
                scope.spawn(move || push(vec, thread, is_over));
            }
            while vec.len() < 100 * (1 + round as usize % 7) {
                thread::yield_now();
            }
            // SAFETY: the child does what is safe after the fork of a program with threads and an allocator that, as
            // glibc's and macOS's, sees to forks itself; and leaves by _exit.
            let child = unsafe { libc::fork() };
            assert!(child >= 0);
            if child == 0 {
                let result = panic::catch_unwind(AssertUnwindSafe(|| push_in_child(&vec)));
                // SAFETY: ends the child without the parent's destructors.
                unsafe { libc::_exit(if result.is_ok() { IN_ORDER } else { 18 }) };
            }
            expect_order(child);
        });
        // The child's changes affect only the child.
        assert!(
            vec.into_iter()
                .all(|entry| entry.is_whole() && entry.thread < 2)
        );
        assert_eq!(budget.committed_bytes(), 0);
    }
}

/// A thread is in the middle of a push when the process forks. In the child that push never ends. The vector is still
/// used and dropped there.
#[test]
fn a_child_drops_a_vector_whose_push_has_vanished() {
    for _ in 0..common::times(20) {
        let vec = std::sync::Arc::new(AppendVec::<String>::new());
        vec.push("first".to_owned());
        let (begun, go_on) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            let pushing = std::sync::Arc::clone(&vec);
            let (begun, go_on) = (&begun, &go_on);
            scope.spawn(move || {
                pushing.push_with(|_| {
                    begun.store(true, Ordering::Relaxed);
                    while !go_on.load(Ordering::Relaxed) {
                        thread::yield_now();
                    }
                    "second".to_owned()
                });
            });
            while !begun.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            // SAFETY: the child does what is safe after the fork of a program with threads and an allocator that sees
            // to forks itself; and leaves by _exit.
            let child = unsafe { libc::fork() };
            assert!(child >= 0);
            if child == 0 {
                vec.push("third".to_owned());
                let is_there = vec[0] == "first";
                // SAFETY: the reference of the thread that the child lacks is taken over.
                let vec = unsafe { std::ptr::read(&raw const *vec) };
                drop(vec);
                // SAFETY: ends the child without the parent's destructors.
                unsafe { libc::_exit(if is_there { IN_ORDER } else { 1 }) };
            }
            go_on.store(true, Ordering::Relaxed);
            expect_order(child);
        });
        assert_eq!(vec.len(), 2);
    }
}

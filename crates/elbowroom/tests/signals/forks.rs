//! Forked children commit for themselves.

use std::ptr;
use std::sync::atomic::Ordering;

use elbowroom::{Growth, Region, Verdict, page_size};

use super::*;

pub(super) fn forked() {
    let region = region();
    region.try_write(page_size(), 5u8).unwrap();
    // SAFETY: the child calls only what the parent, single-threaded, could.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let good = region.try_read::<u8>(page_size()).ok() == Some(5)
            && region.try_write(2 * page_size(), 6u8).is_ok()
            && region.try_write(page_size(), 7u8).is_ok()
            && region.stats().committed_bytes == 3 * page_size()
            && region.try_write(region.len(), 7u8).is_err();
        // SAFETY: _exit(2) has no preconditions. It ends the child without running what the parent registered.
        unsafe { libc::_exit(if good { 17 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: waitpid(2) writes a live status.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(libc::WEXITSTATUS(status), 17, "{status:#x}");
    assert_eq!(region.stats().committed_bytes, 2 * page_size());
    assert_eq!(region.try_read::<u8>(page_size()).unwrap(), 5);
    assert_eq!(region.try_read::<u8>(2 * page_size()).unwrap(), 0);
}

/// Forks. The child's part returns within ten seconds whether all is well.
pub(super) fn fork_and_ask(child_part: impl FnOnce() -> bool) {
    // SAFETY: the child uses this library, whose locks a fork leaves free, and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: ends the child by SIGALRM if it hangs.
        unsafe { libc::alarm(10) };
        let good = child_part();
        // SAFETY: _exit(2) has no preconditions. It ends the child without running what the parent registered.
        unsafe { libc::_exit(if good { 17 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: waitpid(2) writes a live status.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(libc::WEXITSTATUS(status), 17, "{status:#x}");
}

pub(super) fn forks_under_way() {
    let budget = elbowroom::Budget::new(1 << 30);
    let make = |budget: &elbowroom::Budget| {
        let builder = Region::builder(100 * page_size())
            .growth(Growth::Pages(1))
            .filter(|_| Verdict::Commit);
        builder.budget(budget).build().unwrap()
    };
    let (busy, quiet) = (make(&budget), make(&budget));
    quiet.try_write(0, 3u8).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (busy, budget, done) = (&busy, &budget, &done);
            scope.spawn(move || {
                for round in (0..).take_while(|_| !done.load(Ordering::Relaxed)) {
                    let page = (round * 7 + thread) % 100;
                    busy.try_write(page * page_size(), 1u8).unwrap();
                    busy.decommit(page * page_size()..page * page_size() + 1)
                        .unwrap();
                    if round % 10 == 0 {
                        drop(make(budget));
                    }
                }
            });
        }
        let _done = crate::common::SetWhenDropped(&done);
        for _ in 0..crate::common::times(60) {
            fork_and_ask(|| {
                let page = 50 * page_size();
                let good = busy.try_write(page, 9u8).is_ok()
                    && busy.try_read::<u8>(page).ok() == Some(9)
                    && busy.decommit(0..busy.len()).is_ok()
                    && quiet.try_read::<u8>(0).ok() == Some(3)
                    && budget.committed_bytes() == page_size();
                // Regions are made and dropped there, and an old one too: no pin of a lost thread is waited for.
                drop(make(&budget));
                // SAFETY: the copy is not used again, as the process ends without unwinding.
                drop(unsafe { ptr::read(&busy) });
                good
            });
        }
    });
}

pub(super) fn fork_in_a_filter() {
    let other = region();
    let region = Region::builder(100 * page_size())
        .growth(Growth::Pages(1))
        .filter(move |fault| {
            fork_and_ask(|| other.try_write(fault.offset(), 1u8).is_ok());
            Verdict::Commit
        })
        .build()
        .unwrap();
    for n in 1..4 {
        region.try_write(n * page_size(), 1u8).unwrap();
    }
}

pub(super) fn forked_monitored() {
    let region = Region::builder(10 * page_size())
        .growth(Growth::Pages(1))
        .filter(|_| Verdict::Commit)
        .filter_threads(1)
        .build()
        .unwrap();
    region.try_write(0, 1u8).unwrap();
    // SAFETY: the child touches the region, which needs no lock that the monitor thread holds, and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let good = region.try_read::<u8>(0).ok() == Some(1)
            && region
                .try_write(page_size(), 6u8)
                .is_err_and(|error| error.is_declined())
            && region.commit(page_size()..2 * page_size()).is_ok()
            && region.try_write(page_size(), 6u8).is_ok();
        drop(region);
        // SAFETY: _exit(2) has no preconditions. It ends the child without running what the parent registered.
        unsafe { libc::_exit(if good { 17 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: waitpid(2) writes a live status.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(libc::WEXITSTATUS(status), 17, "{status:#x}");
    region.try_write(2 * page_size(), 1u8).unwrap();
}

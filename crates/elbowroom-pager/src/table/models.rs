//! The page word and single flight, in every order of the threads.

#![allow(unsafe_code, reason = "cells that the checker watches")]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use super::*;

/// A page with its memory and what the store has. The checker objects to two accesses at once.
struct Page {
    table: Table,
    memory: UnsafeCell<u32>,
    stored: UnsafeCell<u32>,
    loads: AtomicUsize,
}

impl Page {
    fn new() -> Arc<Page> {
        Arc::new(Page {
            table: Table::new(1).unwrap(),
            memory: UnsafeCell::new(0),
            stored: UnsafeCell::new(7),
            loads: AtomicUsize::new(0),
        })
    }

    fn pin(&self, pin: Pin) {
        if self.table.try_pin(0, pin) {
            return;
        }
        match self.table.enter(0, pin, || ()) {
            Entered::Pinned => {}
            Entered::Claimed => {
                self.table.start_loading(0);
                self.loads.fetch_add(1, Ordering::Relaxed);
                // SAFETY: the checker objects if another thread is here.
                let stored = self.stored.with(|stored| unsafe { *stored });
                // SAFETY: the checker objects if another thread is here.
                self.memory.with_mut(|memory| unsafe { *memory = stored });
                self.table.publish(0, Some(pin));
            }
            Entered::Full => unreachable!("two threads"),
        }
    }

    fn read(&self) -> u32 {
        self.pin(Pin::Read);
        // SAFETY: the checker objects if another thread writes here.
        let value = self.memory.with(|memory| unsafe { *memory });
        self.table.unpin(0, Pin::Read);
        value
    }

    fn write(&self, value: u32) {
        self.pin(Pin::Write);
        // SAFETY: the checker objects if another thread is here.
        self.memory.with_mut(|memory| unsafe { *memory = value });
        self.table.unpin(0, Pin::Write);
    }

    fn try_evict(&self) -> bool {
        if self.table.try_leave(0) {
            // SAFETY: the checker objects if another thread is here.
            self.memory.with_mut(|memory| unsafe { *memory = 0 });
            self.table.abandon(0);
            return true;
        }
        false
    }

    fn try_write_back(&self, is_stored: bool) {
        if self.table.try_write_back(0) {
            // SAFETY: the checker objects if another thread writes here.
            let value = self.memory.with(|memory| unsafe { *memory });
            if is_stored {
                // SAFETY: the checker objects if another thread is here.
                self.stored.with_mut(|stored| unsafe { *stored = value });
            }
            self.table.written(0, is_stored);
        }
    }
}

#[test]
fn two_threads_load_a_page_once() {
    loom::model(|| {
        let page = Page::new();
        let other = {
            let page = Arc::clone(&page);
            thread::spawn(move || page.read())
        };
        assert_eq!(page.read(), 7);
        assert_eq!(other.join().unwrap(), 7);
        assert_eq!(page.loads.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_failed_load_is_tried_again_by_the_thread_that_waited() {
    loom::model(|| {
        let page = Page::new();
        let other = {
            let page = Arc::clone(&page);
            thread::spawn(move || {
                if page.table.try_claim(0) {
                    page.table.start_loading(0);
                    page.table.abandon(0);
                }
            })
        };
        assert_eq!(page.read(), 7);
        other.join().unwrap();
    });
}

/// Three threads: one whose load fails, one that evicts, and one that reads.
#[test]
fn a_reader_beside_a_failing_load_and_an_eviction() {
    let mut model = loom::model::Builder::new();
    // All orders of three threads are too many.
    model.preemption_bound = Some(3);
    model.check(|| {
        let page = Page::new();
        let failing = {
            let page = Arc::clone(&page);
            thread::spawn(move || match page.table.enter(0, Pin::Read, || ()) {
                Entered::Claimed => {
                    page.table.start_loading(0);
                    // Half of a read, and then the failure.
                    // SAFETY: the checker objects if another thread is here.
                    page.memory.with_mut(|memory| unsafe { *memory = 1 });
                    page.table.abandon(0);
                }
                Entered::Pinned => page.table.unpin(0, Pin::Read),
                Entered::Full => unreachable!("three threads"),
            })
        };
        let evicting = {
            let page = Arc::clone(&page);
            thread::spawn(move || page.try_evict())
        };
        assert_eq!(page.read(), 7);
        failing.join().unwrap();
        evicting.join().unwrap();
        assert!(page.loads.load(Ordering::Relaxed) <= 2);
    });
}

#[test]
fn a_claim_that_is_given_up_is_taken_over() {
    loom::model(|| {
        let page = Page::new();
        let other = {
            let page = Arc::clone(&page);
            thread::spawn(move || {
                if page.table.try_claim(0) {
                    page.table.unclaim(0);
                }
            })
        };
        assert_eq!(page.read(), 7);
        other.join().unwrap();
    });
}

#[test]
fn a_thread_that_waits_is_woken_for_its_page_and_not_only_for_another_of_its_group() {
    loom::model(|| {
        let table = Arc::new(Table::new(2).unwrap());
        assert!(table.try_claim(0) && table.try_claim(1));
        table.start_loading(0);
        table.start_loading(1);
        let waiter = {
            let table = Arc::clone(&table);
            thread::spawn(move || table.enter(0, Pin::Read, || ()))
        };
        table.publish(1, None);
        table.publish(0, None);
        assert_eq!(waiter.join().unwrap(), Entered::Pinned);
    });
}

#[test]
fn a_pinned_page_is_not_evicted() {
    loom::model(|| {
        let page = Page::new();
        page.read();
        let other = {
            let page = Arc::clone(&page);
            thread::spawn(move || page.try_evict())
        };
        assert_eq!(page.read(), 7);
        let loads = if other.join().unwrap() { 1..=2 } else { 1..=1 };
        assert!(loads.contains(&page.loads.load(Ordering::Relaxed)));
    });
}

#[test]
fn nothing_dirty_is_dropped() {
    for is_stored in [false, true] {
        loom::model(move || {
            let page = Page::new();
            let other = {
                let page = Arc::clone(&page);
                thread::spawn(move || {
                    page.try_write_back(is_stored);
                    page.try_evict()
                })
            };
            page.write(8);
            let was_evicted = other.join().unwrap();
            assert_eq!(page.read(), 8);
            if !is_stored {
                assert!(!was_evicted);
                assert_eq!(page.table.dirty_pages(), 1);
            }
        });
    }
}

#[test]
fn a_writer_waits_for_the_end_of_a_write_back() {
    loom::model(|| {
        let page = Page::new();
        page.write(8);
        let other = {
            let page = Arc::clone(&page);
            thread::spawn(move || page.try_write_back(true))
        };
        page.write(9);
        other.join().unwrap();
        page.try_write_back(true);
        assert_eq!(page.table.dirty_pages(), 0);
        assert!(page.try_evict());
        assert_eq!(page.read(), 9);
    });
}

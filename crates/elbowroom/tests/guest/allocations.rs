//! The thread that reads the events of a served region allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use elbowroom::{Growth, Region, Verdict, page_size};

use crate::common::is_emulated;

/// Counts the allocations of threads that serve a region.
struct Counting;

static IS_COUNTING: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS_OF_READERS: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: the system's allocator does all; the count changes nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if IS_COUNTING.load(Ordering::Relaxed) {
            let mut name = [0u8; 16];
            // SAFETY: no preconditions (pthread_self(3)).
            let thread = unsafe { libc::pthread_self() };
            // SAFETY: this thread, and room for the 16 bytes that a name takes (pthread_getname_np(3)).
            unsafe { libc::pthread_getname_np(thread, name.as_mut_ptr().cast(), name.len()) };
            let is_reader = name.starts_with(b"reader");
            ALLOCATIONS_OF_READERS.fetch_add(usize::from(is_reader), Ordering::Relaxed);
        }
        // SAFETY: the caller's contract is that of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is that of the system's allocator.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Many threads wait at once, while the filter takes its time. A reader that allocated would wait for a global
/// allocator whose lock a waiting thread holds.
pub(super) fn reader_allocates_nothing() {
    use elbowroom::Backend;
    let threads = if is_emulated() { 20 } else { 300 };
    let arrived = std::sync::Arc::new(AtomicUsize::new(0));
    let all = std::sync::Arc::clone(&arrived);
    let region = Region::builder(1000 * page_size())
        .growth(Growth::Pages(1))
        .backend(Backend::UserfaultMonitor)
        .filter(move |_| {
            while IS_COUNTING.load(Ordering::Relaxed) && all.load(Ordering::Relaxed) < threads {
                std::thread::sleep(Duration::from_millis(1));
            }
            Verdict::Commit
        })
        .build();
    // Where the system has it.
    let Ok(region) = region else { return };
    // The reader has started after this.
    region.try_write(999 * page_size(), 1u8).unwrap();
    IS_COUNTING.store(true, Ordering::Relaxed);
    std::thread::scope(|scope| {
        for page in 0..threads {
            let (region, arrived) = (&region, &arrived);
            scope.spawn(move || {
                arrived.fetch_add(1, Ordering::Relaxed);
                region.try_write(page * page_size(), 1u8).unwrap();
            });
        }
    });
    assert_eq!(region.stats().committed_bytes, (threads + 1) * page_size());
    assert_eq!(ALLOCATIONS_OF_READERS.load(Ordering::Relaxed), 0);
}

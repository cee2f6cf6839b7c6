//! The program of Microsoft's page "Reserving and Committing Memory": it reserves 80 pages, stores to them, and commits
//! one more page at each fault, until the filter declines.

use std::sync::atomic::{AtomicUsize, Ordering};

use elbowroom::{Growth, Region, Verdict, page_size};

const PAGE_LIMIT: usize = 80;

fn main() -> Result<(), elbowroom::Error> {
    let pages = AtomicUsize::new(0);
    let region = Region::builder(PAGE_LIMIT * page_size())
        .growth(Growth::Pages(1))
        .filter(move |_fault| {
            println!("Exception is a page fault.");
            if pages.fetch_add(1, Ordering::Relaxed) >= PAGE_LIMIT {
                println!("Exception: out of pages.");
                return Verdict::Decline;
            }
            println!("Allocating another page.");
            Verdict::Commit
        })
        .build()?;

    // One byte beyond the end: the filter declines the last store, which returns an error.
    for offset in 0..=region.len() {
        if let Err(error) = region.try_write(offset, b'a') {
            println!("Stopped: {error}.");
            break;
        }
    }
    region.release()
}

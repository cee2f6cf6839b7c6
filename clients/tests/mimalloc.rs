//! mimalloc as the program's allocator: filters allocate, and threads that allocate touch regions.

use std::thread;

use elbowroom::{Growth, Region, Verdict, page_size};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[test]
fn filters_allocate_on_every_thread() {
    let region = Region::builder(4000 * page_size())
        .growth(Growth::Pages(1))
        .filter(|fault| {
            let text = format!("{} {:?}", fault.offset(), vec![1u8; 5000].len());
            if text.is_empty() {
                Verdict::Decline
            } else {
                Verdict::Commit
            }
        })
        .build()
        .unwrap();
    thread::scope(|scope| {
        for thread in 0..4 {
            let region = &region;
            scope.spawn(move || {
                for page in 0..1000 {
                    let block = vec![page as u8; page * 100];
                    region
                        .try_write((thread * 1000 + page) * page_size(), page as u64)
                        .unwrap();
                    assert!(block.iter().all(|&byte| byte == page as u8));
                }
            });
        }
    });
    assert_eq!(region.stats().committed_bytes, 4000 * page_size());
    let sum: u64 = (0..4000)
        .map(|page| region.try_read::<u64>(page * page_size()).unwrap())
        .sum();
    assert_eq!(sum, 4 * 499_500);
}

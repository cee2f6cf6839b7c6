//! tokio: tasks that touch regions on whatever thread they run, and signal-hook beside them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use elbowroom::{Budget, Growth, Region, page_size};
use signal_hook::consts::SIGUSR1;
use signal_hook::iterator::Signals;

#[test]
fn many_tasks_touch_many_regions() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build()
        .unwrap();
    let budget = Budget::new(1 << 30);
    let regions: Vec<_> = (0..20)
        .map(|_| {
            Region::builder(400 * page_size())
                .budget(&budget)
                .growth(Growth::Pages(1))
                .build()
        })
        .map(|region| Arc::new(region.unwrap()))
        .collect();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..400)
            .map(|task| {
                let regions = regions.clone();
                tokio::spawn(async move {
                    for region in &regions {
                        region.try_write(task * page_size(), task as u64).unwrap();
                        tokio::task::yield_now().await;
                        assert_eq!(
                            region.try_read::<u64>(task * page_size()).unwrap(),
                            task as u64
                        );
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_eq!(budget.committed_bytes(), 20 * 400 * page_size());
    drop(regions);
    assert_eq!(budget.committed_bytes(), 0);
}

#[test]
fn signals_arrive_beside_faults() {
    let mut signals = Signals::new([SIGUSR1]).unwrap();
    let handle = signals.handle();
    let seen = thread::spawn(move || signals.forever().count());
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let faulting = scope.spawn(|| {
            let region = Region::builder(1 << 30)
                .growth(Growth::Pages(1))
                .build()
                .unwrap();
            let mut page = 0;
            while !is_over.load(Ordering::Relaxed) {
                region.try_write(page % 10_000 * page_size(), 1u8).unwrap();
                page += 1;
                if page % 10_000 == 0 {
                    region.decommit(0..region.len()).unwrap();
                }
            }
        });
        for _ in 0..200 {
            signal_hook::low_level::raise(SIGUSR1).unwrap();
            thread::yield_now();
        }
        is_over.store(true, Ordering::Relaxed);
        faulting.join().unwrap();
    });
    handle.close();
    assert!(seen.join().unwrap() >= 1);
}

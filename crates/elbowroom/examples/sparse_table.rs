//! A table of a trillion counters that many threads update, with a hard limit on its memory. A touch beyond the limit
//! is an error, and the process goes on.

use elbowroom::{Growth, Region, Size};

const COUNTERS: usize = 1 << 40;
const LIMIT_BYTES: usize = 8 << 20;

fn main() -> Result<(), elbowroom::Error> {
    let table = Region::builder(COUNTERS)
        .commit_limit(LIMIT_BYTES)
        .growth(Growth::Pages(1))
        .name("counters")
        .build()?;

    // Each thread scatters increments over its own quarter, until the limit refuses.
    let refused = std::thread::scope(|scope| {
        let thread = |quarter: usize| {
            let table = &table;
            move || {
                let mut seed = quarter as u64 + 1;
                loop {
                    seed = seed
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let at = quarter * (COUNTERS / 4) + (seed >> 24) as usize % (COUNTERS / 4);
                    let count = table
                        .try_read::<u8>(at)
                        .and_then(|count| table.try_write(at, count.wrapping_add(1)));
                    if let Err(error) = count {
                        return error;
                    }
                }
            }
        };
        let threads: Vec<_> = (0..4).map(|quarter| scope.spawn(thread(quarter))).collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .last()
    });

    let stats = table.stats();
    println!(
        "{COUNTERS} counters, of which {} are in memory",
        Size(stats.committed_bytes as u64)
    );
    println!("{} page faults, {} refused", stats.faults, stats.refused);
    if let Some(error) = refused {
        println!("{error}");
    }
    table.release()
}

//! A log that four workers append to, while the main thread prints new entries. No thread waits for another.

use std::thread;

use elbowroom::AppendVec;

struct Entry {
    worker: usize,
    text: String,
}

static LOG: AppendVec<Entry> = AppendVec::new();

fn work(worker: usize) {
    for job in 1..=5 {
        LOG.push(Entry {
            worker,
            text: format!("job {job} done"),
        });
    }
}

fn main() {
    thread::scope(|scope| {
        let workers: Vec<_> = (1..=4)
            .map(|worker| scope.spawn(move || work(worker)))
            .collect();
        let mut printed = 0;
        loop {
            // Checked before the look at the log, so that the last look sees every entry.
            let are_done = workers.iter().all(|worker| worker.is_finished());
            let entries = LOG.as_slice();
            for entry in &entries[printed..] {
                println!("worker {}: {}", entry.worker, entry.text);
            }
            printed = entries.len();
            if are_done {
                break;
            }
            thread::yield_now();
        }
    });
}

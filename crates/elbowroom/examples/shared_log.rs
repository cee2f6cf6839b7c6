//! A log that four threads append to while the one that began it reads all of it, as one slice, again and again. Nobody
//! waits for anybody, and nothing that was read once moves or goes.

use std::fmt::Write;
use std::thread;

use elbowroom::{AppendVec, Error};

const WRITERS: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    writer: usize,
    /// Counted by each writer.
    number: usize,
}

/// Counts what each writer has written, as far as the log is read. Whether each one's entries are in order.
fn read(entries: &[Entry], counts: &mut [usize; WRITERS + 1]) -> bool {
    entries.iter().all(|entry| {
        let in_order = entry.number == counts[entry.writer];
        counts[entry.writer] += 1;
        in_order
    })
}

/// What the program prints, if each writer makes so many entries.
pub(crate) fn report(entries_each: usize) -> Result<String, Error> {
    let log = AppendVec::<Entry>::builder(1 << 20).name("log").build()?;
    let (first, _) = log.push(Entry {
        writer: 0,
        number: 0,
    });
    let before = &raw const log[first];

    let (in_order, counts) = thread::scope(|scope| {
        let log = &log;
        let write = |writer| {
            move || (0..entries_each).for_each(|number| _ = log.push(Entry { writer, number }))
        };
        let writers: Vec<_> = (1..=WRITERS)
            .map(|writer| scope.spawn(write(writer)))
            .collect();
        // Here, meanwhile: only what has come since the last look.
        let (mut done, mut in_order, mut counts) = (0, true, [0; WRITERS + 1]);
        loop {
            let is_last = writers.iter().all(|writer| writer.is_finished());
            let entries = log.as_slice();
            in_order &= read(&entries[done..], &mut counts);
            done = entries.len();
            if is_last {
                return (in_order, counts);
            }
            thread::yield_now();
        }
    });

    let mut report = String::new();
    _ = writeln!(
        report,
        "{} entries, read while they were written",
        log.len()
    );
    _ = writeln!(
        report,
        "from each writer: {counts:?}, in its order: {in_order}"
    );
    _ = writeln!(
        report,
        "the first one moved: {}",
        &raw const log[0] != before
    );
    Ok(report)
}

fn main() -> Result<(), Error> {
    print!("{}", report(100_000)?);
    Ok(())
}

//! A bitmap of a tebibyte: a set of any of 8,796,093,022,208 numbers, that takes a page of memory where it has some.

use std::fmt::Write;

use elbowroom::{DemandArray, Error, Growth, page_size};

/// A set of numbers below a maximum.
struct Bitmap {
    words: DemandArray<u64>,
}

impl Bitmap {
    fn new(bytes: usize) -> Result<Bitmap, Error> {
        // A page at a time: what comes is scattered.
        let words = DemandArray::builder(bytes / 8)
            .growth(Growth::Pages(1))
            .name("bitmap")
            .build()?;
        Ok(Bitmap { words })
    }

    fn numbers(&self) -> usize {
        self.words.len() * 64
    }

    /// Whether it was not in the set before.
    fn insert(&mut self, number: usize) -> Result<bool, Error> {
        self.words.update(number / 64, |word| {
            let before = *word;
            *word |= 1 << (number % 64);
            *word != before
        })
    }

    /// Commits nothing.
    fn contains(&self, number: usize) -> Result<bool, Error> {
        Ok(self.words.get(number / 64)? >> (number % 64) & 1 == 1)
    }

    /// The numbers in the set, in order. Looks at what is committed, and passes over the rest.
    fn iter(&self) -> impl Iterator<Item = usize> {
        let runs = self
            .words
            .committed_ranges()
            .flat_map(|run| Some((run.start, self.words.slice(run).ok()?)));
        let words = runs.flat_map(|(start, words)| (start..).zip(words.iter().copied()));
        words
            .filter(|&(_, word)| word != 0)
            .flat_map(|(index, word)| {
                (0..64)
                    .filter(move |bit| word >> bit & 1 == 1)
                    .map(move |bit| index * 64 + bit)
            })
    }
}

/// What the program prints.
pub(crate) fn report(bytes: usize) -> Result<String, Error> {
    let mut seen = Bitmap::new(bytes)?;
    // In five places from one end to the other: the multiples of 3 among a thousand numbers.
    let all = seen.numbers();
    let mut inserted = 0;
    for place in [0, all / 7, all / 3, all / 2, all - 1000] {
        // From the beginning of a page of any size.
        let place = place - place % (8 << 20);
        for number in (place..place + 1000).step_by(3) {
            inserted += usize::from(seen.insert(number)?);
        }
    }
    let last = seen.iter().last().unwrap_or_default();
    let (found, again) = (seen.iter().count(), seen.insert(last)?);
    let sorted = seen.iter().is_sorted();
    let stats = seen.words.stats();

    let mut report = String::new();
    _ = writeln!(
        report,
        "{inserted} numbers inserted, {found} found, in order: {sorted}"
    );
    _ = writeln!(
        report,
        "{last} is there: {}, inserted again: {again}",
        seen.contains(last)?
    );
    _ = writeln!(
        report,
        "{} is there: {}",
        last + 1,
        seen.contains(last + 1)?
    );
    let outside = seen
        .contains(all)
        .is_err_and(|error| error.is_invalid_range());
    _ = writeln!(report, "{all} is beyond the end: {outside}");
    _ = writeln!(
        report,
        "{} bytes reserved, {} pages committed",
        bytes,
        stats.committed_bytes / page_size()
    );
    Ok(report)
}

fn main() -> Result<(), Error> {
    print!("{}", report(1 << 40)?);
    Ok(())
}

//! Finds repeated numbers in a stream, with a bitmap of 1 TiB. It has room for 8,796,093,022,208 numbers, and takes
//! memory only for the pages with numbers in them.

use elbowroom::{DemandArray, Error, Growth, Size};

/// A set of numbers below a maximum.
struct Bitmap {
    words: DemandArray<u64>,
}

impl Bitmap {
    fn new(bytes: usize) -> Result<Bitmap, Error> {
        // One page at a time, because the numbers are scattered.
        let words = DemandArray::builder(bytes / 8)
            .growth(Growth::Pages(1))
            .name("bitmap")
            .build()?;
        Ok(Bitmap { words })
    }

    /// Adds a number. Returns whether it is new.
    fn insert(&mut self, number: usize) -> Result<bool, Error> {
        self.words.update(number / 64, |word| {
            let before = *word;
            *word |= 1 << (number % 64);
            *word != before
        })
    }

    /// Returns the numbers in the set, in order. Reads only the committed parts.
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

fn main() -> Result<(), Error> {
    let mut seen = Bitmap::new(1 << 40)?;
    for number in [7, 8_000_000_000_000, 42, 7, 8_000_000_000_000] {
        if !seen.insert(number)? {
            println!("{number} again");
        }
    }
    println!("numbers: {:?}", seen.iter().collect::<Vec<_>>());
    let stats = seen.words.stats();
    println!(
        "memory in use: {} of {}",
        Size(stats.committed_bytes as u64),
        Size(stats.reserved_bytes as u64)
    );
    Ok(())
}

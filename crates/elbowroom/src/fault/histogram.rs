//! Durations, in buckets.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The number of buckets for each power of two.
const PARTS: u64 = 4;
const BUCKETS: usize = 64 * PARTS as usize;

/// Returns the bucket of a time: its highest bit and the two bits below it.
fn bucket_of(nanoseconds: u64) -> usize {
    let n = nanoseconds.max(PARTS);
    let high = u64::from(n.ilog2());
    let part = (n >> (high - PARTS.ilog2() as u64)) - PARTS;
    (high * PARTS + part) as usize
}

fn bucket_of_time(time: Duration) -> usize {
    bucket_of(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// Returns the shortest time above those in a bucket.
fn end_of(bucket: usize) -> u64 {
    let (high, part) = (bucket as u64 / PARTS, bucket as u64 % PARTS);
    match u32::try_from(high)
        .ok()
        .and_then(|high| high.checked_sub(PARTS.ilog2()))
    {
        Some(shift) => u64::try_from(u128::from(PARTS + part + 1) << shift).unwrap_or(u64::MAX),
        None => 0,
    }
}

/// A histogram to which fault handlers add values.
pub(crate) struct Tally {
    buckets: [AtomicU64; BUCKETS],
}

impl Tally {
    pub(crate) fn new() -> Tally {
        Tally {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }

    /// Adds a value. Async-signal-safe.
    pub(crate) fn add(&self, time: Duration) {
        self.buckets[bucket_of_time(time)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Histogram {
        Histogram {
            counts: self
                .buckets
                .iter()
                .map(|count| count.load(Ordering::Relaxed))
                .collect(),
        }
    }
}

/// A distribution of durations, exact to within a quarter.
///
/// ```
/// use elbowroom::Region;
/// use elbowroom::fault::Outcome;
///
/// let region = Region::builder(1 << 30).timed().build()?;
/// region.try_write(0, 1u8)?;
/// let stats = region.stats();
/// let times = stats.latency(Outcome::Committed).expect("the region is timed");
/// assert_eq!(times.count(), stats.faults_of(Outcome::Committed));
/// println!("half of the faults took less than {:?}", times.percentile(0.5));
/// # Ok::<(), elbowroom::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram {
    counts: Box<[u64]>,
}

impl Histogram {
    /// Adds a value.
    pub fn add(&mut self, time: Duration) {
        let count = &mut self.counts[bucket_of_time(time)];
        *count = count.saturating_add(1);
    }

    /// Returns the number of values.
    pub fn count(&self) -> u64 {
        let counts = self.counts.iter();
        counts.fold(0, |sum, &count| sum.saturating_add(count))
    }

    /// Returns the buckets that are not empty, from short to long: an upper bound of the values in the bucket, and
    /// their number.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let times = self
            .counts
            .iter()
            .enumerate()
            .filter(|&(_, &count)| count > 0);
        times.map(|(bucket, &count)| (Duration::from_nanos(end_of(bucket)), count))
    }

    /// Returns a time that at least this part of the values stayed below: `0.5` for the median, `0.99`, or `1.0` for
    /// all.
    ///
    /// Returns zero if there are no values. `part` is clamped to the range from 0 to 1.
    pub fn percentile(&self, part: f64) -> Duration {
        let wanted = (part.clamp(0.0, 1.0) * self.count() as f64).ceil() as u64;
        let mut seen = 0;
        let mut buckets = self.buckets();
        let found = buckets.find(|&(_, count)| {
            seen = count.saturating_add(seen);
            seen >= wanted
        });
        found.map_or(Duration::ZERO, |(time, _)| time)
    }

    /// Adds the values of another histogram, such as that of another region.
    pub fn merge(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
    }
}

impl Default for Histogram {
    /// Returns a histogram without values.
    fn default() -> Histogram {
        Histogram {
            counts: vec![0; BUCKETS].into(),
        }
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.buckets()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bucket_ends_at_most_a_quarter_after_what_is_in_it(n: u64, shift in 0u32..64) {
            let n = n >> shift;
            let end = end_of(bucket_of(n));
            prop_assert!(n < end || end == u64::MAX, "{} {}", n, end);
            prop_assert!(end <= n.max(PARTS).saturating_add(n.max(PARTS) / 4 + 1), "{} {}", n, end);
        }
    }

    #[test]
    fn percentiles() {
        let tally = Tally::new();
        assert_eq!(tally.read().percentile(0.5), Duration::ZERO);
        for n in 1..=100 {
            tally.add(Duration::from_micros(n));
        }
        let histogram = tally.read();
        assert_eq!(histogram.count(), 100);
        let mut other = Histogram::default();
        (1..=100).for_each(|n| other.add(Duration::from_micros(n)));
        assert_eq!(other, histogram);
        for (part, least) in [(0.0, 1), (0.5, 50), (0.99, 99), (1.0, 100), (7.0, 100)] {
            let time = histogram.percentile(part);
            assert!(
                time > Duration::from_micros(least)
                    && time < Duration::from_micros(least * 5 / 4 + 1),
                "{time:?}"
            );
        }
    }

    #[test]
    fn a_merge_has_all_values() {
        let (a, b, both) = (Tally::new(), Tally::new(), Tally::new());
        for n in 1..=100 {
            let time = Duration::from_nanos(n * n * n);
            if n % 3 == 0 { &a } else { &b }.add(time);
            both.add(time);
        }
        let mut merged = a.read();
        merged.merge(&b.read());
        assert_eq!(merged, both.read());
    }
}

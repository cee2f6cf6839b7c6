//! Samples: the time of one run, and the series of all runs of one contender.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::os::cpu_time;
use crate::spread::Spread;

/// The clock of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// Processor time, including the kernel's. Other programs on the machine disturb it least.
    Cpu,
    /// The wall clock, for work in which threads wait for each other.
    Wall,
}

/// The times of a run, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// The time by the wall clock.
    pub wall_ns: u64,
    /// The processor time, including the kernel's; `None` if the system has no fine clock for it.
    pub cpu_ns: Option<u64>,
}

/// Runs `work`, and returns its result and its time. The caller drops the result, after the clocks have stopped.
pub fn timed<R>(work: impl FnOnce() -> R) -> (R, Times) {
    let cpu = cpu_time();
    let wall = Instant::now();
    let result = work();
    let wall = wall.elapsed();
    let cpu = cpu.and_then(|start| cpu_time()?.checked_sub(start));
    let times = Times {
        wall_ns: nanoseconds(wall),
        cpu_ns: cpu.map(nanoseconds),
    };
    (result, times)
}

/// Returns a time in nanoseconds. Times up to 584 years are exact.
pub fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos() as u64
}

/// The largest share of time that other programs may take before the figures are unreliable.
const LOST_SHARE_MAX: f64 = 0.1;

/// Returns a warning if other programs or a host used the processors for much of these times, each of one thread.
/// Returns `None` also if the system has no fine clock for processor time.
pub fn busy(times: impl IntoIterator<Item = Times>) -> Option<String> {
    let (mut wall, mut cpu) = (0, 0);
    for times in times {
        wall += times.wall_ns;
        cpu += times.cpu_ns?;
    }
    let lost = 1.0 - cpu as f64 / wall as f64;
    // Without times, the share is not a number.
    (lost > LOST_SHARE_MAX).then(|| {
        format!(
            "This machine was busy: for {} % of the time, other programs or the host used the processors. This makes \
             processor times longer, and wall-clock times much longer. Measure again on an idle machine.",
            (lost * 100.0).round()
        )
    })
}

/// One measurement, with further figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample<E> {
    /// The times.
    #[serde(flatten)]
    pub times: Times,
    /// Further figures.
    #[serde(flatten)]
    pub extra: E,
}

/// The samples of one contender. If one of them failed, the contender counts as not measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series<E> {
    /// One sample per round.
    pub samples: Vec<Sample<E>>,
    /// The reason why it could not be measured.
    pub refusal: Option<String>,
}

impl<E> Default for Series<E> {
    fn default() -> Series<E> {
        Series {
            samples: Vec::new(),
            refusal: None,
        }
    }
}

impl<E> Series<E> {
    /// Returns a series that could not be measured for this reason.
    pub fn refused(why: impl Into<String>) -> Series<E> {
        Series {
            samples: Vec::new(),
            refusal: Some(why.into()),
        }
    }

    /// Takes one more sample, unless one has failed before.
    pub fn take(&mut self, sample: impl FnOnce() -> Result<Sample<E>, String>) {
        if self.refusal.is_none() {
            match sample() {
                Ok(sample) => self.samples.push(sample),
                Err(why) => self.refusal = Some(why),
            }
        }
    }

    /// Returns the samples, or none if one of them failed.
    pub fn measured(&self) -> &[Sample<E>] {
        if self.refusal.is_none() {
            &self.samples
        } else {
            &[]
        }
    }

    /// Returns whether the processor time of all samples is known.
    pub fn has_cpu_times(&self) -> bool {
        let mut samples = self.samples.iter();
        samples.all(|sample| sample.times.cpu_ns.is_some())
    }

    /// Returns the times in nanoseconds, by the wall clock if the processor time is not known.
    pub fn times(&self, clock: Clock) -> Vec<f64> {
        let time = |sample: &Sample<E>| match (clock, sample.times.cpu_ns) {
            (Clock::Cpu, Some(cpu_ns)) => cpu_ns as f64,
            _ => sample.times.wall_ns as f64,
        };
        self.measured().iter().map(time).collect()
    }

    /// Returns the spread of the times in nanoseconds.
    pub fn time_ns(&self, clock: Clock) -> Option<Spread> {
        Spread::of(self.times(clock))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Times = Times {
        wall_ns: 10,
        cpu_ns: Some(5),
    };

    fn sample(times: Times) -> Result<Sample<()>, String> {
        Ok(Sample { times, extra: () })
    }

    #[test]
    fn a_busy_machine_is_noticed() {
        assert!(busy([A, A]).unwrap().contains("busy: for 50 %"));
        let full = Times {
            cpu_ns: Some(10),
            ..A
        };
        assert_eq!(busy([full, full]), None);
        assert_eq!(busy([A, Times { cpu_ns: None, ..A }]), None);
        assert_eq!(busy([]), None);
    }

    #[test]
    fn what_failed_once_is_no_measurement() {
        let mut series = Series::default();
        series.take(|| sample(A));
        assert_eq!(series.times(Clock::Cpu), [5.0]);
        assert_eq!(series.times(Clock::Wall), [10.0]);
        series.take(|| Err("out of memory".to_owned()));
        series.take(|| unreachable!("it is not tried again"));
        assert!(series.measured().is_empty() && series.time_ns(Clock::Wall).is_none());
        assert_eq!(
            (series.samples.len(), series.refusal.as_deref()),
            (1, Some("out of memory"))
        );
    }

    #[test]
    fn without_processor_time_the_wall_clock_counts() {
        let mut series = Series::default();
        series.take(|| sample(A));
        assert!(series.has_cpu_times());
        series.take(|| sample(Times { cpu_ns: None, ..A }));
        assert!(!series.has_cpu_times());
        assert_eq!(series.times(Clock::Cpu), [5.0, 10.0]);
    }

    #[test]
    fn work_is_timed() {
        let (result, times) = timed(|| std::hint::black_box(7));
        assert_eq!(result, 7);
        assert!(times.wall_ns > 0);
    }
}

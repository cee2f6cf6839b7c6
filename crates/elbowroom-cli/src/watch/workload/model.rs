//! The displayed state of a workload. It knows neither threads nor terminals.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use elbowroom::fault::{Event, Outcome};

use super::look::{Ended, Look};
use super::settings::Settings;
use crate::size::{Size, count};

/// The interval between points of the rate's history.
const SAMPLE: Duration = Duration::from_millis(250);
/// The points that are kept.
const SAMPLES: usize = 256;
/// The lines of the log that are kept.
pub(super) const LOG: usize = 256;

pub(in crate::watch) struct Model {
    pub(super) settings: Settings,
    pub(super) look: Look,
    pub(super) is_paused: bool,
    /// A power of two.
    pub(super) speed: i32,
    /// The effect of the latest key.
    pub(super) message: Option<String>,
    /// The log, from old to new.
    pub(super) log: VecDeque<Entry>,
    /// The bytes that the latest fault committed, and the most that one fault committed.
    pub(super) window_bytes: Option<u64>,
    pub(super) largest_window_bytes: u64,
    /// The region and the byte of the latest fault.
    pub(super) latest: Option<(usize, u64)>,
    /// Faults that found no room in the recorder's queue.
    pub(super) lost: u64,
    pub(super) began: Instant,
    rates: VecDeque<Sample>,
    /// The bytes read and written and the evictions of an array up to the last sample.
    work: [u64; 3],
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Entry {
    Fault(Fault),
    Ended(Ended),
    /// The work of an array since the last sample, after this time.
    Paged(Duration, String),
}

/// A fault, as the recorder reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at: Instant,
    pub(super) duration: Duration,
    pub(super) thread: u64,
    /// The address of its region.
    pub(super) region: usize,
    pub(super) offset: u64,
    pub(super) outcome: Outcome,
    pub(super) committed_bytes: u64,
}

impl From<Event> for Fault {
    fn from(event: Event) -> Fault {
        Fault {
            at: event.at,
            duration: event.duration,
            thread: event.thread,
            region: event.region,
            offset: event.offset as u64,
            outcome: event.outcome,
            committed_bytes: event.committed_bytes as u64,
        }
    }
}

/// The number of faults at one moment.
#[derive(Clone, Copy)]
struct Sample {
    at: Instant,
    faults: u64,
}

impl Model {
    pub(super) fn new(settings: Settings, is_paused: bool, speed: i32, now: Instant) -> Model {
        Model {
            settings,
            look: Look::default(),
            is_paused,
            speed,
            message: None,
            log: VecDeque::new(),
            window_bytes: None,
            largest_window_bytes: 0,
            latest: None,
            lost: 0,
            began: now,
            rates: VecDeque::new(),
            work: [0; 3],
        }
    }

    /// Takes in the present state and the events since the last call.
    pub(super) fn see(
        &mut self,
        look: Look,
        faults: impl IntoIterator<Item = Fault>,
        lost: u64,
        now: Instant,
    ) {
        for fault in faults {
            let mut regions = look.regions.iter();
            let at = regions.position(|region| region.address == fault.region);
            // Faults in regions that are gone are left out.
            let Some(region) = at.filter(|_| fault.at >= self.began) else {
                continue;
            };
            if fault.committed_bytes > 0 {
                self.window_bytes = Some(fault.committed_bytes);
                self.largest_window_bytes = self.largest_window_bytes.max(fault.committed_bytes);
            }
            self.latest = Some((region, fault.offset));
            self.log.push_back(Entry::Fault(fault));
        }
        let ended = look.ended.iter().skip(self.look.ended.len());
        self.log.extend(ended.cloned().map(Entry::Ended));
        (self.lost, self.look) = (lost, look);
        let elapsed = |last: &Sample| now.saturating_duration_since(last.at);
        if self.rates.back().is_none_or(|last| elapsed(last) >= SAMPLE) {
            let faults = self.look.faults();
            self.rates.push_back(Sample { at: now, faults });
            self.rates.drain(..self.rates.len().saturating_sub(SAMPLES));
            self.note_array(now);
        }
        self.log.drain(..self.log.len().saturating_sub(LOG));
    }

    /// Adds the work of an array since the last sample to the log.
    fn note_array(&mut self, now: Instant) {
        let Some(array) = &self.look.array else {
            return;
        };
        let work = [array.read_bytes, array.written_bytes, array.evictions];
        let [read, written, evictions] = std::array::from_fn(|at| work[at] - self.work[at]);
        if work != self.work {
            let (read, written) = (Size(read), Size(written));
            let evicted = count(evictions, "page");
            let text = format!("{read} read, {written} written, {evicted} evicted");
            let since = now.saturating_duration_since(self.began);
            self.log.push_back(Entry::Paged(since, text));
            self.work = work;
        }
    }

    /// Returns the faults a second, over the last second or less at the beginning. `None` before the second sample.
    pub(super) fn rate(&self) -> Option<f64> {
        let last = self.rates.back()?;
        let since = |sample: &Sample| last.at.saturating_duration_since(sample.at);
        let is_recent = |sample: &&Sample| since(sample) <= Duration::from_millis(1100);
        let first = self.rates.iter().find(is_recent)?;
        let seconds = since(first).as_secs_f64();
        (seconds > 0.0).then(|| (last.faults - first.faults) as f64 / seconds)
    }

    /// Returns the numbers of faults between samples, from old to new.
    pub(super) fn rates(&self) -> Vec<u64> {
        let steps = self.rates.iter().zip(self.rates.iter().skip(1));
        steps.map(|(a, b)| b.faults - a.faults).collect()
    }

    pub(super) fn state(&self) -> &'static str {
        match self.is_paused {
            _ if self.look.has_ended() => "ENDED",
            true => "PAUSED",
            false => "RUNNING",
        }
    }

    /// Returns the effect of the last key, or how the workload ended.
    pub(super) fn status(&self) -> String {
        let refusal = |ended: &Ended| Some(format!("{} {}", ended.worker, ended.refused.as_ref()?));
        let refused: Vec<String> = self.look.ended.iter().filter_map(refusal).collect();
        match &self.message {
            Some(message) => message.clone(),
            None if !self.look.has_ended() => match self.lost {
                0 => String::new(),
                lost => format!("{} came too fast to be listed", count(lost, "fault")),
            },
            None if refused.is_empty() => "all touches are done".to_owned(),
            None => format!("refused: {}", refused.join(", ")),
        }
    }
}

//! The displayed state of a workload, and the effects of keys. It knows neither threads nor terminals.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use elbowroom::fault::{Event, Outcome};

use super::keys::Key;
use super::look::{Ended, Look};
use super::pace::SPEEDS;
use super::workload::{Settings, growth_words, next_growth};
use crate::size::count;

/// The interval between points of the rate's history.
const SAMPLE: Duration = Duration::from_millis(250);
/// The points that are kept.
const SAMPLES: usize = 256;
/// The lines of the log that are kept.
const LOG: usize = 256;

/// The displayed state.
pub(super) struct Model {
    pub(super) settings: Settings,
    pub(super) look: Look,
    pub(super) is_paused: bool,
    pub(super) is_helping: bool,
    /// A power of two.
    pub(super) speed: i32,
    /// The effect of the latest key.
    pub(super) message: Option<String>,
    /// The log, from old to new.
    pub(super) log: VecDeque<Entry>,
    /// Of the latest fault that committed something, and of the one that committed most; in bytes.
    pub(super) window_bytes: Option<u64>,
    pub(super) largest_window_bytes: u64,
    /// The region and the byte of the latest fault.
    pub(super) latest: Option<(usize, u64)>,
    /// Faults that found no room in the recorder's queue.
    pub(super) lost: u64,
    pub(super) began: Instant,
    rates: VecDeque<Sample>,
}

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Entry {
    Fault(Fault),
    Ended(Ended),
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

/// The action for a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Effect {
    Quit,
    /// Regions are made anew: the model goes on when [`Model::begin`] is called, or tells why not.
    Begin(Settings),
    Pause(bool),
    /// Pauses, and lets one fault happen.
    Step,
    Speed(i32),
}

impl Model {
    pub(super) fn new(settings: Settings, is_paused: bool, now: Instant) -> Model {
        Model {
            settings,
            look: Look::default(),
            is_paused,
            is_helping: false,
            speed: 0,
            message: None,
            log: VecDeque::new(),
            window_bytes: None,
            largest_window_bytes: 0,
            latest: None,
            lost: 0,
            began: now,
            rates: VecDeque::new(),
        }
    }

    /// Records that a workload has begun in new regions.
    pub(super) fn begin(&mut self, settings: Settings, now: Instant) {
        let Model {
            is_paused,
            is_helping,
            speed,
            ..
        } = *self;
        let message = self.message.take();
        *self = Model {
            is_helping,
            speed,
            message,
            ..Model::new(settings, is_paused, now)
        };
    }

    /// Records that a workload could not begin.
    pub(super) fn fail(&mut self, why: &str) {
        self.message = Some(format!("cannot start: {why}"));
    }

    pub(super) fn key(&mut self, key: Key) -> Option<Effect> {
        if self.is_helping && !matches!(key, Key::Interrupt) {
            self.is_helping = false;
            return None;
        }
        self.message = None;
        let settings = self.settings;
        match key {
            Key::Quit | Key::Interrupt => return Some(Effect::Quit),
            Key::Help => self.is_helping = true,
            Key::Pause => {
                self.is_paused = !self.is_paused;
                return Some(Effect::Pause(self.is_paused));
            }
            Key::Step if self.look.has_ended() => {
                self.message = Some("no touches are left; r restarts".to_owned());
            }
            Key::Step => {
                self.is_paused = true;
                return Some(Effect::Step);
            }
            Key::Growth => {
                let growth = next_growth(settings.growth);
                self.message = Some(format!(
                    "{}: new regions were made, as growth stays",
                    growth_words(growth)
                ));
                return Some(Effect::Begin(Settings { growth, ..settings }));
            }
            Key::Limit => {
                let limit = settings.limit.next();
                self.message = Some(format!(
                    "{}: new regions were made, as limits stay",
                    limit.words()
                ));
                return Some(Effect::Begin(Settings { limit, ..settings }));
            }
            Key::Workload => {
                return Some(Effect::Begin(Settings::new(
                    settings.workload.next(),
                    settings.means,
                )));
            }
            Key::Again => {
                self.message = Some("restarted in new regions".to_owned());
                return Some(Effect::Begin(settings));
            }
            Key::Faster | Key::Slower => {
                let by = if key == Key::Faster { 1 } else { -1 };
                self.speed = (self.speed + by).clamp(*SPEEDS.start(), *SPEEDS.end());
                return Some(Effect::Speed(self.speed));
            }
            Key::Up | Key::Down | Key::Other => {}
        }
        None
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
            // One of regions that are gone.
            let Some(region) = look
                .regions
                .iter()
                .position(|region| region.address == fault.region)
            else {
                continue;
            };
            if fault.at < self.began {
                continue;
            }
            if fault.committed_bytes > 0 {
                self.window_bytes = Some(fault.committed_bytes);
                self.largest_window_bytes = self.largest_window_bytes.max(fault.committed_bytes);
            }
            self.latest = Some((region, fault.offset));
            self.note(Entry::Fault(fault));
        }
        for ended in look.ended.iter().skip(self.look.ended.len()) {
            self.note(Entry::Ended(ended.clone()));
        }
        self.lost = lost;
        self.look = look;
        let faults = self.look.faults();
        if self
            .rates
            .back()
            .is_none_or(|last| now.saturating_duration_since(last.at) >= SAMPLE)
        {
            self.rates.push_back(Sample { at: now, faults });
            if self.rates.len() > SAMPLES {
                self.rates.pop_front();
            }
        }
    }

    fn note(&mut self, entry: Entry) {
        self.log.push_back(entry);
        if self.log.len() > LOG {
            self.log.pop_front();
        }
    }

    /// Returns the faults a second, over the last second or what there is of it.
    pub(super) fn rate(&self) -> f64 {
        let second = Duration::from_millis(1100);
        let rate = || {
            let last = self.rates.back()?;
            let since = |sample: &Sample| last.at.saturating_duration_since(sample.at);
            let first = self.rates.iter().find(|sample| since(sample) <= second)?;
            let seconds = since(first).as_secs_f64();
            (seconds > 0.0).then(|| (last.faults - first.faults) as f64 / seconds)
        };
        rate().unwrap_or(0.0)
    }

    /// Returns the numbers of faults between the last samples, from old to new.
    pub(super) fn rates(&self, points: usize) -> Vec<u64> {
        let steps = self.rates.iter().zip(self.rates.iter().skip(1));
        let rates: Vec<u64> = steps.map(|(a, b)| b.faults - a.faults).collect();
        rates[rates.len().saturating_sub(points)..].to_vec()
    }

    pub(super) fn state(&self) -> &'static str {
        match () {
            () if self.look.has_ended() => "ENDED",
            () if self.is_paused => "PAUSED",
            () => "RUNNING",
        }
    }

    /// Returns the status line: the effect of the last key, or how the workload ended.
    pub(super) fn status(&self) -> String {
        if let Some(message) = &self.message {
            return message.clone();
        }
        if self.lost > 0 && !self.look.has_ended() {
            return format!("{} came too fast to be listed", count(self.lost, "fault"));
        }
        if !self.look.has_ended() {
            return String::new();
        }
        let refusal = |ended: &Ended| Some(format!("{} {}", ended.worker, ended.refused.as_ref()?));
        let refused: Vec<String> = self.look.ended.iter().filter_map(refusal).collect();
        match refused.len() {
            0 => "all touches are done".to_owned(),
            _ => format!("refused: {}", refused.join(", ")),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;

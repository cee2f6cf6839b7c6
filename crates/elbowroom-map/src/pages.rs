//! The states of pages.

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

/// The state of a page. A cell of several pages shows the last of their states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum State {
    /// Only the address is reserved.
    Reserved,
    /// May be touched, but is not in memory.
    Committed,
    /// Committed and swapped out.
    Swapped,
    /// In memory.
    Resident,
    /// In memory as part of a huge page.
    Huge,
    /// A guard page: every touch faults.
    Guard,
}

impl State {
    /// Every state.
    pub const ALL: [State; 6] = [
        State::Reserved,
        State::Committed,
        State::Swapped,
        State::Resident,
        State::Huge,
        State::Guard,
    ];

    /// Returns one word for the state.
    pub fn word(self) -> &'static str {
        match self {
            State::Reserved => "reserved",
            State::Committed => "committed",
            State::Swapped => "swapped",
            State::Resident => "resident",
            State::Huge => "huge",
            State::Guard => "guard",
        }
    }
}

/// Neighbouring pages of one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Run {
    /// The address of the first byte.
    pub start: u64,
    /// The address past the last byte.
    pub end: u64,
    /// The state of each page.
    pub state: State,
}

impl Run {
    /// Returns the run of pages from `start` up to `end`.
    pub fn new(start: u64, end: u64, state: State) -> Run {
        Run { start, end, state }
    }
}

impl Run {
    /// Appends a run to others. If it touches the last one and has the same state, the two become one.
    pub fn push(self, runs: &mut Vec<Run>) {
        match runs.last_mut() {
            _ if self.start >= self.end => {}
            Some(last) if last.end == self.start && last.state == self.state => last.end = self.end,
            _ => runs.push(self),
        }
    }
}

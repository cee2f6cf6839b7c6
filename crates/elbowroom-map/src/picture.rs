//! A range of pages as a picture: one cell for a page, or for so many pages that it fits.

use std::fmt;

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::cells::{self, CELLS_MAX};
use crate::size::human;
use crate::snapshot::{Region, Snapshot};
use crate::text::{Paint, harmless};

/// What a page is. Later ones say more than earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum State {
    /// Addresses and nothing else.
    Reserved,
    /// May be touched, and has not been.
    Committed,
    /// Committed, and moved out of memory.
    Swapped,
    /// In memory.
    Resident,
    /// In memory, as a part of a huge page.
    Huge,
    /// A touch of it is a fault, for good.
    Guard,
}

impl State {
    /// Every state.
    pub const ALL: [State; 6] =
        [State::Reserved, State::Committed, State::Swapped, State::Resident, State::Huge, State::Guard];

    /// One word for it.
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

/// Pages of one state, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Run {
    /// The address of the first byte.
    pub start: u64,
    /// Behind the last byte.
    pub end: u64,
    /// What each of its pages is.
    pub state: State,
}

impl Run {
    /// The pages from `start` up to `end`.
    pub fn new(start: u64, end: u64, state: State) -> Run {
        Run { start, end, state }
    }
}

impl Run {
    /// Puts a run behind others, and makes one of the two if they touch and are the same.
    pub fn push(self, runs: &mut Vec<Run>) {
        match runs.last_mut() {
            _ if self.start >= self.end => {}
            Some(last) if last.end == self.start && last.state == self.state => last.end = self.end,
            _ => runs.push(self),
        }
    }
}

/// A region and what each of its pages is. Made by [`Snapshot::pages`]; prints as a picture.
#[derive(Clone, Debug)]
pub struct Pages<'a> {
    /// What it is a part of.
    pub snapshot: &'a Snapshot,
    /// The region.
    pub region: Region,
    /// Its pages: runs that follow each other and cover all of it.
    pub runs: Vec<Run>,
}

impl Pages<'_> {
    /// The whole text.
    pub fn draw(&self, paint: Paint) -> String {
        let Pages { snapshot, region, runs } = self;
        let picture = Picture::new(runs, snapshot.page_size_bytes, CELLS_MAX);
        format!(
            "process {} {}\n{}: {} at {:x}\n\n{}",
            snapshot.pid,
            harmless(&snapshot.program),
            region.label(harmless),
            human(region.end - region.start),
            region.start,
            picture.draw(paint)
        )
    }
}

impl fmt::Display for Pages<'_> {
    /// Without colours.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.draw(Paint::Plain))
    }
}

/// How many pages of each state, in the order of [`State::ALL`].
pub type Counts = [u64; State::ALL.len()];

/// The cells of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Picture {
    /// The address of its first byte.
    pub start: u64,
    /// The size of a page.
    pub page_size_bytes: u64,
    /// A power of two.
    pub pages_per_cell: u64,
    /// What is in each cell.
    pub cells: Vec<Counts>,
}

impl Picture {
    /// The picture of runs that follow each other, in at most so many cells.
    pub fn new(runs: &[Run], page_size_bytes: u64, cells_max: u64) -> Picture {
        let start = runs.first().map_or(0, |run| run.start);
        let end = runs.last().map_or(start, |run| run.end);
        let pages = (end - start) / page_size_bytes;
        let mut pages_per_cell = 1;
        while pages.div_ceil(pages_per_cell) > cells_max {
            pages_per_cell *= 2;
        }
        let mut cells = vec![Counts::default(); pages.div_ceil(pages_per_cell) as usize];
        for run in runs {
            let mut page = (run.start - start) / page_size_bytes;
            let last = (run.end - start) / page_size_bytes;
            while page < last {
                let cell = page / pages_per_cell;
                let upto = last.min((cell + 1) * pages_per_cell);
                cells[cell as usize][run.state as usize] += upto - page;
                page = upto;
            }
        }
        Picture { start, page_size_bytes, pages_per_cell, cells }
    }

    /// The pages of each state.
    pub fn totals(&self) -> Counts {
        let mut totals = Counts::default();
        for cell in &self.cells {
            for (total, count) in totals.iter_mut().zip(cell) {
                *total += count;
            }
        }
        totals
    }

    /// The size of what a cell stands for.
    pub fn cell_bytes(&self) -> u64 {
        self.pages_per_cell * self.page_size_bytes
    }

    /// The state that says most of those in a cell.
    pub fn foremost(cell: &Counts) -> State {
        State::ALL.into_iter().rev().find(|&state| cell[state as usize] > 0).unwrap_or(State::Reserved)
    }

    /// As text: lines of characters, one a cell, and what they mean.
    pub fn draw(&self, paint: Paint) -> String {
        cells::draw(self, paint)
    }
}

impl fmt::Display for Picture {
    /// Without colours.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.draw(Paint::Plain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 4096;

    fn run(pages: std::ops::Range<u64>, state: State) -> Run {
        Run::new(pages.start * PAGE, pages.end * PAGE, state)
    }

    #[test]
    fn a_cell_is_a_page_if_it_fits() {
        let runs = [run(2..4, State::Resident), run(4..5, State::Reserved)];
        let picture = Picture::new(&runs, PAGE, 3);
        assert_eq!((picture.start, picture.pages_per_cell, picture.cells.len()), (2 * PAGE, 1, 3));
        let states: Vec<State> = picture.cells.iter().map(Picture::foremost).collect();
        assert_eq!(states, [State::Resident, State::Resident, State::Reserved]);
    }

    #[test]
    fn no_page_is_lost_in_larger_cells() {
        // 1 TiB with one page in the midst.
        let (all, here) = ((1u64 << 40) / PAGE, 77_777_777);
        let runs =
            [run(0..here, State::Reserved), run(here..here + 1, State::Huge), run(here + 1..all, State::Reserved)];
        let picture = Picture::new(&runs, PAGE, 1000);
        assert!(picture.cells.len() <= 1000 && picture.pages_per_cell.is_power_of_two());
        assert_eq!(picture.totals(), [all - 1, 0, 0, 0, 1, 0]);
        let cell = &picture.cells[(here / picture.pages_per_cell) as usize];
        assert_eq!(Picture::foremost(cell), State::Huge);
        assert_eq!(picture.cells.iter().filter(|&cell| Picture::foremost(cell) == State::Huge).count(), 1);
    }

    #[test]
    fn nothing_has_no_cells() {
        assert!(Picture::new(&[], PAGE, 10).cells.is_empty());
    }

    #[test]
    fn runs_are_joined() {
        let mut runs = Vec::new();
        for part in [run(0..1, State::Guard), run(1..1, State::Huge), run(1..3, State::Guard), run(4..5, State::Guard)]
        {
            part.push(&mut runs);
        }
        assert_eq!(runs, [run(0..3, State::Guard), run(4..5, State::Guard)]);
    }
}

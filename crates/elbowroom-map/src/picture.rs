//! A range of pages as a picture: each cell is a page, or several pages so that the picture fits.

use crate::pages::{Run, State};

/// The number of pages of each state, in the order of [`State::ALL`].
pub type Counts = [u64; State::ALL.len()];

/// A range of pages as cells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Picture {
    /// The address of the first byte.
    pub start: u64,
    /// The size of a page in bytes.
    pub page_size_bytes: u64,
    /// The number of pages that a cell stands for: a power of two.
    pub pages_per_cell: u64,
    /// The pages in each cell.
    pub cells: Vec<Counts>,
}

impl Picture {
    /// Returns the picture of adjacent runs, with at most `cells_max` cells.
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
        Picture {
            start,
            page_size_bytes,
            pages_per_cell,
            cells,
        }
    }

    /// Returns the number of pages of each state.
    pub fn totals(&self) -> Counts {
        let mut totals = Counts::default();
        for cell in &self.cells {
            for (total, count) in totals.iter_mut().zip(cell) {
                *total += count;
            }
        }
        totals
    }

    /// Returns the number of bytes that a cell stands for.
    pub fn cell_bytes(&self) -> u64 {
        self.pages_per_cell * self.page_size_bytes
    }

    /// Returns the last state of [`State::ALL`] that occurs in a cell.
    pub fn foremost(cell: &Counts) -> State {
        State::ALL
            .into_iter()
            .rev()
            .find(|&state| cell[state as usize] > 0)
            .unwrap_or(State::Reserved)
    }

    /// Returns the part of a cell that is not reserved, as one of `levels` steps. Returns `None` if all of the cell or
    /// no part of it is reserved.
    pub fn level(cell: &Counts, levels: usize) -> Option<usize> {
        let pages: u64 = cell.iter().sum();
        let reserved = cell[State::Reserved as usize];
        let level = u128::from(pages - reserved) * levels as u128 / u128::from(pages.max(1));
        (1..pages)
            .contains(&reserved)
            .then(|| (level as usize).min(levels.saturating_sub(1)))
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
        assert_eq!(
            (picture.start, picture.pages_per_cell, picture.cells.len()),
            (2 * PAGE, 1, 3)
        );
        let states: Vec<State> = picture.cells.iter().map(Picture::foremost).collect();
        assert_eq!(states, [State::Resident, State::Resident, State::Reserved]);
    }

    #[test]
    fn no_page_is_lost_in_larger_cells() {
        // 1 TiB with one page in the midst.
        let (all, here) = ((1u64 << 40) / PAGE, 77_777_777);
        let runs = [
            run(0..here, State::Reserved),
            run(here..here + 1, State::Huge),
            run(here + 1..all, State::Reserved),
        ];
        let picture = Picture::new(&runs, PAGE, 1000);
        assert!(picture.cells.len() <= 1000 && picture.pages_per_cell.is_power_of_two());
        assert_eq!(picture.totals(), [all - 1, 0, 0, 0, 1, 0]);
        let cell = &picture.cells[(here / picture.pages_per_cell) as usize];
        assert_eq!(Picture::foremost(cell), State::Huge);
        assert_eq!(
            picture
                .cells
                .iter()
                .filter(|&cell| Picture::foremost(cell) == State::Huge)
                .count(),
            1
        );
    }

    #[test]
    fn a_part_of_a_cell_has_a_level() {
        let level = |reserved, resident| Picture::level(&[reserved, 0, 0, resident, 0, 0], 7);
        assert_eq!(
            [level(127, 1), level(64, 64), level(1, 127)],
            [Some(0), Some(3), Some(6)]
        );
        assert_eq!([level(0, 9), level(9, 0), level(0, 0)], [None; 3]);
    }

    #[test]
    fn nothing_has_no_cells() {
        assert!(Picture::new(&[], PAGE, 10).cells.is_empty());
    }

    #[test]
    fn runs_are_joined() {
        let mut runs = Vec::new();
        for part in [
            run(0..1, State::Guard),
            run(1..1, State::Huge),
            run(1..3, State::Guard),
            run(4..5, State::Guard),
        ] {
            part.push(&mut runs);
        }
        assert_eq!(runs, [run(0..3, State::Guard), run(4..5, State::Guard)]);
    }
}

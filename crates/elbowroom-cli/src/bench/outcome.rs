//! What was measured, and what follows from it. Pure.

use std::time::Duration;

use elbowroom::page_size;
use serde::Serialize;

use crate::meter::lost_share;

use super::mechanism::{BASELINE, Mechanism};
use super::sample::{Manner, Sample, Taken};
use super::stats::Spread;

/// Bars end at so many times the baseline.
const BARS_MAX: f64 = 6.0;

/// Everything.
pub(crate) struct Outcome {
    pub(crate) system: String,
    pub(crate) size_bytes: usize,
    pub(crate) rounds: usize,
    pub(crate) rounds_wanted: usize,
    /// Less than usual, because there is less memory.
    pub(crate) is_smaller: bool,
    /// Each sample in a process of its own.
    pub(crate) is_apart: bool,
    pub(crate) elapsed: Duration,
    pub(crate) tables: Vec<Table>,
}

impl Outcome {
    /// What could not be measured, and why: once if it is the same throughout.
    pub(crate) fn refusals(&self) -> Vec<(Mechanism, &str)> {
        let mut refusals = Vec::new();
        for refusal in self.tables.iter().flat_map(Table::refused) {
            if !refusals.contains(&refusal) {
                refusals.push(refusal);
            }
        }
        refusals
    }

    /// Of the time of those mechanisms that have one thread, the share in which no processor worked for them: other
    /// programs had it, or a host. `None` where there is no fine clock for that.
    pub(crate) fn lost_share(&self) -> Option<f64> {
        let rows = self
            .tables
            .iter()
            .flat_map(Table::measured)
            .filter(|row| row.mechanism.has_one_thread());
        let samples = rows.flat_map(|row| &row.samples);
        lost_share(samples.map(|sample| (sample.wall_ns, sample.cpu_ns)))
    }
}

/// What a row's time is taken by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Clock {
    /// The processors' time, in the kernel too: what other programs disturb least.
    Cpu,
    /// The clock on the wall: where threads wait for each other, and where the system has no fine clock of the other
    /// kind.
    Wall,
}

/// All mechanisms under one manner of touching.
pub(crate) struct Table {
    pub(crate) manner: Manner,
    pub(crate) touched_pages: usize,
    pub(crate) rows: Vec<Row>,
}

/// One mechanism.
pub(crate) struct Row {
    pub(crate) mechanism: Mechanism,
    /// One of each round.
    pub(crate) samples: Vec<Sample>,
    /// Why it could not be measured.
    pub(crate) refusal: Option<String>,
}

impl Table {
    pub(crate) fn new(manner: Manner, size_bytes: usize, mechanisms: &[Mechanism]) -> Table {
        let row = |&mechanism| Row {
            mechanism,
            samples: Vec::new(),
            refusal: None,
        };
        let touched_pages = manner.touched_pages(size_bytes);
        Table {
            manner,
            touched_pages,
            rows: mechanisms.iter().map(row).collect(),
        }
    }

    pub(crate) fn touched_bytes(&self) -> u64 {
        (self.touched_pages * page_size()) as u64
    }

    /// Those that were measured.
    pub(crate) fn measured(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.refusal.is_none())
    }

    /// Those that were not, and why.
    fn refused(&self) -> impl Iterator<Item = (Mechanism, &str)> {
        self.rows
            .iter()
            .filter_map(|row| Some((row.mechanism, row.refusal.as_deref()?)))
    }

    /// The time up to which bars are drawn. What takes many times as long as the baseline does not dwarf the others:
    /// its bar is cut off.
    pub(crate) fn scale_ns(&self) -> f64 {
        let time = |row: &Row| Some(row.time_ns()?.median);
        let longest = self.measured().filter_map(time).fold(1.0, f64::max);
        match self
            .measured()
            .find(|row| row.mechanism == BASELINE)
            .and_then(time)
        {
            Some(baseline) => longest.min(baseline * BARS_MAX),
            None => longest,
        }
    }

    /// A row's time for each page that was touched, in nanoseconds.
    pub(crate) fn page_ns(&self, row: &Row) -> Option<Spread> {
        Some(row.time_ns()?.map(|ns| ns / self.touched_pages as f64))
    }

    /// Returns a row's median relative to that of committing up front.
    pub(crate) fn ratio_of_medians(&self, row: &Row) -> Option<f64> {
        let baseline = self.measured().find(|row| row.mechanism == BASELINE)?;
        Some(row.time_ns()?.median / baseline.time_ns()?.median.max(1.0))
    }

    /// How many times the time of committing up front a row takes: of the ratios within each round.
    pub(crate) fn ratio(&self, row: &Row) -> Option<Spread> {
        let baseline = self.measured().find(|row| row.mechanism == BASELINE)?;
        Spread::of(
            row.times()
                .zip(baseline.times())
                .map(|(ours, theirs)| ours / theirs.max(1.0)),
        )
    }
}

impl Row {
    pub(crate) fn add(&mut self, taken: Taken) {
        match taken {
            Ok(sample) => self.samples.push(sample),
            Err(why) => self.refusal = Some(why),
        }
    }

    /// None if one of them failed: what then works only now and then is no measurement.
    fn measured_samples(&self) -> &[Sample] {
        if self.refusal.is_none() {
            &self.samples
        } else {
            &[]
        }
    }

    pub(crate) fn clock(&self) -> Clock {
        let is_known = self.samples.iter().all(|sample| sample.cpu_ns.is_some());
        if is_known && self.mechanism.has_one_thread() {
            Clock::Cpu
        } else {
            Clock::Wall
        }
    }

    /// By its clock, in nanoseconds.
    fn times(&self) -> impl Iterator<Item = f64> {
        let clock = self.clock();
        self.measured_samples()
            .iter()
            .map(move |sample| match (clock, sample.cpu_ns) {
                (Clock::Cpu, Some(cpu_ns)) => cpu_ns as f64,
                _ => sample.wall_ns as f64,
            })
    }

    /// Of the whole, by its clock.
    pub(crate) fn time_ns(&self) -> Option<Spread> {
        Spread::of(self.times())
    }

    pub(crate) fn wall_ns(&self) -> Option<Spread> {
        Spread::of(
            self.measured_samples()
                .iter()
                .map(|sample| sample.wall_ns as f64),
        )
    }

    /// The processors' time.
    pub(crate) fn cpu_ns(&self) -> Option<Spread> {
        Spread::of(
            self.measured_samples()
                .iter()
                .filter_map(|sample| Some(sample.cpu_ns? as f64)),
        )
    }

    /// The most that was committed.
    pub(crate) fn committed_bytes(&self) -> Option<u64> {
        self.measured_samples()
            .iter()
            .map(|sample| sample.committed_bytes)
            .max()
    }

    /// The most that came to be in memory; `None` where the system does not tell.
    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        let grown = self
            .measured_samples()
            .iter()
            .filter_map(|sample| sample.change.resident_growth_bytes);
        grown.max().map(|bytes| u64::try_from(bytes).unwrap_or(0))
    }

    /// The faults that the library resolved, and those that the kernel did.
    pub(crate) fn library_faults(&self) -> Option<Spread> {
        Spread::of(
            self.measured_samples()
                .iter()
                .map(|sample| sample.library_faults as f64),
        )
    }

    pub(crate) fn kernel_faults(&self) -> Option<Spread> {
        let faults = self
            .measured_samples()
            .iter()
            .filter_map(|sample| sample.change.kernel_faults);
        Spread::of(faults.map(|faults| faults as f64))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::meter::Change;

    /// A sample that took so long.
    pub(crate) fn sample(wall_ns: u64, committed_bytes: u64) -> Sample {
        let change = Change {
            system_commit_growth_bytes: None,
            process_commit_growth_bytes: Some(committed_bytes as i64),
            resident_growth_bytes: Some(committed_bytes as i64),
            kernel_faults: Some(7),
        };
        Sample {
            wall_ns,
            cpu_ns: Some(wall_ns / 2),
            committed_bytes,
            library_faults: 3,
            change,
        }
    }

    /// A machine on which everything takes its place in the list, but for what it has not.
    pub(crate) fn outcome() -> Outcome {
        let mechanisms = super::super::mechanism::all();
        let size_bytes = 64 << 20;
        let tables = Manner::ALL.map(|manner| {
            let mut table = Table::new(manner, size_bytes, &mechanisms);
            for (at, row) in table.rows.iter_mut().enumerate() {
                for round in 1..=3 {
                    row.add(match row.mechanism {
                        Mechanism::UserfaultServed => Err("<not> permitted & so on".to_owned()),
                        _ => Ok(sample(
                            (at as u64 + 1) * 1_000_000 * round,
                            size_bytes as u64,
                        )),
                    });
                }
            }
            table
        });
        Outcome {
            system: "Linux 7.0".to_owned(),
            size_bytes,
            rounds: 3,
            rounds_wanted: 9,
            is_smaller: false,
            is_apart: true,
            elapsed: Duration::from_millis(12_345),
            tables: tables.into(),
        }
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        // A machine that is slower in each round.
        let outcome = outcome();
        let table = &outcome.tables[0];
        let ratio = table.ratio(&table.rows[1]).unwrap();
        assert_eq!(
            [ratio.lower_quartile, ratio.median, ratio.upper_quartile],
            [2.0; 3]
        );
        assert_eq!(table.rows[1].wall_ns().unwrap().median, 4_000_000.0);
        assert_eq!(table.rows[1].time_ns().unwrap().median, 2_000_000.0);
        assert_eq!(
            table.page_ns(&table.rows[1]).unwrap().median,
            2_000_000.0 / table.touched_pages as f64
        );
        assert_eq!(table.rows[1].cpu_ns().unwrap().median, 2_000_000.0);
    }

    #[test]
    fn bars_end_where_one_would_dwarf_the_others() {
        let mut outcome = outcome();
        let table = &mut outcome.tables[0];
        // Of 1 ms in the median.
        assert_eq!(table.scale_ns(), 6e6);
        table.rows.truncate(3);
        assert_eq!(table.scale_ns(), 3e6);
        table.rows.remove(0);
        assert_eq!(table.scale_ns(), 3e6);
        table.rows.clear();
        assert_eq!(table.scale_ns(), 1.0);
    }

    #[test]
    fn threads_that_wait_for_each_other_are_timed_by_the_wall_clock() {
        let mut row = Row {
            mechanism: Mechanism::Monitored,
            samples: vec![sample(8, 1)],
            refusal: None,
        };
        assert_eq!(
            (row.clock(), row.time_ns().unwrap().median),
            (Clock::Wall, 8.0)
        );
        row.mechanism = Mechanism::Adaptive;
        assert_eq!(
            (row.clock(), row.time_ns().unwrap().median),
            (Clock::Cpu, 4.0)
        );
        row.samples[0].cpu_ns = None;
        assert_eq!(
            (row.clock(), row.time_ns().unwrap().median),
            (Clock::Wall, 8.0)
        );
    }

    #[test]
    fn a_busy_machine_is_noticed() {
        let mut outcome = outcome();
        assert_eq!(outcome.lost_share(), Some(0.5));
        outcome.tables[0].rows[0].samples[0].cpu_ns = None;
        assert_eq!(outcome.lost_share(), None);
        outcome.tables.clear();
        assert_eq!(outcome.lost_share(), None);
    }

    #[test]
    fn what_failed_once_is_no_measurement() {
        let mut row = Row {
            mechanism: Mechanism::Adaptive,
            samples: Vec::new(),
            refusal: None,
        };
        row.add(Ok(sample(1, 1)));
        assert!(row.wall_ns().is_some());
        row.add(Err("out of memory".to_owned()));
        assert!(
            row.wall_ns().is_none()
                && row.committed_bytes().is_none()
                && row.library_faults().is_none()
        );
        let outcome = outcome();
        assert_eq!(
            outcome.refusals(),
            [(Mechanism::UserfaultServed, "<not> permitted & so on")]
        );
        assert_eq!(
            outcome.tables[0].measured().count(),
            outcome.tables[0].rows.len() - 1
        );
    }

    #[test]
    fn without_the_baseline_there_are_no_ratios() {
        let mut outcome = outcome();
        let table = &mut outcome.tables[0];
        table.rows[0].add(Err("no".to_owned()));
        assert_eq!(table.ratio(&table.rows[1]), None);
        assert!(table.page_ns(&table.rows[1]).is_some());
    }
}

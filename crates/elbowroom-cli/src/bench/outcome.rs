//! The measurements and their evaluation. Pure.

use std::time::Duration;

use elbowroom::page_size;
use elbowroom_measure::{Clock, Series, Spread};

use super::mechanism::{BASELINE, Mechanism};
use super::sample::{Extra, Manner, Sample};

/// The longest bar, as a multiple of the baseline.
const BARS_MAX: f64 = 6.0;

/// All results.
pub(crate) struct Outcome {
    pub(crate) system: String,
    pub(crate) size_bytes: usize,
    pub(crate) rounds: usize,
    pub(crate) rounds_wanted: usize,
    /// Whether less than usual was measured, because there is less memory.
    pub(crate) is_smaller: bool,
    /// Whether each sample had a separate process.
    pub(crate) is_apart: bool,
    pub(crate) elapsed: Duration,
    pub(crate) tables: Vec<Table>,
}

impl Outcome {
    /// Returns the mechanisms that could not be measured, and the reasons. A repeated reason occurs once.
    pub(crate) fn refusals(&self) -> Vec<(Mechanism, &str)> {
        let mut refusals = Vec::new();
        for refusal in self.tables.iter().flat_map(Table::refused) {
            if !refusals.contains(&refusal) {
                refusals.push(refusal);
            }
        }
        refusals
    }

    /// Returns a warning if other programs used the processors for much of the time of mechanisms with one thread.
    pub(crate) fn busy(&self) -> Option<String> {
        let rows = self.tables.iter().flat_map(Table::measured);
        let rows = rows.filter(|row| row.mechanism.has_one_thread());
        elbowroom_measure::busy(
            rows.flat_map(|row| &row.series.samples)
                .map(|sample| sample.times),
        )
    }
}

/// The results of all mechanisms for one manner of touching.
pub(crate) struct Table {
    pub(crate) manner: Manner,
    pub(crate) touched_pages: usize,
    pub(crate) rows: Vec<Row>,
}

/// The results of one mechanism.
pub(crate) struct Row {
    pub(crate) mechanism: Mechanism,
    pub(crate) series: Series<Extra>,
}

impl Table {
    pub(crate) fn new(manner: Manner, size_bytes: usize, mechanisms: &[Mechanism]) -> Table {
        let row = |&mechanism| Row {
            mechanism,
            series: Series::default(),
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

    /// Returns the rows that were measured.
    pub(crate) fn measured(&self) -> impl Iterator<Item = &Row> {
        let is_measured = |row: &&Row| row.series.refusal.is_none();
        self.rows.iter().filter(is_measured)
    }

    /// Returns the mechanisms that were not measured, and the reasons.
    fn refused(&self) -> impl Iterator<Item = (Mechanism, &str)> {
        let rows = self.rows.iter();
        rows.filter_map(|row| Some((row.mechanism, row.series.refusal.as_deref()?)))
    }

    /// Returns the time at the end of the scale. The bar of a mechanism that takes much longer than the baseline is cut
    /// off, so that the other bars stay readable.
    pub(crate) fn scale_ns(&self) -> f64 {
        let time = |row: &Row| Some(row.time_ns()?.median);
        let longest = self.measured().filter_map(time).fold(1.0, f64::max);
        let baseline = self.baseline().and_then(time);
        baseline.map_or(longest, |baseline| longest.min(baseline * BARS_MAX))
    }

    /// Returns the row of the baseline.
    fn baseline(&self) -> Option<&Row> {
        self.measured().find(|row| row.mechanism == BASELINE)
    }

    /// Returns a row's time per touched page, in nanoseconds.
    pub(crate) fn page_ns(&self, row: &Row) -> Option<Spread> {
        Some(row.time_ns()?.map(|ns| ns / self.touched_pages as f64))
    }

    /// Returns a row's median relative to that of committing up front.
    pub(crate) fn ratio_of_medians(&self, row: &Row) -> Option<f64> {
        Some(row.time_ns()?.median / self.baseline()?.time_ns()?.median.max(1.0))
    }

    /// Returns a row's time relative to that of committing up front: the spread of the ratios within each round.
    pub(crate) fn ratio(&self, row: &Row) -> Option<Spread> {
        let mut baseline = self.baseline()?.times();
        baseline.iter_mut().for_each(|ns| *ns = ns.max(1.0));
        Spread::of_ratios(&row.times(), &baseline)
    }
}

impl Row {
    pub(crate) fn clock(&self) -> Clock {
        if self.series.has_cpu_times() && self.mechanism.has_one_thread() {
            Clock::Cpu
        } else {
            Clock::Wall
        }
    }

    /// Returns the times by the row's clock, in nanoseconds.
    fn times(&self) -> Vec<f64> {
        self.series.times(self.clock())
    }

    /// Returns the spread of the whole times by the row's clock, in nanoseconds.
    pub(crate) fn time_ns(&self) -> Option<Spread> {
        Spread::of(self.times())
    }

    /// Returns a further figure of the samples that have it.
    pub(crate) fn extras<'a, F>(
        &'a self,
        figure: impl Fn(&Sample) -> Option<F> + 'a,
    ) -> impl Iterator<Item = F> + 'a {
        self.series.measured().iter().filter_map(figure)
    }

    /// Returns the largest committed size.
    pub(crate) fn committed_bytes(&self) -> Option<u64> {
        self.extras(|sample| Some(sample.extra.committed_bytes))
            .max()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use elbowroom_measure::Times;

    use super::*;
    use crate::meter::Change;

    /// Returns a sample with these figures.
    pub(crate) fn sample(wall_ns: u64, committed_bytes: u64) -> Sample {
        let change = Change {
            system_commit_growth_bytes: None,
            process_commit_growth_bytes: Some(committed_bytes as i64),
            resident_growth_bytes: Some(committed_bytes as i64),
            kernel_faults: Some(7),
        };
        let times = Times {
            wall_ns,
            cpu_ns: Some(wall_ns / 2),
        };
        let extra = Extra {
            committed_bytes,
            library_faults: 3,
            change,
        };
        Sample { times, extra }
    }

    /// Returns an outcome in which times grow in the order of the list, except for mechanisms that the machine lacks.
    pub(crate) fn outcome() -> Outcome {
        let mechanisms = super::super::mechanism::all();
        let size_bytes = 64 << 20;
        let tables = Manner::ALL.map(|manner| {
            let mut table = Table::new(manner, size_bytes, &mechanisms);
            for (at, row) in table.rows.iter_mut().enumerate() {
                for round in 1..=3 {
                    let taken = match row.mechanism {
                        Mechanism::UserfaultServed => Err("<not> permitted & so on".to_owned()),
                        _ => Ok(sample(
                            (at as u64 + 1) * 1_000_000 * round,
                            size_bytes as u64,
                        )),
                    };
                    row.series.take(|| taken);
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
        // The machine is slower in each round.
        let mut outcome = outcome();
        let table = &mut outcome.tables[0];
        let ratio = table.ratio(&table.rows[1]).unwrap();
        let quartiles = [ratio.lower_quartile, ratio.median, ratio.upper_quartile];
        assert_eq!(quartiles, [2.0; 3]);
        let page_ns = table.page_ns(&table.rows[1]).unwrap().median;
        assert_eq!(page_ns, 2_000_000.0 / table.touched_pages as f64);
        // Without the baseline there is none.
        table.rows[0].series.take(|| Err("no".to_owned()));
        assert_eq!(table.ratio(&table.rows[1]), None);
        assert!(table.page_ns(&table.rows[1]).is_some());
    }

    #[test]
    fn bars_end_where_one_would_dwarf_the_others() {
        let mut outcome = outcome();
        let table = &mut outcome.tables[0];
        // The baseline's median is 1 ms.
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
        let mut series = Series::default();
        series.take(|| Ok(sample(8, 1)));
        let mechanism = Mechanism::FilterThread;
        let mut row = Row { mechanism, series };
        let timed = |row: &Row| (row.clock(), row.time_ns().unwrap().median);
        assert_eq!(timed(&row), (Clock::Wall, 8.0));
        row.mechanism = Mechanism::Adaptive;
        assert_eq!(timed(&row), (Clock::Cpu, 4.0));
        row.series.samples[0].times.cpu_ns = None;
        assert_eq!(timed(&row), (Clock::Wall, 8.0));
    }

    #[test]
    fn what_failed_once_is_no_measurement() {
        let mut outcome = outcome();
        let refusal = (Mechanism::UserfaultServed, "<not> permitted & so on");
        assert_eq!(outcome.refusals(), [refusal]);
        let table = &mut outcome.tables[0];
        assert_eq!(table.measured().count(), table.rows.len() - 1);
        let row = &mut table.rows[1];
        assert!(row.time_ns().is_some());
        row.series.take(|| Err("out of memory".to_owned()));
        assert!(row.time_ns().is_none() && row.committed_bytes().is_none());
    }
}

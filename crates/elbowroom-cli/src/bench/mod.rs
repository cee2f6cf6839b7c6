//! `elbowroom bench`: the ways of committing memory, side by side on this machine.
//!
//! Mechanisms take turns. A round is one sample of each, so that a disturbance of the machine affects all of them. The
//! results are the median over the rounds, and the median of the ratios within a round. Each sample is taken in a
//! separate process, which makes the memory and touches it. Its time is processor time, which other programs disturb
//! least, or the time of the wall clock if threads wait for each other.

mod chart;
mod mechanism;
mod outcome;
mod room;
mod sample;
mod view;

use std::time::{Duration, Instant};

use crate::args::Bench;
use crate::os;
use crate::output::{self, complain, line, paint, print, write_files};
use crate::progress::Progress;
use outcome::{Outcome, Table};
pub(crate) use room::Room;
use sample::{Manner, Order, Place};

const ROUNDS: usize = 9;
const QUICK_ROUNDS: usize = 3;
/// The time after which no round ends, unless the number of rounds was given.
const TIME_MAX: Duration = Duration::from_secs(50);

/// Measures, shows, and returns the exit status of the process.
pub(crate) fn run(settings: &Bench) -> Result<i32, String> {
    if let Some(answer) = sample::answer() {
        return Ok(i32::from(line(answer).is_err()));
    }
    show(settings, &measure(settings)?)
}

fn measure(settings: &Bench) -> Result<Outcome, String> {
    let size_bytes = room::size(settings.size_bytes, settings.is_quick, &Room::now())?;
    if let Some(told) = room::rounded(settings.size_bytes, size_bytes) {
        complain(told);
    }
    let place = Place::choose(size_bytes);
    let mechanisms = mechanism::all();
    let mut tables = Manner::ALL.map(|manner| Table::new(manner, size_bytes, &mechanisms));
    let wanted = settings.rounds.unwrap_or(if settings.is_quick {
        QUICK_ROUNDS
    } else {
        ROUNDS
    });

    let mut progress = Progress::new(wanted * tables.len() * mechanisms.len());
    let start = Instant::now();
    let mut rounds = 0;
    while rounds < wanted {
        for table in &mut tables {
            for row in &mut table.rows {
                progress.step(format_args!(
                    "run {} of {wanted}: {}",
                    rounds + 1,
                    row.mechanism
                ));
                row.series.take(|| {
                    place.take(Order {
                        mechanism: row.mechanism,
                        manner: table.manner,
                        size_bytes,
                    })
                });
            }
        }
        rounds += 1;
        let is_late = start.elapsed() / rounds as u32 * (rounds as u32 + 1) > TIME_MAX;
        if is_late && settings.rounds.is_none() {
            break;
        }
    }
    drop(progress);
    Ok(Outcome {
        system: os::system(),
        size_bytes,
        rounds,
        rounds_wanted: wanted,
        is_smaller: settings.size_bytes.is_none()
            && size_bytes < room::usual_bytes(settings.is_quick),
        is_apart: place == Place::Apart,
        elapsed: start.elapsed(),
        tables: tables.into(),
    })
}

fn show(settings: &Bench, outcome: &Outcome) -> Result<i32, String> {
    let text = if settings.json {
        view::json(outcome)
    } else {
        let columns = output::columns().unwrap_or(view::DEFAULT_COLUMNS);
        view::text(outcome, paint(), os::is_utf8(), columns)
    };
    let written = write_files([(&settings.svg, &|| chart::svg(outcome))]);
    // Prints the table even if the file could not be written.
    let status = print(text.trim_end_matches('\n'))?;
    written.map(|()| status)
}

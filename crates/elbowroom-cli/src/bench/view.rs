//! The outcome as text for people and as JSON for programs.

use elbowroom::page_size;
use elbowroom_measure::{Clock, Spread, three_digits, time, unit};
use serde::Serialize;

use super::mechanism::Mechanism;
use super::outcome::{Outcome, Row, Table};
use super::sample::{Manner, Sample};
use crate::output::{self, Colour, Paint, wrap};
use crate::size::Size;
use elbowroom_map::bar;

/// The width of the text without a terminal.
pub(super) const DEFAULT_COLUMNS: usize = 100;
/// The columns of the names of mechanisms.
pub(super) const NAME_COLUMNS: usize = 27;
/// The columns of the figures, with the spaces before them.
const FIGURES_COLUMNS: usize = 2 + 8 + 2 + 8 + 2 + 13 + 2 + 6 + 2 + 8;
const BAR_COLUMNS_MIN: usize = 8;
const BAR_COLUMNS_MAX: usize = 60;

/// Returns the description of a manner of touching.
pub(super) fn title(table: &Table, size_bytes: usize) -> String {
    let (touched, size) = (table.touched_pages, Size(size_bytes as u64));
    match table.manner {
        Manner::InOrder => {
            format!("in order: each of the {touched} pages of {size}, one write a page")
        }
        Manner::Scattered => {
            format!("scattered: {touched} pages of {size} in random order, one write a page")
        }
    }
}

/// Returns a size in few characters.
pub(super) fn size(bytes: u64) -> String {
    let exact = Size(bytes).to_string();
    match exact.split_once('.') {
        // The decimal of a size such as 227.4 MiB is left out.
        Some((whole, rest)) if whole.len() > 2 => format!("{whole}{}", &rest[1..]),
        _ => exact,
    }
}

/// Returns the text: a table for each manner, with bars if there is room.
pub(super) fn text(outcome: &Outcome, paint: Paint, is_unicode: bool, columns: usize) -> String {
    let mut lines = Vec::new();
    let each = if outcome.is_apart {
        ", each sample in a process of its own"
    } else {
        ""
    };
    let head = format!("{}: {}{each}", outcome.system, runs(outcome.rounds));
    lines.extend(wrap(&head, columns.max(40)));
    for table in &outcome.tables {
        lines.push(String::new());
        let title = wrap(&title(table, outcome.size_bytes), columns.max(40));
        lines.extend(title.iter().map(|line| paint.bold(line)));
        push_table(&mut lines, table, paint, is_unicode, columns);
    }
    push_refusals(&mut lines, outcome, paint, columns);
    lines.push(String::new());
    for note in notes(outcome) {
        let note = wrap(&note, columns.clamp(40, 120));
        lines.extend(note.iter().map(|line| paint.dim(line)));
    }
    let text = lines.join("\n");
    match is_unicode {
        true => text,
        false => text.replace('µ', "u"),
    }
}

pub(super) fn runs(rounds: usize) -> String {
    if rounds == 1 {
        "one run".to_owned()
    } else {
        format!("{rounds} runs in turns")
    }
}

fn push_table(
    lines: &mut Vec<String>,
    table: &Table,
    paint: Paint,
    is_unicode: bool,
    columns: usize,
) {
    let room = columns.saturating_sub(NAME_COLUMNS + FIGURES_COLUMNS + 2);
    let bar_columns = match room {
        ..BAR_COLUMNS_MIN => 0,
        room => room.min(BAR_COLUMNS_MAX),
    };
    // A narrow terminal leaves out the whole time and its quartiles.
    let in_all = |time: &str, half: &str| match columns < NAME_COLUMNS + FIGURES_COLUMNS {
        true => String::new(),
        false => format!("  {time:>8}  {half:>13}"),
    };
    lines.push(paint.dim(&format!(
        "{:NAME_COLUMNS$}  {:>8}{}  {:>6}  {:>8}",
        "",
        "a page",
        in_all("in all", "half of runs"),
        "ratio",
        "commits"
    )));
    for row in table.measured() {
        let (Some(page), Some(whole)) = (table.page_ns(row), row.time_ns()) else {
            continue;
        };
        let ratio = table
            .ratio(row)
            .map_or_else(|| "-".to_owned(), |ratio| three_digits(ratio.median));
        let committed = row.committed_bytes().map_or_else(String::new, size);
        let mut line = format!(
            "{:NAME_COLUMNS$}  {:>8}{}  {ratio:>6}  {committed:>8}",
            row.mechanism.to_string(),
            time(page.median),
            in_all(&time(whole.median), &quartiles(whole)),
        );
        if bar_columns > 0 {
            let colour = match row.mechanism {
                Mechanism::UpFront(_) => Colour::Yellow,
                _ => Colour::Blue,
            };
            let (time, scale) = (whole.median as u64, table.scale_ns() as u64);
            let bar = bar(time, scale, bar_columns, is_unicode);
            line += &format!("  {}", paint.colour(colour, &bar));
        }
        lines.push(line);
    }
}

/// Appends the mechanisms that could not be measured.
fn push_refusals(lines: &mut Vec<String>, outcome: &Outcome, paint: Paint, columns: usize) {
    let refusals = outcome.refusals();
    if refusals.is_empty() {
        return;
    }
    lines.push(String::new());
    lines.push(paint.bold("not measured"));
    let indent = NAME_COLUMNS + 2;
    for (mechanism, why) in refusals {
        let mut name = mechanism.to_string();
        for part in wrap(why, columns.clamp(indent + 30, 120) - indent) {
            lines.push(format!("{name:NAME_COLUMNS$}  {}", paint.dim(&part)));
            name.clear();
        }
    }
}

/// Returns the quartiles in the unit of the median.
fn quartiles(spread: Spread) -> String {
    let (unit, _) = unit(spread.median);
    format!(
        "{} to {}",
        three_digits(spread.lower_quartile / unit),
        three_digits(spread.upper_quartile / unit)
    )
}

/// Returns the description of the clocks.
pub(super) fn clocks(outcome: &Outcome) -> &'static str {
    let has_cpu = outcome
        .tables
        .iter()
        .flat_map(Table::measured)
        .any(|row| row.clock() == Clock::Cpu);
    if has_cpu {
        "in processor time; where threads wait for each other, by the wall clock"
    } else {
        "by the wall clock"
    }
}

/// Returns the notes below the tables.
fn notes(outcome: &Outcome) -> Vec<String> {
    let page = Size(page_size() as u64);
    let mut notes = vec![format!(
        "Time to make and touch the memory, {}: the median, and the range of the middle half of the runs. The ratio is \
         relative to the first line, within a round. A page is {page}. Scattered touches leave most pages out, which \
         shows how much is committed ahead of use.",
        clocks(outcome)
    )];
    notes.extend(outcome.busy());
    if outcome.rounds < outcome.rounds_wanted {
        notes.push(format!(
            "{} of {} runs, because they took long. --runs sets the number.",
            outcome.rounds, outcome.rounds_wanted
        ));
    }
    if outcome.is_smaller {
        let size = Size(outcome.size_bytes as u64);
        notes.push(format!(
            "Measured with {size}, because there is too little memory for more. `elbowroom doctor` shows the limits."
        ));
    }
    if !outcome.is_apart {
        let told = "This program could not start processes: all samples are from one, and each may affect the next.";
        notes.push(told.into());
    }
    notes
}

/// The JSON object.
#[derive(Serialize)]
struct Json<'a> {
    system: &'a str,
    page_size_bytes: usize,
    size_bytes: usize,
    runs: usize,
    each_in_own_process: bool,
    elapsed_ns: u64,
    tables: Vec<JsonTable<'a>>,
}

#[derive(Serialize)]
struct JsonTable<'a> {
    touches: Manner,
    touched_pages: usize,
    touched_bytes: u64,
    mechanisms: Vec<JsonRow<'a>>,
}

/// One mechanism. Figures that could not be measured are null, with the reason.
#[derive(Serialize)]
struct JsonRow<'a> {
    id: String,
    name: String,
    not_measured: Option<&'a str>,
    /// The clock of the times and the ratio.
    clock: Clock,
    page_ns: Option<Spread>,
    time_ns: Option<Spread>,
    wall_ns: Option<Spread>,
    /// Null if the system has no fine clock for processor time.
    cpu_ns: Option<Spread>,
    ratio: Option<Spread>,
    peak_committed_bytes: Option<u64>,
    /// Null if the system does not report it.
    resident_bytes: Option<u64>,
    library_faults: Option<f64>,
    kernel_faults: Option<f64>,
    samples: &'a [Sample],
}

fn json_row<'a>(table: &Table, row: &'a Row) -> JsonRow<'a> {
    let spread = |figure: &dyn Fn(&Sample) -> Option<f64>| Spread::of(row.extras(figure));
    let median = |figure: &dyn Fn(&Sample) -> Option<f64>| Some(spread(figure)?.median);
    let grown = row.extras(|sample| sample.extra.change.resident_growth_bytes);
    JsonRow {
        id: row.mechanism.id(),
        name: row.mechanism.to_string(),
        not_measured: row.series.refusal.as_deref(),
        clock: row.clock(),
        page_ns: table.page_ns(row),
        time_ns: row.time_ns(),
        wall_ns: row.series.time_ns(Clock::Wall),
        cpu_ns: spread(&|sample| Some(sample.times.cpu_ns? as f64)),
        ratio: table.ratio(row),
        peak_committed_bytes: row.committed_bytes(),
        resident_bytes: grown.max().map(|bytes| u64::try_from(bytes).unwrap_or(0)),
        library_faults: median(&|sample| Some(sample.extra.library_faults as f64)),
        kernel_faults: median(&|sample| Some(sample.extra.change.kernel_faults? as f64)),
        samples: &row.series.samples,
    }
}

pub(super) fn json(outcome: &Outcome) -> String {
    let tables = outcome.tables.iter().map(|table| JsonTable {
        touches: table.manner,
        touched_pages: table.touched_pages,
        touched_bytes: table.touched_bytes(),
        mechanisms: table.rows.iter().map(|row| json_row(table, row)).collect(),
    });
    let json = Json {
        system: &outcome.system,
        page_size_bytes: page_size(),
        size_bytes: outcome.size_bytes,
        runs: outcome.rounds,
        each_in_own_process: outcome.is_apart,
        elapsed_ns: elbowroom_measure::nanoseconds(outcome.elapsed),
        tables: tables.collect(),
    };
    output::json(&json)
}

#[cfg(test)]
mod tests {
    use super::super::outcome::tests::outcome;
    use super::*;

    #[test]
    fn quartiles_are_in_the_unit_of_the_median() {
        let spread = |figure: f64| {
            quartiles(Spread {
                lower_quartile: figure / 2.0,
                median: figure,
                upper_quartile: figure,
            })
        };
        assert_eq!(
            [spread(900.0), spread(1e6), spread(1.2e9)],
            ["450 to 900", "0.50 to 1.00", "0.60 to 1.20"]
        );
    }

    #[test]
    fn sizes_take_few_characters() {
        assert_eq!(
            [size(64 << 20), size(227 << 20 | 5 << 17), size(3 << 19)],
            ["64 MiB", "227 MiB", "1.5 MiB"]
        );
        assert!(
            (0..64)
                .all(|bit| size(1023 << bit >> 10).len() <= 8 && size(u64::MAX >> bit).len() <= 9)
        );
    }

    #[test]
    fn every_mechanism_has_a_line_that_fits() {
        let outcome = outcome();
        for columns in [40, 60, 80, 90, 100, 200] {
            let text = text(&outcome, Paint::Plain, true, columns);
            for row in &outcome.tables[0].rows {
                let name = row.mechanism.to_string();
                let lines = text.lines().filter(|line| line.starts_with(&name));
                let is_refused = row.series.refusal.is_some();
                assert_eq!(
                    lines.count(),
                    if is_refused { 1 } else { 2 },
                    "{name}: {text}"
                );
            }
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(columns.max(60)), "{columns}: {text}");
            assert_eq!(text.contains('█'), columns >= 90, "{columns}: {text}");
            for part in ["  <not> permitted", "3 of 9 runs", "for 50 % of the"] {
                assert!(text.contains(part), "{text}");
            }
            assert!(!text.contains('\u{1b}'), "{text}");
        }
        assert!(super::text(&outcome, Paint::Plain, false, 120).is_ascii());
        assert!(super::text(&outcome, Paint::Colours, true, 120).contains("\u{1b}[34m"));
    }
}

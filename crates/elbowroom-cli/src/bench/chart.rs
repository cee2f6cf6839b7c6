//! The outcome as a drawing: a bar for each mechanism, with the spread of its runs.

use elbowroom_measure::{capitalised, three_digits, time};

use super::mechanism::{BASELINE, Mechanism};
use super::outcome::{Outcome, Table};
use super::view::{clocks, runs, size, title};
use crate::output::wrap;
use crate::picture::round_step;
use crate::picture::svg::{MARGIN, Svg};
use crate::size::Sizes;

const WIDTH: u32 = 960;
/// The left end of bars, and the right end of the longest.
const LEFT: f64 = MARGIN + 200.0;
const RIGHT: f64 = WIDTH as f64 - MARGIN - 250.0;
const ROW: f64 = 22.0;
const BAR: f64 = 14.0;
/// The columns of a line of text that is as wide as the drawing.
const TEXT_COLUMNS: usize = 120;

pub(super) fn svg(outcome: &Outcome) -> String {
    let subtitle = format!(
        "{}; {}, {}; shorter is better",
        outcome.system,
        size(outcome.size_bytes as u64),
        runs(outcome.rounds)
    );
    let mut svg = Svg::new(WIDTH, "Ways of committing memory", &subtitle);
    svg.key(MARGIN, "committed", "committed up front");
    svg.key(MARGIN + 170.0, "resident", "on touch");
    svg.y += 40.0;
    for table in &outcome.tables {
        draw(&mut svg, table, outcome.size_bytes);
    }
    let note = format!(
        "Each bar is the median time to make and touch the memory, {}; the line through its end spans the middle half \
         of the runs. An arrow marks a bar that is cut off. The ratio is relative to the bar of {BASELINE}.",
        clocks(outcome)
    );
    let refusals = outcome.refusals().into_iter();
    let refusals = refusals.map(|(name, why)| format!("Not measured: {name}: {why}"));
    let notes = std::iter::once(note).chain(outcome.busy()).chain(refusals);
    for line in notes.flat_map(|note| wrap(&note, TEXT_COLUMNS)) {
        svg.text(MARGIN, svg.y, "small faint", &line);
        svg.y += 16.0;
    }
    svg.finish()
}

fn class(mechanism: Mechanism) -> &'static str {
    match mechanism {
        Mechanism::UpFront(_) => "committed",
        _ => "resident",
    }
}

fn draw(svg: &mut Svg, table: &Table, size_bytes: usize) {
    let title = title(table, size_bytes);
    svg.text(MARGIN, svg.y, "", &capitalised(&title));
    svg.y += 14.0;
    let longest = table.scale_ns();
    let x = |ns: f64| LEFT + (RIGHT - LEFT) * (ns / longest).min(1.0);
    let rows = table.measured().count();
    let (top, bottom) = (svg.y, svg.y + rows as f64 * ROW);

    let step = round_step(longest, 8.0);
    let mut at = 0.0;
    while at <= longest {
        let class = if at == 0.0 { "axis" } else { "grid" };
        svg.line((x(at), top), (x(at), bottom), class);
        svg.centred(x(at), bottom + 16.0, "small faint num", &tick(at, step));
        at += step;
    }
    for (column, text) in [(0.0, "a page"), (76.0, "ratio"), (160.0, "commits")] {
        svg.text_end(RIGHT + 80.0 + column, top - 2.0, "small faint", text);
    }
    let committed = table.measured().filter_map(|row| row.committed_bytes());
    let sizes = Sizes::of(committed);
    for row in table.measured() {
        let (Some(whole), Some(page)) = (row.time_ns(), table.page_ns(row)) else {
            continue;
        };
        let middle = svg.y + ROW / 2.0;
        let (class, name) = (class(row.mechanism), row.mechanism.to_string());
        svg.text_end(LEFT - 10.0, middle + 4.5, "small", &name);
        let width = (x(whole.median) - LEFT).max(1.0);
        svg.rect(LEFT, middle - BAR / 2.0, width, BAR, class);
        if whole.median > longest {
            // A bar that is cut off ends in an arrow.
            svg.path(&format!("M{RIGHT:.1} {:.1}l9 7l-9 7z", middle - 7.0), class);
        } else {
            // A line between the quartiles, with its ends marked.
            let ends = [x(whole.lower_quartile), x(whole.upper_quartile)];
            svg.line((ends[0], middle), (ends[1], middle), "whisker");
            for end in ends {
                svg.line((end, middle - 3.5), (end, middle + 3.5), "whisker");
            }
        }
        let ratio = table
            .ratio_of_medians(row)
            .map_or_else(|| "-".to_owned(), three_digits);
        let committed = row
            .committed_bytes()
            .map_or_else(String::new, |bytes| sizes.text(bytes));
        for (column, text) in [(0.0, time(page.median)), (76.0, ratio), (160.0, committed)] {
            svg.text_end(RIGHT + 80.0 + column, middle + 4.5, "small num", &text);
        }
        svg.y += ROW;
    }
    svg.y += 56.0;
}

/// Returns a number on the axis, in the unit of its steps.
fn tick(ns: f64, step: f64) -> String {
    let (unit, name) = match step {
        step if step < 1e3 => (1.0, "ns"),
        step if step < 1e6 => (1e3, "µs"),
        step if step < 1e9 => (1e6, "ms"),
        _ => (1e9, "s"),
    };
    format!("{:.0} {name}", ns / unit)
}

#[cfg(test)]
mod tests {
    use elbowroom_measure::Times;

    use super::super::outcome::tests::outcome;
    use super::*;
    use crate::picture::svg::tests::assert_well_formed;

    #[test]
    fn every_mechanism_has_its_bar() {
        let mut outcome = outcome();
        for (row, bytes) in outcome.tables[0].rows.iter_mut().zip([3 << 19, 1 << 20]) {
            for sample in &mut row.series.samples {
                sample.extra.committed_bytes = bytes;
            }
        }
        let svg = svg(&outcome);
        assert_well_formed(&svg);
        let measured = outcome.tables.iter().flat_map(Table::measured).count();
        // Beside the background and the legend.
        assert_eq!(svg.matches("<rect x=").count(), measured + 2);
        for row in &outcome.tables[0].rows {
            let count = if row.series.refusal.is_none() { 2 } else { 1 };
            let name = row.mechanism.to_string();
            assert!(svg.matches(&name).count() >= count, "{name}");
        }
        // Sizes of one unit are written alike.
        for part in [
            "&lt;not&gt; permitted &amp; so on",
            ">1.5 MiB<",
            ">1.0 MiB<",
        ] {
            assert!(svg.contains(part), "{svg}");
        }
    }

    #[test]
    fn ratios_are_those_of_the_bars() {
        let mut outcome = outcome();
        // The median of the ratios within a round stays what it was; the bar grows.
        let table = &mut outcome.tables[0];
        let before = table.ratio_of_medians(&table.rows[1]).unwrap();
        let samples = &mut table.rows[1].series.samples;
        let last = samples.len() - 1;
        for sample in &mut samples[..last] {
            let (wall_ns, cpu_ns) = (123_000_000, Some(123_000_000));
            sample.times = Times { wall_ns, cpu_ns };
        }
        let ratio = table.ratio_of_medians(&table.rows[1]).unwrap();
        let bars = [1, 0].map(|row| table.rows[row].time_ns().unwrap().median);
        assert!(ratio > before && (ratio - bars[0] / bars[1]).abs() < 1e-9);
        assert!(svg(&outcome).contains(&format!(">{}<", three_digits(ratio))));
    }

    #[test]
    fn axes_have_few_round_numbers() {
        let ticks = [tick(0.0, 500.0), tick(20_000.0, 5000.0), tick(4e9, 2e9)];
        assert_eq!(ticks, ["0 ns", "20 µs", "4 s"]);
    }
}

//! Plots, as SVG.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::plot::Plot;
use super::tables;
use crate::run::Outcome;
use crate::workloads::{OURS, scaling, touch, vectors};

/// Colours that colour-blind people can distinguish (Okabe and Ito).
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
    RGBColor(120, 120, 120),
];

const FONT: &str = "sans-serif";
const SIZE: (u32, u32) = (920, 460);
/// The space for the names of the series, beside the ends of their lines.
const MARGIN_RIGHT: u32 = 250;
/// The least vertical distance of two names, in pixels.
const LINE_HEIGHT: i32 = 17;

/// One line of a plot.
struct Series {
    name: String,
    // The indices of places on the horizontal axis, and the values there.
    points: Vec<(usize, f64)>,
}

struct Chart {
    title: &'static str,
    horizontal: &'static str,
    places: Vec<String>,
    vertical: &'static str,
    series: Vec<Series>,
    // Values that do not depend on the horizontal axis.
    levels: Vec<(String, f64)>,
}

/// Draws the plots for which there are figures.
pub(super) fn draw(folder: &Path, outcomes: &[Outcome]) -> Result<Vec<Plot>, String> {
    let charts = [
        ("Mechanisms", "cost-per-page.svg", cost_per_page(outcomes)),
        ("Filling memory", "fill-time.svg", fill_time(outcomes)),
        (
            "The pause at a push",
            "push-latency.svg",
            push_latency(outcomes),
        ),
        ("Scaling", "scaling-regions.svg", regions(outcomes)),
        ("Scaling", "scaling-threads.svg", threads(outcomes)),
    ];
    let mut plots = Vec::new();
    for (chapter, file, chart) in charts {
        let Some(chart) = chart.filter(|chart| chart.values().next().is_some()) else {
            continue;
        };
        chart
            .draw(&folder.join(file))
            .map_err(|error| format!("{file}: {error}"))?;
        plots.push(Plot {
            chapter,
            file,
            shows: chart.title,
        });
    }
    Ok(plots)
}

fn find<'a>(outcomes: &'a [Outcome], name: &str) -> Option<&'a Outcome> {
    outcomes.iter().find(|outcome| outcome.name == name)
}

fn cost_per_page(outcomes: &[Outcome]) -> Option<Chart> {
    let mechanisms = find(outcomes, "mechanisms")?;
    let windows = touch::WINDOWS.map(|window| {
        if window == touch::WINDOWS[0] {
            touch::ONE_PAGE.to_owned()
        } else {
            touch::window_name(window)
        }
    });
    let points = windows
        .iter()
        .enumerate()
        .filter_map(|(n, name)| Some((n, mechanisms.median(name)?)));
    let level = |name: &str| Some((name.to_owned(), mechanisms.median(name)?));
    let names = [
        OURS,
        touch::UP_FRONT,
        touch::HUGE,
        touch::BARE,
        touch::USERFAULT,
        touch::MONITOR,
        touch::PIPE,
    ];
    let levels = names.into_iter().filter_map(level).map(|(name, value)| {
        (
            if name == OURS {
                "elbowroom, default growth".to_owned()
            } else {
                name
            },
            value,
        )
    });
    Some(Chart {
        title: "Cost of a page touched in order, by mechanism and window",
        horizontal: "window: what one fault commits",
        places: touch::WINDOWS
            .map(|window| tables::size(window as u64))
            .into(),
        vertical: "time a page",
        series: vec![Series {
            name: "elbowroom, fixed windows".to_owned(),
            points: points.collect(),
        }],
        levels: levels.collect(),
    })
}

fn fill_time(outcomes: &[Outcome]) -> Option<Chart> {
    let names = [
        (OURS, "elbowroom, committed on touch"),
        (touch::UP_FRONT, touch::UP_FRONT),
        (touch::HUGE, touch::HUGE),
    ];
    let series = names.map(|(name, label)| {
        let point = |(n, (comparison, _)): (usize, &(&str, usize))| {
            let outcome = find(outcomes, comparison)?;
            Some((n, outcome.median(name)? * outcome.units as f64))
        };
        Series {
            name: label.to_owned(),
            points: touch::SIZES.iter().enumerate().filter_map(point).collect(),
        }
    });
    Some(Chart {
        title: "Time to fill memory from nothing, one write a page",
        horizontal: "size",
        places: touch::SIZES
            .map(|(_, bytes)| tables::size(bytes as u64))
            .into(),
        vertical: "time",
        series: series.into(),
        levels: Vec::new(),
    })
}

fn push_latency(outcomes: &[Outcome]) -> Option<Chart> {
    let outcome = find(outcomes, "push-latency")?;
    let series = outcome.contenders.iter().map(|contender| {
        let points = contender
            .steps()
            .iter()
            .enumerate()
            .map(|(n, step)| (n, step.ns.max(1) as f64))
            .collect();
        let name = if contender.name == OURS {
            "elbowroom's ReservedVec"
        } else {
            contender.name.as_str()
        };
        Series {
            name: name.to_owned(),
            points,
        }
    });
    Some(Chart {
        title: "The longest push of each share of pushes, u64 to 32 MiB",
        horizontal: "share of pushes",
        places: vectors::SHARES.map(tables::share).into(),
        vertical: "time",
        series: series.collect(),
        levels: Vec::new(),
    })
}

fn regions(outcomes: &[Outcome]) -> Option<Chart> {
    let outcome = find(outcomes, "live-regions")?;
    let points = scaling::LIVE
        .iter()
        .enumerate()
        .filter_map(|(n, (name, _))| Some((n, outcome.median(name)?)));
    Some(Chart {
        title: "Cost of a fault, by the number of live regions",
        horizontal: "live regions",
        places: scaling::LIVE.map(|(name, _)| name.to_owned()).into(),
        vertical: "time a fault",
        series: vec![Series {
            name: "a page a fault".to_owned(),
            points: points.collect(),
        }],
        levels: Vec::new(),
    })
}

fn threads(outcomes: &[Outcome]) -> Option<Chart> {
    let outcome = find(outcomes, "threads")?;
    let series = scaling::WAYS.map(|way| {
        let places = scaling::THREADS.iter().enumerate();
        let point =
            |(n, &threads)| Some((n, outcome.median(&scaling::with_threads(way, threads))?));
        Series {
            name: way.to_owned(),
            points: places.filter_map(point).collect(),
        }
    });
    Some(Chart {
        title: "Time a page, when several threads touch memory of their own",
        horizontal: "threads",
        places: scaling::THREADS.map(|threads| threads.to_string()).into(),
        vertical: "time a page, of all together",
        series: series.into(),
        levels: Vec::new(),
    })
}

impl Chart {
    fn values(&self) -> impl Iterator<Item = f64> {
        let points = self
            .series
            .iter()
            .flat_map(|series| series.points.iter().map(|&(_, value)| value));
        points.chain(self.levels.iter().map(|&(_, value)| value))
    }

    fn draw(&self, file: &Path) -> Result<(), Box<dyn Error>> {
        let root = SVGBackend::new(file, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let least = self.values().fold(f64::INFINITY, f64::min);
        let most = self.values().fold(0.0, f64::max);
        // Whole powers of ten, so that the grid's lines are at the edges.
        let low = 10f64.powf(least.log10().floor());
        let high = 10f64.powf(most.log10().ceil()).max(low * 10.0);
        let last = (self.places.len() - 1) as f64;
        let mut chart = ChartBuilder::on(&root)
            .caption(self.title, (FONT, 19))
            .margin(12)
            .margin_right(MARGIN_RIGHT)
            .x_label_area_size(48)
            .y_label_area_size(78)
            .build_cartesian_2d(0.0..last, (low..high).log_scale())?;
        let place = |at: &f64| match self.places.get(at.round() as usize) {
            Some(place) if (at - at.round()).abs() < 1e-6 => place.clone(),
            _ => String::new(),
        };
        chart
            .configure_mesh()
            .x_desc(self.horizontal)
            .y_desc(self.vertical)
            .x_labels(self.places.len())
            .x_max_light_lines(1)
            .x_label_formatter(&place)
            .y_label_formatter(&|value| short_time(*value))
            .label_style((FONT, 13))
            .axis_desc_style((FONT, 14))
            .light_line_style(RGBColor(240, 240, 240))
            .bold_line_style(RGBColor(215, 215, 215))
            .draw()?;
        // The names with their colours, each at the height of its line's end.
        let mut names: Vec<(i32, String, RGBColor)> = Vec::new();
        let mut colours = COLOURS.into_iter().cycle();
        for Series { name, points } in &self.series {
            let colour = colours.next().unwrap_or(BLACK);
            let at = |&(place, value): &(usize, f64)| (place as f64, value);
            chart.draw_series(LineSeries::new(
                points.iter().map(at),
                colour.stroke_width(2),
            ))?;
            chart.draw_series(
                points
                    .iter()
                    .map(|point| Circle::new(at(point), 3, colour.filled())),
            )?;
            if let Some(end) = points.last() {
                names.push((chart.backend_coord(&at(end)).1, name.clone(), colour));
            }
        }
        for (name, value) in &self.levels {
            let colour = colours.next().unwrap_or(BLACK);
            let line = [(0.0, *value), (last, *value)];
            chart.draw_series(DashedLineSeries::new(line, 6, 4, colour.stroke_width(2)))?;
            names.push((chart.backend_coord(&(last, *value)).1, name.clone(), colour));
        }
        let edge = chart.backend_coord(&(last, low)).0;
        write_names(&root, edge + 10, names)?;
        root.present()?;
        Ok(())
    }
}

/// Writes names beside the ends of lines, and moves them apart if they would overlap.
fn write_names(
    root: &DrawingArea<SVGBackend<'_>, Shift>,
    left: i32,
    mut names: Vec<(i32, String, RGBColor)>,
) -> Result<(), Box<dyn Error>> {
    names.sort_by_key(|name| name.0);
    let heights = apart(
        &names.iter().map(|name| name.0).collect::<Vec<_>>(),
        SIZE.1 as i32 - 20,
    );
    for ((_, name, colour), height) in names.into_iter().zip(heights) {
        let style = (FONT, 13).into_font().color(&colour);
        root.draw(&Text::new(name, (left, height - 7), style))?;
    }
    Ok(())
}

/// Returns heights in order, at least a line apart, and close to those wanted: one pass goes down and one up.
fn apart(wanted: &[i32], lowest: i32) -> Vec<i32> {
    let mut heights = wanted.to_vec();
    for n in 1..heights.len() {
        heights[n] = heights[n].max(heights[n - 1] + LINE_HEIGHT);
    }
    let mut limit = lowest;
    for height in heights.iter_mut().rev() {
        *height = (*height).min(limit);
        limit = *height - LINE_HEIGHT;
    }
    heights
}

/// Returns a power of ten of nanoseconds in a short form.
fn short_time(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{ns} ns"),
        ns if ns < 1e6 => format!("{} µs", ns / 1e3),
        ns if ns < 1e9 => format!("{} ms", ns / 1e6),
        ns => format!("{} s", ns / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_overlap() {
        let heights = apart(&[10, 12, 13, 100, 395, 399], 400);
        assert!(
            heights
                .windows(2)
                .all(|pair| pair[1] - pair[0] >= LINE_HEIGHT),
            "{heights:?}"
        );
        assert!(heights.iter().all(|&height| height <= 400), "{heights:?}");
        assert_eq!(heights[3], 100);
    }
}

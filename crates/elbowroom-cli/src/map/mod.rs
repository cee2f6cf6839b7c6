//! `elbowroom map`: the address space of a process, and which parts of it are in memory.
//!
//! The crate `elbowroom-map` takes the snapshot and makes its text. This module makes its drawing, its JSON, and the
//! difference from an earlier snapshot.

mod diff;
#[cfg(test)]
mod fixture;
mod page;

use std::fs;
use std::path::Path;

use elbowroom_map::{Figures, Kind, Pages, Region, Run, Snapshot, State};
use serde::Serialize;

use crate::args::Map;
use crate::output::{self, print, write_files};
use diff::Diff;

/// Looks, shows, and returns the exit status of the process.
pub(crate) fn run(settings: &Map) -> Result<i32, String> {
    let before = settings.diff.as_deref().map(read_snapshot).transpose()?;
    // Held until the picture is taken.
    let sample = settings.own.then(sample).transpose();
    let _sample = sample.map_err(|error| error.to_string())?;
    let told = |error: elbowroom_map::Error| error.to_string();
    let snapshot = match settings.pid {
        None => Snapshot::of_self(),
        Some(pid) => Snapshot::of_process(pid),
    }
    .map_err(told)?;
    let wanted = settings.region.as_ref();
    let pages = wanted
        .map(|wanted| snapshot.pages(snapshot.find(wanted)?))
        .transpose()
        .map_err(told)?;
    write_files([
        (&settings.svg, &|| page::svg(&snapshot, pages.as_ref())),
        (&settings.html, &|| page::html(&snapshot, pages.as_ref())),
    ])?;
    let diff = before.map(|before| diff::diff(&before, &snapshot));

    let paint = output::paint();
    let columns = output::columns().unwrap_or(usize::MAX);
    let text = match (&diff, &pages) {
        _ if settings.json => json(&snapshot, pages.as_ref(), diff.as_ref()),
        (Some(diff), _) => {
            let rows = if settings.all { usize::MAX } else { DIFF_ROWS };
            diff::text(diff, rows, paint, columns)
        }
        (None, Some(pages)) => pages.draw(paint, output::columns().unwrap_or(output::COLUMNS)),
        (None, None) => snapshot.draw(settings.all, paint, columns),
    };
    print(text.trim_end_matches('\n'))
}

/// Returns a region with pages of each kind: 64 touched, 32 committed, and one touched by itself. Reserved ones are at
/// both ends, so that no neighbour's can be taken for them.
fn sample() -> Result<elbowroom::Region, elbowroom::Error> {
    let page = elbowroom::page_size();
    let region = elbowroom::Region::builder(256 * page)
        .growth(elbowroom::Growth::Pages(1))
        .name("elbowroom sample")
        .build()?;
    for touched in (16..80).chain([192]) {
        region.try_write(touched * page, 1u8)?;
    }
    region.commit(80 * page..112 * page)?;
    Ok(region)
}

/// The rows of changes without --all.
const DIFF_ROWS: usize = 24;

fn read_snapshot(path: &Path) -> Result<Snapshot, String> {
    let path_text = path.display();
    let text =
        fs::read_to_string(path).map_err(|error| format!("cannot read {path_text}: {error}"))?;
    serde_json::from_str(&text)
        .map_err(|error| format!("{path_text} is not what `elbowroom map --json` writes: {error}"))
}

/// Returns the state of each page of a region of this program: from the system if it reports it, else from the library.
pub(crate) fn region_runs(region: &elbowroom::Region) -> Vec<Run> {
    let start = region.as_ptr().addr() as u64;
    let end = start + region.len() as u64;
    let told = || {
        let snapshot = Snapshot::of_self().ok()?;
        let mut regions = snapshot.regions().into_iter();
        let found = regions.find(|found| (found.start, found.end) == (start, end))?;
        Some(snapshot.pages(found).ok()?.runs)
    };
    told().unwrap_or_else(|| {
        let mut runs = Vec::new();
        for elbowroom::Span { range, state, .. } in region.spans() {
            let state = match state {
                elbowroom::PageState::Committed => State::Committed,
                _ => State::Reserved,
            };
            Run::new(start + range.start as u64, start + range.end as u64, state).push(&mut runs);
        }
        runs
    })
}

/// The JSON object. `--diff` reads the snapshot in it.
#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    snapshot: &'a Snapshot,
    total: Figures,
    kinds: Vec<JsonKind>,
    regions: Vec<Region>,
    /// With --region.
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<JsonDrawn<'a>>,
    /// With --diff.
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<&'a Diff>,
}

#[derive(Serialize)]
struct JsonKind {
    kind: Kind,
    regions: usize,
    #[serde(flatten)]
    figures: Figures,
}

#[derive(Serialize)]
struct JsonDrawn<'a> {
    #[serde(flatten)]
    region: &'a Region,
    pages: &'a [Run],
}

fn json(snapshot: &Snapshot, drawn: Option<&Pages<'_>>, diff: Option<&Diff>) -> String {
    let kinds = snapshot.kinds().into_iter();
    let kinds = kinds.map(|(kind, regions, figures)| JsonKind {
        kind,
        regions,
        figures,
    });
    output::json(&Json {
        snapshot,
        total: snapshot.total(),
        kinds: kinds.collect(),
        regions: snapshot.regions(),
        region: drawn.map(|drawn| JsonDrawn {
            region: &drawn.region,
            pages: &drawn.runs,
        }),
        diff,
    })
}

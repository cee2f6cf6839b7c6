//! `elbowroom map`: what a process has in its address space, and what of it is in memory.
//!
//! The platform takes a snapshot ([`os::snapshot`]); the rest is pure: the sums over it, its text, its picture, and the
//! difference from an earlier one.

mod diff;
pub(crate) mod model;
mod page;
mod sample;
mod view;

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::args::{Map, Whose};
use crate::os;
use crate::output::{Paint, complain, line, write_file};
use crate::picture::{self, Picture, Run, State};
use diff::Diff;
use model::{Figures, Kind, Known, Region, Snapshot, Wanted};
use sample::Sample;

/// Looks, shows, and returns the exit status of the process.
pub(crate) fn run(settings: &Map) -> i32 {
    match show(settings) {
        Ok(()) => 0,
        Err(message) => {
            complain(message);
            1
        }
    }
}

/// A region, and what each of its pages is.
struct Drawn {
    region: Region,
    runs: Vec<Run>,
}

type Draw = fn(&Snapshot, Option<&Drawn>) -> String;

fn show(settings: &Map) -> Result<(), String> {
    let before = settings.diff.as_deref().map(read_snapshot).transpose()?;
    // Held until the picture is taken.
    let sample = match settings.whose {
        Whose::Own => Some(Sample::new().map_err(|error| error.to_string())?),
        Whose::Process(_) => None,
    };
    let mut snapshot = os::snapshot(match settings.whose {
        Whose::Own => None,
        Whose::Process(pid) => Some(pid),
    })?;
    if let Some(sample) = &sample {
        snapshot.name(&sample.known());
    }
    let drawn = settings.region.as_ref().map(|wanted| draw(&snapshot, wanted)).transpose()?;
    for (file, draw) in [(&settings.svg, page::svg as Draw), (&settings.html, page::html)] {
        if let Some(file) = file {
            write_file(file, &draw(&snapshot, drawn.as_ref()))?;
        }
    }
    let diff = before.map(|before| diff::diff(&before, &snapshot));

    let text = if settings.json {
        json(&snapshot, drawn.as_ref(), diff.as_ref())
    } else {
        text(&snapshot, drawn.as_ref(), diff.as_ref(), if settings.all { usize::MAX } else { ROWS })
    };
    line(text.trim_end_matches('\n')).map_err(|error| format!("cannot write to standard output: {error}"))
}

/// The rows of regions without --all.
const ROWS: usize = 24;

fn draw(snapshot: &Snapshot, wanted: &Wanted) -> Result<Drawn, String> {
    let region = snapshot.find(wanted)?;
    let runs = os::page_runs(snapshot, &region)?;
    Ok(Drawn { region, runs })
}

fn read_snapshot(path: &Path) -> Result<Snapshot, String> {
    let path_text = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {path_text}: {error}"))?;
    serde_json::from_str(&text)
        .map_err(|error| format!("{path_text} is not what `elbowroom map --json` writes: {error}"))
}

fn text(snapshot: &Snapshot, drawn: Option<&Drawn>, diff: Option<&Diff>, rows_max: usize) -> String {
    let paint = Paint::for_output();
    if let Some(diff) = diff {
        return diff::text(diff, rows_max, paint);
    }
    let Some(Drawn { region, runs }) = drawn else { return view::text(snapshot, rows_max, paint) };
    let name = region.name.replace(char::is_control, "?");
    let size = crate::size::human(region.end - region.start);
    let picture = Picture::new(runs, snapshot.page_size_bytes, picture::CELLS_MAX);
    format!(
        "process {} {}\n{}: {size} at {:x}\n\n{}",
        snapshot.pid,
        snapshot.program,
        region.label(&name),
        region.start,
        picture::draw(&picture, paint)
    )
}

/// What each page of a region of this program's is: as the system says, or where it does not tell, as the library says.
pub(crate) fn region_runs(region: &elbowroom::Region) -> Vec<Run> {
    let start = region.as_ptr().addr() as u64;
    let known = Known { start, end: start + region.len() as u64, name: "this region".to_owned() };
    let told = || {
        let mut snapshot = os::snapshot(None).ok()?;
        snapshot.name(&known);
        let found = snapshot.find(&Wanted::Name(known.name.clone())).ok()?;
        let is_whole = (found.start, found.end) == (known.start, known.end);
        os::page_runs(&snapshot, &found).ok().filter(|_| is_whole)
    };
    told().unwrap_or_else(|| {
        let mut runs = Vec::new();
        for elbowroom::Span { range, state, .. } in region.spans() {
            let state = match state {
                elbowroom::PageState::Committed => State::Committed,
                _ => State::Reserved,
            };
            picture::push(&mut runs, Run::new(start + range.start as u64, start + range.end as u64, state));
        }
        runs
    })
}

/// The JSON object. What `--diff` reads is the snapshot in it.
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

fn json(snapshot: &Snapshot, drawn: Option<&Drawn>, diff: Option<&Diff>) -> String {
    let kinds = snapshot.kinds().into_iter().map(|(kind, regions, figures)| JsonKind { kind, regions, figures });
    let json = Json {
        snapshot,
        total: snapshot.total(),
        kinds: kinds.collect(),
        regions: snapshot.regions(),
        region: drawn.map(|drawn| JsonDrawn { region: &drawn.region, pages: &drawn.runs }),
        diff,
    };
    // PANIC: serialising fails for maps whose keys are no strings and for errors of a type's own; there are none.
    serde_json::to_string(&json).expect("plain data")
}

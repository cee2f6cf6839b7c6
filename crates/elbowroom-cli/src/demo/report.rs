//! The cost of the program, as lines for people and as a JSON object.

use std::io;

use elbowroom::page_size;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Cost, Program, Stop, lock};
use crate::meter::{Change, human_time, known, nanoseconds};
use crate::output::{self, line, note};
use crate::size::{Size, human_change};

impl Program<'_> {
    pub(super) fn summarize(&self) {
        let Some(Cost {
            stats,
            before,
            held,
            elapsed,
        }) = &self.cost
        else {
            note("reserved         nothing");
            return;
        };
        let size = |bytes: usize| Size(bytes as u64).to_string();
        let change = held.since(before);
        let (committed, page) = (stats.committed_bytes, page_size());
        let (pages, page) = (committed / page, size(page));
        let row = |name: &str, text: String| note(format_args!("{name:<17}{text}"));
        row("reserved", size(stats.reserved_bytes));
        row(
            "committed",
            format!("{}: {pages} pages of {page}", size(committed)),
        );
        let charge = format!(
            "system {} before, {} after ({}); this process {}",
            known(before.system_commit_bytes, Size),
            known(held.system_commit_bytes, Size),
            known(change.system_commit_growth_bytes, human_change),
            known(change.process_commit_growth_bytes, human_change),
        );
        row("commit charge", charge);
        row(
            "resident",
            known(change.resident_growth_bytes, human_change),
        );
        row(
            "faults",
            format!("{}, {} refused", stats.faults, stats.refused),
        );
        row("time", human_time(*elapsed));
    }

    pub(super) fn print_json(&self, stop: Option<&Stop>) -> io::Result<()> {
        let lines = lock(&self.seh.lines);
        let report = Report {
            page_size_bytes: page_size(),
            transcript: &lines,
            cost: self.cost.as_ref().map(CostReport::new),
            exit: ExitReport {
                reason: stop.map_or(json!("released"), |stop| json!(stop.reason)),
                status: stop.map_or(0, Stop::status),
                os_code: stop.and_then(|stop| stop.os_code),
                message: stop.map(|stop| &*stop.message),
            },
        };
        line(output::json(&report))
    }
}

/// The JSON object. `cost` is null if nothing was reserved.
#[derive(Serialize)]
struct Report<'a> {
    page_size_bytes: usize,
    transcript: &'a [String],
    cost: Option<CostReport>,
    exit: ExitReport<'a>,
}

#[derive(Serialize)]
struct CostReport {
    reserved_bytes: usize,
    committed_bytes: usize,
    faults: u64,
    commits: u64,
    refused: u64,
    system_commit_before_bytes: Option<u64>,
    system_commit_after_bytes: Option<u64>,
    #[serde(flatten)]
    change: Change,
    elapsed_ns: u64,
}

impl CostReport {
    fn new(cost: &Cost) -> CostReport {
        let Cost {
            stats,
            before,
            held,
            ..
        } = cost;
        CostReport {
            reserved_bytes: stats.reserved_bytes,
            committed_bytes: stats.committed_bytes,
            faults: stats.faults,
            commits: stats.commits,
            refused: stats.refused,
            system_commit_before_bytes: before.system_commit_bytes,
            system_commit_after_bytes: held.system_commit_bytes,
            change: held.since(before),
            elapsed_ns: nanoseconds(cost.elapsed),
        }
    }
}

#[derive(Serialize)]
struct ExitReport<'a> {
    reason: Value,
    status: i32,
    os_code: Option<i32>,
    message: Option<&'a str>,
}

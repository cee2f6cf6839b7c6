//! The results on each processor: one record for each, and a table that shows them side by side.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::tables;
use crate::run::Outcome;

/// The folder of the records, inside that of the results. It has a folder for each processor.
pub(super) const FOLDER: &str = "results";
const FILE: &str = "record.json";

/// The figures of one run of the report.
#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    processor: String,
    date: String,
    version: String,
    goals: Vec<Goal>,
    // The name of its folder.
    #[serde(skip)]
    folder: String,
}

/// A ratio that a comparison asks for.
#[derive(Serialize, Deserialize)]
struct Goal {
    comparison: String,
    ours: String,
    theirs: String,
    at_most: f64,
    // The median of the ratios; `None` if one of the two contenders could not be measured.
    measured: Option<f64>,
}

impl Record {
    /// Returns the record of these outcomes, taken today on this processor.
    pub(super) fn new(processor: &str, outcomes: &[Outcome]) -> Record {
        let goals = outcomes.iter().flat_map(|outcome| {
            outcome.verdicts.iter().map(|verdict| Goal {
                comparison: outcome.name.to_owned(),
                ours: verdict.ours.to_owned(),
                theirs: verdict.theirs.to_owned(),
                at_most: verdict.at_most,
                measured: verdict.measured.map(|measured| measured.ratio.median),
            })
        });
        Record {
            processor: processor.to_owned(),
            date: time::OffsetDateTime::now_utc().date().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            goals: goals.collect(),
            folder: folder(processor),
        }
    }

    /// Returns the name of the folder with the figures of this processor.
    pub(super) fn folder(&self) -> &str {
        &self.folder
    }

    pub(super) fn date(&self) -> &str {
        &self.date
    }

    /// Writes the record to the folder of its processor, which exists, inside that of the results.
    pub(super) fn store(&self, results: &Path) -> Result<(), String> {
        let file = results.join(FOLDER).join(&self.folder).join(FILE);
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        fs::write(&file, text + "\n").map_err(|error| format!("{}: {error}", file.display()))
    }

    fn goal(&self, wanted: &Goal) -> Option<&Goal> {
        let key = |goal: &Goal| [&goal.comparison, &goal.ours, &goal.theirs].map(String::clone);
        self.goals.iter().find(|goal| key(goal) == key(wanted))
    }
}

/// Reads the records of all processors, in the order of their names.
pub(super) fn read_all(results: &Path) -> Result<Vec<Record>, String> {
    let folder = results.join(FOLDER);
    let fault = |error: &dyn std::fmt::Display| format!("{}: {error}", folder.display());
    let mut records = Vec::new();
    for entry in fs::read_dir(&folder).map_err(|error| fault(&error))? {
        let path = entry.map_err(|error| fault(&error))?.path();
        let file = path.join(FILE);
        let (Some(name), true) = (path.file_name(), file.is_file()) else {
            continue;
        };
        let fault = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let text = fs::read_to_string(&file).map_err(|error| fault(&error))?;
        let mut record: Record = serde_json::from_str(&text).map_err(|error| fault(&error))?;
        record.folder = name.to_string_lossy().into_owned();
        records.push(record);
    }
    records.sort_by(|a, b| a.folder.cmp(&b.folder));
    Ok(records)
}

/// Returns the goals of all records, with a column for each processor.
pub(super) fn side_by_side(records: &[Record]) -> String {
    let mut text = String::from("| comparison | time of | to that of | at most |");
    let mut rule = "|---|---|---|---|".to_owned();
    for record in records {
        let Record {
            processor,
            date,
            version,
            folder,
            ..
        } = record;
        let _ = write!(
            text,
            " [{processor}]({FOLDER}/{folder}/README.md), {date}, {version} |"
        );
        rule += "---|";
    }
    let _ = write!(text, "\n{rule}\n");
    for goal in rows(records) {
        let _ = write!(
            text,
            "| `{}` | {} | {} | {} |",
            goal.comparison,
            goal.ours,
            goal.theirs,
            tables::ratio(goal.at_most)
        );
        for record in records {
            let measured = record.goal(goal).and_then(|goal| goal.measured);
            let _ = match measured {
                None => write!(text, " not measured |"),
                Some(measured) if measured <= goal.at_most => {
                    write!(text, " {} |", tables::ratio(measured))
                }
                Some(measured) => write!(text, " **{}** |", tables::ratio(measured)),
            };
        }
        text.push('\n');
    }
    text
}

/// Returns each goal once: in the order of the newest record, and then those that only older records have.
fn rows(records: &[Record]) -> Vec<&Goal> {
    let mut by_age: Vec<&Record> = records.iter().collect();
    by_age.sort_by(|a, b| b.date.cmp(&a.date));
    let mut rows: Vec<&Goal> = Vec::new();
    for (n, record) in by_age.iter().enumerate() {
        let is_new = |goal: &&Goal| by_age[..n].iter().all(|newer| newer.goal(goal).is_none());
        rows.extend(record.goals.iter().filter(is_new));
    }
    rows
}

/// Returns a name for a folder: the words of a processor's name, without marks such as "(R)".
fn folder(processor: &str) -> String {
    let plain = processor.replace("(R)", "").replace("(TM)", "");
    let words = plain.split(|letter: char| !letter.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join("-").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(processor: &str, date: &str, goals: &[(&str, f64, Option<f64>)]) -> Record {
        let goal = |&(comparison, at_most, measured): &(&str, f64, Option<f64>)| Goal {
            comparison: comparison.into(),
            ours: "elbowroom".into(),
            theirs: "Vec".into(),
            at_most,
            measured,
        };
        Record {
            processor: processor.into(),
            date: date.into(),
            version: "0.1.0".into(),
            goals: goals.iter().map(goal).collect(),
            folder: folder(processor),
        }
    }

    #[test]
    fn a_processor_has_a_column_and_keeps_it() {
        let records = [
            record(
                "AMD EPYC",
                "2026-11-01",
                &[("push", 0.5, Some(0.41)), ("gone", 1.0, None)],
            ),
            record(
                "Intel(R) Xeon(R)",
                "2026-11-27",
                &[("new", 1.1, Some(1.25)), ("push", 0.5, Some(0.54))],
            ),
        ];
        let text = side_by_side(&records);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("[AMD EPYC](results/amd-epyc/README.md), 2026-11-01, 0.1.0"));
        assert!(
            lines[0]
                .ends_with("[Intel(R) Xeon(R)](results/intel-xeon/README.md), 2026-11-27, 0.1.0 |")
        );
        assert_eq!(
            lines[2..],
            [
                "| `new` | elbowroom | Vec | 1.10 | not measured | **1.25** |",
                "| `push` | elbowroom | Vec | 0.50 | 0.41 | **0.54** |",
                "| `gone` | elbowroom | Vec | 1.00 | not measured | not measured |",
            ]
        );
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let results = std::env::temp_dir().join(format!("elbowroom-record-{}", std::process::id()));
        let written = record("AMD EPYC 7R13", "2026-11-01", &[("push", 0.5, Some(0.41))]);
        fs::create_dir_all(results.join("results/amd-epyc-7r13")).unwrap();
        // A folder without a record.
        fs::create_dir_all(results.join("results/other")).unwrap();
        written.store(&results).unwrap();
        let read = read_all(&results).unwrap();
        assert_eq!(side_by_side(&read), side_by_side(&[written]));
        fs::write(results.join("results/amd-epyc-7r13").join(FILE), "{").unwrap();
        let error = read_all(&results).err().unwrap();
        assert!(error.contains("record.json"), "{error}");
        fs::remove_dir_all(&results).unwrap();
    }
}

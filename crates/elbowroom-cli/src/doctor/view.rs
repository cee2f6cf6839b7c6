//! A report as text for people and as JSON for programs.

use elbowroom_map::escaped;
use serde::Serialize;

use crate::findings::{Finding, Level, Report};
use crate::output::{self, Colour, Paint, wrap};

/// The width of the text without a terminal.
pub(super) const DEFAULT_COLUMNS: usize = 100;
/// The columns of the level and of the examined property.
const LEVEL_COLUMNS: usize = 9;
const WHAT_COLUMNS: usize = 26;
const INDENT: usize = 2 + LEVEL_COLUMNS + WHAT_COLUMNS;
/// The least columns beside the examined property; with fewer, the finding is written below it.
const BESIDE_COLUMNS: usize = 30;
const NARROW_INDENT: usize = 6;
/// The least width that lines are wrapped to.
const COLUMNS_MIN: usize = 40;

/// The JSON object.
#[derive(Serialize)]
struct Json<'a> {
    worst: Level,
    #[serde(flatten)]
    report: &'a Report,
}

pub(super) fn json(report: &Report) -> String {
    output::json(&Json {
        worst: report.worst(),
        report,
    })
}

/// Returns what needs attention, the worst first, and with `is_all` all findings by section; wrapped to `columns`.
pub(super) fn text(report: &Report, is_all: bool, paint: Paint, columns: usize) -> String {
    let columns = columns.clamp(COLUMNS_MIN, 120);
    let mut text = String::new();
    push(&mut text, &report.system);
    wrapped(&mut text, &summary(report), columns);
    if is_all {
        by_section(&mut text, report, paint, columns);
    } else {
        urgent(&mut text, report, paint, columns);
    }
    text
}

fn by_section(text: &mut String, report: &Report, paint: Paint, columns: usize) {
    let mut section = None;
    for finding in &report.findings {
        if section != Some(finding.section) {
            section = Some(finding.section);
            push(text, "");
            push(text, &paint.bold(finding.section.title()));
        }
        show(text, finding, paint, columns);
    }
}

fn urgent(text: &mut String, report: &Report, paint: Paint, columns: usize) {
    let mut urgent: Vec<&Finding> = report.findings.iter().collect();
    urgent.retain(|finding| finding.level != Level::Ok);
    // The sort is stable, so findings of one level keep their order.
    urgent.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    for finding in urgent {
        push(text, "");
        show(text, finding, paint, columns);
    }
    let rest = match report.count(Level::Ok) {
        0 => return,
        1 => "One thing is as it should be.".to_owned(),
        count => format!("{count} things are as they should be."),
    };
    push(text, "");
    wrapped(text, &format!("{rest} --all shows everything."), columns);
}

fn show(text: &mut String, finding: &Finding, paint: Paint, columns: usize) {
    let Finding {
        level,
        what,
        found,
        means,
        change,
        ..
    } = finding;
    let (word, colour) = (level.word(), colour(*level));
    let level = paint.colour(colour, &format!("{word:<LEVEL_COLUMNS$}"));
    let is_narrow = columns < INDENT + BESIDE_COLUMNS;
    let indent = if is_narrow { NARROW_INDENT } else { INDENT };
    // The text can contain paths of control groups and libraries.
    let mut found = wrap(&escaped(found), columns - indent).into_iter();
    if is_narrow {
        push(text, &format!("  {level}{what}"));
    } else {
        let first = found.next().unwrap_or_default();
        let line = format!("  {level}{what:<WHAT_COLUMNS$}{first}");
        push(text, line.trim_end());
    }
    for line in found {
        push(text, &format!("{:indent$}{line}", ""));
    }
    for line in wrap(means, columns - indent) {
        push(text, &format!("{:indent$}{}", "", paint.dim(&line)));
    }
    let mut mark = "> ";
    for line in wrap(change.as_deref().unwrap_or_default(), columns - indent - 2) {
        let line = paint.colour(colour, &format!("{mark}{line}"));
        push(text, &format!("{:indent$}{line}", ""));
        mark = "  ";
    }
}

fn wrapped(text: &mut String, words: &str, columns: usize) {
    let lines = wrap(words, columns);
    lines.iter().for_each(|line| push(text, line));
}

fn colour(level: Level) -> Colour {
    match level {
        Level::Ok => Colour::Green,
        Level::Note => Colour::Blue,
        Level::Warning => Colour::Yellow,
        Level::Missing => Colour::Red,
    }
}

fn summary(report: &Report) -> String {
    let count = |level: Level, word: &str| match report.count(level) {
        1 => format!("1 {word}"),
        count => format!("{count} {word}s"),
    };
    let (warnings, notes) = (count(Level::Warning, "warning"), count(Level::Note, "note"));
    let rest = format!("{warnings}, {notes}");
    match report.count(Level::Missing) {
        0 => format!("Nothing that a region needs is missing. {rest}."),
        missing => format!("Missing: {missing}. {rest}."),
    }
}

fn push(text: &mut String, line: &str) {
    *text += line;
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Section;

    fn report(levels: &[Level]) -> Report {
        let finding = |&level: &Level| {
            let finding = Finding::new("a_thing", Section::Commit, "a thing")
                .found("17 MiB", 17 << 20)
                .means("It is so.");
            if level == Level::Ok {
                finding
            } else {
                finding.but(level, "It is not so.", "Make it so.")
            }
        };
        Report {
            system: "A machine".to_owned(),
            findings: levels.iter().map(finding).collect(),
        }
    }

    #[test]
    fn it_is_laid_out() {
        let report = report(&[Level::Ok, Level::Note, Level::Warning]);
        let all = "\
A machine
Nothing that a region needs is missing. 1 warning, 1 note.

commit
  ok       a thing                   17 MiB
                                     It is so.
  note     a thing                   17 MiB
                                     It is not so.
                                     > Make it so.
  warning  a thing                   17 MiB
                                     It is not so.
                                     > Make it so.
";
        assert_eq!(text(&report, true, Paint::Plain, 100), all);
        let urgent = "\
A machine
Nothing that a region needs is missing. 1 warning, 1
note.

  warning  a thing
      17 MiB
      It is not so.
      > Make it so.

  note     a thing
      17 MiB
      It is not so.
      > Make it so.

One thing is as it should be. --all shows everything.
";
        assert_eq!(text(&report, false, Paint::Plain, 54), urgent);
    }

    #[test]
    fn it_fits_its_columns() {
        let mut report = report(&[Level::Missing]);
        let long = "many words, one after the other, ".repeat(10);
        let finding = report.findings[0].clone().found(&*long, 1);
        report.findings[0] = finding.but(Level::Missing, &*long, &*long);
        for columns in [0, 60, 70, 100, 1000] {
            for is_all in [false, true] {
                let text = text(&report, is_all, Paint::Plain, columns);
                let longest = text.lines().map(|line| line.chars().count()).max();
                let room = columns.clamp(COLUMNS_MIN, 120);
                assert!(longest <= Some(room), "{columns}:\n{text}");
            }
        }
    }

    #[test]
    fn colours_are_only_painted_where_asked() {
        let report = report(&[Level::Ok, Level::Note, Level::Warning, Level::Missing]);
        let plain = text(&report, true, Paint::Plain, 100);
        let painted = text(&report, true, Paint::Colours, 100);
        let mut parts = painted.split('\x1b');
        let mut stripped = parts.next().unwrap().to_owned();
        stripped.extend(parts.map(|part| part.split_once('m').unwrap().1));
        assert!(painted.len() > plain.len());
        assert_eq!(stripped, plain);
    }

    #[test]
    fn the_worst_decides() {
        assert_eq!(report(&[]).status(), 0);
        assert_eq!(report(&[Level::Warning, Level::Note]).status(), 0);
        assert_eq!(report(&[Level::Missing, Level::Ok]).status(), 1);
        let text = text(&report(&[Level::Missing; 2]), false, Paint::Plain, 100);
        assert!(text.contains("\nMissing: 2. 0 warnings, 0 notes.\n"));
    }
}

//! A snapshot as text: bars on one scale, sums by kind, and the regions by kind and name.

use std::fmt::{self, Write};

use anstyle::{AnsiColor, Style};

use crate::escape::escaped;
use crate::size::human;
use crate::snapshot::{Figures, Kind, Region, Snapshot};

/// Whether a text contains escape sequences for colours. Colours only repeat what characters say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// For a file, a pipe, or a terminal without colours.
    Plain,
    /// With the escape sequences of ECMA-48.
    Colours,
}

impl Paint {
    /// Returns the text in this colour, or as it is.
    pub fn colour(self, colour: AnsiColor, text: &str) -> String {
        self.style(colour.on_default(), text)
    }

    /// Returns the text in bold, or as it is.
    pub fn bold(self, text: &str) -> String {
        self.style(Style::new().bold(), text)
    }

    /// Returns the text dimmed, or as it is.
    pub fn dim(self, text: &str) -> String {
        self.style(Style::new().dimmed(), text)
    }

    fn style(self, style: Style, text: &str) -> String {
        match self {
            Paint::Plain => text.to_owned(),
            Paint::Colours => format!("{style}{text}{style:#}"),
        }
    }
}

/// The rows of regions in a text, unless all are wanted.
const ROWS: usize = 24;

/// The width of the longest bar.
const BAR_COLUMNS: usize = 48;
const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// The regions of one kind and name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row {
    /// The kind of the regions.
    pub kind: Kind,
    /// The name of the regions, or the empty string.
    pub name: String,
    /// The number of regions.
    pub regions: usize,
    /// The start of the first region.
    pub start: u64,
    /// The sums over the regions.
    pub figures: Figures,
}

impl Snapshot {
    /// Returns the regions grouped by kind and name. A region without a name has its own row. Rows are sorted by
    /// resident, then committed, then reserved bytes, from large to small.
    pub fn rows(&self) -> Vec<Row> {
        rows(&self.regions())
    }

    /// Returns the text: the sums as bars on one scale, the sums by kind, and the largest regions by kind and name, or
    /// with `all` every region.
    pub fn draw(&self, all: bool, paint: Paint) -> String {
        text(self, if all { usize::MAX } else { ROWS }, paint)
    }
}

impl fmt::Display for Snapshot {
    /// Writes the text with the largest regions, or with `{:#}` all regions, without colours.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.draw(f.alternate(), Paint::Plain))
    }
}

fn rows(regions: &[Region]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for region in regions {
        let same = |row: &&mut Row| {
            row.kind == region.kind && row.name == region.name && !row.name.is_empty()
        };
        match rows.iter_mut().find(same) {
            Some(row) => {
                row.regions += 1;
                row.figures += region.figures;
            }
            None => rows.push(Row {
                kind: region.kind,
                name: region.name.clone(),
                regions: 1,
                start: region.start,
                figures: region.figures,
            }),
        }
    }
    rows.sort_by_key(|row| {
        let figures = &row.figures;
        std::cmp::Reverse((
            figures.resident_bytes,
            figures.committed_bytes,
            figures.reserved_bytes,
        ))
    });
    rows
}

/// Returns the text with at most `rows_max` rows of regions.
fn text(snapshot: &Snapshot, rows_max: usize, paint: Paint) -> String {
    let program = escaped(&snapshot.program);
    let mut text = format!(
        "process {} {program}, pages of {}\n\n",
        snapshot.pid,
        human(snapshot.page_size_bytes)
    );
    let total = snapshot.total();
    bars(&mut text, &total);
    text += &format!("\n{}", paint.bold(&header("kind", "regions")));
    for (kind, count, figures) in snapshot.kinds() {
        line(&mut text, kind.word(), count, &figures, "");
    }
    let regions = snapshot.regions();
    line(&mut text, "all", regions.len(), &total, "");

    let rows = rows(&regions);
    text += &format!("\n{}", paint.bold(&header("kind", "regions")));
    for row in rows.iter().take(rows_max) {
        let name = if row.name.is_empty() {
            format!("at {:x}", row.start)
        } else {
            row.name.clone()
        };
        line(&mut text, row.kind.word(), row.regions, &row.figures, &name);
    }
    if let Some(more) = rows.len().checked_sub(rows_max).filter(|&more| more > 0) {
        let _ = writeln!(text, "and {more} more");
    }
    text
}

fn bars(text: &mut String, total: &Figures) {
    let scale = total.reserved_bytes;
    for (name, bytes) in total.named() {
        let (size, bar) = match bytes {
            Some(bytes) => (human(bytes), bar(bytes, scale)),
            None => ("not known".to_owned(), String::new()),
        };
        let _ = writeln!(
            text,
            "{}",
            format!("{name:<10}{size:>11}  {bar}").trim_end()
        );
    }
}

/// Returns a bar in eighths of a character. A size above 0 has at least one eighth.
fn bar(bytes: u64, scale: u64) -> String {
    if scale == 0 {
        return String::new();
    }
    let eighths = (u128::from(bytes) * 8 * BAR_COLUMNS as u128 / u128::from(scale)) as usize;
    let eighths = eighths.max(usize::from(bytes > 0));
    let mut bar = "█".repeat(eighths / 8);
    if eighths % 8 > 0 {
        bar.push(EIGHTHS[eighths % 8]);
    }
    bar
}

fn header(first: &str, second: &str) -> String {
    let mut text = format!("{first:<12}{second:>8}");
    for (name, _) in Figures::NONE.named() {
        let _ = write!(text, "{name:>11}");
    }
    text + "\n"
}

fn line(text: &mut String, first: &str, count: usize, figures: &Figures, name: &str) {
    let mut line = format!("{first:<12}{count:>8}");
    for (_, bytes) in figures.named() {
        let size = match bytes {
            Some(0) => "-".to_owned(),
            Some(bytes) => human(bytes),
            None => "?".to_owned(),
        };
        let _ = write!(line, "{size:>11}");
    }
    let _ = writeln!(text, "{}", format!("{line}  {}", escaped(name)).trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::tests::{PAGE, mapping, snapshot};

    #[test]
    fn it_is_laid_out() {
        let expected = "\
process 17 /bin/prog, pages of 4 KiB

reserved       68 KiB  ████████████████████████████████████████████████
committed      68 KiB  ████████████████████████████████████████████████
charged           0 B
resident       24 KiB  ████████████████▉
dirty             0 B
huge              0 B
swapped           0 B

kind         regions   reserved  committed    charged   resident      dirty       huge    swapped
named              2      8 KiB      8 KiB          -      8 KiB          -          -          -
heap               1     16 KiB     16 KiB          -      4 KiB          -          -          -
anonymous          1     32 KiB     32 KiB          -      4 KiB          -          -          -
image              1     12 KiB     12 KiB          -      8 KiB          -          -          -
all                5     68 KiB     68 KiB          -     24 KiB          -          -          -

kind         regions   reserved  committed    charged   resident      dirty       huge    swapped
image              1     12 KiB     12 KiB          -      8 KiB          -          -          -  /bin/prog
anonymous          1     32 KiB     32 KiB          -      4 KiB          -          -          -  at 400000
heap               1     16 KiB     16 KiB          -      4 KiB          -          -          -  [heap]
named              1      4 KiB      4 KiB          -      4 KiB          -          -          -  cache of pages
and 1 more
";
        assert_eq!(text(&snapshot(), 4, Paint::Plain), expected);
    }

    #[test]
    fn rows_of_one_name_are_one() {
        let mut snapshot = snapshot();
        snapshot
            .mappings
            .push(mapping(0x50_0000, 3, Kind::Image, "/bin/prog"));
        snapshot
            .mappings
            .push(mapping(0x60_0000, 3, Kind::Anonymous, ""));
        let rows = rows(&snapshot.regions());
        assert_eq!(
            (rows[0].regions, rows[0].figures.reserved_bytes),
            (2, 6 * PAGE)
        );
        assert_eq!(
            rows.iter()
                .filter(|row| row.kind == Kind::Anonymous)
                .count(),
            2
        );
    }

    #[test]
    fn small_bars_are_seen_and_names_are_escaped() {
        assert_eq!(bar(1, 1 << 60), "▏");
        assert_eq!(bar(0, 1 << 60), "");
        assert_eq!(bar(u64::MAX, u64::MAX).chars().count(), BAR_COLUMNS);
        let mut snapshot = snapshot();
        snapshot.mappings[0].name = "\x1b[2J\n".to_owned();
        let text = text(&snapshot, 9, Paint::Plain);
        assert!(
            !text.contains('\x1b') && text.contains("  \\u{1b}[2J\\u{a}\n"),
            "{text}"
        );
    }

    #[test]
    fn what_is_not_known_is_said() {
        let mut snapshot = snapshot();
        snapshot.mappings[0].figures.dirty_bytes = None;
        let text = text(&snapshot, 9, Paint::Plain);
        assert!(
            text.contains("dirty       not known\n") && text.contains("          ?"),
            "{text}"
        );
    }
}

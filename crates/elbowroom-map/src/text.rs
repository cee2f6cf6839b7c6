//! A snapshot as text: the sums as bars, sums by kind, and the regions by kind and name.

use std::fmt::{self, Write};

use anstyle::{AnsiColor, Style};
use elbowroom::Size;

use crate::bar::bar;
use crate::columns::FigureColumns;
use crate::escape::{escaped, shortened};
use crate::size::{Sizes, grouped};
use crate::snapshot::{Figures, Kind, Region, Snapshot, title};
use crate::wrap::{COLUMNS, wrap};

/// Whether a text contains escape sequences for colours. Colours only repeat the information of the characters.
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

/// The width of the text before a bar.
const BAR_START: usize = 23;

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

    /// Returns the text: the sums as bars, the sums by kind, and the largest regions by kind and name, or with `all`
    /// every region. A bar that dwarfs the others is cut off, and the text says so. Where lines may have few columns,
    /// the tables have fewer figures, and long names lose their first characters.
    pub fn draw(&self, all: bool, paint: Paint, columns: usize) -> String {
        text(self, if all { usize::MAX } else { ROWS }, paint, columns)
    }
}

impl fmt::Display for Snapshot {
    /// Writes the text with the largest regions, or with `{:#}` all regions, without colours.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.draw(f.alternate(), Paint::Plain, usize::MAX))
    }
}

impl Row {
    /// Returns the name as it can be shown, or its end if it has more than `columns` characters. A region without a
    /// name is described, as far as there is room, with its address.
    pub fn title(&self, columns: usize) -> String {
        title(self.kind, &self.name, self.start, columns)
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

/// Returns the text with at most `rows_max` rows of regions, in lines of at most `columns`.
fn text(snapshot: &Snapshot, rows_max: usize, paint: Paint, columns: usize) -> String {
    let (pid, page) = (snapshot.pid, Size(snapshot.page_size_bytes));
    let start = format!("process {pid} ");
    let end = format!(", pages of {page}");
    let room = columns.saturating_sub(start.len() + end.len());
    let program = shortened(&escaped(&snapshot.program), room);
    let mut text = format!("{start}{program}{end}\n\n");
    let total = snapshot.total();
    let regions = snapshot.regions();
    let rows = rows(&regions);
    let kinds = snapshot.kinds();
    let parts = kinds.iter().map(|(_, _, figures)| figures);
    let parts = parts.chain(rows.iter().take(rows_max).map(|row| &row.figures));
    let table = Table::fitting(&total, parts, columns);
    bars(&mut text, &total, columns);
    text += &format!("\n{}\n", paint.bold(&table.header()));
    for (kind, count, figures) in &kinds {
        text += &table.line(kind.word(), *count, figures, |_| String::new());
    }
    text += &table.line("all", regions.len(), &total, |_| String::new());

    text += &format!("\n{}\n", paint.bold(&table.header()));
    for row in rows.iter().take(rows_max) {
        text += &table.line(row.kind.word(), row.regions, &row.figures, |room| {
            row.title(room)
        });
    }
    if let Some(more) = rows.len().checked_sub(rows_max).filter(|&more| more > 0) {
        let _ = writeln!(text, "and {more} more");
    }
    text
}

/// Writes each sum as a bar, all on one scale.
fn bars(text: &mut String, total: &Figures, columns: usize) {
    let scale = total.scale_bytes();
    let sizes = Sizes::of(total.bytes().into_iter().flatten());
    let columns = if columns == usize::MAX {
        COLUMNS
    } else {
        columns
    };
    let longest = columns.saturating_sub(BAR_START);
    for (name, bytes) in Figures::NAMES.into_iter().zip(total.bytes()) {
        let (size, bar) = match bytes {
            Some(bytes) => (sizes.text(bytes), bar(bytes, scale, longest, true)),
            None => ("not known".to_owned(), String::new()),
        };
        let line = format!("{name:<10}{size:>11}  {bar}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    if total.reserved_bytes > scale {
        let times = grouped(total.reserved_bytes / scale);
        let note =
            format!("▶ The bar `reserved` is cut off: in full, it is {times} times as long.");
        for line in wrap(&note, columns) {
            let _ = writeln!(text, "{line}");
        }
    }
}

/// The columns of the tables of regions.
struct Table {
    figures: FigureColumns,
    sizes: Sizes,
    // Whether there is a column for the number of regions.
    has_count: bool,
    // The columns that a line may have.
    columns: usize,
}

/// The widths of the first two columns and of a figure.
const KIND_COLUMNS: usize = 12;
const COUNT_COLUMNS: usize = 8;
const FIGURE_COLUMNS: usize = 11;
/// From this width on there is room for the number of regions, and for longer names.
const USUAL_COLUMNS: usize = 78;

impl Table {
    /// Returns a table of the figures that are not 0 in all, as far as there is room beside the names.
    fn fitting<'a>(
        total: &'a Figures,
        parts: impl Iterator<Item = &'a Figures>,
        columns: usize,
    ) -> Table {
        let has_count = columns >= USUAL_COLUMNS;
        let others = KIND_COLUMNS
            + if has_count { COUNT_COLUMNS } else { 0 }
            + if has_count { 22 } else { 13 };
        let figures = FigureColumns::fitting(
            total.bytes().map(|bytes| bytes != Some(0)),
            FIGURE_COLUMNS,
            columns.saturating_sub(others + 2),
        );
        let sizes = Sizes::of(
            parts
                .chain([total])
                .flat_map(|part| figures.of(part.bytes()).flatten()),
        );
        Table {
            figures,
            sizes,
            has_count,
            columns,
        }
    }

    /// Returns the first two columns.
    fn start(&self, kind: &str, count: &dyn fmt::Display) -> String {
        match self.has_count {
            true => format!("{kind:<KIND_COLUMNS$}{count:>COUNT_COLUMNS$}"),
            false => format!("{kind:<KIND_COLUMNS$}"),
        }
    }

    fn header(&self) -> String {
        self.start("kind", &"regions") + &self.figures.line(Figures::NAMES)
    }

    /// Returns a line. `name` has to fit the columns that are left.
    fn line(
        &self,
        kind: &str,
        count: usize,
        figures: &Figures,
        name: impl FnOnce(usize) -> String,
    ) -> String {
        let sizes = figures.bytes().map(|bytes| self.sizes.cell(bytes));
        let line = self.start(kind, &count) + &self.figures.line(sizes);
        let room = self.columns.saturating_sub(line.chars().count() + 2);
        let line = format!("{line}  {}", name(room));
        format!("{}\n", line.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::tests::{PAGE, mapping, snapshot};

    #[test]
    fn it_is_laid_out() {
        let expected = "\
process 17 /bin/prog, pages of 4 KiB

reserved       68 KiB  █████████████████████████████████████████████████████████
committed      68 KiB  █████████████████████████████████████████████████████████
charged           0 B
resident       24 KiB  ████████████████████
dirty             0 B
huge              0 B
swapped           0 B

kind         regions   reserved  committed   resident
named              2      8 KiB      8 KiB      8 KiB
heap               1     16 KiB     16 KiB      4 KiB
anonymous          1     32 KiB     32 KiB      4 KiB
image              1     12 KiB     12 KiB      8 KiB
all                5     68 KiB     68 KiB     24 KiB

kind         regions   reserved  committed   resident
image              1     12 KiB     12 KiB      8 KiB  /bin/prog
anonymous          1     32 KiB     32 KiB      4 KiB  no name, at 400000
heap               1     16 KiB     16 KiB      4 KiB  [heap]
named              1      4 KiB      4 KiB      4 KiB  cache of pages
and 1 more
";
        assert_eq!(text(&snapshot(), 4, Paint::Plain, usize::MAX), expected);
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
    fn it_fits_its_columns() {
        let mut snapshot = snapshot();
        let figures = &mut snapshot.mappings[0].figures;
        (figures.dirty_bytes, figures.huge_bytes) = (Some(PAGE), Some(PAGE));
        snapshot.program = "/a/long/path/to/a/program".repeat(9);
        snapshot.mappings[0].name = format!("/a/long/path/{}/of-a-library.so", "x/".repeat(40));
        for columns in [60, 80, 120, 200] {
            let text = text(&snapshot, 9, Paint::Plain, columns);
            let widest = text.lines().map(|line| line.chars().count());
            assert!(widest.max() <= Some(columns), "{columns}: {text}");
            assert!(text.contains("a-library.so\n"), "{columns}: {text}");
            assert_eq!(
                text.contains("dirty       huge\n"),
                columns >= 120,
                "{text}"
            );
        }
    }

    #[test]
    fn names_are_escaped() {
        let mut snapshot = snapshot();
        snapshot.mappings[0].name = "\x1b[2J\n".to_owned();
        let text = text(&snapshot, 9, Paint::Plain, usize::MAX);
        assert!(
            !text.contains('\x1b') && text.contains("  \\u{1b}[2J\\u{a}\n"),
            "{text}"
        );
    }

    #[test]
    fn a_vast_reservation_leaves_the_other_bars_their_length() {
        let mut snapshot = snapshot();
        snapshot.mappings[0].figures.reserved_bytes = 1 << 40;
        for columns in [60, 80, 200] {
            let text = text(&snapshot, 9, Paint::Plain, columns);
            let bar = |name: &str| {
                let line = text.lines().find(|line| line.starts_with(name)).unwrap();
                line.chars().skip(BAR_START).collect::<String>()
            };
            assert_eq!(bar("reserved").chars().count(), columns - BAR_START);
            assert!(bar("reserved").ends_with('▶'), "{text}");
            // The scale ends a quarter beyond it.
            let committed = (columns - BAR_START) * 4 / 5;
            assert_eq!(bar("committed").matches('█').count(), committed);
            assert!(
                text.contains("▶ The bar `reserved` is cut off: in full"),
                "{text}"
            );
        }
        assert!(!text(&crate::snapshot::tests::snapshot(), 9, Paint::Plain, 80).contains('▶'));
    }

    #[test]
    fn regions_without_a_name_are_described() {
        let mut snapshot = snapshot();
        let mut mapping = mapping(0x70_0000_0000, 99, Kind::Reservation, "");
        mapping.figures.resident_bytes = Some(99 * PAGE);
        snapshot.mappings.push(mapping);
        let title_of = |columns| snapshot.rows()[0].title(columns);
        let text = text(&snapshot, 1, Paint::Plain, 120);
        assert!(
            text.contains("  committed in part, at 7000000000\n"),
            "{text}"
        );
        for (columns, title) in [
            (34, "committed in part, at 7000000000"),
            (31, "at 7000000000"),
            (10, "7000000000"),
        ] {
            assert_eq!(title_of(columns), title);
        }
    }

    #[test]
    fn unknown_figures_are_marked() {
        let mut snapshot = snapshot();
        snapshot.mappings[0].figures.dirty_bytes = None;
        let text = text(&snapshot, 9, Paint::Plain, usize::MAX);
        assert!(
            text.contains("dirty       not known\n") && text.contains("          ?"),
            "{text}"
        );
    }
}

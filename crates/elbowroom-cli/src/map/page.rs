//! A snapshot as a drawing, and as a page for a browser.

use std::fmt::Write;

use elbowroom_map::{Figures, Kind, Pages, Picture, Region, Row, Snapshot};

use crate::picture::CELLS_MAX;
use crate::picture::svg::{Anchor, MARGIN, Svg, escape, page};
use crate::size::human;

/// The rows of regions in a drawing; the page has all of them in its table.
const ROWS: usize = 20;
const ROW_HEIGHT: f64 = 20.0;
const NAME_CHARS: usize = 44;

pub(super) fn svg(snapshot: &Snapshot, drawn: Option<&Pages<'_>>) -> String {
    draw(snapshot, drawn, Some(ROWS))
}

pub(super) fn html(snapshot: &Snapshot, drawn: Option<&Pages<'_>>) -> String {
    page(
        &title(snapshot),
        &draw(snapshot, drawn, None),
        &table(&snapshot.regions()),
    )
}

fn title(snapshot: &Snapshot) -> String {
    let program = snapshot
        .program
        .rsplit(['/', '\\'])
        .next()
        .unwrap_or_default();
    format!("The address space of {program}, process {}", snapshot.pid)
}

/// With so many rows of regions; without any for `None`.
fn draw(snapshot: &Snapshot, drawn: Option<&Pages<'_>>, rows_max: Option<usize>) -> String {
    let subtitle = format!(
        "{} regions, pages of {}",
        snapshot.regions().len(),
        human(snapshot.page_size_bytes)
    );
    let mut svg = Svg::new(Svg::PICTURE_WIDTH, &title(snapshot), &subtitle);
    let total = snapshot.total();
    bars(&mut svg, &total);
    if let Some(Pages { region, runs, .. }) = drawn {
        let Region { start, end, .. } = region;
        let text = format!(
            "{}: {} at {start:x}",
            region.label(|name| shortened(name, 80)),
            human(end - start)
        );
        svg.text(MARGIN, svg.y + 10.0, "", Anchor::Start, &text);
        svg.y += 24.0;
        svg.picture(&Picture::new(runs, snapshot.page_size_bytes, CELLS_MAX));
        svg.y += 20.0;
    }
    if let Some(rows_max) = rows_max {
        let all = snapshot.rows();
        shares(&mut svg, &all[..all.len().min(rows_max)], all.len());
    }
    svg.finish()
}

/// Each figure of the whole as a bar, on one scale.
fn bars(svg: &mut Svg, total: &Figures) {
    const LEFT: f64 = MARGIN + 200.0;
    let width = f64::from(Svg::PICTURE_WIDTH) - MARGIN - LEFT;
    svg.y += 12.0;
    for (name, bytes) in total.named() {
        svg.text(MARGIN, svg.y + 12.0, "", Anchor::Start, name);
        match bytes {
            Some(bytes) => {
                svg.text(LEFT - 14.0, svg.y + 12.0, "num", Anchor::End, &human(bytes));
                svg.rect(
                    LEFT,
                    svg.y,
                    bar_width(bytes, total.reserved_bytes, width),
                    15.0,
                    name,
                );
            }
            None => svg.text(LEFT - 14.0, svg.y + 12.0, "faint", Anchor::End, "not known"),
        }
        svg.y += 22.0;
    }
    svg.y += 16.0;
}

/// Returns the width of a bar. A size above 0 is always visible.
fn bar_width(bytes: u64, scale: u64, width: f64) -> f64 {
    if bytes == 0 {
        0.0
    } else {
        (width * bytes as f64 / scale as f64).max(1.5)
    }
}

/// The regions by kind and name: of each what is committed and, in front of it, what is resident, on one scale.
fn shares(svg: &mut Svg, rows: &[Row], all: usize) {
    const COMMITTED_RIGHT: f64 = 640.0;
    const RESIDENT_RIGHT: f64 = 740.0;
    const LEFT: f64 = 760.0;
    const RESERVED_RIGHT: f64 = 540.0;
    let width = f64::from(Svg::PICTURE_WIDTH) - MARGIN - LEFT;
    let scale = rows
        .iter()
        .map(|row| row.figures.committed_bytes)
        .max()
        .unwrap_or(0)
        .max(1);
    let shown = if rows.len() < all {
        format!("The largest {} of {all} names", rows.len())
    } else {
        "By name".to_owned()
    };
    svg.text(MARGIN, svg.y + 12.0, "", Anchor::Start, &shown);
    for (right, name) in [
        (RESERVED_RIGHT, "reserved"),
        (COMMITTED_RIGHT, "committed"),
        (RESIDENT_RIGHT, "resident"),
    ] {
        svg.text(right, svg.y + 12.0, "small faint", Anchor::End, name);
    }
    svg.y += ROW_HEIGHT + 2.0;
    for row in rows {
        let Figures {
            reserved_bytes,
            committed_bytes,
            resident_bytes,
            ..
        } = row.figures;
        let base = svg.y + 12.0;
        svg.text(MARGIN, base, "small faint", Anchor::Start, row.kind.word());
        let name = if row.name.is_empty() {
            format!("at {:x}", row.start)
        } else {
            shortened(file(row), NAME_CHARS)
        };
        let name = if row.regions > 1 {
            format!("{name} ({})", row.regions)
        } else {
            name
        };
        svg.text(MARGIN + 84.0, base, "small", Anchor::Start, &name);
        let resident = resident_bytes.map_or_else(|| "not known".to_owned(), human);
        svg.text(
            RESERVED_RIGHT,
            base,
            "small num",
            Anchor::End,
            &human(reserved_bytes),
        );
        svg.text(
            COMMITTED_RIGHT,
            base,
            "small num",
            Anchor::End,
            &human(committed_bytes),
        );
        svg.text(RESIDENT_RIGHT, base, "small num", Anchor::End, &resident);
        svg.rect(
            LEFT,
            svg.y + 2.0,
            bar_width(committed_bytes, scale, width),
            12.0,
            "committed",
        );
        svg.rect(
            LEFT,
            svg.y + 5.0,
            bar_width(resident_bytes.unwrap_or(0), scale, width),
            6.0,
            "resident",
        );
        svg.y += ROW_HEIGHT;
    }
}

/// Returns the name of a file without its folders, which are in the table of an HTML page.
fn file(row: &Row) -> &str {
    match row.kind {
        Kind::Image | Kind::File => row.name.rsplit(['/', '\\']).next().unwrap_or_default(),
        _ => &row.name,
    }
}

/// Returns the end of a long text, which is the most useful part of a path.
fn shortened(text: &str, chars_max: usize) -> String {
    let chars = text.chars().count();
    if chars <= chars_max {
        return text.to_owned();
    }
    let end: String = text.chars().skip(chars - chars_max + 1).collect();
    format!("…{end}")
}

/// Returns a table of all regions, by address.
fn table(regions: &[Region]) -> String {
    let mut table =
        String::from("<div><table><tr><th class=\"l\">address</th><th class=\"l\">kind</th>");
    for (name, _) in Figures::NONE.named() {
        let _ = write!(table, "<th>{name}</th>");
    }
    table += "<th class=\"l\">name</th></tr>\n";
    for region in regions {
        let _ = write!(
            table,
            "<tr><td class=\"l\">{:x}</td><td class=\"l\">{}</td>",
            region.start,
            region.kind.word()
        );
        for (_, bytes) in region.figures.named() {
            let text = match bytes {
                Some(0) => "-".to_owned(),
                Some(bytes) => human(bytes),
                None => "?".to_owned(),
            };
            let _ = write!(table, "<td>{text}</td>");
        }
        let _ = writeln!(
            table,
            "<td class=\"l n\">{}</td></tr>",
            escape(&region.name)
        );
    }
    table + "</table></div>"
}

#[cfg(test)]
mod tests {
    use elbowroom_map::{Run, State, Wanted};

    use super::super::fixture::{PAGE, snapshot};
    use super::*;
    use crate::picture::svg::tests::assert_well_formed;

    fn hostile() -> Snapshot {
        let mut snapshot = snapshot();
        snapshot.mappings[3].name = "<script>alert('1')</script>".repeat(9);
        snapshot.mappings[4].figures.dirty_bytes = None;
        snapshot
    }

    #[test]
    fn drawings_and_pages_are_well_formed() {
        let snapshot = hostile();
        let region = snapshot.find(&Wanted::Name("heap".to_owned())).unwrap();
        let runs = vec![Run::new(region.start, region.end, State::Resident)];
        let drawn = Pages {
            snapshot: &snapshot,
            region,
            runs,
        };
        for drawn in [None, Some(&drawn)] {
            assert_well_formed(&svg(&snapshot, drawn));
            let page = html(&snapshot, drawn);
            assert_well_formed(&page);
            assert_eq!(page.matches("<tr>").count(), snapshot.regions().len() + 1);
            assert_eq!(page.contains("a cell is a page"), drawn.is_some());
        }
        assert!(svg(&snapshot, None).contains("not known"));
    }

    #[test]
    fn a_vast_reservation_leaves_the_rest_to_be_seen() {
        let mut snapshot = snapshot();
        snapshot.mappings[5].figures.reserved_bytes = 1 << 46;
        let drawing = svg(&snapshot, None);
        assert_well_formed(&drawing);
        assert_eq!(bar_width(PAGE, 1 << 46, 800.0), 1.5);
        assert!(drawing.contains("width=\"1.50\""));
    }

    #[test]
    fn the_end_of_a_path_stays() {
        assert_eq!(
            shortened("/usr/lib/libc.so", 8),
            "…ibc.so".to_owned().replace("…", "…l")
        );
        assert_eq!(shortened("/usr", 8), "/usr");
    }
}

//! A snapshot as a drawing, and as a page for a browser.

use elbowroom_map::{Figures, Kind, Pages, Region, Row, Snapshot, shortened};

use crate::picture::svg::{MARGIN, Svg, escape, page};
use crate::size::{Size, Sizes, count, grouped};

/// The rows of regions in a drawing; the page has all of them in its table.
const ROWS: usize = 20;
const ROW_HEIGHT: f64 = 20.0;
const NAME_CHARS: usize = 44;

pub(super) fn svg(snapshot: &Snapshot, drawn: Option<&Pages<'_>>) -> String {
    let mut svg = draw(snapshot, drawn);
    shares(&mut svg, &snapshot.rows());
    svg.finish()
}

pub(super) fn html(snapshot: &Snapshot, drawn: Option<&Pages<'_>>) -> String {
    let drawing = draw(snapshot, drawn).finish();
    page(&title(snapshot), &drawing, &tables(snapshot))
}

fn title(snapshot: &Snapshot) -> String {
    let program = file(&snapshot.program);
    format!("The address space of {program}, process {}", snapshot.pid)
}

/// The sums, and the pages of a region if one was chosen.
fn draw(snapshot: &Snapshot, drawn: Option<&Pages<'_>>) -> Svg {
    let subtitle = format!(
        "{}, pages of {}",
        count(snapshot.regions().len() as u64, "region"),
        Size(snapshot.page_size_bytes)
    );
    let mut svg = Svg::new(Svg::PICTURE_WIDTH, &title(snapshot), &subtitle);
    bars(&mut svg, &snapshot.total());
    if let Some(Pages { region, runs, .. }) = drawn {
        let Region { start, end, .. } = region;
        let text = format!(
            "{}: {} at {start:x}",
            region.label(|name| shortened(name, 80)),
            Size(end - start)
        );
        svg.text(MARGIN, svg.y + 10.0, "", &text);
        svg.y += 24.0;
        svg.pages(runs, snapshot.page_size_bytes);
        svg.y += 20.0;
    }
    svg
}

/// Each figure of the whole as a bar, on one scale. A bar that goes beyond it ends in an arrow.
fn bars(svg: &mut Svg, total: &Figures) {
    const LEFT: f64 = MARGIN + 200.0;
    const RIGHT: f64 = Svg::PICTURE_WIDTH as f64 - MARGIN - 10.0;
    let scale = total.scale_bytes();
    let sizes = Sizes::of(total.bytes().into_iter().flatten());
    svg.y += 12.0;
    for (name, bytes) in Figures::NAMES.into_iter().zip(total.bytes()) {
        svg.text(MARGIN, svg.y + 12.0, "", name);
        let (class, text) = match bytes {
            Some(bytes) => ("num", sizes.text(bytes)),
            None => ("faint", "not known".to_owned()),
        };
        svg.text_end(LEFT - 14.0, svg.y + 12.0, class, &text);
        let bytes = bytes.unwrap_or(0);
        let width = bar_width(bytes, scale, RIGHT - LEFT);
        svg.rect(LEFT, svg.y, width, 15.0, name);
        if bytes > scale {
            let arrow = format!("M{RIGHT:.1} {:.1}l9 7.5l-9 7.5z", svg.y);
            svg.path(&arrow, name);
        }
        svg.y += 22.0;
    }
    if total.reserved_bytes > scale {
        let times = grouped(total.reserved_bytes / scale);
        let note =
            format!("The bar of reserved bytes is cut off: in full, it is {times} times as long.");
        svg.text(LEFT, svg.y + 10.0, "small faint", &note);
        svg.y += 16.0;
    }
    svg.y += 16.0;
}

/// Returns the width of a bar. A size above 0 is always visible.
fn bar_width(bytes: u64, scale: u64, width: f64) -> f64 {
    match bytes {
        0 => 0.0,
        bytes => (width * bytes.min(scale) as f64 / scale as f64).max(1.5),
    }
}

/// The largest regions by kind and name: of each what is committed and, in front of it, what is resident, on one scale.
fn shares(svg: &mut Svg, all: &[Row]) {
    const LEFT: f64 = 760.0;
    const NAMES: [&str; 3] = ["reserved", "committed", "resident"];
    const COLUMNS: [f64; 3] = [540.0, 640.0, 740.0];
    let rows = &all[..all.len().min(ROWS)];
    let width = f64::from(Svg::PICTURE_WIDTH) - MARGIN - LEFT;
    let figures = |row: &Row| {
        let [reserved, committed, _, resident, ..] = row.figures.bytes();
        [reserved, committed, resident]
    };
    let sizes = Sizes::of(rows.iter().flat_map(figures).flatten());
    let committed = rows.iter().map(|row| row.figures.committed_bytes);
    let scale = committed.fold(1, u64::max);
    let shown = match rows.len() {
        count if count < all.len() => format!("The largest {count} of {} names", all.len()),
        _ => "By name".to_owned(),
    };
    svg.text(MARGIN, svg.y + 12.0, "", &shown);
    svg.key(LEFT, "committed", "committed");
    svg.key(LEFT + 100.0, "resident", "resident");
    svg.y += 22.0;
    for (right, name) in COLUMNS.into_iter().zip(NAMES) {
        svg.text_end(right, svg.y + 10.0, "small faint", name);
    }
    let text = format!("a bar as long as this line: {}", sizes.text(scale));
    svg.text(LEFT, svg.y + 10.0, "small faint", &text);
    svg.y += ROW_HEIGHT;
    svg.line((LEFT, svg.y - 4.0), (LEFT + width, svg.y - 4.0), "axis");
    for row in rows {
        let base = svg.y + 12.0;
        svg.text(MARGIN, base, "small faint", row.kind.word());
        let title = row.title(usize::MAX);
        let name = match row.kind {
            Kind::Image | Kind::File => file(&title),
            _ => &title,
        };
        let name = match (shortened(name, NAME_CHARS), row.regions) {
            (name, 1) => name,
            (name, regions) => format!("{name} ({regions})"),
        };
        svg.text(MARGIN + 84.0, base, "small", &name);
        for (right, bytes) in COLUMNS.into_iter().zip(figures(row)) {
            let text = bytes.map_or_else(|| "not known".to_owned(), |bytes| sizes.text(bytes));
            svg.text_end(right, base, "small num", &text);
        }
        let resident = row.figures.resident_bytes.unwrap_or(0);
        for (bytes, from, height, class) in [
            (row.figures.committed_bytes, 2.0, 12.0, "committed"),
            (resident, 5.0, 6.0, "resident"),
        ] {
            let bar = bar_width(bytes, scale, width);
            svg.rect(LEFT, svg.y + from, bar, height, class);
        }
        svg.y += ROW_HEIGHT;
    }
}

/// Returns the name of a file without its folders, which are in the table of an HTML page.
fn file(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or_default()
}

/// Sorts the table of regions by the column whose head is clicked.
const SORT: &str = "<script>\
for(const th of document.querySelectorAll('th[data-by]'))th.onclick=()=>{\
const body=th.closest('table').tBodies[0],at=th.cellIndex,down=th.dataset.by=='n',\
key=r=>down?+r.cells[at].dataset.n:r.cells[at].textContent;\
for(const other of th.parentNode.cells)other.removeAttribute('aria-sort');\
th.setAttribute('aria-sort',down?'descending':'ascending');\
body.append(...[...body.rows].sort((a,b)=>{const x=key(a),y=key(b);return (x<y?-1:x>y)*(down?-1:1)}))}\
</script>";

/// Returns the attribute of the figures that narrow windows leave out.
fn class(figure: usize) -> &'static str {
    match Figures::NAMES[figure] {
        "reserved" | "committed" | "resident" => "",
        _ => " class=\"m\"",
    }
}

/// Returns the tables of a page: the sums by kind, and all regions, by address until another order is chosen. Figures
/// that are 0 in all are left out.
fn tables(snapshot: &Snapshot) -> String {
    let (total, regions, kinds) = (snapshot.total(), snapshot.regions(), snapshot.kinds());
    let shown = total.bytes().map(|bytes| bytes != Some(0));
    let parts = kinds.iter().map(|(_, _, figures)| figures);
    let parts = parts.chain(regions.iter().map(|region| &region.figures));
    let all = parts.chain([&total]).flat_map(Figures::bytes);
    let sizes = Sizes::of(all.flatten());
    let of_shown = |text: &mut String, cells: [String; 7]| {
        let cells = cells.into_iter().zip(shown);
        text.extend(cells.filter_map(|(cell, is_shown)| is_shown.then_some(cell)));
    };
    let cells = |figures: &Figures| {
        let bytes = figures.bytes();
        std::array::from_fn(|at| {
            let (class, order) = (class(at), bytes[at].map_or(-1, i128::from));
            let size = sizes.cell(bytes[at]);
            format!("<td{class} data-n=\"{order}\">{size}</td>")
        })
    };
    let heads = |more: &str| {
        std::array::from_fn(|at| format!("<th{}{more}>{}</th>", class(at), Figures::NAMES[at]))
    };
    let mut text = String::from("<div><table><thead><tr><th class=\"l\">kind</th><th>regions</th>");
    of_shown(&mut text, heads(""));
    text += "</tr></thead><tbody>\n";
    let all = ("all", regions.len(), total);
    let sums = kinds
        .iter()
        .map(|(kind, count, figures)| (kind.word(), *count, *figures));
    for (kind, count, figures) in sums.chain([all]) {
        let class = if kind == "all" { " class=\"all\"" } else { "" };
        text += &format!("<tr{class}><td class=\"l\">{kind}</td><td>{count}</td>");
        of_shown(&mut text, cells(&figures));
        text += "</tr>\n";
    }
    text += "</tbody></table></div><p>All regions. A click on the head of a column sorts by it.</p>\
             <div><table><thead><tr><th class=\"l\" data-by=\"t\" aria-sort=\"ascending\">address</th>\
             <th class=\"l\" data-by=\"t\">kind</th>";
    of_shown(&mut text, heads(" data-by=\"n\""));
    text += "<th class=\"l\" data-by=\"t\">name</th></tr></thead><tbody>\n";
    for region in &regions {
        let (start, kind) = (region.start, region.kind.word());
        text += &format!("<tr><td class=\"l\">{start:012x}</td><td class=\"l\">{kind}</td>");
        of_shown(&mut text, cells(&region.figures));
        let title = escape(&region.title(usize::MAX));
        text += &format!("<td class=\"l n\">{title}</td></tr>\n");
    }
    text + "</tbody></table></div>" + SORT
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
        let snapshot = &snapshot;
        let drawn = Pages {
            snapshot,
            region,
            runs,
        };
        for drawn in [None, Some(&drawn)] {
            assert_well_formed(&svg(snapshot, drawn));
            let page = html(snapshot, drawn);
            assert_well_formed(&page.replace(SORT, ""));
            // The heads of the two tables, the kinds, and the regions.
            let rows = 2 + snapshot.kinds().len() + snapshot.regions().len();
            assert_eq!(page.matches("<tr>").count(), rows);
            assert_eq!(page.matches("<script").count(), 1);
            assert_eq!(page.contains("a cell is a page"), drawn.is_some());
        }
        assert!(svg(snapshot, None).contains("not known"));
    }

    #[test]
    fn bars_say_what_they_are() {
        let mut snapshot = snapshot();
        snapshot.mappings[5].figures.reserved_bytes = 1 << 40;
        assert_eq!(bar_width(PAGE, 1 << 46, 800.0), 1.5);
        let drawing = svg(&snapshot, None);
        assert_well_formed(&drawing);
        for part in [
            "l9 7.5l-9 7.5z\" class=\"reserved\"",
            "The bar of reserved bytes is cut off:",
            "a bar as long as this line: 32 KiB<",
            "class=\"small\" text-anchor=\"start\">committed<",
            "class=\"small\" text-anchor=\"start\">resident<",
        ] {
            assert_eq!(drawing.matches(part).count(), 1, "{part}: {drawing}");
        }
        let (_, bar) = drawing.split_once(">committed<").unwrap();
        let (_, width) = bar.split_once("width=\"").unwrap();
        let width: f64 = width.split('"').next().unwrap().parse().unwrap();
        assert!(width > 600.0, "{width}");
    }

    #[test]
    fn pages_have_sums_by_kind_and_describe_what_has_no_name() {
        let mut snapshot = snapshot();
        snapshot.mappings[5].kind = Kind::Reservation;
        snapshot.mappings[5].figures.committed_bytes = 3 << 19;
        snapshot.mappings[4].figures.committed_bytes = 1 << 20;
        let page = html(&snapshot, None);
        for part in [
            "<td class=\"l\">named</td><td>2</td>",
            "<tr class=\"all\"><td class=\"l\">all</td><td>5</td>",
            "committed in part, at 400000</td>",
            ">1.5 MiB</td>",
            ">1.0 MiB</td>",
            "<th data-by=\"n\">resident</th>",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        // It has nothing to say of figures that are 0 in all.
        assert!(!page.contains(">swapped</th>"), "{page}");
    }
}

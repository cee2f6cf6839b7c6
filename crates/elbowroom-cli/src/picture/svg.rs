//! Drawings as SVG, and as a page of HTML around one: each a file by itself that needs nothing else.
//!
//! Light and dark follow the browser's setting. The colours are those of Okabe and Ito, which are distinct also with
//! colour vision deficiencies. Colours only repeat what words or shapes say.

use std::fmt::Write;

use elbowroom_map::{Picture, Run, State, is_hidden};

use crate::size::{Size, Sizes, count};

const STYLE: &str = "\
text{font:13px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;fill:#1b1f24}\
.title{font-size:17px;font-weight:600}.small{font-size:12px}.faint{fill:#57606a}.num{font-variant-numeric:tabular-nums}\
.mono{font-family:ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;font-size:12px}\
.bg{fill:#ffffff}.grid{stroke:#d0d7de;stroke-width:1}.axis{stroke:#57606a;stroke-width:1}\
.l-reserved{fill:#57606a}.l-committed{fill:#8a5a00}\
.line{fill:none;stroke-width:2}.dash{stroke-dasharray:6 4}\
.reserved{fill:#d8dde3}.committed{fill:#e69f00}.swapped{fill:#cc79a7}.resident{fill:#0072b2}.huge{fill:#009e73}\
.guard{fill:#24292f}.charged{fill:#8c6bb1}.dirty{fill:#56b4e9}\
.screen{font:14px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace}.strong{font-weight:700}\
.plain{fill:#1b1f24}.refused{fill:#d55e00}.chosen{fill:#1b1f24}.onchosen{fill:#ffffff}\
.s75{fill-opacity:.75}.s20{fill-opacity:.2}\
.s-reserved{stroke:#57606a}.s-committed{stroke:#b87f00}.s-refused{stroke:#d55e00}.wash{fill:#e69f00;fill-opacity:.25}\
.whisker{stroke:#1b1f24;stroke-width:1.5}\
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.faint{fill:#9da7b3}.bg{fill:#0d1117}.grid{stroke:#30363d}\
.axis{stroke:#9da7b3}.reserved{fill:#3b434d}.resident{fill:#4aa3df}.huge{fill:#2fc59a}.dirty{fill:#9fd3f5}\
.charged{fill:#b79bd8}.guard{fill:#f0f3f6}.plain{fill:#e6edf3}.refused{fill:#ff7b3a}.chosen{fill:#e6edf3}\
.onchosen{fill:#0d1117}.whisker{stroke:#f0f3f6}\
.l-reserved{fill:#9da7b3}.l-committed{fill:#e69f00}\
.s-reserved{stroke:#9da7b3}.s-committed{stroke:#e69f00}.s-refused{stroke:#ff7b3a}}";

/// A drawing that grows downwards.
pub(crate) struct Svg {
    width: u32,
    /// The bottom of the drawing so far.
    pub(crate) y: f64,
    title: String,
    body: String,
}

/// The space around everything.
pub(crate) const MARGIN: f64 = 24.0;
const CELL: f64 = 13.0;
const CELL_STEP: f64 = 14.0;
/// The cells in a line.
const COLUMNS: usize = 64;
const ADDRESS_WIDTH: f64 = 112.0;
/// The most cells: 24 lines, as in a terminal.
const CELLS_MAX: u64 = 24 * COLUMNS as u64;
/// The number of distinct parts of a cell: a power of two.
const PARTS: u64 = 8;

impl Svg {
    /// Creates a drawing of `width` pixels, with a title and a line below it.
    pub(crate) fn new(width: u32, title: &str, subtitle: &str) -> Svg {
        let mut svg = Svg::untitled(width, title);
        svg.text(MARGIN, svg.y + 14.0, "title", title);
        svg.text(MARGIN, svg.y + 36.0, "faint", subtitle);
        svg.y += 48.0;
        svg
    }

    /// Returns a drawing without text. The title is for screen readers.
    pub(crate) fn untitled(width: u32, title: &str) -> Svg {
        Svg {
            width,
            y: MARGIN,
            title: title.to_owned(),
            body: String::new(),
        }
    }

    /// Writes a text that starts at this place.
    pub(crate) fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        self.anchored((x, y), class, "start", text);
    }

    pub(crate) fn centred(&mut self, x: f64, y: f64, class: &str, text: &str) {
        self.anchored((x, y), class, "middle", text);
    }

    pub(crate) fn text_end(&mut self, x: f64, y: f64, class: &str, text: &str) {
        self.anchored((x, y), class, "end", text);
    }

    fn anchored(&mut self, (x, y): (f64, f64), class: &str, anchor: &str, text: &str) {
        let text = escape(text);
        let _ = write!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\" text-anchor=\"{anchor}\">{text}</text>"
        );
    }

    pub(crate) fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, class: &str) {
        let _ = write!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.2}\" height=\"{height:.1}\" class=\"{class}\"/>"
        );
    }

    /// An element that is written already.
    pub(crate) fn raw(&mut self, element: &str) {
        self.body += element;
    }

    /// A path of SVG's own language.
    pub(crate) fn path(&mut self, path: &str, class: &str) {
        let _ = write!(self.body, "<path d=\"{path}\" class=\"{class}\"/>");
    }

    /// A horizontal or vertical line.
    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = write!(
            self.body,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>"
        );
    }

    /// The pages of these adjacent runs in cells, each line with its address, and what they mean. A cell of several
    /// pages is filled where they are. Returns the number of pages that a cell stands for.
    pub(crate) fn pages(&mut self, runs: &[Run], page_size_bytes: u64) -> u64 {
        let picture = Picture::new(runs, page_size_bytes, CELLS_MAX);
        // Each cell in parts: of the last state that a page of them has.
        let parts = Picture::new(runs, page_size_bytes, CELLS_MAX * PARTS);
        let in_cell = (picture.pages_per_cell / parts.pages_per_cell) as usize;
        let mut paths = [const { String::new() }; State::ALL.len()];
        for (at, cell) in parts.cells.chunks(in_cell).enumerate() {
            let (row, column) = (at / COLUMNS, at % COLUMNS);
            let top = self.y + row as f64 * CELL_STEP;
            if column == 0 {
                let address = picture.start + at as u64 * picture.cell_bytes();
                let (right, address) = (MARGIN + ADDRESS_WIDTH - 12.0, format!("{address:x}"));
                self.text_end(right, top + 11.0, "mono faint", &address);
            }
            let mut x = MARGIN + ADDRESS_WIDTH + column as f64 * CELL_STEP;
            for same in cell.chunk_by(|a, b| Picture::foremost(a) == Picture::foremost(b)) {
                let width = CELL * same.len() as f64 / in_cell as f64;
                let _ = write!(
                    paths[Picture::foremost(&same[0]) as usize],
                    "M{x:.1} {top:.1}h{width:.2}v{CELL}h-{width:.2}z",
                );
                x += width;
            }
        }
        for (state, path) in State::ALL.iter().zip(&paths) {
            if !path.is_empty() {
                self.path(path, state.word());
            }
        }
        self.y += picture.cells.len().div_ceil(COLUMNS) as f64 * CELL_STEP + 14.0;
        self.legend(&picture);
        picture.pages_per_cell
    }

    fn legend(&mut self, picture: &Picture) {
        let left = MARGIN + ADDRESS_WIDTH;
        let totals = picture.totals();
        let bytes = totals.map(|pages| pages * picture.page_size_bytes);
        let sizes = Sizes::of(bytes);
        let there = State::ALL.into_iter().zip(bytes);
        for (at, (state, bytes)) in there.filter(|(_, bytes)| *bytes > 0).enumerate() {
            let text = format!("{} {}", state.word(), sizes.text(bytes));
            self.key(left + 170.0 * at as f64, state.word(), &text);
        }
        self.y += 34.0;
        let page = Size(picture.page_size_bytes);
        let text = match picture.pages_per_cell {
            1 => format!("a cell is a page of {page}"),
            pages => format!(
                "a cell is {}: {} of {page}, filled where its pages are more than reserved",
                Size(picture.cell_bytes()),
                count(pages, "page")
            ),
        };
        self.text(left, self.y, "small faint", &text);
        self.y += 12.0;
    }

    /// An entry of a legend: a colour and what it means.
    pub(crate) fn key(&mut self, x: f64, class: &str, text: &str) {
        self.rect(x, self.y, CELL, CELL, class);
        self.text(x + 19.0, self.y + 11.0, "small", text);
    }

    /// The width of a picture.
    pub(crate) const PICTURE_WIDTH: u32 =
        (2.0 * MARGIN + ADDRESS_WIDTH + COLUMNS as f64 * CELL_STEP) as u32;

    /// Returns the text of the file.
    pub(crate) fn finish(self) -> String {
        let (width, height) = (self.width, (self.y + MARGIN).ceil());
        let title = escape(&self.title);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\"><title>{title}</title>\
             <style>{STYLE}</style><rect class=\"bg\" width=\"{width}\" height=\"{height}\"/>{}</svg>\n",
            self.body
        )
    }
}

/// Returns a page of HTML with a drawing in it, and a table below.
pub(crate) fn page(title: &str, svg: &str, table: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>\
         :root{{color-scheme:light dark}}\
         body{{margin:0 auto;max-width:1120px;padding:16px;background:#fff;color:#1b1f24;\
         font:14px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif}}svg{{max-width:100%;height:auto}}\
         table{{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px;margin:8px 0 24px}}\
         th,td{{padding:3px 10px 3px 0;text-align:right;vertical-align:top;white-space:nowrap}}\
         th{{border-bottom:1px solid #d0d7de}}td.l,th.l{{text-align:left}}\
         td.n{{white-space:normal;overflow-wrap:anywhere;min-width:11em}}th[data-by]{{cursor:pointer}}\
         th[aria-sort]{{text-decoration:underline}}tr.all td{{border-top:1px solid #d0d7de}}div{{overflow-x:auto}}\
         @media (max-width:760px){{.m{{display:none}}}}\
         @media (prefers-color-scheme:dark){{body{{background:#0d1117;color:#e6edf3}}\
         th,tr.all td{{border-color:#30363d}}}}\
         </style></head><body>\n{svg}{table}</body></html>\n",
        title = escape(title)
    )
}

/// Escapes the special characters of SVG and HTML, and invisible characters.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            char if is_hidden(char) => escaped.extend(char.escape_unicode()),
            char => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use elbowroom_map::Run;

    /// Whether every element is closed, in order, and nothing refers to anything outside.
    pub(crate) fn assert_well_formed(text: &str) {
        let mut open = Vec::new();
        for part in text.split('<').skip(1) {
            let (tag, _) = part.split_once('>').expect("each tag ends");
            let name = tag.split([' ', '/']).find(|name| !name.is_empty()).unwrap();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name), "{part}");
            } else if !tag.ends_with('/') && !["!doctype", "meta", "br"].contains(&name) {
                open.push(name);
            }
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        }
        assert!(open.is_empty(), "{open:?}");
        for outside in ["href", "src=", "url(", "@import", "<script"] {
            assert!(!text.contains(outside), "{outside}");
        }
        assert!(!text.contains("NaN") && !text.contains("inf\""), "{text}");
    }

    #[test]
    fn drawings_are_well_formed() {
        let runs = [
            Run::new(0, 4096 * 70, State::Resident),
            Run::new(4096 * 70, 4096 * 71, State::Guard),
        ];
        let mut svg = Svg::new(900, "a <title> & \"more\"", "below\u{1}");
        svg.pages(&runs, 4096);
        svg.line((0.0, 0.0), (1.0, 1.0), "axis");
        let svg = svg.finish();
        assert_well_formed(&svg);
        assert!(svg.contains("a &lt;title&gt; &amp; &quot;more&quot;"));
        assert!(svg.contains("below\\u{1}"));
        // A cell for each page.
        assert_eq!(svg.matches("h13.00v13h-13.00z").count(), 71);
        assert_well_formed(&page("a < b", &svg, "<table><tr><td>1</td></tr></table>"));
    }

    /// Returns the parts of cells in this state, from left to right.
    fn parts(svg: &str, state: &str) -> Vec<(f64, f64)> {
        let end = format!("\" class=\"{state}\"");
        let Some((path, _)) = svg.split_once(&end) else {
            return Vec::new();
        };
        let path = path.rsplit('"').next().unwrap();
        let part = |part: &str| {
            let (x, rest) = part.split_once(' ')?;
            let (width, _) = rest.split_once('h')?.1.split_once('v')?;
            Some((x.parse().ok()?, width.parse().ok()?))
        };
        path.split('M').filter_map(part).collect()
    }

    #[test]
    fn cells_are_filled_where_the_pages_are() {
        const LEFT: f64 = MARGIN + ADDRESS_WIDTH;
        // Cells of 16 pages: two resident at the start, then an empty cell, and one page at the end of the third.
        let pages = 16 * CELLS_MAX;
        let run = |from: u64, upto: u64, state| Run::new(from * 4096, upto * 4096, state);
        let runs = [
            run(0, 2, State::Resident),
            run(2, 47, State::Reserved),
            run(47, 48, State::Resident),
            run(48, pages, State::Reserved),
        ];
        let mut svg = Svg::untitled(1000, "");
        assert_eq!(svg.pages(&runs, 4096), 16);
        let svg = svg.finish();
        let eighth = CELL / 8.0;
        let expected = [
            (LEFT, eighth),
            (LEFT + 2.0 * CELL_STEP + 7.0 * eighth, eighth),
        ];
        let found = parts(&svg, "resident");
        assert_eq!(found.len(), 2, "{svg}");
        for (found, expected) in found.iter().zip(expected) {
            assert!((found.0 - expected.0).abs() < 0.06 && (found.1 - expected.1).abs() < 0.01);
        }
        assert_eq!(parts(&svg, "reserved")[0].1, 11.38);
        assert!(svg.contains("a cell is 64 KiB: 16 pages of 4 KiB"), "{svg}");
    }
}

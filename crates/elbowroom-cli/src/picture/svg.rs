//! Drawings as SVG, and as a page of HTML around one: each a file by itself that needs nothing else.
//!
//! Light and dark follow the browser's setting. The colours are those of Okabe and Ito, which are distinct also with
//! colour vision deficiencies. Colours only repeat what words or shapes say.

use std::fmt::Write;

use elbowroom_map::{Counts, Picture, State, is_hidden};

use crate::size::human;

const STYLE: &str = "\
text{font:13px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;fill:#1b1f24}\
.title{font-size:17px;font-weight:600}.small{font-size:12px}.faint{fill:#57606a}.num{font-variant-numeric:tabular-nums}\
.mono{font-family:ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;font-size:12px}\
.bg{fill:#ffffff}.grid{stroke:#d0d7de;stroke-width:1}.axis{stroke:#57606a;stroke-width:1}\
.line{fill:none;stroke-width:2}.dash{stroke-dasharray:6 4}\
.reserved{fill:#d8dde3}.committed{fill:#e69f00}.swapped{fill:#cc79a7}.resident{fill:#0072b2}.huge{fill:#009e73}\
.guard{fill:#24292f}.charged{fill:#8c6bb1}.dirty{fill:#56b4e9}\
.screen{font:14px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace}.strong{font-weight:700}\
.plain{fill:#1b1f24}.declined{fill:#d55e00}.frame{fill:none}.chosen{fill:#1b1f24}.onchosen{fill:#ffffff}\
.s75{fill-opacity:.75}.s20{fill-opacity:.2}\
.s-reserved{stroke:#57606a}.s-committed{stroke:#b87f00}.s-declined{stroke:#d55e00}.wash{fill:#e69f00;fill-opacity:.25}\
.whisker{stroke:#1b1f24;stroke-width:1.5}\
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.faint{fill:#9da7b3}.bg{fill:#0d1117}.grid{stroke:#30363d}\
.axis{stroke:#9da7b3}.reserved{fill:#3b434d}.resident{fill:#4aa3df}.huge{fill:#2fc59a}.dirty{fill:#9fd3f5}\
.charged{fill:#b79bd8}.guard{fill:#f0f3f6}.plain{fill:#e6edf3}.declined{fill:#ff7b3a}.chosen{fill:#e6edf3}\
.onchosen{fill:#0d1117}.whisker{stroke:#f0f3f6}\
.s-reserved{stroke:#9da7b3}.s-committed{stroke:#e69f00}.s-declined{stroke:#ff7b3a}}";

/// A drawing that grows downwards.
pub(crate) struct Svg {
    width: u32,
    /// What is drawn so far ends here.
    pub(crate) y: f64,
    title: String,
    body: String,
}

/// Where a text has its position.
#[derive(Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// The space around everything.
pub(crate) const MARGIN: f64 = 24.0;
const CELL: f64 = 13.0;
const CELL_STEP: f64 = 14.0;
/// The cells in a line.
const COLUMNS: usize = 64;
const ADDRESS_WIDTH: f64 = 112.0;

impl Svg {
    /// Creates a drawing of `width` pixels, with a title and a line below it.
    pub(crate) fn new(width: u32, title: &str, subtitle: &str) -> Svg {
        let mut svg = Svg::untitled(width, title);
        svg.text(MARGIN, svg.y + 14.0, "title", Anchor::Start, title);
        svg.text(MARGIN, svg.y + 36.0, "faint", Anchor::Start, subtitle);
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

    pub(crate) fn text(&mut self, x: f64, y: f64, class: &str, anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
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

    /// The cells of a picture, each line with its address, and what they mean. A cell that has several states shows
    /// how much of each.
    pub(crate) fn picture(&mut self, picture: &Picture) {
        let mut paths = [const { String::new() }; State::ALL.len()];
        for (row, cells) in picture.cells.chunks(COLUMNS).enumerate() {
            let top = self.y + row as f64 * CELL_STEP;
            let address = picture.start + (row * COLUMNS) as u64 * picture.cell_bytes();
            self.text(
                MARGIN + ADDRESS_WIDTH - 12.0,
                top + 11.0,
                "mono faint",
                Anchor::End,
                &format!("{address:x}"),
            );
            for (column, cell) in cells.iter().enumerate() {
                let left = MARGIN + ADDRESS_WIDTH + column as f64 * CELL_STEP;
                split(cell, |state, from, width| {
                    let x = left + from * CELL;
                    let _ = write!(
                        paths[state as usize],
                        "M{x:.1} {top:.1}h{:.2}v{CELL}h-{0:.2}z",
                        width * CELL
                    );
                });
            }
        }
        for (state, path) in State::ALL.iter().zip(&paths) {
            if !path.is_empty() {
                self.path(path, state.word());
            }
        }
        self.y += picture.cells.len().div_ceil(COLUMNS) as f64 * CELL_STEP + 14.0;
        self.legend(picture);
    }

    fn legend(&mut self, picture: &Picture) {
        let mut x = MARGIN + ADDRESS_WIDTH;
        for (state, &pages) in State::ALL.iter().zip(&picture.totals()) {
            if pages > 0 {
                self.rect(x, self.y, CELL, CELL, state.word());
                let size = human(pages * picture.page_size_bytes);
                self.text(
                    x + 19.0,
                    self.y + 11.0,
                    "small",
                    Anchor::Start,
                    &format!("{} {size}", state.word()),
                );
                x += 170.0;
            }
        }
        self.y += 34.0;
        let page = human(picture.page_size_bytes);
        let text = match picture.pages_per_cell {
            1 => format!("a cell is a page of {page}"),
            pages => format!(
                "a cell is {}: {pages} pages of {page}; of each state that there is, it shows a sliver at least",
                human(picture.cell_bytes())
            ),
        };
        self.text(
            MARGIN + ADDRESS_WIDTH,
            self.y,
            "small faint",
            Anchor::Start,
            &text,
        );
        self.y += 12.0;
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

/// The states of a cell from left to right: where each starts and how wide it is, of 1. What there is of it is seen.
fn split(cell: &Counts, mut tell: impl FnMut(State, f64, f64)) {
    const SEEN: f64 = 0.12;
    let all: u64 = cell.iter().sum();
    let share = |count: u64| {
        if count == 0 {
            0.0
        } else {
            (count as f64 / all as f64).max(SEEN)
        }
    };
    // What is widened takes from what is wide.
    let sum: f64 = cell.iter().map(|&count| share(count)).sum();
    let mut at = 0.0;
    for state in State::ALL {
        let width = share(cell[state as usize]) / sum;
        if width > 0.0 {
            tell(state, at, width);
            at += width;
        }
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
         table{{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:8px 24px}}\
         th,td{{padding:3px 12px 3px 0;text-align:right;vertical-align:top;white-space:nowrap}}\
         th{{border-bottom:1px solid #d0d7de}}td.l,th.l{{text-align:left}}\
         td.n{{white-space:normal;overflow-wrap:anywhere;min-width:16em}}div{{overflow-x:auto}}\
         @media (prefers-color-scheme:dark){{body{{background:#0d1117;color:#e6edf3}}th{{border-color:#30363d}}}}\
         </style></head><body>\n{svg}{table}</body></html>\n",
        title = escape(title)
    )
}

/// Escapes what means something in SVG and HTML, and characters that cannot be seen.
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
            let (tag, _) = part
                .split_once('>')
                .unwrap_or_else(|| panic!("a tag without an end: {part}"));
            let name = tag.split([' ', '/']).find(|name| !name.is_empty()).unwrap();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name), "{part}");
            } else if !tag.ends_with('/')
                && !tag.starts_with('!')
                && !["meta", "br"].contains(&name)
            {
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
        svg.picture(&Picture::new(&runs, 4096, 1000));
        svg.line((0.0, 0.0), (1.0, 1.0), "axis");
        let svg = svg.finish();
        assert_well_formed(&svg);
        assert!(
            svg.contains("a &lt;title&gt; &amp; &quot;more&quot;") && svg.contains("below\\u{1}")
        );
        // A cell for each page.
        assert_eq!(svg.matches("h13.00v13h-13.00z").count(), 71);
        assert_well_formed(&page("a < b", &svg, "<table><tr><td>1</td></tr></table>"));
    }

    #[test]
    fn cells_are_split_by_what_is_in_them() {
        let parts = |cell: Counts| {
            let mut parts = Vec::new();
            split(&cell, |state, from, width| parts.push((state, from, width)));
            parts
        };
        assert_eq!(
            parts([4, 0, 0, 4, 0, 0]),
            [(State::Reserved, 0.0, 0.5), (State::Resident, 0.5, 0.5)]
        );
        let lone = parts([1_000_000, 0, 0, 1, 0, 0]);
        assert!(
            lone[1].2 > 0.1 && (lone[1].1 + lone[1].2 - 1.0).abs() < 1e-9,
            "{lone:?}"
        );
        assert!(parts(Counts::default()).is_empty());
    }
}

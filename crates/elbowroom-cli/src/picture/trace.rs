//! The growth of a region: its reserved and committed sizes over the number of the fault.

use std::fmt::Write;

use elbowroom_map::Run;

use super::round_step;
use super::svg::{MARGIN, Svg, page};
use crate::size::{Size, Sizes, count};

/// The data of the drawing.
pub(crate) struct Trace {
    pub(crate) reserved_bytes: u64,
    pub(crate) page_size_bytes: u64,
    /// The committed size after each resolved fault.
    pub(crate) committed_bytes: Vec<u64>,
    /// The reason for the refusal of the last fault, if it was refused.
    pub(crate) refusal: Option<String>,
    /// The region at the end.
    pub(crate) runs: Vec<Run>,
}

const PLOT_HEIGHT: f64 = 300.0;
const PLOT_LEFT: f64 = MARGIN + 76.0;
/// For the labels of the lines.
const PLOT_RIGHT: f64 = 168.0;
/// More points than pixels show nothing more.
const POINTS_MAX: usize = 1500;

impl Trace {
    pub(crate) fn svg(&self) -> String {
        let faults = self.committed_bytes.len();
        let committed = self.committed_bytes.last().copied().unwrap_or(0);
        let refused = self.refusal.as_ref();
        let refused = refused.map(|why| format!("; then one was refused: {why}"));
        let subtitle = format!(
            "{} reserved, {} committed by {}{}",
            Size(self.reserved_bytes),
            Size(committed),
            count(faults as u64, "page fault"),
            refused.unwrap_or_default()
        );
        let mut svg = Svg::new(Svg::PICTURE_WIDTH, "A region commits on touch", &subtitle);
        self.plot(&mut svg, committed);
        let title = svg.y;
        svg.y += 14.0;
        let text = match svg.pages(&self.runs, self.page_size_bytes) {
            1 => "The region at the end, page by page",
            _ => "The region at the end",
        };
        svg.text(MARGIN, title, "", text);
        svg.finish()
    }

    pub(crate) fn html(&self) -> String {
        page("A region commits on touch", &self.svg(), "")
    }

    fn plot(&self, svg: &mut Svg, committed: u64) {
        let top = svg.y + 24.0;
        let bottom = top + PLOT_HEIGHT;
        let (left, right) = (PLOT_LEFT, f64::from(Svg::PICTURE_WIDTH) - PLOT_RIGHT);
        // Behind the last fault, what it led to; or the one that was refused.
        let last = self.committed_bytes.len() + 1;
        // A reservation that dwarfs what is committed is drawn where the scale ends.
        let is_off_scale = self.reserved_bytes > committed.saturating_mul(3);
        let highest = match is_off_scale {
            true => committed.max(self.page_size_bytes) * 5 / 4,
            false => self.reserved_bytes,
        };
        let step = byte_step(highest);
        let ceiling = match is_off_scale {
            true => highest,
            false => highest.div_ceil(step) * step,
        };
        let x = |fault: usize| left + (right - left) * fault as f64 / last as f64;
        let y = |bytes: u64| bottom - PLOT_HEIGHT * bytes as f64 / ceiling as f64;

        let ticks = || (0..=ceiling).step_by(step as usize);
        let sizes = Sizes::of(ticks().chain([self.reserved_bytes, committed]));
        for bytes in ticks() {
            svg.line((left, y(bytes)), (right, y(bytes)), "grid");
            svg.text_end(left - 8.0, y(bytes) + 4.5, "small num", &sizes.text(bytes));
        }
        let number_step = round_step(last as f64, 10.0) as usize;
        for fault in (0..=last).step_by(number_step) {
            svg.line((x(fault), bottom), (x(fault), bottom + 5.0), "axis");
            svg.centred(x(fault), bottom + 20.0, "small num", &fault.to_string());
        }
        svg.line((left, bottom), (right, bottom), "axis");
        let middle = f64::midpoint(left, right);
        svg.centred(middle, bottom + 40.0, "small faint", "page faults");

        let (area, line) = self.steps(&x, &y, bottom);
        svg.path(&area, "wash");
        svg.path(&line, "line s-committed");
        let end = y(committed);
        let reserved = match is_off_scale {
            true => top,
            false => y(self.reserved_bytes),
        };
        svg.line((left, reserved), (right, reserved), "line dash s-reserved");
        // Each label stands at its line; where the lines end together, that of the upper one stands above it.
        let committed_label = end + 4.5;
        let reserved_label = (reserved + 4.5).min(committed_label - 18.0);
        for (y, name, bytes) in [
            (reserved_label, "reserved", self.reserved_bytes),
            (committed_label, "committed", committed),
        ] {
            let class = format!("l-{name}");
            let text = format!("{name} {}", sizes.text(bytes));
            svg.text(right + 10.0, y, &class, &text);
        }
        if is_off_scale {
            let below = (right + 10.0, reserved_label + 15.0);
            svg.text(below.0, below.1, "small faint", "off the scale");
        }
        if self.refusal.is_some() {
            let (x, y) = (x(last), end);
            let cross = format!("M{:.1} {:.1}l10 10m0 -10l-10 10", x - 5.0, y - 5.0);
            svg.path(&cross, "line s-refused");
            svg.text_end(x + 5.0, y - 10.0, "small", "refused");
        }
        svg.y = bottom + 76.0;
    }

    /// Returns the committed bytes as a step line: the area below it, and the line.
    fn steps(
        &self,
        x: &impl Fn(usize) -> f64,
        y: &impl Fn(u64) -> f64,
        bottom: f64,
    ) -> (String, String) {
        let mut line = format!("M{:.1} {:.1}", x(0), y(0));
        let faults = self.committed_bytes.len();
        let every = faults.div_ceil(POINTS_MAX).max(1);
        for (index, &bytes) in self.committed_bytes.iter().enumerate() {
            let fault = index + 1;
            if fault % every == 0 || fault == faults {
                let _ = write!(line, "H{:.1}V{:.1}", x(fault), y(bytes));
            }
        }
        let _ = write!(line, "H{:.1}", x(faults + 1));
        (format!("{line}V{bottom:.1}H{:.1}z", x(0)), line)
    }
}

/// Returns the power of two with which a scale has four to eight lines.
fn byte_step(highest: u64) -> u64 {
    let mut step = 1u64;
    while highest / step > 8 {
        step *= 2;
    }
    step
}

#[cfg(test)]
mod tests {
    use elbowroom_map::State;

    use super::super::svg::tests::assert_well_formed;
    use super::*;

    fn trace(faults: u64, reserved_bytes: u64, refusal: Option<&str>) -> Trace {
        Trace {
            reserved_bytes,
            page_size_bytes: 4096,
            committed_bytes: (1..=faults).map(|fault| fault * 4096).collect(),
            refusal: refusal.map(str::to_owned),
            runs: vec![Run::new(0, reserved_bytes, State::Reserved)],
        }
    }

    #[test]
    fn every_fault_is_a_step() {
        let svg = trace(80, 80 * 4096, None).svg();
        assert_well_formed(&svg);
        let (line, _) = svg.split_once("class=\"line s-committed\"").unwrap();
        let (_, line) = line.rsplit_once("<path d=\"").unwrap();
        assert_eq!(line.matches('V').count(), 80);
        let subtitle = "320 KiB reserved, 320 KiB committed by 80 page faults<";
        assert!(svg.contains(subtitle), "{svg}");
        assert!(!svg.contains(">refused<"));
    }

    #[test]
    fn every_size_can_be_drawn() {
        for (faults, pages) in [
            (0, 1),
            (1, 1),
            (1, 1 << 28),
            (100_000, 100_000),
            (7, 1 << 24),
        ] {
            let trace = trace(faults, pages * 4096, Some("out of <pages>"));
            let svg = trace.svg();
            assert_well_formed(&svg);
            assert!(svg.contains("out of &lt;pages&gt;"));
            assert!(svg.len() < 200_000, "{}", svg.len());
            assert_well_formed(&trace.html());
        }
    }

    #[test]
    fn scales_are_round() {
        assert_eq!([320 << 10, 1, 9].map(byte_step), [64 << 10, 1, 2]);
    }

    /// Returns where the text that starts with these words stands, and its class.
    fn text_at<'a>(svg: &'a str, words: &str) -> (f64, &'a str) {
        let (before, _) = svg.split_once(&format!(">{words}")).unwrap();
        let tag = before.rsplit("<text ").next().unwrap();
        let of = |name: &str| {
            let (_, rest) = tag.split_once(&format!("{name}=\"")).unwrap();
            rest.split('"').next().unwrap()
        };
        (of(" y").parse().unwrap(), of("class"))
    }

    #[test]
    fn labels_stand_at_their_lines_in_their_colours() {
        for (faults, reserved) in [(80, 80), (79, 80), (40, 80), (1, 1 << 30)] {
            let svg = trace(faults, reserved * 4096, None).svg();
            let committed = text_at(&svg, &format!("committed {}", Size(faults * 4096)));
            let reserved = text_at(&svg, &format!("reserved {}", Size(reserved * 4096)));
            assert_eq!([committed.1, reserved.1], ["l-committed", "l-reserved"]);
            assert!(committed.0 - reserved.0 >= 18.0, "{svg}");
            let (line, _) = svg.split_once("\" class=\"line s-committed\"").unwrap();
            let line = line.rsplit('V').next().unwrap();
            let line: f64 = line.split('H').next().unwrap().parse().unwrap();
            assert!((committed.0 - 4.5 - line).abs() < 0.11, "{line}: {svg}");
        }
    }

    #[test]
    fn page_by_page_is_said_only_of_pages() {
        for (reserved, is_page) in [(80 * 4096, true), (64 << 30, false)] {
            let svg = trace(9, reserved, None).svg();
            assert_eq!(svg.contains(", page by page<"), is_page);
            assert_eq!(svg.contains("a cell is a page of 4 KiB"), is_page);
        }
    }

    #[test]
    fn sizes_of_one_unit_are_written_alike() {
        let svg = trace(600, 768 * 4096, None).svg();
        for size in ["512 KiB", "1.0 MiB", "1.5 MiB", "reserved 3.0 MiB"] {
            assert!(svg.contains(&format!(">{size}<")), "{size}: {svg}");
        }
    }
}

//! How a region grew, fault by fault: reserved and committed over the number of the fault.

use std::fmt::Write;

use elbowroom_map::{Picture, Run};

use super::CELLS_MAX;
use super::svg::{Anchor, MARGIN, Svg, page};
use crate::size::human;

/// What is to be drawn.
pub(crate) struct Trace {
    pub(crate) reserved_bytes: u64,
    pub(crate) page_size_bytes: u64,
    /// What was committed after each fault that was resolved.
    pub(crate) committed_bytes: Vec<u64>,
    /// Why the last fault was refused, if one was.
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
        let subtitle = format!(
            "{} reserved, {} committed by {faults} page fault{}{}",
            human(self.reserved_bytes),
            human(committed),
            if faults == 1 { "" } else { "s" },
            self.refusal
                .as_ref()
                .map(|why| format!("; then one was refused: {why}"))
                .unwrap_or_default()
        );
        let mut svg = Svg::new(Svg::PICTURE_WIDTH, "A region commits on touch", &subtitle);
        self.plot(&mut svg, committed);
        svg.text(
            MARGIN,
            svg.y,
            "",
            Anchor::Start,
            "The region at the end, page by page",
        );
        svg.y += 14.0;
        svg.picture(&Picture::new(&self.runs, self.page_size_bytes, CELLS_MAX));
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
        let highest = if is_off_scale {
            committed.max(self.page_size_bytes) * 5 / 4
        } else {
            self.reserved_bytes
        };
        let step = byte_step(highest);
        let ceiling = if is_off_scale {
            highest
        } else {
            highest.div_ceil(step) * step
        };
        let x = |fault: usize| left + (right - left) * fault as f64 / last as f64;
        let y = |bytes: u64| bottom - PLOT_HEIGHT * bytes as f64 / ceiling as f64;

        for bytes in (0..=ceiling).step_by(step as usize) {
            svg.line((left, y(bytes)), (right, y(bytes)), "grid");
            svg.text(
                left - 8.0,
                y(bytes) + 4.5,
                "small num",
                Anchor::End,
                &human(bytes),
            );
        }
        let number_step = count_step(last);
        for fault in (0..=last).step_by(number_step) {
            svg.line((x(fault), bottom), (x(fault), bottom + 5.0), "axis");
            svg.text(
                x(fault),
                bottom + 20.0,
                "small num",
                Anchor::Middle,
                &fault.to_string(),
            );
        }
        svg.line((left, bottom), (right, bottom), "axis");
        svg.text(
            f64::midpoint(left, right),
            bottom + 40.0,
            "small faint",
            Anchor::Middle,
            "page faults",
        );

        let (area, line) = self.steps(&x, &y, bottom);
        svg.path(&area, "wash");
        svg.path(&line, "line s-committed");
        let end = y(committed);
        let reserved = if is_off_scale {
            top
        } else {
            y(self.reserved_bytes)
        };
        svg.line((left, reserved), (right, reserved), "line dash s-reserved");
        // Where the lines end together, one label stands above the other.
        let reserved_label = if end - reserved < 36.0 {
            reserved - 2.0
        } else {
            reserved + 4.5
        };
        let committed_label = if end - reserved < 36.0 {
            reserved_label + 34.0
        } else {
            end + 4.5
        };
        let off = if is_off_scale { ", off the scale" } else { "" };
        svg.text(right + 10.0, reserved_label, "", Anchor::Start, "reserved");
        svg.text(
            right + 10.0,
            reserved_label + 15.0,
            "small faint",
            Anchor::Start,
            &format!("{}{off}", human(self.reserved_bytes)),
        );
        svg.text(
            right + 10.0,
            committed_label,
            "",
            Anchor::Start,
            "committed",
        );
        svg.text(
            right + 10.0,
            committed_label + 15.0,
            "small faint",
            Anchor::Start,
            &human(committed),
        );
        if self.refusal.is_some() {
            let (x, y) = (x(last), end);
            let cross = format!("M{:.1} {:.1}l10 10m0 -10l-10 10", x - 5.0, y - 5.0);
            svg.path(&cross, "line s-declined");
            svg.text(x + 5.0, y - 10.0, "small", Anchor::End, "refused");
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

/// 1, 2 or 5 times a power of ten that gives at most ten numbers.
fn count_step(last: usize) -> usize {
    let mut power = 1;
    loop {
        for step in [power, 2 * power, 5 * power] {
            if last / step <= 10 {
                return step;
            }
        }
        power *= 10;
    }
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
        let line = svg
            .split("class=\"line s-committed\"")
            .next()
            .unwrap()
            .rsplit("<path d=\"")
            .next()
            .unwrap();
        assert_eq!(line.matches('V').count(), 80);
        assert!(
            svg.contains("320 KiB reserved, 320 KiB committed by 80 page faults<"),
            "{svg}"
        );
        assert!(!svg.contains("refused"));
    }

    #[test]
    fn every_size_can_be_drawn() {
        for (faults, reserved) in [
            (0, 4096),
            (1, 4096),
            (1, 1 << 40),
            (100_000, 100_000 * 4096),
            (7, 64 << 30),
        ] {
            let trace = trace(faults, reserved, Some("out of <pages>"));
            let svg = trace.svg();
            assert_well_formed(&svg);
            assert!(
                svg.contains("out of &lt;pages&gt;") && svg.len() < 200_000,
                "{}",
                svg.len()
            );
            assert_well_formed(&trace.html());
        }
    }

    #[test]
    fn scales_are_round() {
        assert_eq!(
            [byte_step(320 << 10), byte_step(1), byte_step(9)],
            [64 << 10, 1, 2]
        );
        assert_eq!(
            [
                count_step(80),
                count_step(1),
                count_step(11),
                count_step(4000)
            ],
            [10, 1, 2, 500]
        );
    }
}

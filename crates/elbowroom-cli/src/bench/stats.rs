//! The middle of some figures, and how far they spread.

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// A quarter of the figures is below the first of these, half of them below the second, and so on.
    pub(crate) lower_quartile: f64,
    pub(crate) median: f64,
    pub(crate) upper_quartile: f64,
}

impl Spread {
    /// `None` of no figures.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        Some(Spread {
            lower_quartile: quantile(&figures, 0.25)?,
            median: quantile(&figures, 0.5)?,
            upper_quartile: quantile(&figures, 0.75)?,
        })
    }

    /// The same in another unit.
    pub(crate) fn map(self, convert: impl Fn(f64) -> f64) -> Spread {
        Spread {
            lower_quartile: convert(self.lower_quartile),
            median: convert(self.median),
            upper_quartile: convert(self.upper_quartile),
        }
    }
}

/// The value below which a share of the sorted figures lies; between two figures, in proportion.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let at = share * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    Some(below + (above - below) * at.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_quarters() {
        let spread = |figures: &[f64]| {
            Spread::of(figures.iter().copied())
                .map(|it| [it.lower_quartile, it.median, it.upper_quartile])
        };
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[7.0]), Some([7.0; 3]));
        assert_eq!(spread(&[5.0, 1.0, 2.0, 4.0, 3.0]), Some([2.0, 3.0, 4.0]));
        assert_eq!(spread(&[1.0, 2.0]), Some([1.25, 1.5, 1.75]));
    }
}

//! The median and the quartiles of figures.

use serde::Serialize;

/// A median and its quartiles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// A quarter of the figures lies below.
    pub lower_quartile: f64,
    /// Half of the figures lie below.
    pub median: f64,
    /// A quarter of the figures lies above.
    pub upper_quartile: f64,
}

impl Spread {
    /// Returns the spread of figures, or `None` if there are none.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        // Interpolates linearly between two figures.
        let quantile = |share: f64| {
            let at = share * figures.len().checked_sub(1)? as f64;
            let (below, above) = (figures[at.floor() as usize], figures[at.ceil() as usize]);
            Some(below + (above - below) * at.fract())
        };
        Some(Spread {
            lower_quartile: quantile(0.25)?,
            median: quantile(0.5)?,
            upper_quartile: quantile(0.75)?,
        })
    }

    /// Returns the spread of the ratios of figures that were measured in pairs.
    pub fn of_ratios(ours: &[f64], theirs: &[f64]) -> Option<Spread> {
        Spread::of(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs))
    }

    /// Returns the spread in another unit.
    pub fn map(self, convert: impl Fn(f64) -> f64) -> Spread {
        Spread {
            lower_quartile: convert(self.lower_quartile),
            median: convert(self.median),
            upper_quartile: convert(self.upper_quartile),
        }
    }
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

    #[test]
    fn ratios_are_of_pairs() {
        // The machine is half as fast in the second round.
        let spread = Spread::of_ratios(&[1.0, 2.0, 1.1], &[2.0, 4.0, 2.0]).unwrap();
        assert_eq!(spread.median, 0.5);
        assert_eq!(Spread::of_ratios(&[], &[]), None);
    }
}

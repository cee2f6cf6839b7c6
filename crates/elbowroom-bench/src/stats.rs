//! Medians, quartiles and ratios of samples.

/// The middle of some figures, and how far they spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    /// A quarter of the figures is below the first, a quarter above the second.
    pub(crate) quartiles: (f64, f64),
}

impl Spread {
    /// Of at least one figure.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        Some(Spread {
            median: quantile(&figures, 0.5)?,
            quartiles: (quantile(&figures, 0.25)?, quantile(&figures, 0.75)?),
        })
    }

    /// Of the ratios of pairs of figures that were taken one after the other.
    pub(crate) fn of_ratios(ours: &[f64], theirs: &[f64]) -> Option<Spread> {
        Spread::of(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs))
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
        let spread = |figures: &[f64]| Spread::of(figures.iter().copied());
        assert_eq!(spread(&[]), None);
        assert_eq!(
            spread(&[7.0]),
            Some(Spread {
                median: 7.0,
                quartiles: (7.0, 7.0)
            })
        );
        assert_eq!(
            spread(&[5.0, 1.0, 2.0, 4.0, 3.0]),
            Some(Spread {
                median: 3.0,
                quartiles: (2.0, 4.0)
            })
        );
        assert_eq!(
            spread(&[1.0, 2.0]),
            Some(Spread {
                median: 1.5,
                quartiles: (1.25, 1.75)
            })
        );
    }

    #[test]
    fn ratios_are_of_pairs() {
        // A machine that is twice as slow in the second round.
        let spread = Spread::of_ratios(&[1.0, 2.0, 1.1], &[2.0, 4.0, 2.0]).unwrap();
        assert_eq!(spread.median, 0.5);
        assert_eq!(Spread::of_ratios(&[], &[]), None);
    }
}

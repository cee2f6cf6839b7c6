//! The figures that a table has room for.

use crate::snapshot::Figures;

/// The number of figures.
pub(crate) const FIGURES: usize = Figures::NAMES.len();
/// The figures in the order in which they are left out. The resident bytes are never left out.
const GIVE_WAY: [usize; FIGURES - 1] = [6, 5, 4, 2, 0, 1];

/// The figures that a table shows, one a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FigureColumns {
    shown: [bool; FIGURES],
    width: usize,
}

impl FigureColumns {
    /// Returns columns of `width` for the figures that are wanted, in the order of [`Figures::NAMES`]. Figures are
    /// left out until the rest has room in `room`: swapped first, then huge, dirty, charged, reserved and committed.
    pub fn fitting(wanted: [bool; FIGURES], width: usize, room: usize) -> FigureColumns {
        let mut columns = FigureColumns {
            shown: wanted,
            width,
        };
        for figure in GIVE_WAY {
            columns.shown[figure] &= columns.width() <= room;
        }
        columns
    }

    /// Returns the width of all columns together.
    pub fn width(&self) -> usize {
        self.shown.iter().filter(|shown| **shown).count() * self.width
    }

    /// Returns the items of the figures that are shown, given one item for each figure.
    pub fn of<T>(&self, figures: [T; FIGURES]) -> impl Iterator<Item = T> {
        let shown = figures.into_iter().zip(self.shown);
        shown.filter_map(|(figure, is_shown)| is_shown.then_some(figure))
    }

    /// Returns the part of a line with these texts, one for each figure.
    pub fn line<T: AsRef<str>>(&self, texts: [T; FIGURES]) -> String {
        let width = self.width;
        self.of(texts)
            .map(|text| format!("{:>width$}", text.as_ref()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_give_way_until_the_rest_fits() {
        for (room, names) in [
            (70, "reserved committed charged resident dirty huge swapped"),
            (69, "reserved committed charged resident dirty huge"),
            (40, "reserved committed charged resident"),
            (30, "reserved committed resident"),
            (29, "committed resident"),
            (0, "resident"),
        ] {
            let columns = FigureColumns::fitting([true; FIGURES], 10, room);
            assert_eq!(
                columns.of(Figures::NAMES).collect::<Vec<_>>().join(" "),
                names
            );
            assert!(columns.width() <= room.max(10));
        }
        let few = FigureColumns::fitting([false, false, false, true, true, false, false], 6, 99);
        assert_eq!(
            few.line(["a", "b", "c", "d", "e", "f", "g"]),
            "     d     e"
        );
    }
}

//! Sizes in bytes, as people read them.

use std::fmt;

/// A number of bytes that prints as people read it: `4 KiB`, `1.5 GiB`, `64 GiB`.
///
/// The unit is the largest power of 1024 of which there is at least one. The number is rounded to the nearest tenth of
/// it, and a decimal of zero is omitted. Sizes below 10 KiB that are not whole kibibytes are exact, in bytes. A
/// precision, as in `{:.1}`, asks for the decimal in every unit except bytes, so that the sizes of a table can agree.
/// The alternate form, `{:#}`, adds the number of bytes.
///
/// Printing allocates nothing.
///
/// ```
/// use elbowroom::Size;
///
/// assert_eq!(Size(64 << 30).to_string(), "64 GiB");
/// assert_eq!(Size(3 << 29).to_string(), "1.5 GiB");
/// assert_eq!(Size(1025).to_string(), "1025 B");
/// assert_eq!(format!("{:.1}", Size(64 << 30)), "64.0 GiB");
/// assert_eq!(format!("{:#}", Size(8192)), "8 KiB (8192 bytes)");
/// assert_eq!(format!("{:#}", Size(64)), "64 bytes");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
/// Below this, sizes that are not whole kibibytes are exact.
const EXACT_BYTES: u64 = 10 << 10;

impl Size {
    /// Returns the number of tenths, and the index of their unit.
    fn tenths(self) -> (u128, usize) {
        let Size(bytes) = self;
        if bytes < EXACT_BYTES && bytes % 1024 != 0 {
            return (u128::from(bytes) * 10, 0);
        }
        let mut unit = (bytes.max(1).ilog2() / 10) as usize;
        loop {
            let half = (1u128 << (10 * unit)) / 2;
            let tenths = (u128::from(bytes) * 10 + half) >> (10 * unit);
            // 1023.96 KiB rounds to 1 MiB.
            if tenths < 10240 || unit + 1 == UNITS.len() {
                return (tenths, unit);
            }
            unit += 1;
        }
    }

    /// Returns the unit, if the number has a decimal.
    ///
    /// The sizes of a table agree if all sizes of a unit have a decimal as soon as one of them has one.
    pub fn unit_with_decimal(self) -> Option<&'static str> {
        let (tenths, unit) = self.tenths();
        (tenths % 10 != 0).then_some(UNITS[unit])
    }

    /// Returns the unit.
    pub fn unit(self) -> &'static str {
        UNITS[self.tenths().1]
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Size(bytes) = *self;
        let (tenths, unit) = self.tenths();
        if f.alternate() && unit == 0 {
            return write!(f, "{bytes} bytes");
        }
        let (whole, tenth, name) = (tenths / 10, tenths % 10, UNITS[unit]);
        let is_wanted = f.precision().is_some_and(|decimals| decimals > 0) && unit > 0;
        if tenth > 0 || is_wanted {
            write!(f, "{whole}.{tenth} {name}")?;
        } else {
            write!(f, "{whole} {name}")?;
        }
        if f.alternate() {
            write!(f, " ({bytes} bytes)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_in_the_largest_unit() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1025, "1025 B"),
            (1536, "1536 B"),
            (10 << 10, "10 KiB"),
            ((10 << 10) + 512, "10.5 KiB"),
            (320 << 10, "320 KiB"),
            (3 << 19, "1.5 MiB"),
            ((1 << 20) - 1, "1 MiB"),
            ((1 << 20) - 60, "1023.9 KiB"),
            (64 << 30, "64 GiB"),
            ((64 << 30) + 1, "64 GiB"),
            ((64 << 30) + (1 << 27), "64.1 GiB"),
            (1 << 50, "1 PiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }

    #[test]
    fn no_size_is_far_off_and_none_has_a_decimal_of_zero() {
        for bit in 0..60 {
            for factor in [2, 3, 5, 7] {
                let bytes = (1u64 << bit) / 2 * factor / 2 + 7;
                let text = Size(bytes).to_string();
                let (number, unit) = text.split_once(' ').unwrap();
                let power = UNITS.iter().position(|name| *name == unit).unwrap();
                let shown = number.parse::<f64>().unwrap() * 1024f64.powi(power as i32);
                let off = (shown - bytes as f64).abs();
                assert!(
                    off <= bytes as f64 / 19.0 && !number.ends_with(".0"),
                    "{bytes}: {text}"
                );
                assert_eq!(Size(bytes).unit(), unit);
            }
        }
    }

    #[test]
    fn a_precision_asks_for_the_decimal() {
        assert_eq!(
            format!("{:.1} {:.1}", Size(1 << 30), Size(3)),
            "1.0 GiB 3 B"
        );
        assert_eq!(Size(3 << 29).unit_with_decimal(), Some("GiB"));
        assert_eq!(Size(1 << 30).unit_with_decimal(), None);
    }
}

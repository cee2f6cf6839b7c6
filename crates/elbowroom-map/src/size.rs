//! Sizes in bytes, as people read them.

use std::fmt;

/// The units, from small to large: each is 1024 of the one before it.
const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// A number of bytes in the largest unit that leaves at least 1, with one decimal where it does not come out even.
pub fn human(bytes: u64) -> impl fmt::Display {
    let power = UNITS.iter().skip(1).zip(1..).take_while(|&(_, power)| bytes >> (10 * power) > 0).count();
    let unit = 1u64 << (10 * power);
    let name = UNITS[power];
    if bytes % unit == 0 {
        format!("{} {name}", bytes / unit)
    } else {
        format!("{:.1} {name}", bytes as f64 / unit as f64)
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
            (320 << 10, "320 KiB"),
            (1536, "1.5 KiB"),
            (64 << 30, "64 GiB"),
            (1 << 50, "1 PiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(human(bytes).to_string(), text);
        }
    }
}

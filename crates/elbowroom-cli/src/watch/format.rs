//! Times and texts for the screen.

use std::time::Duration;

/// Returns a time in the largest unit that leaves at least 1, with at least two digits. It is ASCII for terminals
/// without Unicode.
pub(super) fn time(time: Duration, is_unicode: bool) -> String {
    let nanoseconds = time.as_nanos();
    let (unit, name) = match nanoseconds {
        0..1_000 => return format!("{nanoseconds} ns"),
        1_000..1_000_000 => (1e3, if is_unicode { "µs" } else { "us" }),
        1_000_000..1_000_000_000 => (1e6, "ms"),
        _ => (1e9, "s"),
    };
    let value = nanoseconds as f64 / unit;
    if value < 9.95 {
        format!("{value:.1} {name}")
    } else {
        format!("{value:.0} {name}")
    }
}

/// Returns a text cut to `columns` characters, with a mark if it was cut.
pub(super) fn cut(text: &str, columns: usize, is_unicode: bool) -> String {
    let mark = if is_unicode { "…" } else { "~" };
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    text.chars()
        .take(columns.saturating_sub(1))
        .chain(mark.chars())
        .take(columns)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_two_digits_or_three() {
        for (nanoseconds, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.0 µs"),
            (9_949, "9.9 µs"),
            (9_951, "10 µs"),
            (12_345_678, "12 ms"),
            (3_000_000_000, "3.0 s"),
        ] {
            assert_eq!(time(Duration::from_nanos(nanoseconds), true), text);
        }
        assert_eq!(time(Duration::from_micros(3), false), "3.0 us");
    }

    #[test]
    fn cut_texts_have_a_mark() {
        assert_eq!(
            [
                cut("abc", 3, true),
                cut("abcd", 3, true),
                cut("abcd", 3, false)
            ],
            ["abc", "ab…", "ab~"]
        );
        assert_eq!(cut("abcd", 0, true), "");
    }
}

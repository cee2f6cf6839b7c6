//! Bars in characters.

/// Returns a bar as long as a part of a whole of `columns`, in eighths of a character, or in ASCII. A part above 0 is
/// always visible. A bar that is longer than the whole ends in an arrow.
pub fn bar(part: u64, whole: u64, columns: usize, is_unicode: bool) -> String {
    let (full, arrow, steps) = if is_unicode {
        ("█", "▶", 8)
    } else {
        ("#", ">", 1)
    };
    if part > whole {
        return full.repeat(columns.saturating_sub(1)) + arrow;
    }
    let all = columns * steps;
    let filled = (u128::from(part) * all as u128 / u128::from(whole.max(1))) as usize;
    let filled = filled.max(usize::from(part > 0)).min(all);
    let mut bar = full.repeat(filled / steps);
    bar.extend("▏▎▍▌▋▊▉".chars().nth((filled % steps).wrapping_sub(1)));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_part() {
        for (part, whole, columns, expected) in [
            (0, 10, 4, ["", ""]),
            (1, 1 << 60, 4, ["▏", "#"]),
            (5, 10, 4, ["██", "##"]),
            (15, 16, 2, ["█▉", "#"]),
            (u64::MAX, u64::MAX, 4, ["████", "####"]),
            (u64::MAX, 9, 4, ["███▶", "###>"]),
            (0, 0, 4, ["", ""]),
        ] {
            let bars = [true, false].map(|is_unicode| bar(part, whole, columns, is_unicode));
            assert_eq!(bars, expected, "{part} of {whole}");
        }
    }
}

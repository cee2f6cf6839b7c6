//! Figures and titles in a form for people.

/// Returns a suitable unit for a time in nanoseconds: the unit's length in nanoseconds, and its name.
pub fn unit(ns: f64) -> (f64, &'static str) {
    match ns {
        ns if ns < 999.5 => (1.0, "ns"),
        ns if ns < 999.5e3 => (1e3, "µs"),
        ns if ns < 999.5e6 => (1e6, "ms"),
        _ => (1e9, "s"),
    }
}

/// Returns a time with three digits, in a suitable unit.
pub fn time(ns: f64) -> String {
    let (unit, name) = unit(ns);
    format!("{} {name}", three_digits(ns / unit))
}

/// Returns a figure with three digits.
pub fn three_digits(value: f64) -> String {
    let decimals = match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

/// Returns a title that starts with a capital letter, unless it starts with the name `u64`.
pub fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if !text.starts_with("u64") => first.to_uppercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        for (ns, text) in [
            (0.0, "0.00 ns"),
            (1.234, "1.23 ns"),
            (9.996, "10.0 ns"),
            (123.4, "123 ns"),
            (999.6, "1.00 µs"),
            (12_345.0, "12.3 µs"),
            (2.5e6, "2.50 ms"),
            (61e9, "61.0 s"),
        ] {
            assert_eq!(time(ns), text);
        }
    }

    #[test]
    fn titles_begin_with_a_capital_letter() {
        assert_eq!(
            ["in order", "u64 values", ""].map(capitalised),
            ["In order", "u64 values", ""]
        );
    }
}

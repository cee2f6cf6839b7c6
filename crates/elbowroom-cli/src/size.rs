//! Sizes in bytes, in the form that people write and read.

pub(crate) use elbowroom::Size;
pub(crate) use elbowroom_map::{Sizes, count, grouped};

/// The units, from small to large: each is 1024 of the one before it.
const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// Reads a size, which is at least one byte.
pub(crate) fn parse(text: &str) -> Result<usize, String> {
    let unit = text.trim_start_matches(|char: char| char.is_ascii_digit());
    let digits = &text[..text.len() - unit.len()];
    if digits.is_empty() {
        return Err("a size starts with a whole number, as in 64MiB".to_owned());
    }
    let power = power_of(unit)?;
    // All digits, so that only the range can be wrong.
    let number = digits.parse::<usize>().ok();
    match number.and_then(|number| number.checked_mul(1 << (10 * power))) {
        Some(0) => Err("the size must be at least one byte".to_owned()),
        Some(bytes) => Ok(bytes),
        None => Err("that is more than can be addressed".to_owned()),
    }
}

/// Returns the power of 1024 that a unit stands for.
fn power_of(unit: &str) -> Result<usize, String> {
    let is = |name: &str| unit.eq_ignore_ascii_case(name);
    if unit.is_empty() {
        return Ok(0);
    }
    for (power, name) in UNITS.iter().enumerate() {
        if is(name) || is(&name[..1]) {
            return Ok(power);
        }
        let decimal = format!("{}B", &name[..1]);
        if power > 0 && is(&decimal) {
            return Err(format!(
                "{unit} may mean powers of 1000 or of 1024; write {name} for powers of 1024"
            ));
        }
    }
    let units = UNITS.join(", ");
    Err(format!("`{unit}` is not a unit; there are {units}"))
}

/// Returns a difference with its sign.
pub(crate) fn human_change(bytes: i64) -> String {
    Sizes::default().change(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("1", 1),
            ("4096", 4096),
            ("17B", 17),
            ("3KiB", 3 << 10),
            ("3kib", 3 << 10),
            ("3K", 3 << 10),
            ("64MiB", 64 << 20),
            ("007GiB", 7 << 30),
            ("64G", 64 << 30),
            ("1TiB", 1 << 40),
            ("2p", 2 << 50),
            ("18446744073709551615", usize::MAX),
            ("16383PiB", 16383 << 50),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn invalid_sizes_are_refused() {
        for (text, part) in [
            ("", "starts with a whole number"),
            ("GiB", "starts with a whole number"),
            ("-1", "starts with a whole number"),
            ("+1", "starts with a whole number"),
            (" 1", "starts with a whole number"),
            ("0", "at least one byte"),
            ("0TiB", "at least one byte"),
            ("18446744073709551616", "more than can be addressed"),
            ("16384PiB", "more than can be addressed"),
            ("99999999999999999999999999K", "more than can be addressed"),
            ("1KB", "write KiB"),
            ("1mb", "write MiB"),
            ("1.5GiB", "`.5GiB` is not a unit"),
            ("1 GiB", "is not a unit"),
            ("1EiB", "is not a unit"),
            ("1é", "is not a unit"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}

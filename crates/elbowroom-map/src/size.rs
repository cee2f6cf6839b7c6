//! The text form of sizes and numbers.

use elbowroom::Size;

/// Returns a number of things, with their unit: `1 page`, `1,234 pages`.
pub fn count(number: u64, unit: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {unit}{plural}", grouped(number))
}

/// Returns a number with commas between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The form of the sizes of a table: those of one unit have the same number of decimals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    // The units of which a size has a decimal.
    with_decimal: Vec<&'static str>,
}

impl Sizes {
    /// Returns the form for a table of these sizes.
    pub fn of(bytes: impl IntoIterator<Item = u64>) -> Sizes {
        let mut with_decimal = Vec::new();
        for unit in bytes
            .into_iter()
            .filter_map(|bytes| Size(bytes).unit_with_decimal())
        {
            if !with_decimal.contains(&unit) {
                with_decimal.push(unit);
            }
        }
        Sizes { with_decimal }
    }

    /// Returns a size of the table as text.
    pub fn text(&self, bytes: u64) -> String {
        let size = Size(bytes);
        if self.with_decimal.contains(&size.unit()) {
            format!("{size:.1}")
        } else {
            size.to_string()
        }
    }

    /// Returns a size as a cell of the table: `-` for zero, `?` if it is not known.
    pub fn cell(&self, bytes: Option<u64>) -> String {
        match bytes {
            Some(0) => "-".to_owned(),
            Some(bytes) => self.text(bytes),
            None => "?".to_owned(),
        }
    }

    /// Returns a difference with its sign. Its size is one of those that the table was made of.
    pub fn change(&self, bytes: i64) -> String {
        let sign = match bytes {
            0 => "",
            1.. => "+",
            _ => "-",
        };
        format!("{sign}{}", self.text(bytes.unsigned_abs()))
    }

    /// Returns a difference as a cell of the table: `-` for zero, `?` if it is not known.
    pub fn change_cell(&self, bytes: Option<i64>) -> String {
        match bytes {
            Some(0) => "-".to_owned(),
            Some(bytes) => self.change(bytes),
            None => "?".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_one_unit_have_the_same_decimals() {
        let sizes = [1u64 << 30, 3 << 29, 4 << 20, 4096, 4097];
        let table = Sizes::of(sizes);
        assert_eq!(
            sizes.map(|bytes| table.text(bytes)),
            ["1.0 GiB", "1.5 GiB", "4 MiB", "4 KiB", "4097 B"]
        );
        assert_eq!(Sizes::of([1 << 30]).text(1 << 30), "1 GiB");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [count(0, "page"), count(1, "page"), count(1234, "page")],
            ["0 pages", "1 page", "1,234 pages"]
        );
        assert_eq!([grouped(999), grouped(1_000_000)], ["999", "1,000,000"]);
    }

    #[test]
    fn differences_have_a_sign() {
        let table = Sizes::of([3 << 29]);
        assert_eq!(
            [4096, 0, -1536, -(3 << 29), 1 << 30].map(|bytes| table.change(bytes)),
            ["+4 KiB", "0 B", "-1536 B", "-1.5 GiB", "+1.0 GiB"]
        );
    }
}

//! Safe display of names.

use unicode_general_category::{GeneralCategory, get_general_category};

/// Returns the name of a region or program as it can be shown: a character that would control the display, or that
/// cannot be seen, is written as its number (`\u{202e}`). The names come from other programs.
pub fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for char in name.chars() {
        if is_hidden(char) {
            text.extend(char.escape_unicode());
        } else {
            text.push(char);
        }
    }
    text
}

/// Returns whether a character has no shape of its own: control and format characters, separators other than the space,
/// and unassigned code points.
pub fn is_hidden(char: char) -> bool {
    use GeneralCategory::{
        Control, Format, LineSeparator, ParagraphSeparator, PrivateUse, Surrogate, Unassigned,
    };
    matches!(
        get_general_category(char),
        Control | Format | LineSeparator | ParagraphSeparator | PrivateUse | Surrogate | Unassigned
    )
}

/// Returns the end of a name that has more than `columns` characters. The end of a path is its most informative part.
pub fn shortened(name: &str, columns: usize) -> String {
    match name.chars().count().checked_sub(columns) {
        None | Some(0) => name.to_owned(),
        Some(more) => std::iter::once('…')
            .chain(name.chars().skip(more + 1))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_path_stays() {
        assert_eq!(shortened("/usr/lib/libc.so", 8), "…libc.so");
        assert_eq!([shortened("/usr", 8), shortened("/usr", 4)], ["/usr"; 2]);
    }

    #[test]
    fn characters_that_cannot_be_seen_are_written_as_numbers() {
        for (name, shown) in [
            ("a\u{202e}b", "a\\u{202e}b"),
            ("\u{2028}\u{2029}", "\\u{2028}\\u{2029}"),
            ("\u{200b}\u{feff}\u{ad}", "\\u{200b}\\u{feff}\\u{ad}"),
            ("\u{9b}2J\r\n\t", "\\u{9b}2J\\u{d}\\u{a}\\u{9}"),
            ("\u{2066}\u{e0041}\u{e000}", "\\u{2066}\\u{e0041}\\u{e000}"),
            ("a \"b\" \\ d\u{301} 漢 🦀", "a \"b\" \\ d\u{301} 漢 🦀"),
        ] {
            assert_eq!(escaped(name), shown);
        }
    }
}

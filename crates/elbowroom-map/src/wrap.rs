//! Line breaks.

use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

/// The default width of a text.
pub(crate) const COLUMNS: usize = 80;

/// Breaks a text between words into lines of at most `columns` characters. A longer word has a line of its own.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let options = Options::new(columns)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    let lines = textwrap::wrap(text.trim(), options).into_iter();
    lines
        .filter(|line| !line.is_empty())
        .map(String::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("aa bb cc dd", 5), ["aa bb", "cc dd"]);
        assert_eq!(wrap("aaaaaaaa b", 5), ["aaaaaaaa", "b"]);
        assert_eq!(wrap("ää ää", 5), ["ää ää"]);
        assert!(wrap(" ", 5).is_empty());
    }
}

//! Checks of plain text.

use super::Finding;

const LONGEST_LINE: usize = 120;

/// No tabs, no trailing white space, one newline at the end.
pub(super) fn check(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.contains('\t') {
            findings.push(Finding::new(index + 1, "a tab"));
        }
        if line.ends_with(char::is_whitespace) {
            findings.push(Finding::new(index + 1, "white space at the end of the line"));
        }
    }
    let last = text.lines().count();
    if !text.is_empty() && !text.ends_with('\n') {
        findings.push(Finding::new(last, "no newline at the end of the file"));
    } else if text.ends_with("\n\n") {
        findings.push(Finding::new(last, "an empty line at the end of the file"));
    }
    findings
}

/// Lines of at most 120 characters.
pub(super) fn line_length(text: &str) -> Vec<Finding> {
    let long = text.lines().enumerate().filter_map(|(index, line)| {
        let length = line.chars().count();
        (length > LONGEST_LINE)
            .then(|| Finding::new(index + 1, format!("{length} characters, of at most {LONGEST_LINE}")))
    });
    long.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(findings: Vec<Finding>) -> Vec<usize> {
        findings.into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn clean_text_passes() {
        assert_eq!(check("one\n\ntwo\n"), []);
        assert_eq!(check(""), []);
    }

    #[test]
    fn white_space_is_found() {
        assert_eq!(lines(check("a\n\tb\nc \nd\u{a0}\n")), [2, 3, 4]);
        assert_eq!(lines(check("a\nb")), [2]);
        assert_eq!(lines(check("a\n\n")), [2]);
    }

    #[test]
    fn long_lines_are_found() {
        let fits = "é".repeat(LONGEST_LINE);
        assert_eq!(line_length(&fits), []);
        assert_eq!(lines(line_length(&format!("\n{fits}e\n"))), [2]);
    }
}

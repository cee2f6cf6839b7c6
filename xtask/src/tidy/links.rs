//! Checks of the links in Markdown.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::Finding;

/// Links to files and headings of this repository lead somewhere.
pub(super) fn check(root: &Path, path: &Path, text: &str) -> Vec<Finding> {
    let own_folder = root.join(path.parent().unwrap_or(Path::new("")));
    check_with(text, |file| {
        let file = match file.strip_prefix('/') {
            Some(from_root) => root.join(from_root),
            None => own_folder.join(file),
        };
        if file.extension().is_some_and(|extension| extension == "md") {
            return fs::read_to_string(file).ok();
        }
        file.exists().then(String::new)
    })
}

/// `read` gives the text of a Markdown file, of other files that exist an empty one.
fn check_with(text: &str, read: impl Fn(&str) -> Option<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, prose) in prose(text) {
        for target in targets(&prose) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let linked = if file.is_empty() { Some(text.to_owned()) } else { read(file) };
            match linked {
                None => findings.push(Finding::new(line, format!("no file {file}"))),
                Some(linked) if !anchor.is_empty() && !anchors(&linked).iter().any(|known| known == anchor) => {
                    findings.push(Finding::new(line, format!("no heading #{anchor} in {target}")));
                }
                Some(_) => {}
            }
        }
    }
    findings
}

/// The lines outside code blocks, with their numbers, without the code inside them.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut fence: Option<&str> = None;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mark = ["```", "~~~"].into_iter().find(|mark| line.trim_start().starts_with(mark));
        match (fence, mark) {
            (None, Some(_)) => fence = mark,
            (Some(open), Some(mark)) if open == mark => fence = None,
            (Some(_), _) => {}
            (None, None) => lines.push((index + 1, without_code(line))),
        }
    }
    lines
}

fn without_code(line: &str) -> String {
    let parts: Vec<&str> = line.split('`').collect();
    // Between the first back-tick and the second is code, and so on; a last one without a partner is just a character.
    let is_code = |index: usize| index % 2 == 1 && index + 1 < parts.len();
    parts.iter().enumerate().filter(|(index, _)| !is_code(*index)).map(|(_, part)| *part).collect()
}

/// What the links of a line point at: `[text](target "title")` and `[label]: target`.
fn targets(line: &str) -> Vec<&str> {
    let inline = line.match_indices("](").map(|(at, opening)| {
        let rest = &line[at + opening.len()..];
        rest.split(')').next().unwrap_or(rest)
    });
    let label = line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target);
    let targets = inline.chain(label).filter_map(|target| target.split_whitespace().next());
    targets.map(|target| target.trim_start_matches('<').trim_end_matches('>')).collect()
}

/// The anchors of a text: those of its headings, as GitHub makes them, and those that are spelled out.
fn anchors(text: &str) -> Vec<String> {
    let mut anchors = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    // Code in a heading is a part of its anchor, so the whole line counts.
    let numbers = prose(text).into_iter().map(|(number, _)| number);
    let lines: Vec<&str> = text.lines().collect();
    for line in numbers.map(|number| lines[number - 1]) {
        for attribute in ["id=\"", "name=\""] {
            let spelled = line.split(attribute).skip(1).filter_map(|rest| rest.split('"').next());
            anchors.extend(spelled.map(str::to_owned));
        }
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let anchor = anchor(heading.trim());
        let count = seen.entry(anchor.clone()).or_default();
        anchors.push(if *count == 0 { anchor } else { format!("{anchor}-{count}") });
        *count += 1;
    }
    anchors
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|char| char.is_alphanumeric() || [' ', '-', '_'].contains(char));
    kept.flat_map(char::to_lowercase).map(|char| if char == ' ' { '-' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: &str =
        "# Other `code`, text\n## Twice\n## Twice\n<a id=\"here\"></a>\n# 缺页 处理\n```\n# not one\n```\n";

    fn lines(text: &str) -> Vec<usize> {
        let read = |file: &str| match file {
            "other.md" => Some(OTHER.to_owned()),
            "LICENSE" => Some(String::new()),
            _ => None,
        };
        check_with(text, read).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn good_links_pass() {
        assert_eq!(lines("[a](other.md) ![b](LICENSE \"title\") [c](<other.md>)\n\n[d]: other.md\n"), []);
        assert_eq!(lines("[a](https://example.org/x.md#y) [b](mailto:c@example.org)"), []);
        assert_eq!(lines("[a](other.md#other-code-text) [b](other.md#twice-1) [c](other.md#here)"), []);
        assert_eq!(lines("# My place\n[a](#my-place) [b](other.md#缺页-处理)"), []);
    }

    #[test]
    fn dead_files_are_found() {
        assert_eq!(lines("[a](none.md)\n[b](other.md) ![c](none.png)\n[d]: none.md\n"), [1, 2, 3]);
        assert_eq!(lines("a `[b](none.md)` c [d](none.md)"), [1]);
        assert_eq!(lines("an odd ` and [d](none.md)"), [1]);
    }

    #[test]
    fn dead_headings_are_found() {
        assert_eq!(lines("[a](#nowhere)\n[b](other.md#twice-2)\n[c](other.md#not-one)"), [1, 2, 3]);
    }

    #[test]
    fn code_is_no_link() {
        assert_eq!(lines("`[a](none.md)`\n```text\n[b](none.md)\n~~~\n```\n[c](none.md)\n"), [6]);
    }

    #[test]
    fn links_are_followed_from_the_file_and_from_the_root() {
        let root = crate::workspace::root();
        let path = Path::new("xtask/notes.md");
        assert_eq!(check(root, path, "[a](src/main.rs) [b](../Cargo.toml) [c](/Cargo.toml)"), []);
        assert_eq!(check(root, path, "[a](Cargo.lock)").len(), 1);
    }
}

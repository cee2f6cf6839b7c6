//! Links in Markdown to files and headings of this repository lead somewhere.

use std::path::Path;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::finding;

/// Checks a file at this path, which starts at `root`.
pub(super) fn check(root: &Path, path: &Path, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for (event, range) in Parser::new_ext(text, Options::all()).into_offset_iter() {
        let Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) = event else {
            continue;
        };
        if dest_url.contains("://") || dest_url.starts_with("mailto:") {
            continue;
        }
        let (file, anchor) = dest_url.split_once('#').unwrap_or((&dest_url, ""));
        let target = match file.strip_prefix('/') {
            Some(from_root) => root.join(from_root),
            None if file.is_empty() => root.join(path),
            None => root.join(path).with_file_name("").join(file),
        };
        let has_anchor = || {
            let text = std::fs::read_to_string(&target).unwrap_or_default();
            anchors(&text).iter().any(|known| known == anchor)
        };
        let line = 1 + text[..range.start].matches('\n').count();
        let message = match target.exists() {
            false => format!("no file {file}"),
            true if anchor.is_empty() || has_anchor() => continue,
            true => format!("no heading #{anchor} in {dest_url}"),
        };
        findings.push(finding(path, line, message));
    }
    findings
}

/// Returns the anchors of a text's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    let mut heading = None;
    for event in Parser::new_ext(text, Options::all()) {
        match (event, &mut heading) {
            (Event::Start(Tag::Heading { .. }), _) => heading = Some(String::new()),
            (Event::Text(text) | Event::Code(text), Some(heading)) => heading.push_str(&text),
            (Event::End(TagEnd::Heading(_)), Some(text)) => {
                let is_kept = |char: &char| char.is_alphanumeric() || " -_".contains(*char);
                let kept: String = text.to_lowercase().chars().filter(is_kept).collect();
                let first = kept.replace(' ', "-");
                let numbered = (1..).map(|number| format!("{first}-{number}"));
                let mut all = std::iter::once(first.clone()).chain(numbered);
                anchors.extend(all.find(|anchor| !anchors.contains(anchor)));
                heading = None;
            }
            _ => {}
        }
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_here(text: &str) -> Vec<String> {
        check(crate::workspace::root(), Path::new("xtask/notes.md"), text)
    }

    #[test]
    fn headings_have_githubs_anchors() {
        let text = "# Other `code`, text\n## Twice\n## Twice\n# 缺页 处理\n```\n# not one\n```\n";
        let expected = ["other-code-text", "twice", "twice-1", "缺页-处理"];
        assert_eq!(anchors(text), expected);
    }

    #[test]
    fn good_links_pass() {
        let text = "[a](src/main.rs) [b](../Cargo.toml \"c\") ![d](/Cargo.toml) `[e](none)` [f][f]\n\n\
            [g](https://example.org/x#y) [h](../ARCHITECTURE.md#tests)\n\n[f]: Cargo.toml";
        assert_eq!(check_here(text), [""; 0]);
    }

    #[test]
    fn dead_links_are_found() {
        let text = "[a](none.md)\n[b](../ARCHITECTURE.md#none) [c][c]\n\n[c]: none.png";
        let expected = [
            "xtask/notes.md:1: no file none.md",
            "xtask/notes.md:2: no heading #none in ../ARCHITECTURE.md#none",
            "xtask/notes.md:2: no file none.png",
        ];
        assert_eq!(check_here(text), expected);
    }
}

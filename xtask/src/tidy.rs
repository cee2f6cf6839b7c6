//! `cargo xtask tidy`: the rules of this workspace that neither rustc nor Clippy checks.
//!
//! Every check takes the text of files and returns findings, so that its tests need no files.

mod layers;
mod links;
mod platforms;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use walkdir::{DirEntry, WalkDir};

use crate::header;
use crate::workspace::root;

/// Folders of git, cargo and cargo-fuzz.
const NOT_OURS: [&str; 5] = ["target", ".git", "corpus", "artifacts", "coverage"];
const LINE_MAX: usize = 120;
/// The lines of a file without its tests, which come last.
const LINES_MAX: usize = 499;

/// Checks the whole workspace, prints the findings, and fails if there are any.
pub(crate) fn check() -> Result<()> {
    let mut sources = Vec::new();
    let mut findings = Vec::new();
    let files = WalkDir::new(root()).sort_by_file_name().into_iter();
    let is_ours = |entry: &DirEntry| NOT_OURS.iter().all(|name| entry.file_name() != *name);
    for entry in files.filter_entry(is_ours) {
        let entry = entry?;
        let path = entry.path();
        let extension = path.extension().unwrap_or_default();
        // A symbolic link puts a document into a package. The document's own links are relative to its original place.
        let is_file = entry.file_type().is_file();
        let is_document = extension == "md" && (is_file || entry.path_is_symlink());
        let is_source = extension == "rs" && is_file;
        if !is_document && !is_source {
            continue;
        }
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("read {}", path.display()))?;
        let path = path.strip_prefix(root())?;
        if is_document {
            findings.extend(links::check(root(), path, &text));
        } else {
            findings.extend(check_lines(path, &text));
            findings.extend(platforms::check(path, &text)?);
            sources.push((path.to_owned(), text));
        }
    }
    let architecture = std::fs::read_to_string(root().join("ARCHITECTURE.md"))?;
    for layers in layers::read(&architecture)? {
        findings.extend(layers::check(&layers, &sources)?);
    }
    let header = Path::new(header::FILE);
    if std::fs::read_to_string(root().join(header))? != header::text()? {
        let message = "differs from the sources; run cargo xtask header";
        findings.push(finding(header, 1, message));
    }
    findings.iter().for_each(|finding| println!("{finding}"));
    ensure!(findings.is_empty(), "tidy: {} findings", findings.len());
    println!("{} Rust files are tidy", sources.len());
    Ok(())
}

/// Formats a finding for people and editors.
fn finding(path: &Path, line: usize, message: impl std::fmt::Display) -> String {
    format!("{}:{line}: {message}", path.display())
}

/// Checks the length of comments and strings, which rustfmt does not, the length of each file of a package, and that it
/// starts with documentation, which `missing_docs` requires only of public modules.
fn check_lines(path: &Path, text: &str) -> Vec<String> {
    let lengths = text.lines().map(|line| line.chars().count());
    let long = lengths.enumerate().filter(|(_, length)| *length > LINE_MAX);
    let mut findings: Vec<String> = long
        .map(|(index, length)| finding(path, index + 1, format!("{length} characters")))
        .collect();
    let is_package = path.components().any(|part| part.as_os_str() == "src");
    if is_package && !path.starts_with("fuzz") && !text.trim_start().starts_with("//!") {
        findings.push(finding(path, 1, "a module that does not start with `//!`"));
    }
    let lines = text.lines().take_while(|line| *line != "mod tests {");
    let count = lines.count();
    if is_package && count > LINES_MAX {
        findings.push(finding(
            path,
            count,
            format!("{count} lines without the tests"),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_long_files_and_undocumented_modules_are_found() {
        let path = Path::new("crates/a/src/b.rs");
        let fits = format!("//! {}\n", "é".repeat(LINE_MAX - 4));
        assert_eq!(check_lines(path, &fits), [""; 0]);
        let text = format!("fn c() {{}}\n//{fits}");
        let expected = [
            "crates/a/src/b.rs:2: 122 characters",
            "crates/a/src/b.rs:1: a module that does not start with `//!`",
        ];
        assert_eq!(check_lines(path, &text), expected);
        let fits = format!("//! b{}\nmod tests {{\n", "\n".repeat(LINES_MAX - 1));
        assert_eq!(check_lines(path, &fits), [""; 0]);
        let expected = ["crates/a/src/b.rs:500: 500 lines without the tests"];
        assert_eq!(check_lines(path, &format!("//! a\n{fits}")), expected);
    }
}

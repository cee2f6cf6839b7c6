//! `cargo xtask tidy`: the rules of this workspace that no compiler checks.
//!
//! Every check takes the text of a file and gives findings, so that its tests need no files.

mod code;
mod lexer;
mod links;
mod text;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace;
use lexer::Source;

/// Something that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// Counted from 1.
    line: usize,
    message: String,
}

impl Finding {
    fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

/// Checks the whole workspace and prints what it finds; any finding is an error.
pub(crate) fn check() -> Result<()> {
    let root = workspace::root();
    let mut files = Vec::new();
    list(root, &mut files)?;
    files.sort();
    let mut count = 0;
    for file in &files {
        let path = file.strip_prefix(root).context("a file of the workspace")?;
        for Finding { line, message } in check_file(root, path)? {
            println!("{}:{line}: {message}", path.display());
            count += 1;
        }
    }
    if count > 0 {
        bail!("tidy: {count} findings");
    }
    println!("{} files are tidy", files.len());
    Ok(())
}

/// Folders of git, cargo and cargo-fuzz.
const KEPT_BY_TOOLS: [&str; 5] = ["target", ".git", "corpus", "artifacts", "coverage"];

/// Collects every file below a folder, but for what tools keep there.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && !KEPT_BY_TOOLS.iter().any(|name| entry.file_name() == *name) {
            list(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn check_file(root: &Path, path: &Path) -> Result<Vec<Finding>> {
    let Some(extension) = path.extension().and_then(|extension| extension.to_str()) else {
        return Ok(Vec::new());
    };
    if !["rs", "md", "toml"].contains(&extension) {
        return Ok(Vec::new());
    }
    let file = root.join(path);
    let content = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let mut findings = text::check(&content);
    match extension {
        "rs" => {
            let source = Source::new(&content);
            findings.extend(text::line_length(&content));
            findings.extend(code::check(path, &source));
        }
        "md" => findings.extend(links::check(root, path, &content)),
        _ => {}
    }
    findings.sort_by_key(|finding| finding.line);
    Ok(findings)
}

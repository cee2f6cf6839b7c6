//! Platform `cfg` occurs in only one place of each package, `src/os`.

use std::path::Path;

use anyhow::{Result, anyhow};
use proc_macro2::{TokenStream, TokenTree};

use super::finding;

/// The places with platform `cfg`: tests and examples also depend on the platform.
const PLACES: [&str; 3] = ["/src/os/", "/tests/", "/examples/"];
/// The place with architecture `cfg`: its instructions are written by hand.
const ACCESS: &str = "crates/elbowroom/src/fault/access";

/// Checks a file at this path, which starts at the root.
pub(super) fn check(path: &Path, text: &str) -> Result<Vec<String>> {
    let place = path.to_string_lossy();
    if PLACES.iter().any(|folder| place.contains(folder)) {
        return Ok(Vec::new());
    }
    let tokens = text.parse().map_err(|error| anyhow!("{place}: {error}"))?;
    let mut found = Vec::new();
    walk(tokens, false, &mut |name, line| {
        let is_allowed = match name {
            "target_os" | "target_family" | "target_env" | "target_vendor" => false,
            "unix" | "windows" => false,
            "target_arch" | "target_feature" => place.starts_with(ACCESS),
            _ => true,
        };
        if !is_allowed {
            let message = format!("`{name}` in a cfg outside src/os");
            found.push(finding(path, line, message));
        }
    });
    Ok(found)
}

/// Visits every word inside the brackets of a `cfg(…)`, `cfg!(…)` or `cfg_attr(…)`, also those in macros.
fn walk(tokens: TokenStream, in_cfg: bool, visit: &mut impl FnMut(&str, usize)) {
    let mut after_cfg = false;
    for token in tokens {
        match token {
            TokenTree::Group(group) => walk(group.stream(), in_cfg || after_cfg, visit),
            TokenTree::Ident(ident) => {
                let name = ident.to_string();
                if in_cfg {
                    visit(&name, ident.span().start().line);
                }
                after_cfg = name == "cfg" || name == "cfg_attr";
                continue;
            }
            TokenTree::Punct(mark) if mark.as_char() == '!' => continue,
            _ => {}
        }
        after_cfg = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_found_in_every_kind_of_cfg_except_in_their_places() {
        let source = "//! cfg(unix)\nlet unix = \"cfg(windows)\"; a(unix);\ncfg.windows(unix);
            #[cfg(\n a(b,\n unix))]\n#[cfg_attr(windows, c)]
            m! { cfg!(target_os = \"\") }\n#![cfg(target_arch = \"\")]";
        for (path, expected) in [
            ("crates/a/src/b.rs", &[6, 7, 8, 9][..]),
            ("tools/a/src/pos/b.rs", &[6, 7, 8, 9]),
            ("crates/a/build.rs", &[6, 7, 8, 9]),
            ("crates/elbowroom/src/fault/access/arm.rs", &[6, 7, 8]),
            ("crates/a/src/os/linux/b.rs", &[]),
            ("crates/a/tests/b.rs", &[]),
        ] {
            let found = check(Path::new(path), source).unwrap();
            let line = |finding: &String| finding.split(':').nth(1).unwrap().parse().unwrap();
            let lines: Vec<i32> = found.iter().map(line).collect();
            assert_eq!(lines, expected, "{path}");
        }
    }
}

//! Checks of Rust code.

use std::ops::RangeInclusive;
use std::path::Path;

use super::Finding;
use super::lexer::{Line, Source};

/// The folders of a package that may tell platforms apart.
const KNOWS_PLATFORMS: [&str; 3] = [
    // The one place where they differ.
    "src/os/",
    // These say what differs from platform to platform, for whoever reads or runs them.
    "tests/",
    "examples/",
];
/// May tell architectures apart, and only these: memory is touched by instructions that are chosen by hand.
const KNOWS_ARCHITECTURES: &str = "crates/elbowroom/src/fault/access";

const PLATFORM: [&str; 6] = ["target_os", "target_family", "target_env", "target_vendor", "unix", "windows"];
const ARCHITECTURE: [&str; 2] = ["target_arch", "target_feature"];

/// The code that must not panic without a reason.
const MUST_NOT_PANIC: [&str; 2] = ["crates/elbowroom/src/", "crates/elbowroom-cli/src/"];

/// All checks that hold for a file at this path, which starts at the root.
pub(super) fn check(path: &Path, source: &Source) -> Vec<Finding> {
    let path = path.to_string_lossy().replace('\\', "/");
    let mut findings = unfinished(source);
    findings.extend(unsafe_code(source));
    if let Some(place) = place_in_package(&path) {
        if !KNOWS_PLATFORMS.iter().any(|folder| place.starts_with(folder)) {
            findings.extend(platforms(source, path.starts_with(KNOWS_ARCHITECTURES)));
        }
        if place.starts_with("src/") {
            findings.extend(module_docs(source));
        }
    }
    if MUST_NOT_PANIC.iter().any(|folder| path.starts_with(folder)) && !path.ends_with("/tests.rs") {
        findings.extend(panics(source));
    }
    findings
}

/// The path inside its package, for the packages that the checks of platforms and of documentation cover.
fn place_in_package(path: &str) -> Option<&str> {
    path.strip_prefix("xtask/").or_else(|| Some(path.strip_prefix("crates/")?.split_once('/')?.1))
}

/// Nothing is left to be done.
fn unfinished(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, token) in source.tokens.iter().enumerate() {
        if ["todo", "unimplemented", "dbg"].contains(&token.text.as_str()) && source.reads(index + 1, &["!"]) {
            findings.push(Finding::new(token.line, format!("`{}!`", token.text)));
        }
    }
    for (index, line) in source.lines.iter().enumerate() {
        let mut words = line.comment.split(|char: char| !char.is_alphanumeric());
        if let Some(word) = words.find(|word| ["FIXME", "XXX"].contains(word)) {
            findings.push(Finding::new(index + 1, word));
        }
    }
    findings
}

/// Platforms are told apart in one place only.
fn platforms(source: &Source, knows_architectures: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, token) in source.tokens.iter().enumerate() {
        if token.text != "cfg" && token.text != "cfg_attr" {
            continue;
        }
        let open = if source.reads(index + 1, &["!"]) { index + 2 } else { index + 1 };
        if !source.reads(open, &["("]) {
            continue;
        }
        for token in &source.tokens[open..source.closing(open)] {
            let name = token.text.as_str();
            if PLATFORM.contains(&name) || (ARCHITECTURE.contains(&name) && !knows_architectures) {
                findings.push(Finding::new(token.line, format!("`{name}` in a cfg outside src/os")));
            }
        }
    }
    findings
}

/// Every unsafe block and impl says why it is sound, every unsafe function and trait what it asks for.
fn unsafe_code(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, token) in source.tokens.iter().enumerate() {
        if token.text != "unsafe" {
            continue;
        }
        let is_claim = source.reads(index + 1, &["{"]) || source.reads(index + 1, &["impl"]);
        if is_claim && !is_explained(source, token.line, "// SAFETY:") {
            findings.push(Finding::new(token.line, "unsafe without a `// SAFETY:` comment above it"));
        }
        if is_unsafe_item(source, index)
            && !is_declared_elsewhere(source, index)
            && !has_safety_section(source, token.line)
        {
            findings.push(Finding::new(token.line, "an unsafe item without a `# Safety` section"));
        }
    }
    findings
}

/// Whether `unsafe` at this index starts a function or a trait, rather than the type of a pointer to a function.
fn is_unsafe_item(source: &Source, index: usize) -> bool {
    if source.reads(index + 1, &["trait"]) {
        return true;
    }
    let after_abi = [&["extern", "\""][..], &["extern"], &[]].into_iter().find(|abi| source.reads(index + 1, abi));
    let function = index + 1 + after_abi.map_or(0, <[_]>::len);
    source.reads(function, &["fn"]) && !source.reads(function + 1, &["("])
}

/// Whether an item implements a trait, or names a foreign function: then its contract is written down there.
fn is_declared_elsewhere(source: &Source, index: usize) -> bool {
    let mut depth = 0;
    let enclosing = source.tokens[..index].iter().rposition(|token| {
        match token.text.as_str() {
            "}" => depth += 1,
            "{" => depth -= 1,
            _ => {}
        }
        depth < 0
    });
    let Some(open) = enclosing else { return false };
    let header_start = source.tokens[..open].iter().rposition(|token| [";", "{", "}"].contains(&token.text.as_str()));
    let header = header_start.map_or(0, |before| before + 1)..open;
    let has = |word: &str| source.tokens[header.clone()].iter().any(|token| token.text == word);
    let names_trait = header.clone().any(|at| source.reads(at, &["for"]) && !source.reads(at + 1, &["<"]));
    (has("impl") && names_trait) || (has("extern") && !has("fn"))
}

fn has_safety_section(source: &Source, item: usize) -> bool {
    let above = source.lines[..item - 1].iter().rev();
    let mut head = above.take_while(|line| !line.has_code && (line.has_attribute || !line.comment.is_empty()));
    head.any(|line| line.comment.starts_with("/// # Safety"))
}

/// Modules say what they are for.
fn module_docs(source: &Source) -> Option<Finding> {
    let is_empty = |line: &Line| line.comment.is_empty() && !line.has_code && !line.has_attribute;
    let first = source.lines.iter().position(|line| !is_empty(line)).unwrap_or(0);
    let is_documented = source.lines[first].comment.starts_with("//!");
    (!is_documented).then(|| Finding::new(first + 1, "a module that does not start with `//!`"))
}

/// Code that is not a test says why it cannot panic.
fn panics(source: &Source) -> Vec<Finding> {
    let tests = test_items(source);
    let mut findings = Vec::new();
    for index in 0..source.tokens.len() {
        let calls = [&[".", "unwrap", "("][..], &[".", "expect", "("], &["panic", "!"]];
        let Some(found) = calls.into_iter().find(|texts| source.reads(index, texts)) else {
            continue;
        };
        let line = source.tokens[index + found.len() - 1].line;
        let is_test = tests.iter().any(|item| item.contains(&index));
        if !is_test && !source.line(line).comment.starts_with("// PANIC:") && !is_explained(source, line, "// PANIC:") {
            findings.push(Finding::new(line, format!("`{}` without a `// PANIC:` comment", found.concat())));
        }
    }
    findings
}

/// The tokens of everything under `#[cfg(test)]` or the like.
fn test_items(source: &Source) -> Vec<RangeInclusive<usize>> {
    let mut items = Vec::new();
    for index in 0..source.tokens.len() {
        let inner = source.reads(index, &["#", "!", "[", "cfg", "("]);
        if !inner && !source.reads(index, &["#", "[", "cfg", "("]) {
            continue;
        }
        let close = source.closing(index + if inner { 2 } else { 1 });
        let has = |word: &str| source.tokens[index..close].iter().any(|token| token.text == word);
        if has("test") && !has("not") {
            let end = if inner { source.tokens.len() } else { item_end(source, close + 1) };
            items.push(index..=end);
        }
    }
    items
}

/// The last token of the item, field or arm that starts here.
fn item_end(source: &Source, start: usize) -> usize {
    let mut index = start;
    while index < source.tokens.len() {
        match source.tokens[index].text.as_str() {
            "{" => return source.closing(index),
            // The bracket closes what a field or an arm is part of.
            ";" | "}" => return index,
            "(" | "[" => index = source.closing(index),
            _ => {}
        }
        index += 1;
    }
    index
}

/// Whether a comment above the statement that this line belongs to starts with the marker.
fn is_explained(source: &Source, line: usize, marker: &str) -> bool {
    let mut above = source.lines[..line - 1].iter().rev().skip_while(|line| is_continued(line)).peekable();
    let is_comment = |line: &&Line| !line.comment.is_empty() && !line.has_code && !line.has_attribute;
    std::iter::from_fn(|| above.next_if(is_comment)).any(|line| line.comment.starts_with(marker))
}

/// Whether the statement on this line goes on in the next one; an attribute belongs to what follows.
fn is_continued(line: &Line) -> bool {
    let ends = line.last_token.as_deref().is_some_and(|last| [";", ",", "{", "}"].contains(&last));
    if line.has_code { !ends } else { line.has_attribute }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Check = fn(&Source) -> Vec<Finding>;

    /// The lines where a check finds something.
    fn lines(check: Check, text: &str) -> Vec<usize> {
        check(&Source::new(text)).into_iter().map(|finding| finding.line).collect()
    }

    /// The lines where any check that holds for this path finds something.
    fn lines_at(path: &str, text: &str) -> Vec<usize> {
        check(Path::new(path), &Source::new(text)).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn unfinished_code_is_found() {
        assert_eq!(
            lines(unfinished, "todo!();\nx.unimplemented!();\n dbg ! (1)\n// FIXME\n/* a XXX: b */"),
            [1, 2, 3, 4, 5]
        );
        assert_eq!(lines(unfinished, "\"todo!()\"; // dbg!(x) is what XXXL prints\nlet todo = !unimplemented;"), []);
    }

    #[test]
    fn platforms_are_found_in_every_kind_of_cfg() {
        let source =
            "#[cfg(\n a(b,\n unix))]\n#[cfg_attr(windows, c)]\ncfg!(target_os = \"\")\n#![cfg(target_env = \"\")]";
        assert_eq!(lines_at("crates/a/src/b.rs", &format!("//! c\n{source}")), [4, 5, 6, 7]);
        assert_eq!(lines_at("xtask/src/b.rs", &format!("//! c\n{source}")), [4, 5, 6, 7]);
        assert_eq!(lines_at("crates/a/build.rs", source), [3, 4, 5, 6]);
    }

    #[test]
    fn platforms_have_their_places() {
        let source = "//! a\n#[cfg(any(unix, target_arch = \"b\"))]\nfn c() {}";
        for path in
            ["crates/a/src/os/mod.rs", "crates/a/src/os/linux/b.rs", "crates/a/tests/b.rs", "crates/a/examples/b.rs"]
        {
            assert_eq!(lines_at(path, source), [], "{path}");
        }
        assert_eq!(lines_at("crates/a/src/pos/b.rs", source), [2, 2]);
        assert_eq!(lines_at("crates/elbowroom/src/fault/access/arm.rs", source), [2]);
        assert_eq!(lines_at("crates/elbowroom/src/fault/mod.rs", source), [2, 2]);
    }

    #[test]
    fn only_conditions_can_name_platforms() {
        let source = "//! cfg(unix)\nlet unix = \"cfg(windows)\"; a(unix);\n#[cfg(b = \"unix\")]\ncfg.windows(unix)";
        assert_eq!(lines_at("crates/a/src/b.rs", source), []);
    }

    #[test]
    fn unsafe_blocks_need_a_reason() {
        assert_eq!(lines(unsafe_code, "unsafe { a() }"), [1]);
        assert_eq!(lines(unsafe_code, "// because\nlet a = unsafe { b() };"), [2]);
        assert_eq!(lines(unsafe_code, "// SAFETY: c\n\nlet a = unsafe { b() };"), [3]);
        assert_eq!(lines(unsafe_code, "// SAFETY: c\nd();\nlet a = unsafe { b() };"), [3]);
        assert_eq!(lines(unsafe_code, "// SAFETY: c\nunsafe impl A for B {}\nunsafe impl C for B {}"), [3]);
        assert_eq!(lines(unsafe_code, "/// SAFETY: c\nunsafe impl A for B {}"), [2]);
    }

    #[test]
    fn unsafe_blocks_with_a_reason_pass() {
        assert_eq!(lines(unsafe_code, "// SAFETY: a\n// b\nlet c = unsafe { d() };"), []);
        assert_eq!(lines(unsafe_code, "// SAFETY: a\n#[allow(b,\n c)]\nlet c =\n  unsafe { d() };"), []);
        assert_eq!(lines(unsafe_code, "// a\n// SAFETY: b\nlet c = d\n  .e(|| unsafe { f() });"), []);
        assert_eq!(lines(unsafe_code, "// unsafe { a }\nlet b = \"unsafe { c }\";"), []);
    }

    #[test]
    fn unsafe_items_need_a_contract() {
        assert_eq!(lines(unsafe_code, "/// A.\nunsafe fn a() {}"), [2]);
        assert_eq!(lines(unsafe_code, "/// # Safety\n\npub unsafe fn a() {}"), [3]);
        assert_eq!(lines(unsafe_code, "pub unsafe extern \"C\" fn a() {}\nunsafe extern fn b() {}"), [1, 2]);
        assert_eq!(lines(unsafe_code, "unsafe trait A {\n unsafe fn b();\n}"), [1, 2]);
        assert_eq!(lines(unsafe_code, "impl<F: for<'a> Fn(&'a u8)> A<F> {\n unsafe fn b() {}\n}"), [2]);
        assert_eq!(lines(unsafe_code, "impl A for B { fn c() {\n unsafe fn d() {}\n} }"), [2]);
    }

    #[test]
    fn unsafe_items_with_a_contract_pass() {
        assert_eq!(
            lines(unsafe_code, "/// A.\n///\n/// # Safety\n///\n/// b\n#[inline]\npub(crate) unsafe fn a() {}"),
            []
        );
        assert_eq!(lines(unsafe_code, "type A = unsafe extern \"C\" fn(u8);\nlet b: unsafe fn(u8);"), []);
        assert_eq!(lines(unsafe_code, "impl A for B {\n fn c() { d(); }\n unsafe fn e() {}\n}"), []);
        assert_eq!(lines(unsafe_code, "unsafe extern \"C\" {\n unsafe fn a();\n}"), []);
    }

    #[test]
    fn modules_need_documentation() {
        let check: Check = |source| module_docs(source).into_iter().collect();
        assert_eq!(lines(check, "//! a\nuse b;"), []);
        assert_eq!(lines(check, "\n//! a"), []);
        assert_eq!(lines(check, "\nuse b;\n//! a"), [2]);
        assert_eq!(lines(check, "// a\n"), [1]);
        assert_eq!(lines(check, ""), [1]);
        assert_eq!(lines_at("crates/a/src/b.rs", "fn c() {}"), [1]);
        assert_eq!(lines_at("crates/a/tests/b.rs", "fn c() {}"), []);
    }

    #[test]
    fn panics_need_a_reason() {
        assert_eq!(lines(panics, "a.unwrap();\nb\n  .expect(\"c\");\npanic!();"), [1, 3, 4]);
        assert_eq!(lines(panics, "// PANIC: a\nb();\nc.unwrap();"), [3]);
        assert_eq!(lines(panics, "#[cfg(not(test))]\nfn a() {\n b.unwrap();\n}"), [3]);
        assert_eq!(lines(panics, "#[cfg(test)]\nmod a { b.unwrap() }\nfn c() { d.unwrap() }"), [3]);
        assert_eq!(lines(panics, "#[cfg(test)]\nuse a;\nfn c() { d.unwrap() }"), [3]);
        assert_eq!(lines(panics, "struct A { #[cfg(test)] b: c }\nfn d() { e.unwrap() }"), [2]);
        assert_eq!(lines_at("crates/elbowroom/src/a.rs", "//! b\nc.unwrap();"), [2]);
    }

    #[test]
    fn panics_with_a_reason_pass() {
        assert_eq!(lines(panics, "a.unwrap(); // PANIC: b\n// PANIC: c\nlet d = e\n  .expect(\"f\");"), []);
        assert_eq!(lines(panics, "a.unwrap_or(b); self.expect_one(); panic::catch(); // panic!()\n\".unwrap()\";"), []);
        assert_eq!(
            lines(panics, "#[cfg(all(test, a))]\n#[b]\nmod c { fn d([e; 2]: f) { g.unwrap() } fn h() { panic!() } }"),
            []
        );
        assert_eq!(lines(panics, "#[cfg(test)]\nfn a(b: [c; 2]) { d.unwrap() }"), []);
        assert_eq!(lines(panics, "#![cfg(test)]\nfn a() { b.unwrap() }"), []);
        assert_eq!(lines_at("crates/elbowroom/src/a/tests.rs", "//! b\nc.unwrap();"), []);
        assert_eq!(lines_at("crates/elbowroom/tests/a.rs", "c.unwrap();"), []);
    }
}

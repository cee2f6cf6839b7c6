//! Layers: a file uses only its own layer of its crate and those below.
//!
//! ARCHITECTURE.md has the order of a crate's layers, in a code block that begins with
//! ```` ```layers crates/NAME ````, the lowest layer first, one line a layer: the names of the modules, then a
//! colon and a description. Files of one layer, which usually is one module, may use each other, but not in a
//! circle. Tests (`#[cfg(test)]`, files named `tests` or `models`) may use anything, and the root of a crate may use
//! every module.

use std::collections::BTreeMap;
use std::iter::successors;
use std::mem;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;
use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Ident, UseTree};

use super::finding;

/// The folder of a crate, and the names of its modules, each with the number of its layer; the lowest is 0.
pub(super) type Layers = (PathBuf, BTreeMap<String, usize>);

/// Reads the blocks of ARCHITECTURE.md.
pub(super) fn read(text: &str) -> Result<Vec<Layers>> {
    let block = |rest: &str| {
        let block = rest.split_once("\n```\n").map(|(block, _)| block);
        let mut lines = block.context("a block of layers does not end")?.lines();
        let package = lines.next().context("a block without a crate")?;
        let mut ranks = BTreeMap::new();
        for (rank, line) in lines.enumerate() {
            let (names, _) = line.split_once(':').context("a layer is `names: text`")?;
            ranks.extend(names.split(' ').map(|name| (name.to_owned(), rank)));
        }
        Ok((package.into(), ranks))
    };
    text.split("\n```layers ").skip(1).map(block).collect()
}

/// Checks a crate. The sources are all Rust files of the repository, with their paths from its root.
pub(super) fn check(layers: &Layers, sources: &[(PathBuf, String)]) -> Result<Vec<String>> {
    let (package, ranks) = layers;
    // The files by module path from the root of the crate.
    let mut files = BTreeMap::new();
    for (path, text) in sources {
        let place = path.strip_prefix(package.join("src"));
        if let Some(module) = place.ok().and_then(module_of) {
            files.insert(module, (path, text));
        }
    }
    ensure!(!files.is_empty(), "{} has no files", package.display());
    let mut findings = Vec::new();
    let mut arrows = DiGraphMap::<&str, ()>::new();
    for (module, (path, text)) in files.iter().filter(|(module, _)| !module.is_empty()) {
        let Some(own) = ranks.get(top(module)) else {
            let message = format!("module `{module}` is in no layer of ARCHITECTURE.md");
            findings.push(finding(path, 1, message));
            continue;
        };
        let parsed = syn::parse_file(text).with_context(|| format!("parse {}", path.display()))?;
        let mut uses = Uses {
            module: module.clone(),
            found: Vec::new(),
            is_module: &|name| files.contains_key(name),
        };
        uses.visit_file(&parsed);
        for (line, used) in uses.found {
            let other = top(&used);
            let message = match ranks.get(other) {
                None => format!("uses `crate::{used}`, which is in no layer"),
                Some(rank) if rank > own => {
                    let own = top(module);
                    format!("`{own}` is a layer below `{other}`, which it uses")
                }
                Some(_) => {
                    // The path refers to the file of its longest prefix that is a module.
                    let mut beginnings = successors(Some(&used[..]), |path| parent(path));
                    let file = beginnings.find_map(|path| files.get_key_value(path));
                    if let Some((file, _)) = file.filter(|(file, _)| *file != module) {
                        arrows.add_edge(module, file, ());
                    }
                    continue;
                }
            };
            findings.push(finding(path, line, message));
        }
    }
    for mut circle in tarjan_scc(&arrows) {
        circle.sort_unstable();
        if circle.len() > 1 {
            let message = format!("files use each other in a circle: {}", circle.join(", "));
            findings.push(finding(files[circle[0]].0, 1, message));
        }
    }
    Ok(findings)
}

fn top(path: &str) -> &str {
    path.split_once("::").map_or(path, |(first, _)| first)
}

fn parent(path: &str) -> Option<&str> {
    path.rsplit_once("::").map(|(parent, _)| parent)
}

/// Returns the module of a file below `src`, or `None` for tests. The root's module has an empty name.
fn module_of(path: &Path) -> Option<String> {
    let path = path.with_extension("");
    let mut names: Vec<&str> = path.to_str()?.split('/').collect();
    if ["mod", "lib", "main"].contains(names.last()?) {
        names.pop();
    }
    let is_test = names.iter().any(|name| ["tests", "models"].contains(name));
    (!is_test).then(|| names.join("::"))
}

/// Collects the paths of this crate that a file uses, outside of its tests.
struct Uses<'a> {
    module: String,
    found: Vec<(usize, String)>,
    is_module: &'a dyn Fn(&str) -> bool,
}

impl Uses<'_> {
    /// Records a path, if it refers to this crate.
    fn note(&mut self, line: usize, path: &str) {
        let mut full = match top(path) {
            "crate" => String::new(),
            "self" | "super" => self.module.clone(),
            first if (self.is_module)(&format!("{}::{first}", self.module)) => self.module.clone(),
            _ => return,
        };
        for name in path.split("::") {
            match name {
                "crate" | "self" => {}
                "super" => full = parent(&full).unwrap_or_default().to_owned(),
                name if full.is_empty() => full = name.to_owned(),
                name => full = format!("{full}::{name}"),
            }
        }
        if !full.is_empty() {
            self.found.push((line, full));
        }
    }

    fn tree(&mut self, before: &str, tree: &UseTree) {
        let mut note = |name: &Ident| self.note(line(name), &format!("{before}{name}"));
        match tree {
            UseTree::Path(path) => self.tree(&format!("{before}{}::", path.ident), &path.tree),
            UseTree::Name(name) => note(&name.ident),
            UseTree::Rename(name) => note(&name.ident),
            UseTree::Glob(glob) => {
                let line = glob.star_token.spans[0].start().line;
                self.note(line, before.trim_end_matches("::"));
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(before, tree)),
        }
    }

    /// Records the paths in the tokens of a macro. Those after `$crate` belong to the callers, and are left out.
    fn tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut start) = (String::new(), 0);
        for token in tokens.into_iter().map(Some).chain([None]) {
            match token {
                Some(TokenTree::Ident(name)) if path.ends_with("::") => path += &name.to_string(),
                Some(TokenTree::Punct(mark)) if mark.as_char() == ':' => path.push(':'),
                Some(TokenTree::Punct(mark)) if mark.as_char() == '$' => path = "$::".to_owned(),
                token => {
                    // The path ends here, if there is one. It may end with `::`, before generic arguments.
                    let ended = mem::take(&mut path);
                    let ended = ended.trim_matches(':');
                    if ended.contains("::") {
                        self.note(start, ended);
                    }
                    match token {
                        Some(TokenTree::Group(group)) => self.tokens(group.stream()),
                        Some(TokenTree::Ident(name)) => {
                            (path, start) = (name.to_string(), line(&name))
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}

fn line(name: &Ident) -> usize {
    name.span().start().line
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let list = attribute.meta.require_list();
        list.is_ok_and(|list| {
            let text = list.tokens.to_string();
            list.path.is_ident("cfg") && (text == "test" || text.starts_with("all (test"))
        })
    })
}

impl<'ast> Visit<'ast> for Uses<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.content.is_some() && !is_test(&item.attrs) {
            let inside = format!("{}::{}", self.module, item.ident);
            let outside = mem::replace(&mut self.module, inside);
            visit::visit_item_mod(self, item);
            self.module = outside;
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if is_test(&item.attrs) {
            return;
        }
        let before = self.found.len();
        self.tree("", &item.tree);
        if !matches!(item.vis, syn::Visibility::Inherited) {
            // A re-export of the module's own parts is not a use: they may use the module.
            let own = format!("{}::", self.module);
            let used = self.found.split_off(before).into_iter();
            self.found
                .extend(used.filter(|(_, path)| !path.starts_with(&own)));
        }
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {
        // `pub(super)` is not a use.
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter();
        let names: Vec<String> = names.map(|segment| segment.ident.to_string()).collect();
        self.note(line(&path.segments[0].ident), &names.join("::"));
        visit::visit_path(self, path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = "text\n```layers a\nlow: one\nmid: two\nhigh top: three\n```\n";

    fn findings(files: &[(&str, &str)]) -> Vec<String> {
        let source = |(path, text): &(&str, &str)| (path.into(), (*text).to_owned());
        let sources: Vec<_> = files.iter().map(source).collect();
        check(&read(BLOCK).unwrap()[0], &sources).unwrap()
    }

    #[test]
    fn downward_uses_are_fine() {
        let files = [
            ("a/src/main.rs", "mod low; use high::a;"),
            ("a/src/low.rs", "pub struct Low;"),
            ("a/src/mid/mod.rs", "use crate::low::Low; pub use a::A;"),
            (
                "a/src/mid/a.rs",
                "m!(super::f \"crate::top\" a: crate::low $crate::top);",
            ),
            ("a/src/high/a.rs", "use super::b::B; use crate::{low, mid};"),
            (
                "a/src/high/b.rs",
                "#[cfg(test)] mod t { use super::super::a; }",
            ),
            ("a/src/low/tests.rs", "use crate::top;"),
            ("b/src/other.rs", "use crate::top;"),
        ];
        assert_eq!(findings(&files), [""; 0]);
    }

    #[test]
    fn upward_uses_circles_and_strangers_are_found() {
        let files = [
            ("a/src/low.rs", "fn f() {\n    crate::mid::g();\n}"),
            (
                "a/src/low/a.rs",
                "m! {\n[super::super::mid::g::<u8>(self.a)] }",
            ),
            ("a/src/mid.rs", "\nuse crate::{low, top::T};"),
            ("a/src/mid/a.rs", "pub(crate) use crate::top::T;"),
            ("a/src/high/mod.rs", "mod a; mod b; fn f() { a::A }"),
            ("a/src/high/a.rs", "use super::b;"),
            ("a/src/high/b.rs", "use crate::high::a::A;"),
            ("a/src/other.rs", ""),
        ];
        let expected = [
            "a/src/low.rs:2: `low` is a layer below `mid`, which it uses",
            "a/src/low/a.rs:2: `low` is a layer below `mid`, which it uses",
            "a/src/mid.rs:2: `mid` is a layer below `top`, which it uses",
            "a/src/mid/a.rs:1: `mid` is a layer below `top`, which it uses",
            "a/src/other.rs:1: module `other` is in no layer of ARCHITECTURE.md",
            "a/src/high/a.rs:1: files use each other in a circle: high::a, high::b",
        ];
        assert_eq!(findings(&files), expected);
    }

    #[test]
    fn a_block_that_does_not_end_is_an_error() {
        assert!(read("\n```layers a\nlow: at the bottom\n").is_err());
        assert!(read("\n```layers a\nlow\n```\n").is_err());
    }
}

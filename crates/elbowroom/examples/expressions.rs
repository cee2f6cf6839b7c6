//! A parser's arena: the nodes of a syntax tree refer to each other, upwards too, and go all at once. Each line is
//! parsed in a scope, so that the next one takes the same memory.

use std::cell::Cell;
use std::fmt::Write;

use elbowroom::Arena;
use elbowroom::arena::Scope;

const LINES: &[&str] = &[
    "(+ 1 2 3)",
    "(* 6 (+ 3 4))",
    "(- (* 2 (+ 20 (- 5 3))) 2)",
    "(+ 1 (* 2 x))",
    "(+ 1 (2",
    "(+ 1))",
];

/// An atom, or a list of nodes.
struct Node<'a> {
    atom: Option<&'a str>,
    parent: Option<&'a Node<'a>>,
    first: Cell<Option<&'a Node<'a>>>,
    last: Cell<Option<&'a Node<'a>>>,
    next: Cell<Option<&'a Node<'a>>>,
}

impl<'a> Node<'a> {
    /// A node at the end of its parent's list.
    fn new(scope: &Scope<'a>, atom: Option<&'a str>, parent: Option<&'a Node<'a>>) -> &'a Node<'a> {
        let (first, last, next) = (Cell::new(None), Cell::new(None), Cell::new(None));
        let node: &Node = scope.alloc(Node {
            atom,
            parent,
            first,
            last,
            next,
        });
        if let Some(parent) = parent {
            match parent.last.replace(Some(node)) {
                Some(before) => before.next.set(Some(node)),
                None => parent.first.set(Some(node)),
            }
        }
        node
    }

    fn children(&self) -> impl Iterator<Item = &'a Node<'a>> {
        std::iter::successors(self.first.get(), |node| node.next.get())
    }

    /// How many lists it is in.
    fn depth(&self) -> usize {
        std::iter::successors(self.parent, |node| node.parent).count()
    }

    fn value(&self) -> Result<i64, String> {
        if let Some(atom) = self.atom {
            return atom
                .parse()
                .map_err(|_| format!("{atom:?} in {} lists is no number", self.depth()));
        }
        let mut children = self.children();
        let operator = children
            .next()
            .and_then(|node| node.atom)
            .ok_or("a list without an operator")?;
        let operation = match operator {
            "+" => i64::checked_add,
            "-" => i64::checked_sub,
            "*" => i64::checked_mul,
            _ => return Err(format!("{operator:?} is no operator")),
        };
        let first = children
            .next()
            .ok_or("an operator without numbers")?
            .value()?;
        children.try_fold(first, |sum, node| {
            operation(sum, node.value()?).ok_or("too large a number".into())
        })
    }
}

/// The tree of a line. Goes up and down by the nodes themselves, and needs no stack.
fn parse<'a>(scope: &Scope<'a>, line: &str) -> Result<&'a Node<'a>, String> {
    let text: &str = scope.alloc_str(line);
    let mut open: Option<&Node> = None;
    let mut root = None;
    for token in text.split_inclusive(['(', ')', ' ']).flat_map(|piece| {
        let (atom, mark) = piece.split_at(piece.trim_end_matches(['(', ')', ' ']).len());
        [atom, mark]
            .into_iter()
            .filter(|token| !token.trim().is_empty())
    }) {
        match token {
            "(" => open = Some(Node::new(scope, None, open)),
            ")" => {
                let list = open.ok_or("a bracket is closed that was not opened")?;
                (open, root) = (list.parent, Some(list));
            }
            atom => {
                _ = Node::new(
                    scope,
                    Some(atom),
                    Some(open.ok_or("an atom outside of all lists")?),
                )
            }
        }
    }
    if open.is_some() {
        Err("a bracket is not closed".into())
    } else {
        root.ok_or("nothing".into())
    }
}

/// What the program prints.
pub(crate) fn report() -> Result<String, elbowroom::Error> {
    let mut arena = Arena::builder(1 << 30).name("expressions").build()?;
    let mut report = String::new();
    let mut largest = 0;
    for line in LINES {
        let value = arena.scope(|scope| {
            let value = parse(scope, line).and_then(Node::value);
            largest = largest.max(scope.allocated_bytes());
            value
        });
        _ = match value {
            Ok(value) => writeln!(report, "{line} = {value}"),
            Err(error) => writeln!(report, "{line} is wrong: {error}"),
        };
    }
    let (kept, commits) = (arena.allocated_bytes(), arena.stats().commits);
    let fits = largest <= elbowroom::page_size();
    _ = writeln!(
        report,
        "{kept} bytes in use now, {commits} commit for all lines, the largest in one page: {fits}"
    );
    Ok(report)
}

fn main() -> Result<(), elbowroom::Error> {
    print!("{}", report()?);
    Ok(())
}

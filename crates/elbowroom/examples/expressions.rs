//! A calculator whose syntax tree is in an arena. The nodes refer to each other in both directions and are freed all at
//! once. Each line is parsed in a scope, so that the next line uses the same memory.

use std::cell::Cell;

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
    /// Returns a new node at the end of its parent's list.
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

    /// Returns how many lists contain this node.
    fn depth(&self) -> usize {
        std::iter::successors(self.parent, |node| node.parent).count()
    }

    fn value(&self) -> Result<i64, String> {
        if let Some(atom) = self.atom {
            return atom
                .parse()
                .map_err(|_| format!("{atom:?} at depth {} is not a number", self.depth()));
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
            _ => return Err(format!("{operator:?} is not an operator")),
        };
        let first = children
            .next()
            .ok_or("an operator without numbers")?
            .value()?;
        children.try_fold(first, |sum, node| {
            operation(sum, node.value()?).ok_or("the number is too large".into())
        })
    }
}

/// Parses a line into a tree. It follows the links of the nodes, and needs no stack.
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
                let list = open.ok_or("a closing bracket without an opening one")?;
                (open, root) = (list.parent, Some(list));
            }
            atom => {
                _ = Node::new(
                    scope,
                    Some(atom),
                    Some(open.ok_or("an atom outside every list")?),
                )
            }
        }
    }
    if open.is_some() {
        Err("an opening bracket without a closing one".into())
    } else {
        root.ok_or("an empty line".into())
    }
}

fn main() -> Result<(), elbowroom::Error> {
    let mut arena = Arena::builder(1 << 30).name("expressions").build()?;
    for line in LINES {
        match arena.scope(|scope| parse(scope, line).and_then(Node::value)) {
            Ok(value) => println!("{line} = {value}"),
            Err(error) => println!("{line}: {error}"),
        }
    }
    Ok(())
}

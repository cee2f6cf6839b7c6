//! The kinds of operations, and how often each is picked.

use crate::owned::Deed;

/// A kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Make,
    Release,
    Act(Deed),
    CommitAll,
    PlainWrite,
    PlainRead,
    Look,
    Block,
    SharedWrite,
    SharedRead,
    SharedCommit,
    SharedDecommit,
    SharedLook,
    Signal,
    Fault,
    Fork,
}

/// Every kind, with its name and its weight when one is picked.
pub(crate) const KINDS: [(Kind, &str, usize); 24] = [
    (Kind::Make, "make", 40),
    (Kind::Release, "release", 25),
    (Kind::Act(Deed::Write), "write", 160),
    (Kind::Act(Deed::Read), "read", 120),
    (Kind::Act(Deed::Fill), "fill", 60),
    (Kind::Act(Deed::CopyIn), "copy in", 60),
    (Kind::Act(Deed::CopyOut), "copy out", 60),
    (Kind::Act(Deed::ReadFrom), "read from", 15),
    (Kind::Act(Deed::WriteTo), "write to", 15),
    (Kind::Act(Deed::Commit), "commit", 60),
    (Kind::Act(Deed::Decommit), "decommit", 90),
    (Kind::CommitAll, "commit all", 3),
    (Kind::PlainWrite, "plain write", 60),
    (Kind::PlainRead, "plain read", 40),
    (Kind::Look, "look", 40),
    (Kind::Block, "reservation", 60),
    (Kind::SharedWrite, "shared write", 120),
    (Kind::SharedRead, "shared read", 60),
    (Kind::SharedCommit, "shared commit", 30),
    (Kind::SharedDecommit, "shared decommit", 60),
    (Kind::SharedLook, "shared look", 10),
    (Kind::Signal, "foreign signal", 15),
    (Kind::Fault, "foreign fault", 15),
    (Kind::Fork, "fork", 1),
];

pub(crate) const WEIGHTS: usize = {
    let (mut sum, mut at) = (0, 0);
    while at < KINDS.len() {
        sum += KINDS[at].2;
        at += 1;
    }
    sum
};

/// Returns a description of an operation.
pub(crate) fn what(name: &str, about: [usize; 3]) -> String {
    match about {
        [0, 0, 0] => name.to_owned(),
        [id, 0, 0] => format!("{name} of region {id}"),
        [id, start, end] => format!("{name} of region {id}, bytes {start}..{end}"),
    }
}

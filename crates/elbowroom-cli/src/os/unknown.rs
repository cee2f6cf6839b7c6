//! Unix systems whose figures the command cannot read, such as macOS.

use super::plain::Accounting;
use crate::findings::Report;
use crate::usage::Usage;

pub(crate) use super::unix::signals::system;
pub(crate) use super::unix::{
    forgo_core_file, free_bytes, give_owner, is_utf8, plant_other_fault, terminal_is_gone,
    when_asked_to_end,
};

pub(crate) fn usage() -> Usage {
    Usage {
        kernel_faults: super::unix::minor_faults(),
        ..Usage::default()
    }
}

pub(crate) fn available_bytes() -> Option<u64> {
    None
}

pub(crate) fn commit_limit_bytes() -> Option<u64> {
    None
}

pub(crate) fn accounting() -> Accounting {
    Accounting::Unknown
}

pub(crate) fn resident_pages(_: &elbowroom::Region, _: &[elbowroom::Span]) -> Option<Vec<bool>> {
    None
}

/// Returns the findings of every Unix.
pub(crate) fn examine() -> Report {
    let findings = super::unix::doctor::findings([None; 4], libc::MINSIGSTKSZ as u64, || None);
    Report::new(system(), findings)
}

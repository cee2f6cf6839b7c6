//! A Unix whose figures the command does not know how to read yet: macOS among them.

use super::Accounting;
use super::unix::doctor::{Facts, Used};
use crate::doctor::Report;
use crate::meter::Usage;

pub(crate) use super::unix::{columns, enable_colours, plant_other_fault};

pub(crate) fn usage() -> Usage {
    Usage { kernel_faults: super::unix::minor_faults(), ..Usage::default() }
}

pub(crate) fn accounting() -> Accounting {
    Accounting::Unknown
}

pub(crate) fn resident_bytes() -> Option<u64> {
    None
}

/// What every Unix tells.
pub(crate) fn examine() -> Report {
    let facts = Facts::gather(Used::default(), libc::MINSIGSTKSZ as u64);
    Report::new(facts.system.clone(), facts.judge())
}

/// There is no such setting: RLIMIT_CORE is all.
pub(super) fn make_not_dumpable() {}

//! A Unix whose figures the command does not know how to read yet: macOS among them.

#![allow(unsafe_code, reason = "the contract's `bring_in` is unsafe")]

use super::unix::doctor::{Facts, Used};
use super::{Accounting, Pages};
use crate::doctor::Report;
use crate::meter::Usage;

pub(crate) use super::unix::signals::system;
pub(crate) use super::unix::{
    columns, cpu_time, enable_colours, ending, forgo_core_file, is_utf8, plant_other_fault, terminal_is_gone,
    when_asked_to_end,
};

pub(crate) fn usage() -> Usage {
    Usage { kernel_faults: super::unix::minor_faults(), ..Usage::default() }
}

pub(crate) fn available_bytes() -> Option<u64> {
    None
}

/// # Safety
/// None: what this system does by itself is all.
pub(super) unsafe fn bring_in(_base: *mut u8, _len: usize, pages: Pages) -> Result<(), String> {
    match pages {
        Pages::Demand => Ok(()),
        Pages::Populated | Pages::HugePopulated => Err("this system has no call that brings in fresh pages".to_owned()),
    }
}

pub(crate) fn accounting() -> Accounting {
    Accounting::Unknown
}

pub(crate) fn resident_bytes() -> Option<u64> {
    None
}

pub(crate) fn resident_pages(_: &elbowroom::Region, _: &[elbowroom::Span]) -> Option<Vec<bool>> {
    None
}

/// What every Unix tells.
pub(crate) fn examine() -> Report {
    let facts = Facts::gather(Used::default(), libc::MINSIGSTKSZ as u64);
    Report::new(facts.system.clone(), facts.judge())
}

/// There is no such setting: RLIMIT_CORE is all.
pub(super) fn make_not_dumpable() {}

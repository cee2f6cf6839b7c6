//! A Unix whose figures the command does not know how to read yet: macOS among them.

use super::Accounting;
use crate::meter::Usage;

pub(crate) use super::unix::plant_other_fault;

pub(crate) fn usage() -> Usage {
    Usage { kernel_faults: super::unix::minor_faults(), ..Usage::default() }
}

pub(crate) fn accounting() -> Accounting {
    Accounting::Unknown
}

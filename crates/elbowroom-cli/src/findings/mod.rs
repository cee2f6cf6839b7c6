//! Findings about a machine, and their levels. Pure, so that tests can describe any machine.

mod finding;
mod largest;
mod usual;

pub(crate) use finding::{Finding, Level, Report, Section, level_of};
#[allow(unused_imports, reason = "not every platform has such limits")]
pub(crate) use usual::{Trial, address_bits, commit_limit, memory, process_budget, usual};

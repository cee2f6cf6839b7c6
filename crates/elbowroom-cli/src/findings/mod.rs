//! Findings about a machine, and their levels. Pure, so that tests can describe any machine.

mod finding;
mod largest;
mod usual;

#[cfg(test)]
pub(crate) use finding::tests::{assert_good, of_id};
pub(crate) use finding::{Finding, Level, Report, Section, Trial, commit_on_touch};
#[cfg(test)]
pub(crate) use largest::Bound;
pub(crate) use largest::Largest;
#[allow(unused_imports, reason = "not every platform has such limits")]
pub(crate) use usual::{commit_limit, granularity, level_of, page_size, process_budget};

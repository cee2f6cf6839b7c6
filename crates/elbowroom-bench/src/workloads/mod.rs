//! The workloads.

pub(crate) mod access;
mod all;
pub(crate) mod append;
pub(crate) mod arena;
pub(crate) mod memory;
pub(crate) mod paged;
pub(crate) mod scaling;
pub(crate) mod touch;
pub(crate) mod vectors;

pub(crate) use all::comparisons;

/// The name of the library's contender in a comparison that has only one.
pub(crate) const OURS: &str = "elbowroom";

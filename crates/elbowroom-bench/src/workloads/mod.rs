//! What is measured.

pub(crate) mod access;
mod all;
pub(crate) mod append;
pub(crate) mod arena;
pub(crate) mod memory;
pub(crate) mod scaling;
pub(crate) mod touch;
pub(crate) mod vectors;

pub(crate) use all::comparisons;

/// The library's name for itself, where a comparison has one contender of it.
pub(crate) const OURS: &str = "elbowroom";

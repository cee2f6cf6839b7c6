//! Drawings as files: of pages, and of how a region grew.

pub(crate) mod svg;
mod trace;

pub(crate) use trace::Trace;

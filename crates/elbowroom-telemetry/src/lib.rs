//! Reports the activity of elbowroom's regions: as a trace of their faults, and as metrics.
//!
//! - [`TraceWriter`] writes recorded faults as a trace for the viewers of Perfetto and Chrome.
//! - `gauges` reports regions and budgets through the crate
//!   [`metrics`](https://docs.rs/metrics), for example to Prometheus or OpenTelemetry. It needs the
//!   feature `metrics`.
//!
//! Neither runs while a fault is handled. Ordinary code calls them, and they read the library's counts and recorded
//! events.

// Shows which items need a feature, when docs.rs builds the documentation with nightly Rust.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "metrics")]
pub mod gauges;
mod trace;

pub use trace::TraceWriter;

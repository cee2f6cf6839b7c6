//! The number of pages that a fault commits. All of these are pure functions.

mod layout;
mod policy;
mod streams;
mod window;

pub(crate) use layout::Layout;
pub use policy::Growth;
pub(super) use streams::Streams;
pub(super) use window::{clamp, clip};

#[cfg(test)]
mod tests;

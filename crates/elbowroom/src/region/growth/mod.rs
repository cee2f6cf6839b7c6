//! How many pages a fault commits. Pure functions from numbers to a window.

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

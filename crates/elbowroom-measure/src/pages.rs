//! Kinds of pages.

use serde::{Deserialize, Serialize};

/// Of what pages committed memory is, and when they come into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pages {
    /// Small ones, brought in by the kernel when they are touched.
    Demand,
    /// Small ones, brought in at once.
    Populated,
    /// Huge ones, brought in at once.
    HugePopulated,
}

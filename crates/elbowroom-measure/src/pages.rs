//! Kinds of pages.

use serde::{Deserialize, Serialize};

/// The size of the pages of committed memory, and when they become resident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pages {
    /// Small pages that become resident when they are touched.
    Demand,
    /// Small pages that are made resident at once.
    Populated,
    /// Huge pages that are made resident at once.
    HugePopulated,
}

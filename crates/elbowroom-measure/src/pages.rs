//! Kinds of pages.

use serde::{Deserialize, Serialize};

/// The size of the pages of committed memory, and when they become resident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pages {
    /// Small pages that the kernel brings in when they are touched.
    Demand,
    /// Small pages that are brought in at once.
    Populated,
    /// Huge pages that are brought in at once.
    HugePopulated,
}

//! The result of a copying block.

/// The result of a copying block.
pub(crate) struct Copied {
    /// The cause of the refusal as a word, or 0.
    pub(crate) refusal: u64,
    /// Bytes not copied; 0 without a refusal.
    pub(crate) left: usize,
}

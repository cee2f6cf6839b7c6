//! The description of a plot.

/// A plot that was drawn: its chapter, its file and its description.
pub(crate) struct Plot {
    pub(crate) chapter: &'static str,
    pub(crate) file: &'static str,
    pub(crate) shows: &'static str,
}

//! What a plot shows.

/// A plot that was drawn: the chapter that it belongs to, its file, and what it shows.
pub(crate) struct Plot {
    pub(crate) chapter: &'static str,
    pub(crate) file: &'static str,
    pub(crate) shows: &'static str,
}

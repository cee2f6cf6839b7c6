//! Sizes in bytes, as people read them.

use humansize::{BINARY, format_size};

/// Returns a number of bytes in the largest unit that leaves at least 1, with one decimal where it does not come out
/// even.
pub(crate) fn human(bytes: u64) -> String {
    format_size(bytes, BINARY.decimal_places(1))
}

//! The common part of all platforms, without system calls.

/// The system's response to a commit that it cannot back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(target_os = "linux"),
    allow(dead_code, reason = "a platform knows its own answer only")
)]
pub(crate) enum Accounting {
    /// It keeps count and may refuse.
    Limited,
    /// It grants every commit, and ends some process when memory runs out.
    Unlimited,
    /// Not known.
    Unknown,
}

/// Returns the bytes of one page of a region, or an error if it has no such page.
pub(super) fn page_of(
    region: &elbowroom::Region,
    page: usize,
) -> std::io::Result<(*mut u8, usize)> {
    let size = elbowroom::page_size();
    match page.checked_mul(size) {
        Some(offset) if offset < region.len() => Ok((region.as_ptr().wrapping_add(offset), size)),
        _ => Err(std::io::ErrorKind::InvalidInput.into()),
    }
}

//! Linux: kinds of pages, by madvise(2).

#![allow(unsafe_code, reason = "madvise")]

use std::io;

use super::proc;
use crate::pages::Pages;

/// Makes committed memory consist of this kind of pages, and makes them resident unless the kind is on demand
/// (madvise(2)).
///
/// # Safety
/// `base..base + len` are whole committed pages that belong to the caller.
///
/// # Errors
/// Fails with the reason if the system has no such pages.
pub unsafe fn prefault(base: *mut u8, len: usize, pages: Pages) -> Result<(), String> {
    let advise = |advice: libc::c_int| {
        // SAFETY: the pages belong to the caller (contract), and none of these kinds of advice changes their contents.
        match unsafe { libc::madvise(base.cast(), len, advice) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    if pages == Pages::HugePopulated {
        no_huge_pages().map_or(Ok(()), Err)?;
        advise(libc::MADV_HUGEPAGE).map_err(|error| format!("MADV_HUGEPAGE: {error}"))?;
    } else if let Err(error) = advise(libc::MADV_NOHUGEPAGE) {
        // A kernel without huge pages does not know the advice, and does not need it.
        if error.raw_os_error() != Some(libc::EINVAL) {
            return Err(format!("madvise: {error}"));
        }
    }
    if pages == Pages::Demand {
        return Ok(());
    }
    advise(libc::MADV_POPULATE_WRITE).map_err(|error| match error.raw_os_error() {
        Some(libc::EINVAL) => {
            "this kernel cannot prefault pages on request (MADV_POPULATE_WRITE, Linux 5.14)"
                .to_owned()
        }
        _ => format!("MADV_POPULATE_WRITE: {error}"),
    })
}

/// Returns the reason why there are no transparent huge pages, or `None` if there may be some.
fn no_huge_pages() -> Option<String> {
    const SETTING: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
    match proc::text(SETTING) {
        None => return Some("this kernel has no transparent huge pages".to_owned()),
        Some(text) if proc::chosen(&text) == Some("never") => {
            return Some(format!(
                "{SETTING} is never; `echo madvise` into it as root turns huge pages on"
            ));
        }
        Some(_) => {}
    }
    // PR_SET_THP_DISABLE(2const).
    let status = proc::text("/proc/self/status")?;
    (proc::field(&status, "THP_enabled") == Some("0"))
        .then(|| "huge pages are off for this process (prctl)".to_owned())
}

//! Windows, whose processor time has only 64 ticks per second (GetProcessTimes).

#![allow(unsafe_code, reason = "`prefault` is unsafe on other systems")]

use std::process::ExitStatus;
use std::time::Duration;

use crate::pages::Pages;

/// Returns `None`: there is no fine clock.
pub fn cpu_time() -> Option<Duration> {
    None
}

/// Returns `None`: there is no fine clock.
pub fn thread_cpu_time() -> Option<Duration> {
    None
}

/// Returns how a child process without an answer has ended.
pub fn ending(status: ExitStatus) -> String {
    status.to_string()
}

/// Returns an error for pages that this system cannot make resident.
///
/// # Safety
/// None: it touches nothing.
///
/// # Errors
/// Fails for all kinds of pages except those that come on demand.
pub unsafe fn prefault(_base: *mut u8, _len: usize, pages: Pages) -> Result<(), String> {
    let why = match pages {
        Pages::Demand => return Ok(()),
        Pages::Populated => "Windows has no call that prefaults fresh pages",
        Pages::HugePopulated => {
            "large pages are memory of another kind here (MEM_LARGE_PAGES), which needs a privilege"
        }
    };
    Err(why.to_owned())
}

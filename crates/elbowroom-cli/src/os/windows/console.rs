//! The events that end a console program: Ctrl-C, Ctrl-Break, and the end of its console or of the session.

#![allow(unsafe_code, reason = "Win32 calls")]

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use windows_sys::Win32::Foundation::TRUE;
use windows_sys::Win32::System::Console::{CTRL_BREAK_EVENT, CTRL_C_EVENT, SetConsoleCtrlHandler};
use windows_sys::core::BOOL;

/// The number of the signal that the C library makes of Ctrl-C.
const SIGINT: usize = 2;

/// The number that the handler sets.
static NUMBER: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// Returns a number that becomes SIGINT when one of these events occurs.
pub(crate) fn when_asked_to_end() -> io::Result<Arc<AtomicUsize>> {
    let number = Arc::clone(NUMBER.get_or_init(Arc::default));
    // SAFETY: the handler is a function of this program, which is never unloaded, with the signature that the call
    // wants. It may run on any thread at any time: it uses one atomic, and sleeps.
    if unsafe { SetConsoleCtrlHandler(Some(handle), TRUE) } == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(number)
}

/// Runs on a separate thread.
extern "system" fn handle(event: u32) -> BOOL {
    if let Some(number) = NUMBER.get() {
        number.store(SIGINT, Ordering::Relaxed);
    }
    if !matches!(event, CTRL_C_EVENT | CTRL_BREAK_EVENT) {
        // The system ends the process when the handler returns, or after some seconds. In these, the program ends
        // itself.
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    TRUE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctrl_c_sets_the_number_and_does_not_end_the_process() {
        let number = when_asked_to_end().unwrap();
        assert_eq!(number.load(Ordering::Relaxed), 0);
        for event in [CTRL_C_EVENT, CTRL_BREAK_EVENT] {
            number.store(0, Ordering::Relaxed);
            let is_handled = handle(event);
            assert_eq!((is_handled, number.load(Ordering::Relaxed)), (TRUE, SIGINT));
        }
        assert_eq!(when_asked_to_end().unwrap().load(Ordering::Relaxed), SIGINT);
    }
}

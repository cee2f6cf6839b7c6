//! Numbers of threads.

use windows_sys::Win32::System::Threading::GetCurrentThreadId;

/// Returns a number for the calling thread: never 0, and unique among live threads.
pub(crate) fn thread_token() -> usize {
    // SAFETY: GetCurrentThreadId has no preconditions.
    unsafe { GetCurrentThreadId() as usize }
}

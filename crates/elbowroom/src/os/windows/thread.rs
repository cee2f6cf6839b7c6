//! Threads.

use windows_sys::Win32::System::Threading::GetCurrentThreadId;

/// Names the calling thread: never 0, unique among live threads.
pub(crate) fn thread_token() -> usize {
    // SAFETY: no preconditions.
    unsafe { GetCurrentThreadId() as usize }
}

//! Threads, forks and standard error.

/// Calls pthread_atfork(3). It fails only for lack of memory; forks then happen without preparation.
pub(crate) fn at_fork(
    before: extern "C" fn(),
    in_parent: extern "C" fn(),
    in_child: extern "C" fn(),
) {
    // SAFETY: the arguments are functions of the right type that are never unloaded.
    unsafe {
        libc::pthread_atfork(
            Some(as_c(before)),
            Some(as_c(in_parent)),
            Some(as_c(in_child)),
        )
    };
}

fn as_c(function: extern "C" fn()) -> unsafe extern "C" fn() {
    function
}

/// Returns a number for the calling thread: never 0, and unique among live threads.
pub(crate) fn thread_token() -> usize {
    // SAFETY: pthread_self(3) cannot fail; it reads the thread pointer, which is set up before any Rust code runs.
    let token = unsafe { libc::pthread_self() };
    token as usize
}

/// Returns the system's number of this process.
pub(super) fn process_number() -> i32 {
    // SAFETY: getpid(2) has no preconditions and cannot fail.
    unsafe { libc::getpid() }
}

/// Writes to standard error as much as there is room for. Async-signal-safe (signal-safety(7) lists write).
pub(crate) fn write_stderr(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let mut stderr = libc::pollfd {
            fd: libc::STDERR_FILENO,
            events: libc::POLLOUT,
            revents: 0,
        };
        // With a full pipe, the write would block while signals are blocked. The line is dropped instead.
        // SAFETY: poll(2) reads and writes one pollfd structure, which is live.
        if unsafe { libc::poll(&mut stderr, 1, 0) } != 1 || stderr.revents & libc::POLLOUT == 0 {
            return;
        }
        // SAFETY: write(2) reads as many bytes as the length says, and the pointer and the length are those of a live
        // slice.
        let written =
            unsafe { libc::write(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(written) {
            Ok(written) if written > 0 => bytes = &bytes[written.min(bytes.len())..],
            _ => return,
        }
    }
}

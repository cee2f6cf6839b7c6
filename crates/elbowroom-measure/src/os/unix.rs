//! Processor time, and the signals that end child processes.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Returns the processor time of this process, including the kernel's.
pub fn cpu_time() -> Option<Duration> {
    time(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

/// Returns the processor time of this thread, including the kernel's.
pub fn thread_cpu_time() -> Option<Duration> {
    time(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

fn time(clock: ClockId) -> Option<Duration> {
    clock_gettime(clock).ok().map(Duration::from)
}

/// Returns how a child process without an answer has ended.
pub fn ending(status: ExitStatus) -> String {
    match status.signal() {
        Some(libc::SIGSYS) => "a seccomp filter ends the process that asks".to_owned(),
        Some(libc::SIGKILL) => "ended by SIGKILL, as when memory runs out".to_owned(),
        Some(libc::SIGSEGV) => "ended by SIGSEGV".to_owned(),
        Some(libc::SIGBUS) => "ended by SIGBUS".to_owned(),
        Some(signal) => format!("ended by signal {signal}"),
        None => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_child_ended_is_told_in_words() {
        let told = |status| ending(ExitStatus::from_raw(status));
        assert!(told(libc::SIGSYS).contains("seccomp"));
        assert!(told(libc::SIGKILL).contains("memory"));
        assert_eq!(told(libc::SIGTERM), "ended by signal 15");
        assert_eq!(told(1 << 8), "exit status: 1");
    }
}

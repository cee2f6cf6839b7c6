//! Runs a probe in a child process, because the system may end a process that makes a forbidden call.
//!
//! A seccomp filter can end the process for a system call, and so can a fault without a handler. In a forked child,
//! both are results like any other. Everything that a probe maps, opens or changes ends with the child.

#![allow(unsafe_code, reason = "fork and what belongs to it")]

use std::fmt;
use std::io::{self, PipeWriter, Read, Write, pipe};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, alarm, fork};

/// A child that does not answer has hung.
const SECONDS_MAX: u32 = 20;

/// The reason why a probe gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The system refused, with this error.
    Refused(i32),
    /// The child was ended by this signal.
    Killed(i32),
    /// There was no child, or none that could answer.
    Lost(String),
}

pub(crate) type Probe = Result<u64, Failure>;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused(code) => io::Error::from_raw_os_error(*code).fmt(f),
            Failure::Killed(libc::SIGALRM) => write!(f, "no answer within {SECONDS_MAX} seconds"),
            Failure::Killed(signal) => {
                f.write_str(&elbowroom_measure::ending(ExitStatus::from_raw(*signal)))
            }
            Failure::Lost(why) => write!(f, "It could not be tried: {why}"),
        }
    }
}

/// Runs `probe` in a child process; its error is one of errno's.
pub(crate) fn isolated(probe: impl FnOnce() -> Result<u64, i32>) -> Probe {
    let lost = |error: io::Error| Failure::Lost(error.to_string());
    let (mut answer, question) = pipe().map_err(lost)?;
    // SAFETY: fork(2) has no preconditions on memory. The child runs `in_child` alone, which does not return.
    let child = match unsafe { fork() } {
        Err(code) => return Err(lost(code.into())),
        Ok(ForkResult::Child) => in_child(probe, question),
        Ok(ForkResult::Parent { child }) => child,
    };
    // So that the pipe ends when the child does.
    drop(question);
    let mut bytes = [0; size_of::<i128>()];
    let read = answer.read_exact(&mut bytes);
    match (read, wait(child)) {
        // An error is sent as a negative number.
        (Ok(()), _) => match i128::from_ne_bytes(bytes) {
            code @ ..0 => Err(Failure::Refused(-code as i32)),
            value => Ok(value as u64),
        },
        (_, Some(WaitStatus::Signaled(_, signal, _))) => Err(Failure::Killed(signal as i32)),
        _ => Err(Failure::Lost("the child gave no answer".to_owned())),
    }
}

/// Runs the probe in the child, sends its answer, and ends the child.
fn in_child(probe: impl FnOnce() -> Result<u64, i32>, mut question: PipeWriter) -> ! {
    leave_nothing_behind();
    // A panic must not unwind into what the parent was doing.
    if let Ok(answer) = catch_unwind(AssertUnwindSafe(probe)) {
        let answer = match answer {
            Ok(value) => i128::from(value),
            // A refusal without an error number is still a refusal.
            Err(0) => -i128::from(libc::EFAULT),
            Err(code) => -i128::from(code),
        };
        // If the parent has ended, the answer is not needed.
        let _ = question.write_all(&answer.to_ne_bytes());
    }
    // SAFETY: _exit has no preconditions; it ends the process without running the parent's exit handlers (_exit(2)).
    unsafe { libc::_exit(0) }
}

/// Makes sure that the child leaves no core file if it is ended, and that it ends if it hangs.
fn leave_nothing_behind() {
    make_not_dumpable();
    super::signals::forgo_core_file();
    // SAFETY: the default action for a signal of this child; no handler is involved.
    let _ = unsafe { signal(Signal::SIGALRM, SigHandler::SigDfl) };
    let _ = super::signals::unblock(Signal::SIGALRM);
    alarm::set(SECONDS_MAX);
}

/// Waits for the child, and returns how it ended; `None` if the system reaps children by itself.
fn wait(child: Pid) -> Option<WaitStatus> {
    loop {
        match waitpid(child, None) {
            Err(Errno::EINTR) => {}
            status => return status.ok(),
        }
    }
}

/// No core file is written for this process (PR_SET_DUMPABLE(2const)).
#[cfg(target_os = "linux")]
fn make_not_dumpable() {
    let _ = nix::sys::prctl::set_dumpable(false);
}

/// There is no such setting: RLIMIT_CORE is all.
#[cfg(not(target_os = "linux"))]
fn make_not_dumpable() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_back() {
        assert_eq!(isolated(|| Ok(u64::MAX - 1)), Ok(u64::MAX - 1));
        let refused = isolated(|| Err(libc::EPERM));
        assert_eq!(refused, Err(Failure::Refused(libc::EPERM)));
    }

    #[test]
    fn a_child_that_is_ended_is_an_answer() {
        let end = |signal| {
            isolated(move || {
                // SAFETY: the default action of a signal that ends this child.
                unsafe { libc::signal(signal, libc::SIG_DFL) };
                // SAFETY: raise has no preconditions.
                unsafe { libc::raise(signal) };
                Ok(0)
            })
        };
        assert_eq!(end(libc::SIGSYS), Err(Failure::Killed(libc::SIGSYS)));
        assert_eq!(end(libc::SIGTERM), Err(Failure::Killed(libc::SIGTERM)));
        let told = Failure::Killed(libc::SIGSYS).to_string();
        assert!(told.contains("seccomp"), "{told}");
    }

    #[test]
    fn nothing_of_the_child_stays() {
        let mut here = 1;
        let there = isolated(|| {
            here = 2;
            Ok(here)
        });
        assert_eq!((here, there), (1, Ok(2)));
    }
}

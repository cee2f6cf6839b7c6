//! The system's description of a fault.

use std::fmt;

/// The kind of access of the instruction that faulted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultAccess {
    /// Reading.
    Read,
    /// Writing, or reading and writing in one instruction.
    Write,
    /// Fetching an instruction.
    Execute,
}

impl fmt::Display for FaultAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FaultAccess::Read => "read",
            FaultAccess::Write => "write",
            FaultAccess::Execute => "execute",
        })
    }
}

/// The platform's name for a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultCode {
    /// Unix: the signal and its `si_code` (sigaction(2)).
    Signal {
        /// `SIGSEGV` or `SIGBUS`.
        signo: i32,
        /// `SEGV_MAPERR`, `SEGV_ACCERR`, `BUS_ADRERR` and so on.
        si_code: i32,
    },
    /// Linux, [`Backend::UserfaultMonitor`](crate::Backend::UserfaultMonitor): a message of userfaultfd(2) with these
    /// flags (`UFFD_PAGEFAULT_FLAG_WRITE` and so on).
    Event {
        /// `arg.pagefault.flags` of the message.
        flags: u64,
    },
    /// Windows: the exception code (`EXCEPTION_RECORD`), for example `EXCEPTION_ACCESS_VIOLATION`, 0xC0000005.
    Exception(u32),
}

impl FaultCode {
    /// Returns the signal number, or the exception code as the signed number that Windows programs print.
    ///
    /// For an event, returns the number of its kind, 18.
    pub fn number(self) -> i32 {
        match self {
            // UFFD_EVENT_PAGEFAULT
            FaultCode::Event { .. } => 0x12,
            FaultCode::Signal { signo, .. } => signo,
            FaultCode::Exception(code) => code as i32,
        }
    }
}

impl fmt::Display for FaultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultCode::Signal { signo, si_code } => write!(f, "signal {signo}, code {si_code}"),
            FaultCode::Event { flags } => write!(f, "userfaultfd event, flags {flags:#x}"),
            FaultCode::Exception(code) => write!(f, "exception {code:#x}"),
        }
    }
}

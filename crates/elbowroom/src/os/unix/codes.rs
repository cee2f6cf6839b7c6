//! The meaning of error numbers, and advice for them.

use super::flavour;
use crate::plain::{FaultCode, OsCode};

pub(crate) fn is_out_of_memory(code: OsCode) -> bool {
    // mmap(2): EAGAIN is "too much memory has been locked", under mlockall(MCL_FUTURE).
    matches!(code.0, libc::ENOMEM | libc::EAGAIN)
}

pub(crate) fn is_address_in_use(code: OsCode) -> bool {
    code.0 == libc::EEXIST
}

pub(crate) fn is_unsupported(code: OsCode) -> bool {
    code.0 == libc::ENOSYS
}

/// Returns advice to a person after `code`.
pub(crate) fn advice(code: OsCode) -> Option<&'static str> {
    match code.0 {
        libc::ENOMEM => Some(flavour::OUT_OF_MEMORY_ADVICE),
        libc::EAGAIN => {
            Some("memory is locked as it is mapped (mlockall), and RLIMIT_MEMLOCK leaves no room")
        }
        libc::EEXIST => {
            Some("another mapping is there; choose another address, or let the system choose")
        }
        _ => None,
    }
}

/// Returns advice to a person after `code` refused a reservation.
pub(crate) fn reserve_advice(code: OsCode) -> Option<&'static str> {
    match code.0 {
        libc::ENOMEM => Some(
            "no gap of that size is free in the address space, or RLIMIT_AS or the number of mappings \
             (vm.max_map_count) leaves no room; ask for less, or raise that limit",
        ),
        _ => advice(code),
    }
}

/// Returns advice to a person after `code` refused a thread.
pub(crate) fn thread_advice(code: OsCode) -> Option<&'static str> {
    match code.0 {
        libc::EAGAIN => Some(
            "the user or the container has as many threads as it may (RLIMIT_NPROC, cgroup pids.max), or \
             memory for a stack ran out; ask for fewer threads",
        ),
        _ => advice(code),
    }
}

/// Returns the code of a touch of an uncommitted page: inaccessible memory, or missing memory.
pub(crate) fn fault_code(is_missing: bool) -> FaultCode {
    const SEGV_ACCERR: i32 = 2;
    const BUS_ADRERR: i32 = 2;
    let (signo, si_code) = match is_missing {
        true => (libc::SIGBUS, BUS_ADRERR),
        false => (libc::SIGSEGV, SEGV_ACCERR),
    };
    FaultCode::Signal { signo, si_code }
}

//! Faults: what they are like, and whether they reach their regions ([`status()`]).

use std::fmt;

use crate::error::{Cause, OsCode};
use crate::os::{self, Missing, Trap};
use crate::region::{Budget, RefusedBy};

pub(crate) mod access;
pub(crate) mod events;
pub(crate) mod fork;
pub(crate) mod frames;
mod histogram;
mod record;
pub(crate) mod registry;
mod report;
mod ring;
mod status;
mod trace;
mod trie;

pub use events::{Event, Outcome, Recorder};
pub use histogram::Histogram;
pub(crate) use histogram::Tally;
pub use status::{Handler, Place, Status, status};
pub use trace::TraceWriter;

/// What the instruction that faulted was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultAccess {
    /// Reading.
    Read,
    /// Writing, or reading and writing in one.
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

/// The platform's own name for a fault.
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
    /// The signal's number, or the exception code as the signed number that Windows programs print; of an event the
    /// number of its kind, 18.
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

/// A fault, however it came.
#[derive(Clone, Copy)]
pub(crate) struct Touch {
    pub(crate) address: usize,
    pub(crate) access: FaultAccess,
    pub(crate) code: FaultCode,
    /// Of memory that may not be accessed.
    pub(crate) is_inaccessible: bool,
    /// Of a page that a userfaultfd is to fill.
    pub(crate) is_missing: bool,
}

impl Touch {
    fn of(trap: &Trap) -> Touch {
        Touch {
            address: trap.address(),
            access: trap.access(),
            code: trap.code(),
            is_inaccessible: trap.is_page_fault(),
            is_missing: os::is_missing_page(trap),
        }
    }
}

impl From<Missing> for Touch {
    fn from(missing: Missing) -> Touch {
        let Missing { address, access, flags, .. } = missing;
        Touch { address, access, code: FaultCode::Event { flags }, is_inaccessible: false, is_missing: true }
    }
}

/// What becomes of a fault.
pub(crate) enum Decision {
    /// Continue the thread, as its context (perhaps changed) says.
    Resume,
    /// Not ours, or refused outside an accessor: the handlers that were there before ours are next.
    PassOn,
}

/// Why a fault in a region was not resolved: small enough for a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    PastEnd,
    Limit,
    Budget(RefusedBy),
    Filter,
    NotAPageFault,
    Protected,
    InOwnFilter,
    MonitorGone,
    TooManyFilters,
    Mappings(OsCode),
    Os(OsCode),
}

impl Refusal {
    /// As a number other than 0: the kind in the low byte, the system's code in the high half.
    pub(crate) fn pack(self) -> u64 {
        match self {
            Refusal::PastEnd => 1,
            Refusal::Limit => 2,
            Refusal::Filter => 3,
            Refusal::NotAPageFault => 4,
            Refusal::Protected => 5,
            Refusal::InOwnFilter => 6,
            Refusal::Os(OsCode(code)) => 7 | (u64::from(code as u32) << 32),
            Refusal::MonitorGone => 9,
            Refusal::TooManyFilters => 10,
            Refusal::Mappings(OsCode(code)) => 11 | (u64::from(code as u32) << 32),
            Refusal::Budget(RefusedBy(depth)) => 8 | (u64::from(depth) << 32),
        }
    }

    /// The inverse of [`pack`](Refusal::pack), for an accessor that found `packed` in its result register.
    pub(crate) fn unpack(packed: u64) -> Refusal {
        match packed & 0xff {
            1 => Refusal::PastEnd,
            2 => Refusal::Limit,
            3 => Refusal::Filter,
            4 => Refusal::NotAPageFault,
            5 => Refusal::Protected,
            6 => Refusal::InOwnFilter,
            9 => Refusal::MonitorGone,
            10 => Refusal::TooManyFilters,
            8 => Refusal::Budget(RefusedBy((packed >> 32) as u32)),
            11 => Refusal::Mappings(OsCode((packed >> 32) as u32 as i32)),
            _ => Refusal::Os(OsCode((packed >> 32) as u32 as i32)),
        }
    }

    /// The same with the figures of the region it happened in.
    pub(crate) fn cause(self, region: &Figures<'_>) -> Cause {
        match self {
            Refusal::PastEnd => Cause::OutOfRange { len: region.len },
            Refusal::Limit => {
                Cause::Limit { limit_bytes: region.commit_limit_bytes, committed_bytes: region.committed_bytes }
            }
            Refusal::Budget(by) => match region.budget {
                Some(budget) => Cause::Budget(budget.refused_by(by).clone()),
                // Only a region with a budget is refused by one.
                None => Cause::Filter,
            },
            Refusal::Filter => Cause::Filter,
            Refusal::NotAPageFault => Cause::NotAPageFault,
            Refusal::Protected => Cause::Protected,
            Refusal::InOwnFilter => Cause::InOwnFilter,
            Refusal::MonitorGone => Cause::MonitorGone,
            Refusal::TooManyFilters => Cause::TooManyFilters,
            Refusal::Mappings(code) => Cause::Mappings(code),
            Refusal::Os(code) => Cause::Os(code),
        }
    }
}

/// The figures of a region that a refusal quotes.
pub(crate) struct Figures<'a> {
    pub(crate) len: usize,
    pub(crate) commit_limit_bytes: usize,
    pub(crate) committed_bytes: usize,
    pub(crate) budget: Option<&'a Budget>,
}

/// Decides what becomes of a fault that the processor raised. Called by the system's handler on the thread that
/// faulted. In order:
///
/// 1. Is the address in a live region? ([`registry`]: lock-free, allocates nothing, costs the same however many regions
///    live.) If not, the fault is somebody else's: pass it on.
/// 2. Let the region resolve it (`Core::resolve`): a racing thread may have committed the page already; else ask the
///    filter, find the window, keep within the limit, commit.
/// 3. Resolved: run the instruction again.
/// 4. Refused, at an instruction of an accessor ([`access`]): continue behind it with the reason in a register.
/// 5. Refused anywhere else: say so on standard error, and pass the fault on, so that the process ends as it would
///    have.
///
/// Async-signal-safe but for the filter, which the docs of [`RegionBuilder::filter`](crate::RegionBuilder::filter)
/// place.
pub(crate) fn decide(trap: &mut Trap) -> Decision {
    let Some(region) = registry::pin(trap.address()) else { return Decision::PassOn };
    let touch = Touch::of(trap);
    let Err(refusal) = region.resolve(&touch) else { return Decision::Resume };
    if let Some(resume) = access::resume_after(trap.program_counter()) {
        trap.recover(resume, refusal.pack());
        return Decision::Resume;
    }
    // A plain touch that was declined works all the same if the page is committed, by now or by the filter itself; and
    // the default disposition, which counts on the fault happening again, would be left in place of our handler.
    if region.has_cured(&touch) {
        return Decision::Resume;
    }
    report::refused(&region, trap, refusal);
    Decision::PassOn
}

/// The handler and what it needs, held by each live region: installed with the first, removed with the last.
pub(crate) struct Armed {
    _private: (),
}

/// How many [`Armed`] there are.
static ARMED: std::sync::Mutex<usize> = std::sync::Mutex::new(0);

impl Armed {
    pub(crate) fn new() -> Result<Armed, OsCode> {
        let mut armed = ARMED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *armed == 0 {
            access::prepare();
            fork::prepare();
        }
        // Each time: somebody may have put a handler in front of ours that does not pass on.
        if let Err(code) = os::install_handler() {
            if *armed == 0 {
                // One of the two signals may have been done.
                os::handler::uninstall();
            }
            return Err(code);
        }
        *armed += 1;
        Ok(Armed { _private: () })
    }
}

/// Whether a region lives, and the handler is meant to be installed.
pub(crate) fn is_armed() -> bool {
    *ARMED.lock().unwrap_or_else(std::sync::PoisonError::into_inner) > 0
}

impl Drop for Armed {
    fn drop(&mut self) {
        let mut armed = ARMED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *armed -= 1;
        if *armed == 0 {
            os::handler::uninstall();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_survives_the_register() {
        let refusals = [
            Refusal::PastEnd,
            Refusal::Limit,
            Refusal::Filter,
            Refusal::NotAPageFault,
            Refusal::Protected,
            Refusal::InOwnFilter,
            Refusal::MonitorGone,
            Refusal::TooManyFilters,
            Refusal::Mappings(OsCode(12)),
            Refusal::Os(OsCode(12)),
            Refusal::Os(OsCode(-1)),
            Refusal::Os(OsCode(0)),
            Refusal::Budget(RefusedBy(0)),
            Refusal::Budget(RefusedBy(u32::MAX)),
        ];
        for refusal in refusals {
            assert_ne!(refusal.pack(), 0);
            assert_eq!(Refusal::unpack(refusal.pack()), refusal);
        }
    }
}

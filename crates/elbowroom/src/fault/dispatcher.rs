//! The process-wide fault handler: when it is installed, and how it handles a fault.

use super::fork::{self, AtFork, Kept, Rank};
use super::progress::{self, Progress};
use super::touch::Touch;
use super::{frames, registry, report};
use crate::error::{Cause, Error, Operation, Reason};
use crate::os::{self, Decision, Trap};
use crate::plain::OsCode;
use crate::sync::{QuietGuard, QuietMutex};

/// Decides how a fault that the processor raised is handled. The system's handler calls it on the faulting thread. In
/// order:
///
/// 1. Find the owner of the address ([`registry`]: lock-free, allocates nothing, takes the same time for any number of
///    owners). Without an owner, pass the fault on. If a filter has overrun its stack, report that first.
/// 2. Let the owner resolve the fault. Another thread may have committed the page already. Otherwise the owner asks its
///    filter, computes the window, keeps within the limits, and commits.
/// 3. If the fault was resolved, run the instruction again. The number of repeats without a change is bounded
///    ([`progress`]).
/// 4. If it was refused at an instruction of an accessor ([`access`](super::access)), continue behind that instruction
///    with the cause in a register.
/// 5. If it was refused anywhere else, write a line to standard error and pass the fault on. The
///    process then ends as it would have without this library.
///
/// Async-signal-safe, except for the filter; see
/// [`RegionBuilder::filter`](crate::RegionBuilder::filter).
fn decide(trap: &mut Trap) -> Decision {
    let Some(pin) = registry::pin(trap.address()) else {
        if frames::is_overrun(trap.address()) {
            report::overrun();
        }
        return Decision::PassOn;
    };
    let touch = Touch::of(trap);
    let (cause, is_stuck) = match pin.owner().resolve(&touch) {
        Ok(Progress::None { epoch })
            if progress::is_stuck(trap.program_counter(), touch.address, epoch) =>
        {
            (Reason::Protected.into(), true)
        }
        Ok(_) => return Decision::Resume,
        Err(cause) => (cause, false),
    };
    if let Some(resume) = os::resume_after(trap.program_counter()) {
        trap.recover(resume, cause.to_register());
        return Decision::Resume;
    }
    // A refused plain touch still works if the page is accessible by now, or if the filter itself has made it
    // accessible. Passing it on would replace our handler by the default action, which expects the fault to happen
    // again.
    if !is_stuck && pin.owner().is_accessible(&touch) {
        return Decision::Resume;
    }
    report::refused(pin.owner(), trap, cause);
    Decision::PassOn
}

/// Keeps the fault handler installed. Each live region has one: the first installs the handler, the
/// last to be dropped removes it.
pub(crate) struct Armed {
    _private: (),
}

/// The number of [`Armed`] objects. The lock also serialises all changes of the system's handler chain.
static ARMED: QuietMutex<usize> = QuietMutex::new(0);

fn lock() -> QuietGuard<'static, usize> {
    // A panic cannot leave a wrong count, because the count changes in one step.
    ARMED.lock()
}

impl Armed {
    pub(crate) fn new() -> Result<Armed, OsCode> {
        fork::register(Rank::Dispatcher, &STATE);
        let mut armed = lock();
        if *armed == 0 {
            os::sort_table();
            report::prepare();
        }
        // Installed again for each region: a handler that forwards nothing may be in front of ours.
        if let Err(code) = os::install_handler(decide) {
            if *armed == 0 {
                // One of the two signals may already have our handler.
                os::handler::uninstall();
            }
            return Err(code);
        }
        *armed += 1;
        Ok(Armed { _private: () })
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        let mut armed = lock();
        *armed -= 1;
        if *armed == 0 {
            os::handler::uninstall();
        }
    }
}

/// Puts the library's fault handler in front of all others again.
///
/// Call it after the program has installed a handler that does not forward faults it does not recognise. Creating a
/// region has the same effect. Without a living region it does nothing.
///
/// ```
/// // The program has just installed its crash handler.
/// elbowroom::fault::reinstall()?;
/// # Ok::<(), elbowroom::Error>(())
/// ```
///
/// # Errors
/// Returns the system's error. The handler then keeps its place.
///
/// # Platform differences
/// On Windows the handler is put first in the list when it is installed, and this function changes nothing.
pub fn reinstall() -> Result<(), Error> {
    let armed = lock();
    if *armed == 0 {
        return Ok(());
    }
    os::install_handler(decide)
        .map_err(|code| Error::new(Operation::InstallHandler, 0..0, Cause::os(code)))
}

/// Returns where our handler stands, for each way in which the system reports faults.
pub(super) fn places() -> Vec<(&'static str, super::Place)> {
    let armed = lock();
    let places = os::handler::places().into_iter();
    let place = |(kind, place)| match *armed {
        // A handler that could not be removed forwards every fault.
        0 => (kind, super::Place::Absent),
        _ => (kind, place),
    };
    places.map(place).collect()
}

/// The lock of the dispatcher, across a fork.
struct AtForkOfDispatcher(Kept<QuietGuard<'static, usize>>);

static AT_FORK: AtForkOfDispatcher = AtForkOfDispatcher(Kept::new());

static STATE: &dyn AtFork = &AT_FORK;

#[allow(unsafe_code, reason = "a lock that is held across a fork has no guard")]
impl AtFork for AtForkOfDispatcher {
    fn hold(&self) {
        let armed = lock();
        // SAFETY: this thread holds ARMED, which every caller of these methods takes first.
        unsafe { self.0.keep(armed) };
    }

    unsafe fn let_go(&self) {
        // SAFETY: kept in `hold` by this thread or the one that it is a copy of (contract).
        drop(unsafe { self.0.take() });
    }
}

//! Commits that Windows refuses temporarily.
//!
//! The commit limit is not fixed. If the system manages the paging file, a commit that reaches the limit fails and
//! makes the file grow; a little later, the same commit works. So it is attempted again for half a second. If the limit
//! does not move (a paging file of fixed size, a job object), that half second is spent once. For ten seconds after
//! that, refusals are final at once, so that a process at its limit is not slowed down.

use std::sync::atomic::{AtomicU64, Ordering};

use windows_sys::Win32::Foundation::ERROR_COMMITMENT_LIMIT;
use windows_sys::Win32::System::SystemInformation::GetTickCount64;
use windows_sys::Win32::System::Threading::Sleep;

use crate::plain::OsCode;

/// The pauses between attempts, in milliseconds: half a second in all.
const PAUSES_MS: [u32; 7] = [5, 10, 20, 40, 80, 160, 185];

/// The time after failed attempts during which refusals are final at once.
const RESIGNED_MS: u64 = 10_000;

/// The time of the last failed attempts, in milliseconds since the system was started, or 0.
static GIVEN_UP_MS: AtomicU64 = AtomicU64::new(0);

/// Attempts a commit until it works, fails for another reason, or has been attempted long enough. It takes no lock and
/// allocates nothing, so it can run in the exception handler.
pub(super) fn until_it_works(attempt: impl FnMut() -> Result<(), OsCode>) -> Result<(), OsCode> {
    // SAFETY: GetTickCount64 has no preconditions.
    let now = || unsafe { GetTickCount64() };
    // SAFETY: Sleep has no preconditions.
    let pause = |milliseconds| unsafe { Sleep(milliseconds) };
    repeat(&GIVEN_UP_MS, now, pause, attempt)
}

fn repeat(
    given_up_ms: &AtomicU64,
    now: impl Fn() -> u64,
    mut pause: impl FnMut(u32),
    mut attempt: impl FnMut() -> Result<(), OsCode>,
) -> Result<(), OsCode> {
    let is_passing =
        |result: &Result<(), OsCode>| *result == Err(OsCode(ERROR_COMMITMENT_LIMIT as i32));
    let mut result = attempt();
    if !is_passing(&result) {
        return result;
    }
    let before = given_up_ms.load(Ordering::Relaxed);
    if before != 0 && now().saturating_sub(before) < RESIGNED_MS {
        return result;
    }
    for milliseconds in PAUSES_MS {
        pause(milliseconds);
        result = attempt();
        if !is_passing(&result) {
            return result;
        }
    }
    given_up_ms.store(now().max(1), Ordering::Relaxed);
    result
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use windows_sys::Win32::Foundation::ERROR_INVALID_ADDRESS;

    use super::*;

    const LIMIT: Result<(), OsCode> = Err(OsCode(ERROR_COMMITMENT_LIMIT as i32));

    /// A machine with a simulated clock, which refuses a number of attempts.
    struct Machine {
        given_up_ms: AtomicU64,
        now_ms: Cell<u64>,
        attempts: Cell<u32>,
    }

    impl Machine {
        fn commit(&self, refusals: u32, refusal: Result<(), OsCode>) -> Result<(), OsCode> {
            self.attempts.set(0);
            let pause = |milliseconds| self.now_ms.set(self.now_ms.get() + u64::from(milliseconds));
            repeat(
                &self.given_up_ms,
                || self.now_ms.get(),
                pause,
                || {
                    self.attempts.set(self.attempts.get() + 1);
                    if self.attempts.get() <= refusals {
                        refusal
                    } else {
                        Ok(())
                    }
                },
            )
        }
    }

    fn machine() -> Machine {
        Machine {
            given_up_ms: AtomicU64::new(0),
            now_ms: Cell::new(1000),
            attempts: Cell::new(0),
        }
    }

    #[test]
    fn a_refusal_that_passes_is_overcome() {
        for refusals in 0..=7 {
            let machine = machine();
            assert_eq!(machine.commit(refusals, LIMIT), Ok(()));
            assert_eq!(machine.attempts.get(), refusals + 1);
        }
    }

    #[test]
    fn one_that_stays_costs_half_a_second_in_ten() {
        let machine = machine();
        assert_eq!(machine.commit(u32::MAX, LIMIT), LIMIT);
        assert_eq!((machine.attempts.get(), machine.now_ms.get()), (8, 1500));
        for _ in 0..100 {
            assert_eq!(machine.commit(u32::MAX, LIMIT), LIMIT);
            assert_eq!((machine.attempts.get(), machine.now_ms.get()), (1, 1500));
        }
        machine.now_ms.set(1500 + RESIGNED_MS);
        assert_eq!(machine.commit(3, LIMIT), Ok(()));
    }

    #[test]
    fn other_refusals_are_final() {
        let machine = machine();
        let refusal = Err(OsCode(ERROR_INVALID_ADDRESS as i32));
        assert_eq!(machine.commit(1, refusal), refusal);
        assert_eq!((machine.attempts.get(), machine.now_ms.get()), (1, 1000));
    }
}

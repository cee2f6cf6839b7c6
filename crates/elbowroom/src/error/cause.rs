//! The one list of reasons for a refusal, small enough for a register.

use crate::budget::Steps;
use crate::os;
use crate::plain::OsCode;

/// Declares the reasons once: the enum, and the array that maps a number back to its reason.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The reason why an operation or a touch was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            const ALL: &[Reason] = &[$(Reason::$name),*];
        }
    };
}

reasons! {
    /// A length of zero.
    Empty,
    /// The length, rounded up and with its bookkeeping, is not a number of bytes that can be addressed.
    TooLarge,
    /// The range is inverted or reaches past the end.
    OutOfRange,
    /// An alignment that is not a power of two.
    NotAPowerOfTwo,
    /// An address that is not a multiple of the alignment.
    Misaligned,
    /// The range has a page that is not committed.
    NotCommitted,
    /// A guard holds a page of the range.
    Held,
    /// The commit limit leaves no room.
    Limit,
    /// A budget leaves no room. The number is its distance in steps above the region's own budget.
    Budget,
    /// A container is at its maximum.
    Full,
    /// The filter of the region declined.
    Filter,
    /// The backend cannot fill a page before other threads see it.
    CannotFill,
    /// The touch raised something other than a page fault.
    NotAPageFault,
    /// The page is committed, but its protection forbids the access.
    Protected,
    /// A filter touched an uncommitted page of its own region, or released the region.
    InOwnFilter,
    /// No thread is left to run the filter.
    FilterThreadGone,
    /// The maximum number of filters runs at once, and this touch is in one of them.
    TooManyFilters,
    /// The process has the maximum number of mappings. The number is the system's code.
    Mappings,
    /// The system offers no userfaultfd that raises signals. The number is its code.
    Userfault,
    /// The system offers no userfaultfd that reports events. The number is its code.
    UserfaultEvents,
    /// The operating system refused. The number is its code.
    Os,
}

/// A reason, and the number that belongs to it: an error code of the system, or the steps to a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    reason: Reason,
    // 0 if the reason has no number.
    number: u32,
}

impl Cause {
    /// Returns the refusal by the operating system with this code.
    pub(crate) fn os(code: OsCode) -> Cause {
        Cause::with_code(Reason::Os, code)
    }

    /// Returns the refusal of a commit by the operating system: whether memory ran out or the mappings of the process.
    pub(crate) fn of_commit(code: OsCode) -> Cause {
        if os::is_out_of_memory(code) && os::is_out_of_mappings() {
            Cause::with_code(Reason::Mappings, code)
        } else {
            Cause::os(code)
        }
    }

    /// Returns a refusal whose number is a code of the operating system.
    pub(crate) fn with_code(reason: Reason, code: OsCode) -> Cause {
        Cause {
            reason,
            number: code.0 as u32,
        }
    }

    /// Returns the refusal by the budget that lies this far above the region's own.
    pub(crate) fn budget(steps: Steps) -> Cause {
        Cause {
            reason: Reason::Budget,
            number: steps.0,
        }
    }

    pub(crate) fn reason(self) -> Reason {
        self.reason
    }

    /// Returns the code of the operating system, if it was the operating system that refused.
    pub(crate) fn code(self) -> Option<OsCode> {
        match self.reason {
            Reason::Mappings | Reason::Userfault | Reason::UserfaultEvents | Reason::Os => {
                Some(OsCode(self.number as i32))
            }
            _ => None,
        }
    }

    /// Returns which budget refused, if a budget did.
    pub(crate) fn steps(self) -> Option<Steps> {
        (self.reason == Reason::Budget).then_some(Steps(self.number))
    }

    /// Returns the cause as the word that an accessor finds in its result register: never 0, which
    /// means that the access was made.
    pub(crate) fn to_register(self) -> u64 {
        u64::from(self.number) << 32 | (self.reason as u64 + 1)
    }

    /// Returns the cause that [`to_register`](Cause::to_register) packed into this word.
    pub(crate) fn from_register(word: u64) -> Cause {
        let index = (word & 0xff) as usize;
        let reason = Reason::ALL.get(index.wrapping_sub(1));
        Cause {
            reason: reason.copied().unwrap_or(Reason::Os),
            number: (word >> 32) as u32,
        }
    }
}

impl From<Reason> for Cause {
    fn from(reason: Reason) -> Cause {
        Cause { reason, number: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_survives_the_register() {
        let reasons = Reason::ALL.iter().map(|&reason| Cause::from(reason));
        let codes = [0, 12, -1, i32::MAX, i32::MIN].map(|code| Cause::os(OsCode(code)));
        let budgets = [0, u32::MAX].map(|steps| Cause::budget(Steps(steps)));
        for cause in reasons.chain(codes).chain(budgets) {
            assert_ne!(cause.to_register(), 0);
            assert_eq!(Cause::from_register(cause.to_register()), cause);
        }
    }
}

//! The one error type: the operation, its bytes, the cause of the refusal, and the system's error.

use std::fmt;
use std::io;
use std::ops::Range;

use crate::budget::Budget;
use crate::os::{self, userfault};
use crate::plain::{OsCode, Size};

mod cause;

pub(crate) use cause::{Cause, Reason};

/// The operation that returned an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Reserving address space.
    Reserve,
    /// Committing pages.
    Commit,
    /// Decommitting pages.
    Decommit,
    /// Charging a [`Budget`] for memory that the library does not commit itself.
    Charge,
    /// Changing the access of committed pages.
    Protect,
    /// Releasing a reservation.
    Release,
    /// Reading through an accessor such as [`Region::try_read`](crate::Region::try_read).
    Read,
    /// Writing through an accessor such as [`Region::try_write`](crate::Region::try_write).
    Write,
    /// Installing the process-wide fault handler.
    InstallHandler,
    /// Setting up a region's [`Backend`](crate::Backend).
    SetUpBackend,
    /// Starting the [filter threads](crate::RegionBuilder::filter_threads) of a region.
    StartFilterThreads,
}

impl Operation {
    fn verb(self) -> &'static str {
        match self {
            Operation::Reserve => "reserve",
            Operation::Commit => "commit",
            Operation::Decommit => "decommit",
            Operation::Charge => "charge",
            Operation::Protect => "protect",
            Operation::Release => "release",
            Operation::Read => "read",
            Operation::Write => "write",
            Operation::InstallHandler => "install the fault handler for",
            Operation::SetUpBackend => "set up userfaultfd for",
            Operation::StartFilterThreads => "start the filter threads for",
        }
    }
}

/// The figures that the text of an error quotes besides its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Quoted {
    Nothing,
    /// The code of the operating system.
    Code(OsCode),
    /// The length in bytes, for a range outside it.
    Len(usize),
    /// The required alignment of the address, in bytes.
    Alignment(usize),
    Limit {
        limit_bytes: usize,
        committed_bytes: usize,
    },
    /// The maximum of a container, in elements or bytes.
    Maximum {
        max: usize,
        unit: &'static str,
    },
    /// The budget that refused.
    Budget(Budget),
}

/// A refused operation: the operation, its bytes, and the cause of the refusal.
///
/// The predicates (`is_limit()`, `is_out_of_memory()` and so on) tell the causes apart. The text suggests a remedy. If
/// the operating system refused, [`source`](std::error::Error::source) returns its error and
/// [`os_code`](Error::os_code) its number. Creating an error allocates nothing.
///
/// ```
/// use elbowroom::{Region, page_size};
///
/// let region = Region::builder(80 * page_size()).commit_limit(page_size()).build()?;
/// region.try_write(0, 1u8)?;
/// let error = region.try_write(page_size(), 2u8).unwrap_err();
/// assert!(error.is_limit());
/// assert_eq!(error.offset(), page_size());
/// # Ok::<(), elbowroom::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    operation: Operation,
    range: Range<usize>,
    cause: Cause,
    quoted: Quoted,
}

impl Error {
    pub(crate) fn new(operation: Operation, range: Range<usize>, cause: impl Into<Cause>) -> Error {
        let cause = cause.into();
        Error {
            operation,
            range,
            cause,
            quoted: cause.code().map_or(Quoted::Nothing, Quoted::Code),
        }
    }

    /// Returns the refusal of a range that is not inside `0..len`.
    pub(crate) fn out_of_range(operation: Operation, range: Range<usize>, len: usize) -> Error {
        Error::new(operation, range, Reason::OutOfRange).quoting(Quoted::Len(len))
    }

    /// Returns the refusal of an address that must be a multiple of `alignment` bytes.
    pub(crate) fn misaligned(operation: Operation, range: Range<usize>, alignment: usize) -> Error {
        Error::new(operation, range, Reason::Misaligned).quoting(Quoted::Alignment(alignment))
    }

    /// Returns the refusal by a commit limit.
    pub(crate) fn limit(
        operation: Operation,
        range: Range<usize>,
        limit_bytes: usize,
        committed_bytes: usize,
    ) -> Error {
        let quoted = Quoted::Limit {
            limit_bytes,
            committed_bytes,
        };
        Error::new(operation, range, Reason::Limit).quoting(quoted)
    }

    /// Returns the refusal by a budget.
    pub(crate) fn budget_refused(
        operation: Operation,
        range: Range<usize>,
        budget: &Budget,
    ) -> Error {
        Error::new(operation, range, Reason::Budget).quoting(Quoted::Budget(budget.clone()))
    }

    /// Returns the refusal by a container that is at its maximum.
    pub(crate) fn full(
        operation: Operation,
        range: Range<usize>,
        max: usize,
        unit: &'static str,
    ) -> Error {
        Error::new(operation, range, Reason::Full).quoting(Quoted::Maximum { max, unit })
    }

    fn quoting(self, quoted: Quoted) -> Error {
        Error { quoted, ..self }
    }

    /// Returns the same refusal of another operation.
    pub(crate) fn during(self, operation: Operation) -> Error {
        Error { operation, ..self }
    }

    /// Returns the same refusal for other bytes.
    pub(crate) fn about(self, range: Range<usize>) -> Error {
        Error { range, ..self }
    }

    /// Returns the operation that was refused.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// Returns the bytes that the operation was for, as offsets from the base of the reservation or region.
    ///
    /// For a reservation that was not made, this is `0..len` as asked. For an accessor, it runs from the first byte
    /// that could not be touched to the end of the access. The bytes before it were read or written, none after.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Returns the start of [`range`](Error::range). For an accessor, this is the first byte that could not be touched.
    pub fn offset(&self) -> usize {
        self.range.start
    }

    /// Returns the operating system's error number: `errno` on Unix, `GetLastError` on Windows.
    ///
    /// Returns `None` if the refusal did not come from the operating system.
    pub fn os_code(&self) -> Option<i32> {
        self.cause.code().map(|code| code.0)
    }

    /// Returns whether a limit set by the program refused.
    ///
    /// Such limits are a [`commit_limit`](crate::RegionBuilder::commit_limit), a [`budget`](Error::budget), or the
    /// maximum that a container was built with.
    pub fn is_limit(&self) -> bool {
        matches!(
            self.cause.reason(),
            Reason::Limit | Reason::Budget | Reason::Full
        )
    }

    /// Returns the budget that refused, if a budget did.
    pub fn budget(&self) -> Option<&Budget> {
        match &self.quoted {
            Quoted::Budget(budget) => Some(budget),
            _ => None,
        }
    }

    /// Returns whether the region's filter answered [`Verdict::Decline`](crate::Verdict::Decline), or its
    /// [filter thread](crate::RegionBuilder::filter_threads) has ended.
    pub fn is_declined(&self) -> bool {
        matches!(
            self.cause.reason(),
            Reason::Filter | Reason::FilterThreadGone
        )
    }

    /// Returns whether the operating system has run out of memory, commit charge, address space, or (on Linux)
    /// mappings.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self.cause.reason(), Reason::Os | Reason::Mappings)
            && self.operation != Operation::StartFilterThreads
            && self.cause.code().is_some_and(os::is_out_of_memory)
    }

    /// Returns whether the process has reached the system's limit on mappings.
    ///
    /// On Linux, each separate run of committed pages is a mapping, and a process may have `vm.max_map_count` of them.
    /// [`Backend::Userfault`](crate::Backend::Userfault) needs no additional mappings.
    pub fn is_out_of_mappings(&self) -> bool {
        self.cause.reason() == Reason::Mappings
    }

    /// Returns whether the range is empty where it must not be, inverted, larger than the address space, or past the
    /// end.
    pub fn is_invalid_range(&self) -> bool {
        matches!(
            self.cause.reason(),
            Reason::Empty | Reason::TooLarge | Reason::OutOfRange
        )
    }

    /// Returns whether the alignment is not a power of two, or the address not a multiple of the alignment.
    pub fn is_invalid_alignment(&self) -> bool {
        matches!(
            self.cause.reason(),
            Reason::Misaligned | Reason::NotAPowerOfTwo
        )
    }

    /// Returns whether something else is mapped at the exact address that was asked for.
    pub fn is_address_in_use(&self) -> bool {
        self.cause.reason() == Reason::Os && self.cause.code().is_some_and(os::is_address_in_use)
    }

    /// Returns whether the operation needs committed pages and found a page that is not committed.
    pub fn is_not_committed(&self) -> bool {
        self.cause.reason() == Reason::NotCommitted
    }

    /// Returns whether a [`HeldRange`](crate::HeldRange) holds a page of the range, so that it cannot be decommitted.
    pub fn is_held(&self) -> bool {
        self.cause.reason() == Reason::Held
    }

    /// Returns whether the page is committed but its protection forbids the access.
    ///
    /// The library does not commit a page again over a protection that the program has set.
    pub fn is_protected(&self) -> bool {
        self.cause.reason() == Reason::Protected
    }

    /// Returns whether this platform, or the region's [`Backend`](crate::Backend), lacks the operation.
    pub fn is_unsupported(&self) -> bool {
        self.cause.reason() == Reason::CannotFill
            || self.cause.code().is_some_and(os::is_unsupported)
    }

    /// Returns the kind of [`io::Error`] that fits.
    ///
    /// `OutOfMemory` for a limit of the program or of the system, `InvalidInput` for a range or an alignment,
    /// `PermissionDenied` where a filter or a protection refused, `AddrInUse`, `Unsupported`, and otherwise `Other`.
    /// The predicates are more precise.
    pub fn kind(&self) -> io::ErrorKind {
        if self.is_limit() || self.is_out_of_memory() {
            io::ErrorKind::OutOfMemory
        } else if self.is_invalid_range() || self.is_invalid_alignment() || self.is_not_committed()
        {
            io::ErrorKind::InvalidInput
        } else if self.is_declined() || self.is_protected() {
            io::ErrorKind::PermissionDenied
        } else if self.is_address_in_use() {
            io::ErrorKind::AddrInUse
        } else if self.is_unsupported() {
            io::ErrorKind::Unsupported
        } else {
            io::ErrorKind::Other
        }
    }

    /// Returns the part of the text with the cause of the refusal and a remedy.
    pub(crate) fn why(&self) -> impl fmt::Display + '_ {
        struct Why<'a>(&'a Error);
        impl fmt::Display for Why<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt_why(f)
            }
        }
        Why(self)
    }

    fn fmt_why(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.cause.reason(), &self.quoted) {
            (_, Quoted::Len(len)) => {
                write!(
                    f,
                    "the range is not inside the {:#} there are",
                    Size(*len as u64)
                )
            }
            (_, Quoted::Alignment(alignment)) => write!(
                f,
                "the address must be a multiple of {alignment} bytes, the alignment"
            ),
            (
                _,
                Quoted::Limit {
                    limit_bytes,
                    committed_bytes,
                },
            ) => write!(
                f,
                "the commit limit of {:#} leaves no room, with {:#} committed; raise the limit or decommit pages",
                Size(*limit_bytes as u64),
                Size(*committed_bytes as u64),
            ),
            (_, Quoted::Budget(budget)) => write!(
                f,
                "the budget {:?} of {:#} leaves no room, with {:#} committed; raise it or decommit pages",
                budget.name(),
                Size(budget.limit_bytes() as u64),
                Size(budget.committed_bytes() as u64),
            ),
            (_, Quoted::Maximum { max, unit }) => {
                write!(
                    f,
                    "that is more than its maximum of {max} {unit}; make it with a larger one"
                )
            }
            (reason, Quoted::Nothing) | (reason @ Reason::Mappings, Quoted::Code(_)) => {
                f.write_str(text(reason))
            }
            (reason, &Quoted::Code(code)) => {
                write!(f, "{code}")?;
                let advice = match reason {
                    Reason::Userfault => Some(userfault::userfault_advice(code, false)),
                    Reason::UserfaultEvents => Some(userfault::userfault_advice(code, true)),
                    _ => match self.operation {
                        Operation::Reserve => os::reserve_advice(code),
                        Operation::StartFilterThreads => os::thread_advice(code),
                        _ => os::advice(code),
                    },
                };
                advice.map_or(Ok(()), |advice| write!(f, "; {advice}"))
            }
        }
    }
}

/// Returns the text of a reason that needs no figures.
fn text(reason: Reason) -> &'static str {
    match reason {
        Reason::Empty => "the length is zero; ask for at least one byte",
        Reason::TooLarge => "that is more than can be addressed; ask for less",
        Reason::OutOfRange => "the range is not inside the bytes there are",
        Reason::NotAPowerOfTwo => "the alignment is not a power of two",
        Reason::Misaligned => "the address is not a multiple of the alignment",
        Reason::NotCommitted => "a page in it is not committed; commit the range first",
        Reason::Held => "a HeldRange holds a page of it; drop that guard first",
        Reason::Limit => "the commit limit leaves no room; raise the limit or decommit pages",
        Reason::Budget => "a budget leaves no room; raise it or decommit pages",
        Reason::Full => "that is more than its maximum; make it with a larger one",
        Reason::Filter => "the region's filter declined",
        Reason::CannotFill => {
            "this backend cannot fill a page before other threads see it; make the region with Backend::Userfault or \
             Backend::UserfaultMonitor (Linux)"
        }
        Reason::NotAPageFault => {
            "it raised something other than a page fault, which a commit cannot cure"
        }
        Reason::Protected => "the page is committed, but its protection forbids this access",
        Reason::InOwnFilter => "it was done from inside the region's own filter",
        Reason::FilterThreadGone => {
            "no filter thread is left to ask: the filter panicked, or this is a forked child"
        }
        Reason::TooManyFilters => {
            "1024 filters run at once, and it was done from inside one of them"
        }
        Reason::Mappings => {
            "the process has as many mappings as it may (vm.max_map_count), and each separate run of committed pages \
             is one; commit in fewer, larger pieces, raise that limit, or use Backend::Userfault, which takes none"
        }
        Reason::Userfault | Reason::UserfaultEvents => "the system gives no userfaultfd",
        Reason::Os => "the operating system refused",
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = &self.range;
        write!(f, "cannot {} ", self.operation.verb())?;
        match end.saturating_sub(*start) {
            0 | 1 => write!(f, "byte {start}")?,
            bytes if *start == 0 => write!(f, "{:#}", Size(bytes as u64))?,
            bytes => write!(f, "{:#} at byte {start}", Size(bytes as u64))?,
        }
        write!(f, ": {}", self.why())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("operation", &self.operation)
            .field("range", &self.range)
            .field("cause", &self.cause)
            .field("quoted", &self.quoted)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.quoted {
            Quoted::Code(code) => Some(code),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    /// Wraps the error, which keeps its text and its predicates, in an [`io::Error`] of its [`kind`](Error::kind).
    fn from(error: Error) -> io::Error {
        io::Error::new(error.kind(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people_with_the_bytes_behind() {
        for (range, text) in [
            (0..128 << 20, "cannot reserve 128 MiB (134217728 bytes): "),
            (
                4096..12 << 10,
                "cannot reserve 8 KiB (8192 bytes) at byte 4096: ",
            ),
            (12..16, "cannot reserve 4 bytes at byte 12: "),
            (7..8, "cannot reserve byte 7: "),
        ] {
            let error = Error::new(Operation::Reserve, range, Reason::TooLarge);
            assert!(error.to_string().starts_with(text), "{error}");
        }
        let error = Error::limit(Operation::Commit, 0..1, 64 << 10, 5000);
        let text =
            "the commit limit of 64 KiB (65536 bytes) leaves no room, with 5000 bytes committed; ";
        assert!(error.to_string().contains(text), "{error}");
    }
}

//! The one error type: what was asked, of which bytes, who refused, and what the system said.

use std::fmt;
use std::io;
use std::ops::Range;

use crate::os;
use crate::region::Budget;

/// What was being done when an [`Error`] arose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Reserving address space.
    Reserve,
    /// Committing pages.
    Commit,
    /// Decommitting pages.
    Decommit,
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
    /// Starting the threads of a [`monitored`](crate::RegionBuilder::monitored) region.
    StartMonitor,
}

impl Operation {
    fn verb(self) -> &'static str {
        match self {
            Operation::Reserve => "reserve",
            Operation::Commit => "commit",
            Operation::Decommit => "decommit",
            Operation::Protect => "protect",
            Operation::Release => "release",
            Operation::Read => "read",
            Operation::Write => "write",
            Operation::InstallHandler => "install the fault handler for",
            Operation::SetUpBackend => "set up userfaultfd for",
            Operation::StartMonitor => "start the monitor threads for",
        }
    }
}

/// Why an operation was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A length of zero.
    Empty,
    /// The length, rounded up and with its bookkeeping, is not a number of bytes that can be addressed.
    TooLarge,
    /// The range is inverted or reaches past the end, at `len` bytes.
    OutOfRange { len: usize },
    /// An alignment that is not a power of two, or an address that is not a multiple of `of` bytes.
    Misaligned { of: usize },
    /// The range has a page that is not committed.
    NotCommitted,
    /// The commit limit leaves no room.
    Limit { limit_bytes: usize, committed_bytes: usize },
    /// This budget leaves no room.
    Budget(Budget),
    /// A container holds as many as it was made for.
    Full { max: usize, unit: &'static str },
    /// The region's filter declined.
    Filter,
    /// The touch raised something other than a page fault.
    NotAPageFault,
    /// The page is committed, but its protection forbids the access.
    Protected,
    /// A filter touched an uncommitted page of its own region, or released it.
    InOwnFilter,
    /// No monitor thread is left to run the filter.
    MonitorGone,
    /// As many filters run at once as can, and this touch is in one of them.
    TooManyFilters,
    /// The process has as many mappings as the system allows, which answered with this code.
    Mappings(OsCode),
    /// There is no userfaultfd to be had, for events or for signals; the system answered with this code.
    Userfault { code: OsCode, for_events: bool },
    /// The operating system refused, with the code beside.
    Os(OsCode),
}

/// An error number of the operating system: `errno` on Unix, `GetLastError` on Windows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct OsCode(pub(crate) i32);

impl fmt::Display for OsCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == os::UNSUPPORTED {
            return f.write_str("not supported on this system");
        }
        io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

impl fmt::Debug for OsCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OsCode({}: {self})", self.0)
    }
}

impl std::error::Error for OsCode {}

/// A refusal: the operation, the bytes it was for, and the reason.
///
/// The predicates (`is_limit()`, `is_out_of_memory()` and so on) tell the reasons apart; the text tells a person what
/// to try. Where the operating system refused, [`source`](std::error::Error::source) is its error and
/// [`os_code`](Error::os_code) its number. Making one allocates nothing.
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
}

impl Error {
    pub(crate) fn new(operation: Operation, range: Range<usize>, cause: Cause) -> Error {
        Error { operation, range, cause }
    }

    /// The same refusal, of other bytes.
    pub(crate) fn about(self, range: Range<usize>) -> Error {
        Error { range, ..self }
    }

    /// What was being done.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// The bytes it was for, from the base of the reservation or region. For a reservation that was not made, `0..len`
    /// as asked. For an accessor, from the first byte that could not be touched to the end of the access: the bytes
    /// before it are done, none after.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// The start of [`range`](Error::range): for an accessor, the first byte that could not be touched.
    pub fn offset(&self) -> usize {
        self.range.start
    }

    /// The operating system's error number, where it was the operating system that refused: `errno` on Unix,
    /// `GetLastError` on Windows.
    pub fn os_code(&self) -> Option<i32> {
        self.cause.code().map(|code| code.0)
    }

    /// A limit set by the program refused: [`commit_limit`](crate::RegionBuilder::commit_limit), a
    /// [`budget`](Error::budget), or the maximum that a container was made with.
    pub fn is_limit(&self) -> bool {
        matches!(self.cause, Cause::Limit { .. } | Cause::Budget(_) | Cause::Full { .. })
    }

    /// The budget that refused, if one did.
    pub fn budget(&self) -> Option<&Budget> {
        match &self.cause {
            Cause::Budget(budget) => Some(budget),
            _ => None,
        }
    }

    /// The region's own filter answered [`Verdict::Decline`](crate::Verdict::Decline), or the thread that runs it
    /// ([`monitored`](crate::RegionBuilder::monitored)) is gone.
    pub fn is_declined(&self) -> bool {
        matches!(self.cause, Cause::Filter | Cause::MonitorGone)
    }

    /// The operating system has no more to give: memory, commit charge, address space, or (on Linux) mappings.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self.cause, Cause::Os(code) | Cause::Mappings(code) if os::is_out_of_memory(code))
    }

    /// What the operating system has no more of is mappings, not memory: on Linux, each separate run of committed pages
    /// is one, of which a process may have `vm.max_map_count`. [`Backend::Userfault`](crate::Backend::Userfault) takes
    /// none.
    pub fn is_out_of_mappings(&self) -> bool {
        matches!(self.cause, Cause::Mappings(_))
    }

    /// The range is empty where it must not be, inverted, larger than the address space, or past the end.
    pub fn is_invalid_range(&self) -> bool {
        matches!(self.cause, Cause::Empty | Cause::TooLarge | Cause::OutOfRange { .. })
    }

    /// The alignment is not a power of two, or the address is not a multiple of it.
    pub fn is_invalid_alignment(&self) -> bool {
        matches!(self.cause, Cause::Misaligned { .. })
    }

    /// The exact address asked for is taken.
    pub fn is_address_in_use(&self) -> bool {
        matches!(self.cause, Cause::Os(code) if os::is_address_in_use(code))
    }

    /// The operation needs committed pages and found one that is not.
    pub fn is_not_committed(&self) -> bool {
        matches!(self.cause, Cause::NotCommitted)
    }

    /// The page is committed, and somebody took away the access that was tried. It is not committed again over that.
    pub fn is_protected(&self) -> bool {
        matches!(self.cause, Cause::Protected)
    }

    /// This platform cannot do it.
    pub fn is_unsupported(&self) -> bool {
        matches!(self.cause, Cause::Os(code) | Cause::Userfault { code, .. } if os::is_unsupported(code))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = &self.range;
        write!(f, "cannot {} ", self.operation.verb())?;
        match end.saturating_sub(*start) {
            0 | 1 => write!(f, "byte {start}")?,
            bytes => write!(f, "bytes {start}..{end} ({bytes} bytes)")?,
        }
        f.write_str(": ")?;
        self.cause.fmt(f)
    }
}

impl Cause {
    /// What the operating system answered, if it was asked.
    fn code(&self) -> Option<&OsCode> {
        match self {
            Cause::Os(code) | Cause::Mappings(code) | Cause::Userfault { code, .. } => Some(code),
            _ => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Empty => f.write_str("the length is zero; ask for at least one byte"),
            Cause::TooLarge => f.write_str("that is more than can be addressed; ask for less"),
            Cause::OutOfRange { len } => write!(f, "the range is not inside the {len} bytes there are"),
            Cause::Misaligned { of } => {
                write!(f, "the address or alignment must be a multiple of {of} (a power of two)")
            }
            Cause::NotCommitted => f.write_str("a page in it is not committed; commit the range first"),
            Cause::Limit { limit_bytes, committed_bytes } => write!(
                f,
                "the commit limit of {limit_bytes} bytes leaves no room ({committed_bytes} committed); \
                 raise the limit or decommit pages"
            ),
            Cause::Budget(budget) => write!(
                f,
                "the budget {:?} of {} bytes leaves no room ({} committed); raise it or decommit pages",
                budget.name(),
                budget.limit_bytes(),
                budget.committed_bytes(),
            ),
            Cause::Full { max, unit } => write!(f, "its maximum of {max} {unit} is reached; make it with a larger one"),
            Cause::Filter => f.write_str("the region's filter declined"),
            Cause::NotAPageFault => {
                f.write_str("it raised something other than a page fault, which a commit cannot cure")
            }
            Cause::Protected => f.write_str("the page is committed, but its protection forbids this access"),
            Cause::MonitorGone => {
                f.write_str("no monitor thread is left to ask: its filter panicked, or this is a forked child")
            }
            Cause::TooManyFilters => f.write_str("1024 filters run at once, and it was done from inside one of them"),
            Cause::InOwnFilter => f.write_str("it was done from inside the region's own filter"),
            Cause::Mappings(_) => f.write_str(
                "the process has as many mappings as it may (vm.max_map_count), and each separate run of committed \
                 pages is one; commit in fewer, larger pieces, raise that limit, or use Backend::Userfault, which \
                 takes none",
            ),
            Cause::Userfault { code, for_events } => write!(f, "{code}; {}", os::userfault_advice(*code, *for_events)),
            Cause::Os(code) => {
                write!(f, "{code}")?;
                match os::advice(*code) {
                    Some(advice) => write!(f, "; {advice}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("operation", &self.operation)
            .field("range", &self.range)
            .field("cause", &self.cause)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.code().map(|code| code as &(dyn std::error::Error + 'static))
    }
}

impl From<Error> for io::Error {
    /// Keeps the text and the predicates: the error is the [`io::Error`]'s inner one.
    fn from(error: Error) -> io::Error {
        let kind = if error.is_limit() || error.is_out_of_memory() {
            io::ErrorKind::OutOfMemory
        } else if error.is_invalid_range() || error.is_invalid_alignment() || error.is_not_committed() {
            io::ErrorKind::InvalidInput
        } else if error.is_declined() || error.is_protected() {
            io::ErrorKind::PermissionDenied
        } else if error.is_unsupported() {
            io::ErrorKind::Unsupported
        } else {
            io::ErrorKind::Other
        };
        io::Error::new(kind, error)
    }
}

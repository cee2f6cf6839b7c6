//! The one error type: the operation, the bytes and the store, and the cause of the refusal.

use std::fmt;
use std::io;
use std::ops::Range;

use elbowroom::Size;

/// The operation that returned an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Opening an array.
    Open,
    /// Bringing pages into memory.
    Read,
    /// Lending or changing elements for writing.
    Write,
    /// Writing changed pages to the store, to make room or for a flush.
    WriteBack,
    /// Making written bytes durable.
    Flush,
    /// Changing the length.
    Resize,
    /// Sorting to another array.
    Sort,
}

impl Operation {
    fn verb(self) -> &'static str {
        match self {
            Operation::Open => "open",
            Operation::Read => "read",
            Operation::Write => "write",
            Operation::WriteBack => "write back",
            Operation::Flush => "flush",
            Operation::Resize => "resize",
            Operation::Sort => "sort",
        }
    }
}

#[derive(Debug)]
pub(crate) enum Cause {
    /// No page can be committed, and none can be evicted.
    NoRoom(elbowroom::Error),
    /// A page has as many guards as can be counted.
    TooManyGuards,
    /// A guard for writing was leaked, so the page may still be written.
    Lent,
    /// The length is more than the maximum that the array was opened with. The number is the maximum in elements.
    Full(usize),
    /// A guard was leaked, so the page cannot be taken away.
    Pinned,
    /// The store has other contents than at opening.
    Changed(String),
    Io(io::Error),
    ReadOnly,
    /// The elements are not inside the array: their indices, and the length of the array.
    OutOfRange(Range<usize>, usize),
    /// An invalid option or location.
    Invalid(String),
    Unsupported(String),
}

/// A refused operation: the operation, the bytes and the store, and the cause of the refusal.
///
/// The predicates (`is_limit()`, `is_changed()` and so on) tell the causes apart. The text suggests a remedy. After an
/// error the array works as before, and the next access tries again.
///
/// ```
/// use elbowroom_pager::PagedArray;
///
/// let error = PagedArray::<u32>::open("/no/such/file").unwrap_err();
/// assert_eq!(error.io_error().unwrap().kind(), std::io::ErrorKind::NotFound);
/// assert!(error.to_string().starts_with("cannot open /no/such/file: "));
/// ```
pub struct Error {
    // Boxed: an error is rare, and a result of a word or two is cheap to pass on.
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    operation: Operation,
    location: Box<str>,
    range: Range<u64>,
    cause: Cause,
}

impl Error {
    pub(crate) fn new(
        operation: Operation,
        location: &str,
        range: Range<u64>,
        cause: Cause,
    ) -> Error {
        let inner = Inner {
            operation,
            location: location.into(),
            range,
            cause,
        };
        Error {
            inner: Box::new(inner),
        }
    }

    /// Returns the refusal to open a location.
    pub(crate) fn invalid(location: &str, reason: impl Into<String>) -> Error {
        Error::new(
            Operation::Open,
            location,
            0..0,
            Cause::Invalid(reason.into()),
        )
    }

    /// Returns the operation that was refused.
    pub fn operation(&self) -> Operation {
        self.inner.operation
    }

    /// Returns the bytes of the store that the operation was for. Empty if it was not for particular bytes.
    ///
    /// These may be other bytes than the caller asked for: room for a page is made by writing back another page, whose
    /// failure is a [`WriteBack`](Operation::WriteBack) error.
    pub fn range(&self) -> Range<u64> {
        self.inner.range.clone()
    }

    /// Returns the path or URL of the store, as it was given.
    pub fn location(&self) -> &str {
        &self.inner.location
    }

    /// Returns whether a limit refused: the resident limit or a budget, and no page can be evicted; or the length that
    /// the array was opened for; or the number of guards on one page.
    pub fn is_limit(&self) -> bool {
        match &self.inner.cause {
            Cause::NoRoom(refusal) => refusal.is_limit(),
            Cause::TooManyGuards | Cause::Full(_) => true,
            _ => false,
        }
    }

    /// Returns whether the system has run out of memory, address space or mappings.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(&self.inner.cause, Cause::NoRoom(refusal) if refusal.is_out_of_memory())
    }

    /// Returns whether another program has changed the contents of the store since the array was opened.
    pub fn is_changed(&self) -> bool {
        matches!(self.inner.cause, Cause::Changed(_))
    }

    /// Returns whether the array or its store is not writable.
    pub fn is_read_only(&self) -> bool {
        matches!(self.inner.cause, Cause::ReadOnly)
    }

    /// Returns whether the elements are not inside the array.
    pub fn is_out_of_range(&self) -> bool {
        matches!(self.inner.cause, Cause::OutOfRange(..))
    }

    /// Returns whether a guard that was leaked, as by [`std::mem::forget`], is in the way.
    pub fn is_pinned(&self) -> bool {
        matches!(self.inner.cause, Cause::Lent | Cause::Pinned)
    }

    /// Returns whether an option, or the combination of options and store, is invalid.
    pub fn is_invalid(&self) -> bool {
        matches!(self.inner.cause, Cause::Invalid(_))
    }

    /// Returns whether this build, platform or store lacks the operation.
    pub fn is_unsupported(&self) -> bool {
        match &self.inner.cause {
            Cause::Unsupported(_) => true,
            Cause::NoRoom(refusal) => refusal.is_unsupported(),
            Cause::Io(error) => error.kind() == io::ErrorKind::Unsupported,
            _ => false,
        }
    }

    /// Returns the error of the store or the system, if it refused.
    pub fn io_error(&self) -> Option<&io::Error> {
        match &self.inner.cause {
            Cause::Io(error) => Some(error),
            _ => None,
        }
    }

    /// Returns the refusal of the commit, if memory was refused. [`elbowroom::Error::budget`] names the budget.
    pub fn memory_error(&self) -> Option<&elbowroom::Error> {
        match &self.inner.cause {
            Cause::NoRoom(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Returns the kind of [`io::Error`] that fits, for code that passes errors on in this form.
    pub fn kind(&self) -> io::ErrorKind {
        match &self.inner.cause {
            Cause::Io(error) => error.kind(),
            Cause::NoRoom(refusal) => refusal.kind(),
            Cause::TooManyGuards | Cause::Full(_) => io::ErrorKind::OutOfMemory,
            Cause::ReadOnly => io::ErrorKind::PermissionDenied,
            Cause::OutOfRange(..) | Cause::Invalid(_) => io::ErrorKind::InvalidInput,
            Cause::Unsupported(_) => io::ErrorKind::Unsupported,
            Cause::Changed(_) => io::ErrorKind::InvalidData,
            Cause::Lent | Cause::Pinned => io::ErrorKind::Other,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            operation,
            location,
            range,
            cause,
        } = &*self.inner;
        write!(f, "cannot {} ", operation.verb())?;
        if !range.is_empty() {
            let size = Size(range.end - range.start);
            write!(f, "{size:#} at byte {} of ", range.start)?;
        }
        write!(f, "{location}: ")?;
        match cause {
            Cause::NoRoom(refusal) if refusal.is_limit() => write!(
                f,
                "there is no room, and guards or other users of the limit hold all that there is; drop guards, ask \
                 for less at once, or raise the limit ({refusal})"
            ),
            Cause::NoRoom(refusal) => write!(f, "there is no memory for it ({refusal})"),
            Cause::TooManyGuards => {
                f.write_str("a page has 65535 guards, which is the most; drop some of them")
            }
            Cause::Lent => f.write_str(
                "a guard for writing was leaked, so its elements may change at any time; drop guards",
            ),
            Cause::Pinned => f.write_str("a guard was leaked, so its elements must stay; drop guards"),
            Cause::Full(max) => write!(
                f,
                "the array was opened for at most {max} elements; open it with a larger `max_len`"
            ),
            Cause::Changed(how) => write!(
                f,
                "it was changed by another program ({how}); open it again to see what it is now"
            ),
            Cause::Io(error) => {
                write!(f, "{error}")?;
                match operation {
                    Operation::WriteBack => f.write_str(
                        "; the changed pages stay in memory, and the next flush tries again",
                    ),
                    _ => Ok(()),
                }
            }
            Cause::ReadOnly => f.write_str("it is read-only; open it with `writable(true)`"),
            Cause::OutOfRange(asked, len) => write!(
                f,
                "elements {}..{} are not inside the {len} elements there are",
                asked.start, asked.end
            ),
            Cause::Invalid(reason) | Cause::Unsupported(reason) => f.write_str(reason),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("operation", &self.inner.operation)
            .field("location", &self.inner.location)
            .field("range", &self.inner.range)
            .field("cause", &self.inner.cause)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.inner.cause {
            Cause::Io(error) => Some(error),
            Cause::NoRoom(refusal) => Some(refusal),
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

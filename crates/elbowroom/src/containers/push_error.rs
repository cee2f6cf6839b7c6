//! The error of a refused push, with its element.

use std::error;
use std::fmt;

use crate::error::Error;

/// An element that a container had no memory for, and the reason.
///
/// The operator `?` converts it into the [`Error`], and drops the element.
///
/// ```
/// use elbowroom::{Error, ReservedVec};
///
/// let mut queue = ReservedVec::with_max_len(1);
/// queue.try_push(String::from("first"))?;
/// let refused = queue.try_push(String::from("second")).unwrap_err();
/// assert!(refused.error().is_limit());
/// assert_eq!(refused.into_value(), "second");
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PushError<T> {
    value: T,
    error: Error,
}

impl<T> PushError<T> {
    pub(super) fn new(value: T, error: Error) -> PushError<T> {
        PushError { value, error }
    }

    /// Returns why the element was not taken.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// Returns the element.
    pub fn into_value(self) -> T {
        self.value
    }

    /// Returns the element and the error.
    pub fn into_parts(self) -> (T, Error) {
        (self.value, self.error)
    }
}

impl<T> From<PushError<T>> for Error {
    fn from(refusal: PushError<T>) -> Error {
        refusal.error
    }
}

impl<T> fmt::Display for PushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> fmt::Debug for PushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushError")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl<T> error::Error for PushError<T> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.error.source()
    }
}

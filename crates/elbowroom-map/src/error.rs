//! Errors.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Gone,
    Forbidden,
    Other,
}

/// An error of reading a process or finding a region. The text suggests a remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    cause: Cause,
    message: String,
}

#[allow(dead_code, reason = "a platform makes those that it can tell apart")]
impl Error {
    pub(crate) fn gone(message: String) -> Error {
        Error {
            cause: Cause::Gone,
            message,
        }
    }

    pub(crate) fn forbidden(message: String) -> Error {
        Error {
            cause: Cause::Forbidden,
            message,
        }
    }

    pub(crate) fn other(message: impl Into<String>) -> Error {
        Error {
            cause: Cause::Other,
            message: message.into(),
        }
    }

    /// Returns whether there is no such process, or it ended while it was read.
    pub fn is_gone(&self) -> bool {
        self.cause == Cause::Gone
    }

    /// Returns whether the system does not permit this program to read the process.
    pub fn is_forbidden(&self) -> bool {
        self.cause == Cause::Forbidden
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

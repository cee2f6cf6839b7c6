//! Error numbers of the operating system.

use std::fmt;
use std::io;

/// An error number of the operating system: `errno` on Unix, `GetLastError` on Windows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct OsCode(pub(crate) i32);

impl OsCode {
    /// Not supported on this system. No system uses this number.
    pub(crate) const UNSUPPORTED: OsCode = OsCode(i32::MIN);
}

impl fmt::Display for OsCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == OsCode::UNSUPPORTED {
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

//! Failures, as codes and as text.

#![allow(unsafe_code, reason = "writes what C points to, and exports functions")]

use std::ffi::{CStr, c_char};

/// The result of an operation: success, or the reason of the failure.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum er_code {
    /// The operation succeeded.
    ER_OK = 0,
    /// An argument is null or invalid.
    ER_INVALID_ARGUMENT = 1,
    /// The range is empty, inverted, or not inside the object.
    ER_INVALID_RANGE = 2,
    /// An alignment is not a power of two, or an address not a multiple of it.
    ER_INVALID_ALIGNMENT = 3,
    /// A limit that the program set refused: a commit limit, a budget or a maximum.
    ER_LIMIT = 4,
    /// The filter of the region declined.
    ER_DECLINED = 5,
    /// The system has no more memory, commit charge or address space.
    ER_OUT_OF_MEMORY = 6,
    /// The process has as many mappings as the system allows (Linux: vm.max_map_count).
    ER_OUT_OF_MAPPINGS = 7,
    /// Something else lies at the address.
    ER_ADDRESS_IN_USE = 8,
    /// A page is not committed.
    ER_NOT_COMMITTED = 9,
    /// The page is committed, and its protection forbids the access.
    ER_PROTECTED = 10,
    /// The platform lacks the operation.
    ER_UNSUPPORTED = 11,
    /// The system refused for another reason; `os_code` says which.
    ER_OS = 12,
}

/// The size of a message in bytes, including the zero byte at its end.
pub const ER_MESSAGE_BYTES: usize = 512;

/// A failure. A function fills it if it fails, and leaves it unchanged otherwise.
#[repr(C)]
pub struct er_error {
    /// The code that the function returned.
    pub code: er_code,
    /// The number of the system's error: errno, or GetLastError on Windows. 0 if the system did not refuse.
    pub os_code: i32,
    /// The offset of the first byte for which the operation failed.
    pub offset: usize,
    /// The number of bytes from there on.
    pub size: usize,
    /// The operation, the reason of the failure and a remedy, in UTF-8, truncated if it is too long.
    pub message: [c_char; ER_MESSAGE_BYTES],
}

/// The reason why a function failed.
pub(crate) enum Failure {
    Room(room::Error),
    /// An invalid argument, with the text of the error.
    Argument(String),
}

impl From<room::Error> for Failure {
    fn from(error: room::Error) -> Failure {
        Failure::Room(error)
    }
}

/// Returns the failure of an argument that must not be null.
pub(crate) fn null(argument: &str) -> Failure {
    Failure::Argument(format!("`{argument}` is null"))
}

fn code_of(error: &room::Error) -> er_code {
    if error.is_limit() {
        er_code::ER_LIMIT
    } else if error.is_declined() {
        er_code::ER_DECLINED
    } else if error.is_out_of_mappings() {
        er_code::ER_OUT_OF_MAPPINGS
    } else if error.is_out_of_memory() {
        er_code::ER_OUT_OF_MEMORY
    } else if error.is_invalid_range() {
        er_code::ER_INVALID_RANGE
    } else if error.is_invalid_alignment() {
        er_code::ER_INVALID_ALIGNMENT
    } else if error.is_address_in_use() {
        er_code::ER_ADDRESS_IN_USE
    } else if error.is_not_committed() {
        er_code::ER_NOT_COMMITTED
    } else if error.is_protected() {
        er_code::ER_PROTECTED
    } else if error.is_unsupported() {
        er_code::ER_UNSUPPORTED
    } else {
        er_code::ER_OS
    }
}

/// Returns the code of a result. On a failure, fills the error, unless it is null.
///
/// # Safety
/// `error` is null or points to an `er_error` that this thread alone uses. It need not be initialised.
pub(crate) unsafe fn report(error: *mut er_error, result: Result<(), Failure>) -> er_code {
    let failure = match result {
        Ok(()) => return er_code::ER_OK,
        Err(failure) => failure,
    };
    let (code, os_code, range, text) = match &failure {
        Failure::Room(error) => {
            let os_code = error.os_code().unwrap_or(0);
            (code_of(error), os_code, error.range(), error.to_string())
        }
        Failure::Argument(text) => (er_code::ER_INVALID_ARGUMENT, 0, 0..0, text.clone()),
    };
    if !error.is_null() {
        let mut message = [0; ER_MESSAGE_BYTES];
        let fits = end_of_character(&text, ER_MESSAGE_BYTES - 1);
        for (to, from) in message.iter_mut().zip(&text.as_bytes()[..fits]) {
            *to = *from as c_char;
        }
        let filled = er_error {
            code,
            os_code,
            offset: range.start,
            size: range.end.saturating_sub(range.start),
            message,
        };
        // SAFETY: the pointer is not null, so it points to an aligned `er_error` that this thread alone uses (contract
        // of this function). The old value has no destructor, so it need not be initialised.
        unsafe { error.write(filled) };
    }
    code
}

/// Returns the last end of a character at or before a byte.
fn end_of_character(text: &str, at: usize) -> usize {
    // `str::floor_char_boundary` needs Rust 1.91.
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Returns the text that a pointer points to, or the empty text for null.
///
/// # Safety
/// `text` is null or points to bytes that end with a zero byte and do not change while the reference lives.
pub(crate) unsafe fn text<'a>(text: *const c_char, name: &str) -> Result<&'a str, Failure> {
    if text.is_null() {
        return Ok("");
    }
    // SAFETY: the pointer is not null, so it points to bytes that end with zero and do not change while the reference
    // lives (contract of this function).
    let bytes = unsafe { CStr::from_ptr(text) };
    bytes
        .to_str()
        .map_err(|_| Failure::Argument(format!("`{name}` is not UTF-8")))
}

/// Returns the name of a code, such as `"ER_LIMIT"`. It lives as long as the program.
#[unsafe(no_mangle)]
pub extern "C" fn er_code_name(code: i32) -> *const c_char {
    let name = match code {
        0 => c"ER_OK",
        1 => c"ER_INVALID_ARGUMENT",
        2 => c"ER_INVALID_RANGE",
        3 => c"ER_INVALID_ALIGNMENT",
        4 => c"ER_LIMIT",
        5 => c"ER_DECLINED",
        6 => c"ER_OUT_OF_MEMORY",
        7 => c"ER_OUT_OF_MAPPINGS",
        8 => c"ER_ADDRESS_IN_USE",
        9 => c"ER_NOT_COMMITTED",
        10 => c"ER_PROTECTED",
        11 => c"ER_UNSUPPORTED",
        12 => c"ER_OS",
        _ => c"unknown code",
    };
    name.as_ptr()
}

//! Structures of options, whose first member is their size, so that later versions can have more members.

#![allow(unsafe_code, reason = "reads what C points to")]

use std::mem::MaybeUninit;
use std::{ptr, slice};

use crate::error::Failure;

/// A structure of options.
///
/// # Safety
/// The type is `repr(C)`, begins with a `usize`, and consists of integers and pointers (of functions: in an `Option`),
/// so that zero bytes are a valid value.
pub(crate) unsafe trait Options: Copy {}

/// Reads options. Members that the caller's version lacks are zero. For null, all members are zero.
///
/// # Errors
/// Fails if the size is impossible, or if a member that this version does not know is not zero.
///
/// # Safety
/// `options` is null or points to a `usize` that is followed by the rest of a structure of that size in bytes, which is
/// valid for reading and initialised.
pub(crate) unsafe fn read<T: Options>(options: *const T) -> Result<T, Failure> {
    let mut known = MaybeUninit::<T>::zeroed();
    if !options.is_null() {
        // SAFETY: the pointer is not null, so it points to a `usize` that is valid for reading (contract of this
        // function).
        let size = unsafe { options.cast::<usize>().read() };
        if size < size_of::<usize>() || size > 4096 {
            let advice = "set the member `size` to the size of the structure";
            return Err(Failure::Argument(format!(
                "the options have the size {size}; {advice}"
            )));
        }
        let len = size.min(size_of::<T>());
        // SAFETY: `size` bytes are valid for reading (contract of this function), and these are the first `len` of
        // them. `known` has room for them, and does not overlap them, because it was made here.
        unsafe { ptr::copy_nonoverlapping(options.cast::<u8>(), known.as_mut_ptr().cast(), len) };
        // SAFETY: `size` bytes are valid for reading and initialised (contract of this function). They are at most
        // 4096, as checked above.
        let all = unsafe { slice::from_raw_parts(options.cast::<u8>(), size) };
        if all[len..].iter().any(|&byte| byte != 0) {
            let text =
                "the options ask for something that this version of the library does not know";
            return Err(Failure::Argument(text.into()));
        }
    }
    // SAFETY: zero bytes are a valid `T` (contract of the trait). The bytes copied over them are those of the C
    // structure with the same members, which the caller has initialised (contract of this function).
    Ok(unsafe { known.assume_init() })
}

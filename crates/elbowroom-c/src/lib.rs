//! The C interface of elbowroom. `include/elbowroom.h` is generated from this crate, and documents it for C.
//!
//! Handles are opaque pointers. A function that can fail returns a code and, if the caller passes one, fills an
//! `er_error`. A panic inside the library ends the process with its message, because it cannot unwind into C.
//!
//! In the sections on safety, a *living* handle was made by a function of this library and not freed since. A *valid*
//! pointer is aligned, points to an object of its type, and no other thread uses that object during the call. A
//! *string* ends with a zero byte and does not change during the call.

#![allow(
    unsafe_code,
    reason = "exports functions by their names, which no other library has"
)]
#![allow(
    non_camel_case_types,
    reason = "the names are those of the C interface"
)]

pub mod arena;
pub mod budget;
mod container;
pub mod error;
pub mod fault;
pub mod filter;
mod handle;
mod options;
pub mod region;
pub mod reservation;
pub mod vec;

/// Returns the size of a page in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn er_page_size() -> usize {
    room::page_size()
}

/// Returns the alignment of a reservation's base in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn er_allocation_granularity() -> usize {
    room::allocation_granularity()
}

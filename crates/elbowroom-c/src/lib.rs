//! The C interface of elbowroom. `include/elbowroom.h` is made from this crate, and documents it for C.
//!
//! Handles are opaque pointers. A function that can fail returns a code and, if it is given one, fills an
//! `er_error`. A panic inside ends the process with its message, since it cannot unwind into C.

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

//! Instructions that may fault and be refused: one `asm!` block each, entered in the exception table.
//!
//! An accessor stores, loads or copies in one asm block, which writes its first and last address into the table
//! (`access_entry!`). If the fault handler refuses a fault at an address in between, it makes the thread continue at
//! the end of the block, with the refusal in the first result register (rax, x0), which the block has set to 0. No Rust
//! frame is skipped and no destructor missed: to the compiler, the block has returned one of two values.
//!
//! The compiler must assume that each block reads and writes any memory: none of them is `nomem` or `readonly`, not
//! even the loads. So a filter that runs in the middle of a block is like a function that the block calls: it may write
//! memory that the code around the access reads, such as a thread-local variable. To other threads, each block is a
//! sequence of plain loads and stores. An aligned access of up to 8 bytes is indivisible.
//!
//! Plain accesses (`plain_store_*`, `plain_load_*`) are for pages that are committed and stay so. They have no entry in
//! the table. A fault of theirs finds the page committed, and no filter is asked; so a plain load may be `readonly`.
//!
//! The bytes touched before a refusal are known exactly. Single loads and stores are naturally aligned, so each lies in
//! one page. Copies go upwards and keep the number of bytes left in a register.

#![allow(unsafe_code, reason = "asm that touches memory which may not be there")]

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod copied;
#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
mod unsupported;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
use aarch64 as arch;
#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
use unsupported as arch;
#[cfg(target_arch = "x86_64")]
use x86_64 as arch;

pub(crate) use arch::{
    copy_from_region, copy_to_region, fill, load_1, load_2, load_4, load_8, plain_load_1,
    plain_load_2, plain_load_4, plain_load_8, plain_store_1, plain_store_2, plain_store_4,
    plain_store_8, store_1, store_2, store_4, store_8,
};

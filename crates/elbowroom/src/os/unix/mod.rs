//! Linux and macOS: the common part, from POSIX, and the choice between the two for the rest.

#![allow(unsafe_code, reason = "memory mappings and signals are C interfaces")]

mod codes;
mod errno;
pub(crate) mod handler;
mod memory;
pub(super) mod process;
mod signals;
mod size;
mod stack;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;

#[cfg(target_os = "linux")]
use linux as flavour;
#[cfg(target_os = "macos")]
use macos as flavour;

pub(crate) use codes::{
    advice, fault_code, is_address_in_use, is_out_of_memory, is_unsupported, reserve_advice,
    thread_advice,
};
pub(crate) use flavour::{
    Trap, advise_huge, allows, discard, is_out_of_mappings, limits, may_keep_access, name,
    populate, refuse_huge, set_in_core_dumps, thread_number, threads_that_block_faults, wait,
    wake_one,
};
#[cfg(target_os = "linux")]
pub(crate) use flavour::{
    Userfault, cure, is_in_system_call, is_missing_page, poison, userfault_advice,
};
pub(crate) use memory::{commit, decommit, protect, release, reserve, uncommit};
pub(crate) use process::{at_fork, thread_token, write_stderr};
pub(crate) use signals::{SignalsBlocked, alternate_stack_bytes};
pub(crate) use size::{address_space, addresses_left, granularity, huge_page_size, page_size};
pub(crate) use stack::FilterStack;

//! The options that arenas and vectors share.

#![allow(unsafe_code, reason = "follows pointers of C")]

use std::ffi::c_char;

use room::ContainerBuilder;

use crate::budget::er_budget;
use crate::error::{Failure, text};

/// Returns the builder with the options of C: a limit of 0 and null pointers leave it as it is.
///
/// # Safety
/// `budget` is null or a living budget, `name` null or a string.
pub(crate) unsafe fn configured<C>(
    builder: ContainerBuilder<C>,
    commit_limit: usize,
    budget: *const er_budget,
    name: *const c_char,
) -> Result<ContainerBuilder<C>, Failure> {
    // SAFETY: the name is null or a string (contract of this function).
    let mut builder = builder.name(unsafe { text(name, "name") }?);
    if commit_limit > 0 {
        builder = builder.commit_limit(commit_limit);
    }
    // SAFETY: the budget is null or living (contract of this function).
    if let Some(budget) = unsafe { budget.as_ref() } {
        builder = builder.budget(&budget.0);
    }
    Ok(builder)
}

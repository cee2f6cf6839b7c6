//! Limits on what several regions, vectors and arenas commit together.

#![allow(unsafe_code, reason = "follows handles of C, and exports functions")]

use std::ffi::c_char;

use room::Budget;

use crate::error::{er_code, er_error, text};
use crate::handle::{create, take_back};

/// A budget. Thread-safe. Regions that are charged to it keep it alive, so it may be freed before them.
pub struct er_budget(pub(crate) Budget);

/// What a budget has.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct er_budget_stats {
    /// How many bytes may be committed at once.
    pub limit: usize,
    /// How many bytes are committed.
    pub committed: usize,
    /// The most that was ever charged at once.
    pub peak: usize,
    /// How many bytes may still be committed before this budget or one above it refuses.
    pub available: usize,
}

/// Makes a budget of `bytes`, rounded down to whole pages, inside `parent` unless that is null. The name may be null.
///
/// # Safety
/// `parent` is null or a living budget, `name` null or a string, `out` valid, `error` null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_budget_new(
    bytes: usize,
    parent: *const er_budget,
    name: *const c_char,
    out: *mut *mut er_budget,
    error: *mut er_error,
) -> er_code {
    let make = || {
        // SAFETY: a string or null (contract of this function).
        let name = unsafe { text(name, "name") }?;
        let mut builder = Budget::builder(bytes).name(name);
        // SAFETY: null or a living budget (contract of this function).
        if let Some(parent) = unsafe { parent.as_ref() } {
            builder = builder.child_of(&parent.0);
        }
        Ok(er_budget(builder.build()))
    };
    // SAFETY: null or valid for writing, and null or a valid error (contract of this function).
    unsafe { create(out, error, make) }
}

/// Gives the handle back. Null is ignored.
///
/// # Safety
/// `budget` is null or a living budget, which the program does not use again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_budget_free(budget: *mut er_budget) {
    // SAFETY: a living handle that nothing uses any more, or null (contract of this function).
    drop(unsafe { take_back(budget) });
}

/// Returns what the budget has; all zero for null.
///
/// # Safety
/// `budget` is null or a living budget.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_budget_get_stats(budget: *const er_budget) -> er_budget_stats {
    // SAFETY: a living budget or null (contract of this function).
    let Some(er_budget(budget)) = (unsafe { budget.as_ref() }) else {
        return er_budget_stats::default();
    };
    er_budget_stats {
        limit: budget.limit_bytes(),
        committed: budget.committed_bytes(),
        peak: budget.peak_bytes(),
        available: budget.available_bytes(),
    }
}

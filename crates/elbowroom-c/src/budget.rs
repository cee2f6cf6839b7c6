//! Limits on what several regions, vectors and arenas commit together.

#![allow(unsafe_code, reason = "follows handles of C, and exports functions")]

use std::ffi::{c_char, c_void};

use room::{Budget, Charge};

use crate::error::{Failure, er_code, er_error, null, text};
use crate::handle::{User, create, take_back};
use crate::options::{Options, read};

/// A budget. Thread-safe. What is charged to it keeps it alive, so it may be freed before that.
pub struct er_budget(pub(crate) Budget);

/// Called each time that what is committed of a budget reaches the threshold, having been less. It is called after the
/// commit, on the thread that committed: if that was a page fault, in the middle of the touch, with what `er_filter`
/// says of that. Several threads may be in it at once.
///
/// `budget` is valid until it returns, and must not be freed through this pointer.
pub type er_budget_callback =
    Option<unsafe extern "C-unwind" fn(budget: *const er_budget, user: *mut c_void)>;

/// What a budget should be like. Set `size` to the size of the structure; zero in any other member is the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct er_budget_options {
    /// The size of this structure in bytes.
    pub size: usize,
    /// A budget that this one is a part of, or null: what is charged to this one is charged to that one as well.
    pub parent: *const er_budget,
    /// A name for messages, or null. Copied.
    pub name: *const c_char,
    /// The number of committed bytes, rounded up to whole pages, that `on_reaching` is called at.
    pub threshold: usize,
    /// Called when the threshold is reached, or null.
    pub on_reaching: er_budget_callback,
    /// Handed to `on_reaching`. What it points to must live as long as the budget.
    pub user: *mut c_void,
}

// SAFETY: `repr(C)`, a `usize` first, and integers, pointers and an optional function.
unsafe impl Options for er_budget_options {}

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

/// Makes a budget of `bytes`, rounded down to whole pages. The options may be null.
///
/// # Safety
/// `options` is null or valid, with a parent that lives, a name that is a string, and a callback that does what
/// `er_budget_callback` asks; `out` is valid, `error` null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_budget_new(
    bytes: usize,
    options: *const er_budget_options,
    out: *mut *mut er_budget,
    error: *mut er_error,
) -> er_code {
    let make = || {
        // SAFETY: null or valid options with their size (contract of this function).
        let options = unsafe { read(options) }?;
        // SAFETY: a string or null (contract of this function).
        let name = unsafe { text(options.name, "name") }?;
        let mut builder = Budget::builder(bytes).name(name);
        // SAFETY: null or a living budget (contract of this function).
        if let Some(parent) = unsafe { options.parent.as_ref() } {
            builder = builder.child_of(&parent.0);
        }
        if let Some(callback) = options.on_reaching {
            let user = User(options.user);
            builder = builder.on_reaching(options.threshold, move |budget| {
                let budget = er_budget(budget.clone());
                // SAFETY: a function of the program that takes a budget, which lives until it returns, and the pointer
                // that came with it (contract of this function). It does not unwind (`er_budget_callback`).
                unsafe { callback(&raw const budget, user.get()) };
            });
        } else if options.threshold > 0 {
            let text = "`threshold` is set, and `on_reaching` is null; set both or neither";
            return Err(Failure::Argument(text.into()));
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

/// Bytes that are charged to a budget for memory that the library does not commit: what the program's own allocator
/// has, or a file that it maps.
pub struct er_charge(Charge);

/// Charges `bytes`, rounded up to whole pages, to the budget and those above it, or to none of them.
///
/// # Safety
/// `budget` is null or a living budget, `out` valid, `error` null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_budget_charge(
    budget: *const er_budget,
    bytes: usize,
    out: *mut *mut er_charge,
    error: *mut er_error,
) -> er_code {
    let make = || {
        // SAFETY: null or a living budget (contract of this function).
        let er_budget(budget) = unsafe { budget.as_ref() }.ok_or_else(|| null("budget"))?;
        Ok(er_charge(budget.charge(bytes)?))
    };
    // SAFETY: null or valid for writing, and null or a valid error (contract of this function).
    unsafe { create(out, error, make) }
}

/// Refunds the charge. Null is ignored.
///
/// # Safety
/// `charge` is null or a living charge, which the program does not use again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_charge_free(charge: *mut er_charge) {
    // SAFETY: a living handle that nothing uses any more, or null (contract of this function).
    drop(unsafe { take_back(charge) });
}

/// Returns how many bytes are charged: whole pages; 0 for null.
///
/// # Safety
/// `charge` is null or a living charge.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_charge_bytes(charge: *const er_charge) -> usize {
    // SAFETY: null or a living charge (contract of this function).
    unsafe { charge.as_ref() }.map_or(0, |charge| charge.0.bytes())
}

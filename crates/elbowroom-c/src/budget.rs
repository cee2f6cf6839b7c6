//! Limits on what several regions, vectors and arenas commit together.

#![allow(unsafe_code, reason = "follows handles of C, and exports functions")]

use std::ffi::{c_char, c_void};

use room::{Budget, Charge};

use crate::error::{Failure, er_code, er_error, null, text};
use crate::handle::{User, create, take_back};
use crate::options::{Options, read};

/// A budget. Thread-safe. Objects and charges keep their budget alive, so the handle may be freed before them.
pub struct er_budget(pub(crate) Budget);

/// Called each time the committed bytes of a budget rise from below the threshold to the threshold or more. It runs
/// after the commit, on the thread that committed. After a page fault, it runs in the middle of the touch, under the
/// rules of `er_filter`. Several threads may call it at once.
///
/// `budget` is valid until it returns, and must not be freed through this pointer.
pub type er_budget_callback =
    Option<unsafe extern "C-unwind" fn(budget: *const er_budget, user: *mut c_void)>;

/// The options of a budget. Set `size` to the size of the structure. Zero in any other member selects the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct er_budget_options {
    /// The size of this structure in bytes.
    pub size: usize,
    /// The parent, or null. Charges to this budget are also charged to the parent.
    pub parent: *const er_budget,
    /// A name for messages, or null. The library copies it.
    pub name: *const c_char,
    /// The number of committed bytes at which `on_reaching` is called, rounded up to whole pages.
    pub threshold: usize,
    /// The function to call when the threshold is reached, or null.
    pub on_reaching: er_budget_callback,
    /// The pointer that is passed to `on_reaching`. It must stay valid as long as the budget lives.
    pub user: *mut c_void,
}

// SAFETY: the type is `repr(C)`, begins with a `usize`, and consists of integers, pointers and an optional function.
unsafe impl Options for er_budget_options {}

/// The figures of a budget.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct er_budget_stats {
    /// The limit in bytes.
    pub limit: usize,
    /// The number of bytes committed now.
    pub committed: usize,
    /// The largest number of bytes that was charged at once.
    pub peak: usize,
    /// The number of bytes that may still be committed before this budget or one above it refuses.
    pub available: usize,
}

/// Makes a budget of `bytes`, rounded down to whole pages. The options may be null.
///
/// # Safety
/// `options` is null or valid, its parent null or living, its name null or a string, and its callback keeps the rules
/// of `er_budget_callback`. `out` is valid, and `error` null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_budget_new(
    bytes: usize,
    options: *const er_budget_options,
    out: *mut *mut er_budget,
    error: *mut er_error,
) -> er_code {
    let make = || {
        // SAFETY: `options` is null or valid, and begins with its size (contract of this function).
        let options = unsafe { read(options) }?;
        // SAFETY: the name is null or a string (contract of this function).
        let name = unsafe { text(options.name, "name") }?;
        let mut builder = Budget::builder(bytes).name(name);
        // SAFETY: the budget is null or living (contract of this function).
        if let Some(parent) = unsafe { options.parent.as_ref() } {
            builder = builder.child_of(&parent.0);
        }
        if let Some(callback) = options.on_reaching {
            let user = User(options.user);
            builder = builder.on_reaching(options.threshold, move |budget| {
                let budget = er_budget(budget.clone());
                // SAFETY: the program passed a function of this type (contract of this function). The budget lives
                // until the function returns, the pointer is the one that the program passed with it, and the function
                // does not unwind (`er_budget_callback`).
                unsafe { callback(&raw const budget, user.get()) };
            });
        } else if options.threshold > 0 {
            let text = "`threshold` is set, and `on_reaching` is null; set both or neither";
            return Err(Failure::Argument(text.into()));
        }
        Ok(er_budget(builder.build()))
    };
    // SAFETY: `out` is null or valid for writing, and `error` is null or valid (contract of this function).
    unsafe { create(out, error, make) }
}

/// Frees the handle. Ignores null.
///
/// # Safety
/// `budget` is null or a living budget, which the program does not use again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_budget_free(budget: *mut er_budget) {
    // SAFETY: the handle is null, or living and used by nothing afterwards (contract of this function).
    drop(unsafe { take_back(budget) });
}

/// Returns the figures of the budget; zeros for null.
///
/// # Safety
/// `budget` is null or a living budget.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_budget_get_stats(budget: *const er_budget) -> er_budget_stats {
    // SAFETY: `budget` is null or a living budget (contract of this function).
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

/// A charge to a budget for memory that the library does not commit, such as a buffer of the program's own allocator or
/// a mapped file.
pub struct er_charge(Charge);

/// Charges `bytes`, rounded up to whole pages, to the budget and all budgets above it, or to none of them.
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
        // SAFETY: the budget is null or living (contract of this function).
        let er_budget(budget) = unsafe { budget.as_ref() }.ok_or_else(|| null("budget"))?;
        Ok(er_charge(budget.charge(bytes)?))
    };
    // SAFETY: `out` is null or valid for writing, and `error` is null or valid (contract of this function).
    unsafe { create(out, error, make) }
}

/// Refunds the charge. Ignores null.
///
/// # Safety
/// `charge` is null or a living charge, which the program does not use again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_charge_free(charge: *mut er_charge) {
    // SAFETY: the handle is null, or living and used by nothing afterwards (contract of this function).
    drop(unsafe { take_back(charge) });
}

/// Returns the number of charged bytes, a whole number of pages; 0 for null.
///
/// # Safety
/// `charge` is null or a living charge.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_charge_bytes(charge: *const er_charge) -> usize {
    // SAFETY: `charge` is null or a living charge (contract of this function).
    unsafe { charge.as_ref() }.map_or(0, |charge| charge.0.bytes())
}

//! Charges to budgets from ordinary code, for memory that no region commits.

use std::fmt;

use crate::budget::Budget;
use crate::error::{Error, Operation};
use crate::fault::fork_guard;
use crate::page::PageCount;

/// Bytes charged to a budget and to those above it. Dropping the charge refunds them.
///
/// Use it for memory that the library does not commit: a buffer on the program's own heap, a mapped file, or memory
/// that another library allocates. A [`Budget`] then limits this memory together with the budget's regions and
/// containers.
///
/// ```
/// use elbowroom::Budget;
///
/// let tenant = Budget::builder(1 << 20).name("tenant").build();
/// let charge = tenant.charge(700_000)?;
/// assert!(charge.bytes() >= 700_000);
/// let error = tenant.charge(700_000).unwrap_err();
/// assert_eq!(error.budget(), Some(&tenant));
///
/// drop(charge);
/// assert_eq!(tenant.committed_bytes(), 0);
/// # Ok::<(), elbowroom::Error>(())
/// ```
#[must_use = "dropping the charge refunds it"]
pub struct Charge {
    budget: Budget,
    // Invariant: this many pages are charged to the budget for this object.
    pages: PageCount,
}

impl Budget {
    /// Charges `bytes`, rounded up to whole pages, for memory that the library does not commit itself.
    ///
    /// The charge goes to this budget and to all those above it, or to none. Callbacks of budgets whose threshold is
    /// reached run before this method returns. Call it from ordinary code, not from a signal handler.
    ///
    /// # Errors
    /// `is_limit()` if this budget or one above it has no room; [`Error::budget`] names it. Nothing is charged then.
    pub fn charge(&self, bytes: usize) -> Result<Charge, Error> {
        let mut charge = Charge::none(self);
        let refused = charge.grow(PageCount::holding(bytes));
        refused.map_err(|error| error.about(0..bytes))?;
        self.run_pending_callbacks();
        Ok(charge)
    }
}

impl Charge {
    /// Returns a charge of 0 pages.
    pub(crate) fn none(budget: &Budget) -> Charge {
        Charge {
            budget: budget.clone(),
            pages: PageCount::ZERO,
        }
    }

    /// Returns the number of bytes charged, which is a whole number of pages.
    pub fn bytes(&self) -> usize {
        self.pages.bytes()
    }

    /// Returns the budget that is charged.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Charges more pages, or none. The caller runs the pending callbacks of the budget.
    pub(crate) fn grow(&mut self, pages: PageCount) -> Result<(), Error> {
        // No fork finds the budgets' lock held, and no signal handler waits for it.
        let _guard = fork_guard::enter();
        self.budget.charge_pages(pages, pages).map_err(|steps| {
            let bytes = 0..pages.bytes();
            Error::budget_refused(Operation::Charge, bytes, self.budget.above(steps))
        })?;
        self.pages = PageCount::new(self.pages.get() + pages.get());
        Ok(())
    }

    /// Refunds pages of this charge.
    pub(crate) fn shrink(&mut self, pages: PageCount) {
        debug_assert!(pages <= self.pages);
        let _guard = fork_guard::enter();
        self.budget.refund_pages(pages);
        self.pages = self.pages.saturating_sub(pages);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.shrink(self.pages);
    }
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Charge")
            .field("bytes", &self.bytes())
            .field("budget", &self.budget)
            .finish()
    }
}

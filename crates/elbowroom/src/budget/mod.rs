//! A limit on the committed bytes of several regions together. Budgets nest.

use std::fmt;
use std::iter;
use std::sync::Arc;

use crate::os;
use crate::page::PageCount;
use crate::plain::SystemLimit;
use crate::sync::Lock;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[cfg(all(test, loom))]
mod models;

/// A limit on how much any number of regions may commit together.
///
/// Budgets nest: a region's commits are charged to its budget and to each budget above it. The first budget without
/// room refuses, and the error names it. The charge is made before the system is asked, and refunded when pages are
/// decommitted or the region is dropped. It is exact: the limit holds at every moment, and no commit is refused because
/// of another charge that is later taken back.
///
/// A clone is the same budget. A charge checks every budget up to the root, so keep the nesting to tens of levels.
///
/// ```
/// use elbowroom::{Budget, Growth, Region, page_size};
///
/// let process = Budget::new(64 << 20);
/// let tenant = Budget::builder(10 * page_size()).name("tenant 7").child_of(&process).build();
/// let region = Region::builder(1 << 30).growth(Growth::Pages(1)).budget(&tenant).build()?;
///
/// let error = region.try_fill(0..1 << 20, 1).unwrap_err();
/// assert!(error.is_limit());
/// assert_eq!(error.offset(), 10 * page_size());
/// assert_eq!(error.budget().map(Budget::name), Some("tenant 7"));
/// assert_eq!(process.committed_bytes(), 10 * page_size());
/// assert_eq!(tenant.parent(), Some(&process));
///
/// drop(region);
/// assert_eq!(process.committed_bytes(), 0);
/// assert_eq!(process.peak_bytes(), 10 * page_size());
/// # Ok::<(), elbowroom::Error>(())
/// ```
#[derive(Clone)]
pub struct Budget {
    node: Arc<Node>,
}

/// The lock that all budgets of a tree share.
pub(crate) type Tree = Arc<Lock<()>>;

struct Node {
    name: Box<str>,
    limit: PageCount,
    parent: Option<Budget>,
    // Shared by all budgets of a tree: a charge checks and changes all budgets up to the root in one step. If each
    // budget were changed separately, a large charge that the root refuses would briefly block a small one.
    tree: Tree,
    // Invariant: at most `limit`; written only under the lock of the tree.
    committed: AtomicUsize,
    // Invariant: the largest value that `committed` has had; written only under the lock of the tree.
    peak: AtomicUsize,
    threshold: Option<Threshold>,
}

impl Drop for Node {
    /// Drops the parents one by one. Recursion would overflow the stack in a deep tree.
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(budget) = next {
            next = Arc::into_inner(budget.node).and_then(|mut node| node.parent.take());
        }
    }
}

// A panic in a callback leaves the figures consistent: no callback runs while they change.
impl std::panic::UnwindSafe for Budget {}
impl std::panic::RefUnwindSafe for Budget {}

type Callback = dyn Fn(&Budget) + Send + Sync;

struct Threshold {
    pages: PageCount,
    callback: Box<Callback>,
    // The threshold was reached, and the callback has not been called for it yet.
    is_due: AtomicBool,
}

/// The budget that refused a charge: 0 is the region's own, 1 is the one above it, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Steps(pub(crate) u32);

impl Budget {
    /// Returns a budget of this many bytes, rounded down to whole pages.
    pub fn new(bytes: usize) -> Budget {
        Budget::builder(bytes).build()
    }

    /// Returns a budget inside this one.
    pub fn child(&self, bytes: usize) -> Budget {
        Budget::builder(bytes).child_of(self).build()
    }

    /// Returns a budget of the memory that the system's limits leave to this process at this moment: the smallest
    /// remainder among the [`system_limits`](crate::system_limits).
    ///
    /// Its name is the name of that limit.
    ///
    /// The budget does not change when other processes take memory later, so leave room for them: use
    /// `Budget::for_process().child(bytes)` for a part of it, or calculate with
    /// [`available_bytes`](Budget::available_bytes).
    pub fn for_process() -> Budget {
        let limits = os::limits().into_iter();
        match limits.min_by_key(SystemLimit::available_bytes) {
            Some(limit) => Budget::builder(limit.available_bytes())
                .name(limit.name)
                .build(),
            None => Budget::builder(usize::MAX).name("none").build(),
        }
    }

    /// Returns a builder for a budget with a name, a parent or a callback.
    pub fn builder(bytes: usize) -> BudgetBuilder {
        BudgetBuilder {
            bytes,
            name: Box::default(),
            parent: None,
            threshold: None,
        }
    }

    /// Returns the name, or the empty string.
    pub fn name(&self) -> &str {
        &self.node.name
    }

    /// Returns the budget above this one, or `None` for a topmost one.
    pub fn parent(&self) -> Option<&Budget> {
        self.node.parent.as_ref()
    }

    /// Returns the limit in bytes.
    pub fn limit_bytes(&self) -> usize {
        self.node.limit.bytes()
    }

    /// Returns the number of bytes committed now, including those of the budgets below.
    pub fn committed_bytes(&self) -> usize {
        self.committed().bytes()
    }

    /// Returns the largest number of bytes that was ever charged at once, including charges for commits that the system
    /// then refused.
    pub fn peak_bytes(&self) -> usize {
        PageCount::new(self.node.peak.load(Ordering::Relaxed)).bytes()
    }

    /// Returns the number of bytes that may still be committed before this budget or one above it refuses.
    ///
    /// Other threads may take them first.
    pub fn available_bytes(&self) -> usize {
        self.path()
            .map(|budget| budget.room().bytes())
            .min()
            .unwrap_or(0)
    }

    /// Returns the lock of the tree.
    pub(crate) fn tree(&self) -> Tree {
        Arc::clone(&self.node.tree)
    }

    fn committed(&self) -> PageCount {
        PageCount::new(self.node.committed.load(Ordering::Relaxed))
    }

    fn room(&self) -> PageCount {
        self.node.limit.saturating_sub(self.committed())
    }

    /// Returns this budget and the ones above it.
    fn path(&self) -> impl Iterator<Item = &Budget> {
        iter::successors(Some(self), |budget| budget.parent())
    }

    /// Returns the budget this many steps above this one.
    pub(crate) fn above(&self, steps: Steps) -> &Budget {
        self.path().nth(steps.0 as usize).unwrap_or(self)
    }

    /// Charges as much of `wanted` as there is room for, at least `least`, to this budget and those above. The caller
    /// has asynchronous signals blocked.
    pub(crate) fn charge_pages(
        &self,
        wanted: PageCount,
        least: PageCount,
    ) -> Result<PageCount, Steps> {
        let _tree = self.node.tree.lock_in_handler();
        let mut granted = wanted;
        for (depth, budget) in self.path().enumerate() {
            granted = granted.min(budget.room());
            if granted < least {
                return Err(Steps(depth as u32));
            }
        }
        for budget in self.path() {
            let committed = budget.committed().get() + granted.get();
            budget.node.committed.store(committed, Ordering::Relaxed);
            budget.node.peak.fetch_max(committed, Ordering::Relaxed);
            if let Some(threshold) = &budget.node.threshold {
                let before = committed - granted.get();
                if before < threshold.pages.get() && threshold.pages.get() <= committed {
                    // A read-modify-write, as the read that clears the flag is: the model checker orders only these.
                    threshold.is_due.swap(true, Ordering::Relaxed);
                }
            }
        }
        Ok(granted)
    }

    /// Takes a charge back. The caller has asynchronous signals blocked.
    pub(crate) fn refund_pages(&self, pages: PageCount) {
        let _tree = self.node.tree.lock_in_handler();
        for budget in self.path() {
            let committed = budget.committed().saturating_sub(pages);
            budget
                .node
                .committed
                .store(committed.get(), Ordering::Relaxed);
            if let Some(threshold) = &budget.node.threshold {
                if committed < threshold.pages {
                    threshold.is_due.store(false, Ordering::Relaxed);
                }
            }
        }
    }

    /// Returns whether a callback of this budget or of one above it is due.
    pub(crate) fn has_pending_callbacks(&self) -> bool {
        let due = |threshold: &Threshold| threshold.is_due.load(Ordering::Relaxed);
        self.path()
            .any(|budget| budget.node.threshold.as_ref().is_some_and(due))
    }

    /// Calls the callbacks that are due, each once, on the first thread that arrives here. The caller holds no lock.
    #[doc(hidden)]
    pub fn run_pending_callbacks(&self) {
        for budget in self.path() {
            let Some(threshold) = &budget.node.threshold else {
                continue;
            };
            // A plain load first: there is almost never a callback to run.
            if threshold.is_due.load(Ordering::Relaxed)
                && threshold.is_due.swap(false, Ordering::Relaxed)
            {
                (threshold.callback)(budget);
            }
        }
    }
}

impl PartialEq for Budget {
    /// Returns whether both are handles to the same budget.
    fn eq(&self, other: &Budget) -> bool {
        Arc::ptr_eq(&self.node, &other.node)
    }
}

impl Eq for Budget {}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("name", &self.name())
            .field("limit_bytes", &self.limit_bytes())
            .field("committed_bytes", &self.committed_bytes())
            .field("peak_bytes", &self.peak_bytes())
            .field("parent", &self.node.parent)
            .finish()
    }
}

/// Builds a budget. Returned by [`Budget::builder`].
///
/// ```
/// use elbowroom::Budget;
///
/// let process = Budget::new(1 << 30);
/// let tenant = Budget::builder(64 << 20)
///     .name("tenant 7")
///     .child_of(&process)
///     .on_reaching(48 << 20, |budget| eprintln!("{} has reached 48 MiB", budget.name()))
///     .build();
/// assert_eq!(tenant.limit_bytes(), 64 << 20);
/// ```
#[must_use = "a builder makes no budget until `build` is called"]
pub struct BudgetBuilder {
    bytes: usize,
    name: Box<str>,
    parent: Option<Budget>,
    threshold: Option<(usize, Box<Callback>)>,
}

impl BudgetBuilder {
    /// Sets the name that errors show.
    pub fn name(mut self, name: &str) -> BudgetBuilder {
        self.name = name.into();
        self
    }

    /// Sets the parent: charges to this budget are also charged to the parent.
    pub fn child_of(mut self, parent: &Budget) -> BudgetBuilder {
        self.parent = Some(parent.clone());
        self
    }

    /// Calls `callback` each time the committed bytes rise from below `bytes` (rounded up to whole pages) to `bytes` or
    /// more.
    ///
    /// The callback runs after the commit, on the thread that committed. If the commit was caused by a page fault, it
    /// runs on a filter's stack, under the rules of [`RegionBuilder::filter`](crate::RegionBuilder::filter), and a
    /// panic in it aborts the process.
    pub fn on_reaching(
        mut self,
        bytes: usize,
        callback: impl Fn(&Budget) + Send + Sync + 'static,
    ) -> BudgetBuilder {
        self.threshold = Some((bytes, Box::new(callback)));
        self
    }

    /// Builds the budget.
    pub fn build(self) -> Budget {
        let tree = match &self.parent {
            Some(parent) => Arc::clone(&parent.node.tree),
            None => Arc::new(Lock::new(())),
        };
        let threshold = self.threshold.map(|(bytes, callback)| Threshold {
            pages: PageCount::holding(bytes),
            callback,
            is_due: AtomicBool::new(false),
        });
        let node = Node {
            name: self.name,
            limit: PageCount::inside(self.bytes),
            parent: self.parent,
            tree,
            committed: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            threshold,
        };
        Budget {
            node: Arc::new(node),
        }
    }
}

impl fmt::Debug for BudgetBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BudgetBuilder")
            .field("bytes", &self.bytes)
            .field("name", &self.name)
            .field("parent", &self.parent)
            .field(
                "threshold",
                &self.threshold.as_ref().map(|(bytes, _)| bytes),
            )
            .finish()
    }
}

//! Containers that grow and never move.
//!
//! Each container except [`DemandArray`] keeps its elements in a *prefix* of a reservation: pages committed from the
//! first one on, ahead of need, and without a fault ([`prefix`]). A reference is only made to elements on pages that
//! are already committed.

use std::fmt;
use std::marker::PhantomData;

use crate::budget::Budget;
use crate::error::{Error, Operation};
use crate::region::{Backend, Growth};

/// Returns the value of a result, or returns its error from the function, as `?` does. The operator takes calls in an
/// unoptimised build, and this is for the path of every small container.
macro_rules! tried {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => return Err(error),
        }
    };
}

#[cfg(not(loom))]
pub mod append_vec;
pub mod arena;
mod cache;
mod claims;
mod demand_array;
mod drop_glue;
pub(crate) mod prefix;
mod push_error;
pub mod reserved_vec;
mod share;

#[cfg(not(loom))]
pub use append_vec::AppendVec;
pub use arena::Arena;
pub use demand_array::DemandArray;
pub use prefix::trim;
pub use push_error::PushError;
pub use reserved_vec::ReservedVec;

/// The memory of a container, and the number of its growths.
///
/// Containers commit before they touch, so they have no faults to count.
///
/// ```
/// let mut vec = elbowroom::ReservedVec::with_max_len(1 << 20);
/// vec.push(1u64);
/// let stats = vec.stats();
/// assert!(stats.committed_bytes >= 8);
/// assert!(stats.committed_bytes <= stats.reserved_bytes);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContainerStats {
    /// The bytes that it can ever commit: its maximum, rounded up to whole pages. 0 before anything is reserved.
    pub reserved_bytes: usize,
    /// The bytes committed now.
    pub committed_bytes: usize,
    /// The bytes that may be committed at any moment.
    pub commit_limit_bytes: usize,
    /// The number of times that it has committed memory.
    pub commits: u64,
}

impl ContainerStats {
    /// The figures of a container that has reserved nothing.
    const NOTHING: ContainerStats = ContainerStats {
        reserved_bytes: 0,
        committed_bytes: 0,
        commit_limit_bytes: 0,
        commits: 0,
    };
}

/// Builds a container. Returned by the container's own `builder`, such as [`ReservedVec::builder`].
///
/// ```
/// use elbowroom::{Budget, ReservedVec};
///
/// let budget = Budget::new(1 << 20);
/// let mut log = ReservedVec::<u64>::builder(1 << 30).name("log").budget(&budget).build()?;
/// log.push(7);
/// assert!(budget.committed_bytes() > 0);
/// # Ok::<(), elbowroom::Error>(())
/// ```
#[must_use = "a builder makes no container until `build` is called"]
pub struct ContainerBuilder<C> {
    // In elements; for an arena in bytes.
    max: usize,
    options: Options,
    container: PhantomData<fn() -> C>,
}

/// The settings of a builder, except the size.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) name: Box<str>,
    pub(crate) budget: Option<Budget>,
    pub(crate) growth: Growth,
    pub(crate) huge_pages: bool,
    pub(crate) commit_limit_bytes: usize,
    // The backend of the region, if the container has one.
    pub(crate) backend: Backend,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            name: Box::default(),
            budget: None,
            growth: Growth::default(),
            huge_pages: true,
            commit_limit_bytes: usize::MAX,
            backend: Backend::default(),
        }
    }
}

impl<C> ContainerBuilder<C> {
    /// Returns a builder for a container of at most `max` elements or bytes.
    fn new(max: usize) -> ContainerBuilder<C> {
        ContainerBuilder {
            max,
            options: Options::default(),
            container: PhantomData,
        }
    }

    /// Names the container.
    ///
    /// The system's own listing of the process's memory shows the name, if it has names: see
    /// [`ReservationBuilder::name`](crate::ReservationBuilder::name).
    pub fn name(mut self, name: &str) -> ContainerBuilder<C> {
        self.options.name = name.into();
        self
    }

    /// Charges the container's commits to `budget` and to the budgets above it.
    pub fn budget(mut self, budget: &Budget) -> ContainerBuilder<C> {
        self.options.budget = Some(budget.clone());
        self
    }

    /// Sets how far ahead of need the container commits when it grows.
    ///
    /// By default, it commits as much again as it has, up to 2 MiB, and makes it resident at once. This has the
    /// shortest total time, but the operation that grows waits until the system has zeroed the memory. If no single
    /// operation may wait so long, choose a smaller largest window: there are more pauses then, and shorter ones.
    ///
    /// ```
    /// use elbowroom::{Growth, ReservedVec};
    ///
    /// let growth = Growth::Adaptive { max_bytes: 64 << 10 };
    /// let samples = ReservedVec::<f32>::builder(1 << 30).growth(growth).build()?;
    /// # Ok::<(), elbowroom::Error>(())
    /// ```
    pub fn growth(mut self, growth: Growth) -> ContainerBuilder<C> {
        self.options.growth = growth;
        self
    }

    /// Sets whether growths of at least a huge page ask the system for huge pages, where it has them for private memory
    /// (Linux).
    ///
    /// The default is yes under [`Growth::Adaptive`]. See
    /// [`RegionBuilder::huge_pages`](crate::RegionBuilder::huge_pages).
    pub fn huge_pages(mut self, huge_pages: bool) -> ContainerBuilder<C> {
        self.options.huge_pages = huge_pages;
        self
    }

    /// Limits the bytes committed at any moment, rounded down to whole pages. By default only the maximum limits them.
    pub fn commit_limit(mut self, bytes: usize) -> ContainerBuilder<C> {
        self.options.commit_limit_bytes = bytes;
        self
    }
}

impl<C> fmt::Debug for ContainerBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerBuilder")
            .field("max", &self.max)
            .field("options", &self.options)
            .finish()
    }
}

/// Returns the bytes of `count` elements of `size` bytes, as the end of a range in an error.
fn saturating_bytes(count: usize, size: usize) -> usize {
    count.saturating_mul(size)
}

/// Returns the error of a container that holds `len` elements of `size` bytes, can hold `max_len`, and has no room for
/// `more`.
#[cold]
fn full(len: usize, more: usize, max_len: usize, size: usize) -> Error {
    let range = saturating_bytes(len, size)..saturating_bytes(len.saturating_add(more), size);
    Error::full(Operation::Commit, range, max_len, "elements")
}

/// Drops all parts of something. If the drop of one panics, the remaining parts are dropped before the panic continues.
fn drop_each<I: Iterator>(parts: I, drop_part: impl FnMut(I::Item)) {
    struct Rest<I: Iterator, F: FnMut(I::Item)>(I, F);
    impl<I: Iterator, F: FnMut(I::Item)> Drop for Rest<I, F> {
        fn drop(&mut self) {
            self.0.by_ref().for_each(&mut self.1);
        }
    }
    let mut rest = Rest(parts, drop_part);
    for part in rest.0.by_ref() {
        (rest.1)(part);
    }
}

//! The dispatcher's view of a region.

#![allow(
    unsafe_code,
    reason = "locks that are held across a fork have no guard"
)]

use std::any::Any;
use std::ops::Range;
use std::ptr;

use super::progress::Progress;
use super::touch::Touch;
use crate::budget::Tree;
use crate::error::{Cause, Error, Operation};

/// A range of addresses whose faults this library resolves.
///
/// The dispatcher finds an owner by the address of a fault and lets it resolve the fault. It knows
/// nothing else about it.
pub(crate) trait Owner: Send + Sync {
    /// Returns the addresses whose faults belong to this owner.
    fn addresses(&self) -> Range<usize>;

    /// Returns the name, or the empty string.
    fn name(&self) -> &str;

    /// Returns whether a refused touch outside an accessor is reported on standard error.
    fn reports_refusals(&self) -> bool;

    /// Resolves a fault in the addresses, or returns the cause of its refusal. Called by the fault handler.
    fn resolve(&self, touch: &Touch) -> Result<Progress, Cause>;

    /// Returns whether the access of a refused touch would work now.
    fn is_accessible(&self, touch: &Touch) -> bool;

    /// Returns the error of an operation on `range` that was refused for this cause, with the figures
    /// of the owner. Allocates nothing.
    fn error(&self, operation: Operation, range: Range<usize>, cause: Cause) -> Error;

    /// Returns the owner as its own type, for the layer that registered it.
    fn as_any(&self) -> &dyn Any;

    /// Returns the tree of the owner's budgets, if it has any.
    fn budget_tree(&self) -> Option<Tree>;

    /// Takes the owner's lock and keeps it across a fork. Asynchronous signals are blocked.
    fn hold(&self);

    /// Gives back the lock that [`hold`](Owner::hold) took.
    ///
    /// # Safety
    /// The calling thread took it, or is the copy of that thread in a forked child.
    unsafe fn let_go(&self);

    /// Restores state that a fork does not copy. Runs in the forked child, while no lock is held.
    fn in_child(&self);
}

/// The identity of an owner: two are equal if they are the same owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnerId(usize);

impl OwnerId {
    /// The identity of no owner.
    pub(super) const NONE: OwnerId = OwnerId(0);

    /// Returns the identity of `owner`: its address, which no other owner has while it lives.
    pub(crate) fn of<T: ?Sized>(owner: &T) -> OwnerId {
        OwnerId(ptr::from_ref(owner).cast::<()>().addr())
    }

    pub(super) const fn get(self) -> usize {
        self.0
    }
}
